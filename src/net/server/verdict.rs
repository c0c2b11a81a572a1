//! Admission: the request to the host, and the limit on guessing tokens.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Inner;
#[cfg(feature = "camera")]
use super::ServerEvent;
use crate::net::http::Rules;
#[cfg(feature = "camera")]
use crate::net::lock;
use crate::proto::Status;
use crate::server::{Admission, Auth, ConnId, Input, Verdict};

/// A client that wants to connect. The first answer counts; without one it is refused after a timeout.
#[derive(Clone)]
pub struct AuthRequest {
    /// What the client sent to authenticate.
    pub auth: Auth,
    conn: ConnId,
    server: Weak<Inner>,
    /// Its token counts as wrong until the answer.
    shown: Option<Arc<Shown>>,
}

/// A token whose verdict is pending.
struct Shown {
    from: IpAddr,
    rules: Arc<Rules>,
    judged: AtomicBool,
}

impl Shown {
    /// The error is how long to wait before a token from that address is checked.
    fn new(auth: &Auth, rules: &Arc<Rules>) -> Result<Option<Arc<Shown>>, Duration> {
        let (Some(from), Some(_)) = (auth.host, &auth.token) else { return Ok(None) };
        rules.begin_try(from)?;
        Ok(Some(Arc::new(Shown { from, rules: rules.clone(), judged: AtomicBool::new(false) })))
    }

    fn judge(&self, wrong: bool) {
        if !self.judged.swap(true, Ordering::AcqRel) {
            self.rules.end_try(self.from, wrong);
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.judge(false);
    }
}

impl AuthRequest {
    /// The error is a verdict that needs no decision of the application.
    pub(super) fn new(conn: ConnId, auth: Auth, server: &Inner) -> Result<AuthRequest, Verdict> {
        let shown = Shown::new(&auth, &server.rules).map_err(too_many_tries)?;
        Ok(AuthRequest { auth, conn, server: server.this.clone(), shown })
    }

    /// Admits the client to these rooms, under the name from the request or the admission.
    pub fn admit(&self, admission: Admission) {
        self.answer(Verdict::Admit(admission));
    }

    /// Refuses the client: sends an `error` with this message, then close code 1008 (1013 for status 503).
    pub fn refuse(&self, status: Status, message: &str) {
        self.answer(Verdict::Refuse { status, message: message.into() });
    }

    /// Whether the application listens to the server's events, and therefore decides.
    #[cfg(feature = "camera")]
    pub(crate) fn is_heard(&self) -> bool {
        self.server.upgrade().is_some_and(|server| server.events.is_heard())
    }

    #[cfg(feature = "redis")]
    pub(crate) fn conn(&self) -> ConnId {
        self.conn
    }

    pub(crate) fn answer(&self, verdict: Verdict) {
        if let Some(shown) = &self.shown {
            shown.judge(matches!(verdict, Verdict::Refuse { status: Status::UNAUTHORIZED, .. }));
        }
        if let Some(server) = self.server.upgrade() {
            server.input(Input::Verdict { conn: self.conn, verdict });
        }
    }
}

/// The crate's own decisions. Requests have a queue of their own, so that none is lost behind events; there is at most
/// one per connection.
#[cfg(feature = "camera")]
pub(super) struct Judge {
    is_set: AtomicBool,
    callback: std::sync::Mutex<Option<JudgeCallback>>,
    asks: smol::channel::Sender<AuthRequest>,
    asked: smol::channel::Receiver<AuthRequest>,
}

/// Whether the judge keeps the request; then the application is not asked.
#[cfg(feature = "camera")]
type JudgeCallback = Box<dyn FnMut(&AuthRequest) -> bool + Send>;

#[cfg(feature = "camera")]
impl Judge {
    pub(super) fn unset() -> Judge {
        let (asks, asked) = smol::channel::unbounded();
        Judge { is_set: AtomicBool::new(false), callback: std::sync::Mutex::new(None), asks, asked }
    }

    pub(super) fn set(&self, callback: JudgeCallback) {
        *lock(&self.callback) = Some(callback);
        self.is_set.store(true, Ordering::Release);
    }

    /// Queues a request, or returns it if there is no judge.
    pub(super) fn take_over(&self, request: AuthRequest) -> Option<AuthRequest> {
        if !self.is_set.load(Ordering::Acquire) {
            return Some(request);
        }
        _ = self.asks.try_send(request);
        None
    }
}

#[cfg(feature = "camera")]
impl Inner {
    /// Decides about requests, forever. This is a separate task, so that a slow callback of the application delays no
    /// decision.
    pub(super) async fn judge(self: Arc<Self>) {
        while let Ok(request) = self.judge.asked.recv().await {
            // Taken out for the call, which locks the hub. Only this task calls it.
            let judge = lock(&self.judge.callback).take();
            let kept = judge.is_some_and(|mut judge| {
                let kept = judge(&request);
                lock(&self.judge.callback).get_or_insert(judge);
                kept
            });
            if !kept {
                self.events.push(ServerEvent::Authenticate { request });
            }
        }
    }
}

impl fmt::Debug for AuthRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRequest").field("auth", &self.auth).finish_non_exhaustive()
    }
}

fn too_many_tries(wait: Duration) -> Verdict {
    let seconds = wait.as_secs_f64().ceil();
    let message = format!("Too many wrong tokens from this address; try again in {seconds} s");
    Verdict::Refuse { status: Status::TOO_MANY, message }
}
