//! The handle with which an application makes calls, and the future that it must run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::conversation::Conversation;
use super::core::Core;
use super::driver::Driver;
use super::feeder::Feeder;
use super::feeding::{self, Feeding};
use super::incoming::Incoming;
use super::seat::AnswerPolicy;
use super::shared::{MAX_WAITING, Shared};
use super::wish::Wish;
use super::{CoreConfig, answers_everybody};
use crate::Client;
use crate::call::{CallError, RateLimit};
use crate::media::Kind;
use crate::media::adapt::keyframes::KeyFrameReason;
use crate::media::source::{Source, SourceStatus};
use crate::net::channel::bounded;
use crate::net::udp::Udp;
use crate::net::{Signal, lock, time};
use crate::rtc;

/// The maximum number of calls at a time, including ringing ones.
const MAX_CALLS: usize = 64;

/// Where [`Calling`] sends and receives media.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The UDP address for media. Default: any port on every address.
    pub listen: SocketAddr,
    /// The public address of that port, if it is behind a port forward; port 0 means the same port. Not needed for
    /// calls to a reachable peer. Default: `None`.
    pub advertise: Option<SocketAddr>,
}

impl Default for Config {
    fn default() -> Config {
        Config { listen: (Ipv4Addr::UNSPECIFIED, 0).into(), advertise: None }
    }
}

/// The parameters of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The kinds of media to send, as far as the [source](Calling::set_source) has them.
    pub send: BTreeSet<Kind>,
    /// The kinds to receive.
    pub receive: BTreeSet<Kind>,
    /// Whether the call has [data channels](Conversation::open_channel). Default: no.
    pub channels: bool,
    /// A JSON object that the callee sees before it answers. Default: `{}`.
    pub data: String,
}

impl Call {
    /// Creates a call that sends and receives these kinds.
    pub fn new(send: impl IntoIterator<Item = Kind>, receive: impl IntoIterator<Item = Kind>) -> Call {
        Call { send: send.into_iter().collect(), receive: receive.into_iter().collect(), ..Call::default() }
    }

    /// The same, with [data channels](Conversation::open_channel).
    pub fn with_channels(self) -> Call {
        Call { channels: true, ..self }
    }
}

impl Default for Call {
    /// Creates a call that sends and receives nothing, with empty data.
    fn default() -> Call {
        Call { send: BTreeSet::new(), receive: BTreeSet::new(), channels: false, data: "{}".into() }
    }
}

/// Calls with other peers of a server. Clones are handles of the same object; methods do not block.
///
/// Both futures must run, [`Calling::run`] and [`Client::run`]:
///
/// ```no_run
/// use futures_lite::StreamExt;
/// use futures_lite::future::{block_on, or};
/// use symple::Client;
/// use symple::calling::{Calling, FrameEvent};
/// use symple::client::Config;
/// use symple::media::Kind;
///
/// let client = Client::new("ws://127.0.0.1:4500", Config::new("alice"))?;
/// let calling = Calling::new(&client)?;
/// let watching = async {
///     // First wait for the event Online, and for the camera in the roster.
///     let mut watch = calling.watch("camera", [Kind::Video])?;
///     while let Some(event) = watch.next().await {
///         if let FrameEvent::Frame { frame } = event {
///             println!("{:?} {} bytes", frame.codec, frame.data.len());
///         }
///     }
///     println!("{}", watch.end().expect("the stream has ended"));
///     Ok(())
/// };
/// let running = async {
///     or(client.run(), calling.run()).await;
///     Ok::<(), Box<dyn std::error::Error>>(())
/// };
/// block_on(or(watching, running))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A call that also sends, and calls from others:
///
/// ```no_run
/// use futures_lite::StreamExt;
/// use symple::Client;
/// use symple::call::body::EndReason;
/// use symple::calling::{Call, Calling, FrameEvent};
/// use symple::media::Kind::{Audio, Video};
/// use symple::media::source::Source;
/// use symple::media::Codec;
/// use symple::rtc::Directions;
///
/// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
/// let calling = Calling::new(&client)?;
/// // One encoder for all calls; `camera` and `microphone` push encoded frames, and receive requests.
/// let (source, [camera, microphone]) = Source::push_streams([Codec::H264, Codec::Opus]);
/// calling.set_source(source);
///
/// let call = calling.call("bob", Call::new([Audio, Video], [Audio, Video]))?;
/// call.connected().await?;
/// call.mute(Video);
/// call.hang_up(EndReason::Ended);
///
/// let mut incoming = calling.incoming();
/// while let Some(call) = incoming.next().await {
///     if call.peer().user() == "alice" {
///         let mut call = call.accept(Directions::new([Audio], [Audio, Video]))?;
///         while let Some(FrameEvent::Frame { frame }) = call.next().await {
///             println!("{:?} {} bytes", frame.codec, frame.data.len());
///         }
///     } else {
///         call.reject(EndReason::NotAllowed);
///     }
/// }
/// # drop((camera, microphone));
/// # Ok(())
/// # }
/// ```
///
/// Use a separate client, not a camera's: calls to that client arrive here, and are declined unless
/// [`incoming`](Self::incoming) takes them.
#[derive(Clone)]
pub struct Calling {
    shared: Arc<Shared>,
}

impl Calling {
    /// Makes calls through this client, with the default configuration: any UDP port.
    ///
    /// # Errors
    ///
    /// If no UDP port can be opened.
    pub fn new(client: &Client) -> io::Result<Calling> {
        Calling::with(client, &Config::default())
    }

    /// Makes calls through this client.
    ///
    /// # Errors
    ///
    /// If the UDP port is in use, or not permitted.
    pub fn with(client: &Client, config: &Config) -> io::Result<Calling> {
        let udp = Udp::bind(config.listen)?;
        let candidates = udp.local_candidates(config.advertise)?;
        let bitrates = feeding::limits();
        let rtc = rtc::Config {
            candidates,
            max_sessions: usize::MAX,
            max_bitrate: bitrates.enough(),
            // Low delay for conversations: each audio frame is sent immediately.
            audio_packet: Duration::ZERO,
            channels: Some(rtc::ChannelLimits::default()),
            ..rtc::Config::default()
        };
        let core = CoreConfig {
            rtc,
            streams: vec![],
            answer: AnswerPolicy::Ask,
            max_calls: MAX_CALLS,
            max_unconnected: MAX_CALLS,
            offer_rate: RateLimit { per_second: 1, burst: 8 },
        };
        let shared = Arc::new(Shared {
            lines: Mutex::new(BTreeMap::new()),
            incoming: Mutex::new(None),
            feeder: Mutex::new(None),
            feeding: Mutex::new(Feeding::new()),
            source_listener: Mutex::new(None),
            core: Mutex::new(Core::new(core, time::now())),
            client: client.clone(),
            changed: Signal::default(),
            udp: Mutex::new(Some(udp)),
            advertise: config.advertise,
            ran: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        if let Some(own) = client.peer() {
            shared.online(own.address().as_str());
        }
        client.hook({
            let shared = Arc::downgrade(&shared);
            move |event| {
                if let Some(shared) = shared.upgrade() {
                    shared.client_event(event);
                }
            }
        });
        Ok(Calling { shared })
    }

    /// Calls a peer (`user|id`, or `user` for the first of its devices that accepts). If nobody answers within 30 s,
    /// the call ends with the reason `timeout`.
    ///
    /// # Errors
    ///
    /// If there is already a call with this peer, the address is empty or too long, the data is not JSON, there is no
    /// connection to the server, or 64 calls exist.
    pub fn call(&self, to: &str, call: Call) -> Result<Conversation, CallError> {
        let all = self.shared.client.roster();
        let callee = all.iter().find(|peer| peer.address().as_str() == to);
        let at_once = callee.is_some_and(|peer| answers_everybody(&peer.extra));
        let wish = Wish::new(rtc::Directions::new(call.send, call.receive)).with_channels(call.channels);
        let (call, line) = self.shared.call(to, wish, &call.data, at_once)?;
        Ok(Conversation::new(&self.shared, call, line))
    }

    /// Calls a peer to receive its audio, video or both, and send nothing: a shorthand for [`call`](Self::call).
    ///
    /// # Errors
    ///
    /// The same as for [`call`](Self::call).
    pub fn watch(&self, to: &str, kinds: impl IntoIterator<Item = Kind>) -> Result<Conversation, CallError> {
        self.call(to, Call::new([], kinds))
    }

    /// Returns the stream of incoming calls; without it they are declined. A new stream ends the previous one. Up to 16
    /// calls wait in it; further ones get `busy`.
    pub fn incoming(&self) -> Incoming {
        let (sender, receiver) = bounded(MAX_WAITING);
        let before = lock(&self.shared.incoming).replace(sender);
        before.into_iter().for_each(|before| _ = before.close());
        if self.shared.over.load(Ordering::Acquire) {
            receiver.close();
        }
        Incoming::new(&self.shared, receiver)
    }

    /// Sets the source for all calls and replaces the previous one. Each call sends the first stream of a kind that the
    /// peer can decode. The source runs while a call sends one of its streams. It gets requests for key frames and for
    /// the bitrate of the slowest of those calls, between 150 kbit/s and 4 Mbit/s. Existing calls switch to the new
    /// source with a new offer.
    ///
    /// While the source is lost and recovers, calls continue without its frames. When it ends or fails for good, calls
    /// that only send end with the reason `source-ended` or `source-failed`, and the others continue without sending;
    /// the next call that sends tries it again. [`on_source`](Self::on_source) reports its status.
    pub fn set_source(&self, source: Source) {
        let shared = Arc::downgrade(&self.shared);
        let feeder = Arc::new(Feeder::new(source, move |lost| {
            let Some(shared) = shared.upgrade() else { return };
            if let Some(stream) = lost {
                lock(&shared.feeding).want_key_frame(stream, KeyFrameReason::Behind, time::now());
            }
            shared.changed.notify();
        }));
        let streams = feeder.streams();
        let mut current = lock(&self.shared.feeder);
        lock(&self.shared.feeding).replace(feeder.is_live(), time::now());
        self.shared.set_streams(&streams);
        let before = current.replace(feeder);
        drop(current);
        // Outside the lock: the source may own a clone of this handle.
        before.into_iter().for_each(|before| before.stop());
        self.shared.changed.notify();
    }

    /// Sets the callback for the status of the [source](Self::set_source) and replaces the previous one. It is called
    /// when the source starts, plays, is lost, or has ended or failed for good, while a call sends one of its streams.
    /// It must not block.
    pub fn on_source(&self, listener: impl Fn(SourceStatus) + Send + Sync + 'static) {
        let before = lock(&self.shared.source_listener).replace(Arc::new(listener));
        // Outside the lock: the listener may own a clone of this handle.
        drop(before);
    }

    /// Hangs up all calls, and ends [`Calling::run`].
    pub fn shutdown(&self) {
        self.shared.end();
    }

    /// Runs until [`Calling::shutdown`], or until the client has ended for good, on any runtime; [`Client::run`] must
    /// run as well. If several such futures exist, only the first does anything. When it ends or is dropped, all calls
    /// end.
    pub fn run(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = self.shared.clone();
        async move {
            if shared.ran.swap(true, Ordering::AcqRel) {
                return log::error!("calling is already running; this second run() does nothing");
            }
            let _running = Running(shared.clone());
            let udp = lock(&shared.udp).take();
            let mut driver = Driver::new(shared, udp);
            poll_fn(|cx| driver.poll(cx)).await;
        }
    }
}

impl fmt::Debug for Calling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calling").field("calls", &lock(&self.shared.lines).len()).finish_non_exhaustive()
    }
}

/// The only running future. However it ends, nobody keeps waiting for frames.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.end();
        self.0.forget_all();
    }
}
