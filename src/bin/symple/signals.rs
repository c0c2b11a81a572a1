//! What the system tells the program to do.

use std::pin::pin;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
use std::time::Duration;

use async_signal::{Signal, Signals};
use futures_lite::StreamExt;
use smol::LocalExecutor;

use super::exit::{Failure, Kind};

/// How often memory is given back to the system: soon after a flood, and rarely enough to cost nothing.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const GIVE_BACK: Duration = Duration::from_secs(10);

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// SIGTERM or SIGINT.
    End,
    /// SIGHUP.
    Reload,
}

/// Hears from now on. A second wish to end is fulfilled at once.
pub fn listen() -> Result<Signals, Failure> {
    Signals::new([Signal::Term, Signal::Int, Signal::Hup]).map_err(Failure::of(Kind::System, "signals"))
}

/// Runs `work`, and meanwhile tells each wish and does what is to be done `beside`. Those are tasks of their own,
/// for what a future itself waits for is asked anew at each of its wakes: beside a server it took a system call a
/// message.
pub fn run(
    work: impl Future<Output = ()>,
    signals: Signals,
    tell: impl FnMut(Wish),
    beside: impl Future<Output = ()>,
) {
    let tasks = LocalExecutor::new();
    let _heed = tasks.spawn(heed(signals, tell));
    let _beside = tasks.spawn(beside);
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    let _give_back = tasks.spawn(async {
        loop {
            smol::Timer::after(GIVE_BACK).await;
            super::unsafe_malloc::give_back();
        }
    });
    smol::block_on(tasks.run(work));
}

async fn heed(signals: Signals, mut tell: impl FnMut(Wish)) {
    let mut signals = pin!(signals);
    let mut ending = false;
    while let Some(signal) = signals.next().await {
        match signal {
            Ok(Signal::Hup) => tell(Wish::Reload),
            Ok(signal) if ending => std::process::exit(128 + signal as i32),
            Ok(_) => {
                ending = true;
                tell(Wish::End);
            }
            Err(e) => log::warn!("a signal was lost: {e}"),
        }
    }
}
