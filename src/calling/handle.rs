//! Calls as a program makes them: the handle, and its future to run.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::core::Core;
use super::driver::Driver;
use super::seat::AnswerPolicy;
use super::shared::Shared;
use super::watch::Watch;
use super::{Config, answers_everybody};
use crate::Client;
use crate::call::{CallError, RateLimit};
use crate::media::Kind;
use crate::net::udp::Udp;
use crate::net::{Signal, lock, random_id, time};
use crate::rtc::{self, Directions};

/// Calls at a time, those that are ringing included.
const MAX_CALLS: usize = 64;

/// Where [`Calling`] receives media.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The UDP address for media. The default is any port on every address.
    pub listen: SocketAddr,
    /// The public address of that port, if it is behind a port forward; port 0 stands for the same port. Not needed to
    /// call somebody who can be reached. Default `None`.
    pub advertise: Option<SocketAddr>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { listen: (Ipv4Addr::UNSPECIFIED, 0).into(), advertise: None }
    }
}

/// Calls to other peers of a server. Clones are handles of the same; their methods do not block.
///
/// Both futures must run, this one's and the client's:
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
///     // Wait for the event Online before that, and for the camera in the roster.
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
/// Use a client of its own, not a camera's: calls to that client are declined here.
#[derive(Clone)]
pub struct Calling {
    shared: Arc<Shared>,
}

impl Calling {
    /// Calls by way of this client, with default settings: the UDP port is any.
    ///
    /// # Errors
    ///
    /// No UDP port can be opened.
    pub fn new(client: &Client) -> io::Result<Calling> {
        Calling::with(client, &Settings::default())
    }

    /// Calls by way of this client.
    ///
    /// # Errors
    ///
    /// The UDP port is in use, or not permitted.
    pub fn with(client: &Client, settings: &Settings) -> io::Result<Calling> {
        let udp = Udp::bind(settings.listen)?;
        let candidates = udp.local_candidates(settings.advertise)?;
        let config = Config {
            rtc: rtc::Config { candidates, max_sessions: usize::MAX, ..rtc::Config::default() },
            streams: vec![],
            answer: AnswerPolicy::Ask,
            max_calls: MAX_CALLS,
            max_unconnected: MAX_CALLS,
            offer_rate: RateLimit { per_second: 1, burst: 8 },
        };
        let shared = Arc::new(Shared {
            core: Mutex::new(Core::new(config, time::now())),
            client: client.clone(),
            watches: Mutex::new(BTreeMap::new()),
            changed: Signal::default(),
            udp: Mutex::new(Some(udp)),
            advertise: settings.advertise,
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

    /// Calls a peer (`user|id`, or `user` for whichever of its devices accepts first) to receive its audio, its video or
    /// both, and send nothing. The frames come from the returned stream, which hangs up when it is dropped.
    ///
    /// # Errors
    ///
    /// There is a call with this peer already, the address is empty or too long, or 64 calls exist.
    pub fn watch(&self, to: &str, kinds: impl IntoIterator<Item = Kind>) -> Result<Watch, CallError> {
        let shared = &self.shared;
        let all = shared.client.roster();
        let callee = all.iter().find(|peer| peer.address().as_str() == to);
        let at_once = callee.is_some_and(|peer| answers_everybody(&peer.extra));
        let directions = Directions { send: [].into(), receive: kinds.into_iter().collect() };
        // An end of the call waits until there is a watch to tell.
        let mut watches = lock(&shared.watches);
        if shared.over.load(Ordering::Acquire) {
            return Err(CallError::Offline);
        }
        let call = lock(&shared.core).watch(to, &random_id(), at_once, directions, time::now())?;
        let watch = Watch::new(shared, call);
        watches.insert(call, watch.inlet());
        drop(watches);
        shared.changed.notify();
        Ok(watch)
    }

    /// Hangs up all calls, and ends [`Calling::run`].
    pub fn shutdown(&self) {
        self.shared.end();
    }

    /// Runs until [`Calling::shutdown`], or until the client has ended for good, on any runtime; it needs
    /// [`Client::run`] to run as well. If several such futures exist, only the first does anything. When it ends or is
    /// dropped, so do all calls.
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
        f.debug_struct("Calling").field("calls", &lock(&self.shared.watches).len()).finish_non_exhaustive()
    }
}

/// The one run. However it ends, nobody waits for frames that don't come.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.end();
        self.0.forget_all();
    }
}
