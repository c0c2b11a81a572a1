//! Settings of an RTSP source, and corrections of what it sends.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_sdp::SDPMessageRef;

use super::unsafe_sdp;
use crate::media::source::sender_clock::SenderClock;
use crate::media::source::{Login, RtspUrl};

/// How much jitter of a network camera is smoothed, in milliseconds. This adds delay only when packets are late or
/// lost, since nothing here waits for a presentation time.
const LATENCY: u32 = 100;
/// How long RTSP waits for packets over UDP, in microseconds, before it asks for TCP.
const UDP_WAIT: u64 = 2_000_000;
/// How long RTSP waits for a connection, in microseconds.
const CONNECT_WAIT: u64 = 5_000_000;

/// The timeout of a connection that only checks whether somebody answers. A camera that is starting drops packets until
/// its network is up, and is tried again.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// Whether somebody accepts a connection at the address, as far as can be known. Much cheaper than opening the source.
pub(super) fn answers(url: &RtspUrl) -> bool {
    let Some(place) = url.host() else { return true };
    let found = place.to_socket_addrs();
    found.is_ok_and(|mut all| all.any(|address| TcpStream::connect_timeout(&address, ANSWER_WAIT).is_ok()))
}

/// Configures `rtspsrc`, which also handles `rtsps`; it has had these properties since 1.0.
pub(super) fn set_up(source: &gst::Element, login: Option<&Login>) {
    source.set_property("latency", LATENCY);
    source.set_property("timeout", UDP_WAIT);
    source.set_property("tcp-timeout", CONNECT_WAIT);
    if let Some(login) = login {
        source.set_property("user-id", &login.user);
        source.set_property("user-pw", &login.password);
    }
    source.connect("on-sdp", false, |values| {
        let source = values.first().and_then(|value| value.get::<gst::Element>().ok());
        if let Some(address) = source.and_then(|source| source.property::<Option<String>>("location")) {
            unsafe_sdp::mend(values, |sdp| mend_description(sdp, &address));
        }
        None
    });
    source.connect("new-manager", false, |values| {
        // An `rtpbin`; it creates a jitter buffer for each stream.
        if let Some(Ok(manager)) = values.get(1).map(|value| value.get::<gst::Element>()) {
            manager.connect("new-jitterbuffer", false, |values| {
                if let Some(Ok(buffer)) = values.get(1).map(|value| value.get::<gst::Element>()) {
                    watch_clock(&buffer);
                }
                None
            });
        }
        None
    });
}

/// Gives a medium without `a=control` the address of the session. RFC 2326, C.3, allows a single medium to have none,
/// but `rtspsrc` ignores such a medium if the session has an `a=control:*`. If there are several, each must have one;
/// if they don't, only the first with video can be meant, as `rtspsrc` sends one SETUP for all media with the same
/// address.
fn mend_description(sdp: &mut SDPMessageRef, address: &str) {
    let video = sdp.medias_mut().find(|medium| medium.media() == Some("video"));
    if let Some(medium) = video.filter(|medium| medium.attribute_val("control").is_none()) {
        medium.add_attribute("control", Some(address));
    }
}

/// Replaces impossible timestamps before the jitter buffer converts them to times.
fn watch_clock(buffer: &gst::Element) {
    let Some(pad) = buffer.static_pad("sink") else { return };
    let clock: Mutex<Option<SenderClock>> = Mutex::new(None);
    let began = Instant::now();
    let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(mask, move |pad, info| {
        // Only one thread at a time calls this, and it does not panic in between.
        let Ok(mut clock) = clock.lock() else { return gst::PadProbeReturn::Ok };
        if clock.is_none() {
            *clock = clock_rate(pad).map(SenderClock::new);
        }
        let Some(clock) = clock.as_mut() else { return gst::PadProbeReturn::Ok };
        let before = clock.is_replaced();
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(packet)) => mend(packet, clock, began),
            Some(gst::PadProbeData::BufferList(list)) => {
                // A shared list cannot be changed in place, so a new one is created.
                let mut packets: Vec<gst::Buffer> = list.iter_owned().collect();
                packets.iter_mut().for_each(|packet| mend(packet, clock, began));
                *list = packets.into_iter().collect();
            }
            _ => {}
        }
        if clock.is_replaced() && !before {
            log::warn!("the RTSP source's timestamps are invalid; using arrival times instead");
        }
        gst::PadProbeReturn::Ok
    });
}

fn clock_rate(pad: &gst::Pad) -> Option<u32> {
    let rate = pad.current_caps()?.structure(0)?.get::<i32>("clock-rate").ok()?;
    u32::try_from(rate).ok().filter(|rate| *rate > 0)
}

/// Sets the time of one RTP packet (RFC 3550, 5.1: version 2, and four bytes at 4).
fn mend(packet: &mut gst::Buffer, clock: &mut SenderClock, began: Instant) {
    let mut head = [0; 8];
    if packet.copy_to_slice(0, &mut head).is_err() || head[0] >> 6 != 2 {
        return;
    }
    let timestamp = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    let used = clock.handle_packet(timestamp, began.elapsed());
    if used != timestamp
        && let Ok(mut map) = packet.make_mut().map_writable()
    {
        map[4..8].copy_from_slice(&used.to_be_bytes());
    }
}
