//! Signals.

use std::pin::pin;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
use std::time::Duration;

use async_signal::{Signal, Signals};
use futures_lite::StreamExt;
use smol::LocalExecutor;

use super::exit::{Failure, FailureKind};

/// How often free memory is returned to the system: soon after a flood, and rarely enough to cost nothing.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const GIVE_BACK: Duration = Duration::from_secs(10);

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignalRequest {
    /// SIGTERM or SIGINT.
    End,
    /// SIGHUP.
    Reload,
}

/// Starts to receive signals. A second signal to stop exits at once.
pub(crate) fn listen() -> Result<Signals, Failure> {
    Signals::new([Signal::Term, Signal::Int, Signal::Hup])
        .map_err(Failure::of(FailureKind::System, "signals"))
}

/// Runs `work`, calls `tell` for each signal, and runs `beside`. These are separate tasks, because everything that one
/// future waits for is polled at each of its wake-ups: joined with a server, this cost a system call per message.
pub(crate) fn run(
    work: impl Future<Output = ()>,
    signals: Signals,
    tell: impl FnMut(SignalRequest),
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
    symple::net::block_on(tasks.run(work));
}

async fn heed(signals: Signals, mut tell: impl FnMut(SignalRequest)) {
    let mut signals = pin!(signals);
    let mut ending = false;
    while let Some(signal) = signals.next().await {
        match signal {
            Ok(Signal::Hup) => tell(SignalRequest::Reload),
            Ok(signal) if ending => std::process::exit(128 + signal as i32),
            Ok(_) => {
                ending = true;
                tell(SignalRequest::End);
            }
            Err(e) => log::warn!("lost a signal: {e}"),
        }
    }
}
