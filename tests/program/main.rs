//! The program `symple` as people and scripts use it: started as built, tested over its port.
#![cfg(all(feature = "program", unix))]

#[cfg(feature = "camera-gst")]
mod camera;
mod command_line;
#[cfg(target_os = "linux")]
mod crowd;
#[cfg(feature = "v4l2")]
mod devices;
#[cfg(target_os = "linux")]
mod flood;
mod http;
#[cfg(all(feature = "calls", feature = "talk", feature = "camera-gst"))]
mod microphone;
mod peers;
#[cfg(all(feature = "calls", feature = "camera-gst"))]
mod real_outputs;
#[cfg(feature = "redis")]
mod redis;
#[cfg(all(feature = "calls", feature = "relay", feature = "camera-gst"))]
mod relay;
mod signals;
#[cfg(target_os = "linux")]
mod slow;
mod slow_rooms;
#[cfg(target_os = "linux")]
mod soak;
#[cfg(all(feature = "calls", feature = "camera-gst"))]
mod sound_server;
#[cfg(feature = "camera-gst")]
mod sources;
mod tls;
#[cfg(all(feature = "redis", target_os = "linux"))]
mod two_servers;
mod watch;
#[cfg(all(feature = "calls", feature = "camera-gst"))]
mod watch_calls;
mod world;
