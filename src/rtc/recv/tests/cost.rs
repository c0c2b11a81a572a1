//! What receiving costs, beside a floor that only reads headers and decrypts.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::raw::format;
use super::unsafe_heap::allocations;
use super::{RTX, TRANSPORT};
use crate::media::{Codec, Frame, StreamId, VIDEO_H264};
use crate::rtc::crypto::keys::{Keys, Profile};
use crate::rtc::crypto::open_rtp::RtpOpener;
use crate::rtc::crypto::seal::Sealer;
use crate::rtc::recv::header::{Head, Ids};
use crate::rtc::recv::receiver::Receiver;
use crate::rtc::recv::unpack::tests::h264;
use crate::rtc::send::cut::Cutter;
use crate::rtc::send::header::Header;

const FRAMES: u64 = 2000;
const FRAME_EVERY: Duration = Duration::from_millis(33);

/// CPU time of this thread in ns, if the kernel reports it.
fn cpu() -> Option<u64> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

/// Frames of 2 Mbit/s at 30 frames a second, sealed: all packets of each.
fn packets(keys: &Keys, frames: u64) -> Vec<Vec<Vec<u8>>> {
    let (mut sealer, mut cutter, mut index) = (Sealer::new(keys), Cutter::default(), 1);
    let now = Instant::now();
    let sealed = |n: u64| {
        let key = n.is_multiple_of(300);
        let frame = Frame {
            stream: StreamId(0),
            codec: Codec::H264,
            key,
            captured: now,
            pts: Duration::ZERO,
            duration: Duration::ZERO,
            discontinuity: false,
            encoding: None,
            data: h264(key, if key { 40_000 } else { 8300 }, n as u8).into(),
        };
        let payloads = cutter.cut(&frame);
        let last = payloads.len() - 1;
        let mut all = vec![];
        for (at, payload) in payloads.iter().enumerate() {
            let header = Header {
                pt: 96,
                ssrc: 5,
                marker: at == last,
                number: index as u16,
                time: n as u32 * 3000,
                transport: Some((TRANSPORT, index as u16)),
                ..Header::default()
            };
            let (mut head, mut packet) = (vec![], vec![]);
            header.write(&mut head);
            sealer.seal_rtp(&head, index, payload, &mut packet);
            index += 1;
            all.push(packet);
        }
        all
    };
    (0..frames).map(sealed).collect()
}

/// So many frames of a sender by this name, and the receiver's keys. Names are keys.
fn sealed(name: &str, frames: u64) -> (Vec<Vec<Vec<u8>>>, Keys) {
    let profile = Profile::Aes128Gcm;
    let material: Vec<u8> = name.bytes().cycle().take(profile.material_len()).collect();
    (packets(&Keys::new(profile, material.clone(), true), frames), Keys::new(profile, material, false))
}

fn receiver(keys: &Keys, now: Instant) -> Receiver {
    let mut receiver = Receiver::new(1, "name", now);
    receiver.connect(keys);
    receiver.set_lanes(&[format(VIDEO_H264, Codec::H264, 96, Some(RTX))]);
    receiver
}

/// The CPU time of something, in ns.
fn spent(act: &mut dyn FnMut()) -> u64 {
    let before = cpu().expect("read before");
    act();
    cpu().expect("read before") - before
}

/// What the kernel takes to hand over a packet, in ns: the CPU time of a thread that only receives. Another one sends, no
/// more at once than the socket's buffer is sure to hold.
fn handed_over(packets: &[Vec<u8>], rounds: usize) -> u64 {
    const AT_ONCE: usize = 32;
    let bind = || UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let (from, to) = (bind(), bind());
    from.connect(to.local_addr().expect("bound")).expect("it is here");
    let (taken, wanted) = std::sync::mpsc::sync_channel(1);
    let chunks = packets.len() / AT_ONCE * rounds;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let all = packets.chunks_exact(AT_ONCE).cycle().take(chunks);
            for some in all {
                some.iter().for_each(|packet| _ = from.send(packet).expect("loopback takes it"));
                wanted.recv().expect("who receives goes on");
            }
        });
        let mut buffer = [0; 1500];
        let took = spent(&mut || {
            for _ in 0..chunks {
                (0..AT_ONCE).for_each(|_| _ = to.recv(&mut buffer).expect("it was sent"));
                taken.send(()).expect("who sends goes on");
            }
        });
        took / (chunks * AT_ONCE) as u64
    })
}

/// The CPU time of a receiver that only reads headers and decrypts, in ns.
#[inline(never)]
fn floor(frames: &[Vec<Vec<u8>>], keys: &Keys) -> u64 {
    let (mut opener, mut out) = (RtpOpener::new(keys), vec![]);
    let ids = Ids { transport: Some(TRANSPORT), ..Ids::default() };
    spent(&mut || {
        for packet in frames.iter().flatten() {
            let head = Head::read(packet, ids).expect("well-formed");
            opener.open_rtp(packet, head.len, &mut out).expect("authentic");
        }
    })
}

/// The CPU time of a receiver that returns frames and reports, in ns.
#[inline(never)]
fn whole(frames: &[Vec<Vec<u8>>], keys: &Keys) -> u64 {
    let mut now = Instant::now();
    let (mut receiver, mut received) = (receiver(keys, now), 0);
    let spent = spent(&mut || {
        for frame in frames {
            now += FRAME_EVERY;
            for packet in frame {
                assert!(receiver.handle_rtp(packet, now));
                while receiver.poll_frame().is_some() {
                    received += 1;
                }
            }
            receiver.handle_timeout(now);
            while receiver.poll_report(now).is_some() {}
        }
    });
    assert_eq!(received, FRAMES);
    spent
}

/// In a release build: `cargo test --release --no-default-features --features recv --lib -- --ignored --nocapture
/// cost_of_a_received_packet`. `COST_ROUNDS=1` to count instructions: `floor` and `whole` are functions for that.
#[test]
#[ignore = "measures"]
fn cost_of_a_received_packet() {
    let Some(_) = cpu() else { return println!("SKIPPED: no CPU time of threads here") };
    let rounds = std::env::var("COST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(100);
    let (frames, keys) = sealed("cost", FRAMES);
    let kernel = handed_over(&frames.concat(), rounds);
    // They take turns. The kernel counts CPU time by its tick, so single rounds say little.
    let spent = (0..rounds).map(|_| [floor(&frames, &keys), whole(&frames, &keys)]);
    let sum = spent.fold([0, 0], |[floor, whole], round| [floor + round[0], whole + round[1]]);
    let count = frames.iter().map(Vec::len).sum::<usize>() * rounds;
    let [floor, whole] = sum.map(|spent| spent / count as u64);
    println!(
        "a packet of {} bytes: {kernel} ns to take it from the kernel, {floor} ns to decrypt it, {whole} ns with its frame \
         and reports: {:.2} times the floor, {:.2} times with the kernel in both",
        frames[1][0].len(),
        whole as f64 / floor as f64,
        (kernel + whole) as f64 / (kernel + floor) as f64
    );
}

/// Its packets are not copied one by one, nor kept, unless they wait for another.
#[test]
fn a_frame_that_arrives_in_order_is_allocated_once() {
    let (frames, keys) = sealed("allocated", 650);
    let mut now = Instant::now();
    let mut receiver = receiver(&keys, now);
    for (n, packets) in frames.iter().enumerate() {
        now += FRAME_EVERY;
        let (times, frame) = allocations(|| {
            packets.iter().for_each(|packet| assert!(receiver.handle_rtp(packet, now)));
            receiver.poll_frame().expect("it is complete")
        });
        // The first key frames have the buffers grow.
        assert!(times == 1 || n <= 300, "frame {n}: {} packets, {times} allocations", packets.len());
        assert_eq!(frame.key, n % 300 == 0);
        receiver.handle_timeout(now);
        while receiver.poll_report(now).is_some() {}
    }
}
