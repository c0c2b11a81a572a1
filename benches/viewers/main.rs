//! `make bench`: what a viewer costs the thread that sends to it, beside a sender without any library.
//!
//! Each measurement starts a process of its own: a [camera](here) of this crate, or the [bound]. Both get the same
//! frames from the same [encoder], and the same [viewers](load) in this process watch over loopback. They take turns,
//! so that whatever else the machine does affects both; each figure is the median of the rounds. On a busy machine the
//! ratio says more than the microseconds, and delays say nothing once the sender has waited for a CPU: a sender that
//! comes late sends more at once, which is also cheaper. `chrt -r 1 make bench`, as root, goes before everybody else.
//!
//! The camera also runs on two threads, each of which sends to half of the viewers: what a packet costs then, compared
//! with one thread, and how the packets are split. The viewers need one of two CPUs, so that isn't about throughput.
//!
//! With 100 viewers the camera is also measured with audio: how much more CPU time that takes with a packet for each
//! Opus frame of 20 ms, as calls have it, and with three frames joined in a packet, as viewers get it.
//!
//! Options: `--viewers 10,50`, `--seconds 4` (of measuring), `--rounds 2`, `--audio` (with audio for each number of
//! viewers), `--filter bound` (subjects whose name contains this), `--loss 5` (percent of packets that viewers lose).

#[cfg(target_os = "linux")]
mod bound;
#[cfg(target_os = "linux")]
mod call;
#[cfg(target_os = "linux")]
mod case;
#[cfg(target_os = "linux")]
mod clock;
#[cfg(target_os = "linux")]
mod cut;
#[cfg(target_os = "linux")]
mod dtls;
#[cfg(target_os = "linux")]
mod encoder;
#[cfg(target_os = "linux")]
mod here;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod options;
#[cfg(target_os = "linux")]
mod peer;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod rtcp;
#[cfg(target_os = "linux")]
mod rtp;
#[cfg(target_os = "linux")]
mod sdp;
#[cfg(target_os = "linux")]
mod srtp;
#[cfg(target_os = "linux")]
mod status;
#[cfg(target_os = "linux")]
mod stun;
#[cfg(target_os = "linux")]
mod subject;
#[cfg(target_os = "linux")]
mod track;
#[cfg(target_os = "linux")]
mod unsafe_udp;
#[cfg(target_os = "linux")]
mod wake;

#[cfg(target_os = "linux")]
fn main() {
    match std::env::args().nth(1).as_deref() {
        Some(here::NAME) => here::run(None, 1),
        Some(here::ON_TWO_THREADS) => here::run(None, 2),
        Some(here::WITH_AUDIO) => here::run(Some(encoder::AUDIO_FRAME), 1),
        Some(here::WITH_JOINED_AUDIO) => here::run(Some(3 * encoder::AUDIO_FRAME), 1),
        Some(bound::NAME) => bound::run(),
        _ => report::run(),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("SKIPPED: CPU time and memory are read from Linux's /proc");
}
