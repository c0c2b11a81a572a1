//! What a viewer asks of its share: less, since its page is hidden or small or its person saves data, and how it is doing.
//! Commands of peers, sans-IO.
//!
//! A peer that watches sends a command with the node `camera:share`, and gets a reply with the same id:
//!
//! | action | data | reply's data, with status 200 |
//! |---|---|---|
//! | `wish` | `{"share":"full"}`, `"small"` or `"key-frames"`: the most that it wants | the same |
//!
//! | `read` | | the viewer's entry of `/api/status`, and `encoder`, the name of the main rendition's encoder |
//!
//! A wish holds for its call, until the next one. What the viewer gets then is told as ever, by an event `share`. An error
//! reply has a `code` and a `message`: 400 for what is not understood, 404 for a peer that does not watch.

use std::net::IpAddr;
use std::time::Instant;

use serde_json::{Value as Json, json};

use super::controls::Reply;
use super::demand::Wish;
use crate::call::RateLimit;
use crate::limit::{Buckets, RateKey};
use crate::proto::{Message, Status};

/// What such commands are sent to.
const NODE: &str = "camera:share";

/// Commands of one host, or user, that are answered: a page that shows its figures reads them once a second, and is hidden
/// and shown again by somebody who looks around.
const ALLOWED: RateLimit = RateLimit { per_second: 2, burst: 8 };

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// At most this from now on.
    Wish(Wish),
    /// The figures of its session.
    Figures,
}

/// Reads the commands.
pub(super) struct Wishes {
    heard: Buckets<RateKey>,
}

impl Wishes {
    pub(super) fn new() -> Wishes {
        Wishes { heard: Buckets::new(ALLOWED) }
    }

    /// Whether a command is one of these.
    pub(super) fn is_concerned(command: &Message) -> bool {
        command.get::<String>("node").ok().flatten().is_some_and(|node| node == NODE)
    }

    /// Whether to take a command at all. `host` is where the peer is, if that is known.
    pub(super) fn admits(&mut self, command: &Message, host: Option<IpAddr>, now: Instant) -> bool {
        command.from().is_some_and(|from| self.heard.take(&RateKey::new(host, from.as_str()), now))
    }
}

/// What a command asks for.
///
/// Errors: the reply to one that nobody understands.
pub(super) fn read(command: &Message) -> Result<Asked, Reply> {
    let action: Option<String> = command.get("action").ok().flatten();
    match action.as_deref() {
        Some("wish") => {}
        Some("read") => return Ok(Asked::Figures),
        _ => return Err(refusal(Status::BAD_REQUEST, "bad-request", "its action is wish or read")),
    }
    let data: Option<Json> = command.get("data").ok().flatten();
    let share = data.as_ref().and_then(|data| data.get("share")).and_then(Json::as_str);
    let known =
        [Wish::Full, Wish::Small, Wish::KeyFrames].into_iter().find(|wish| Some(code(*wish)) == share);
    let words = "data is {\"share\":…}, which is full, small or key-frames";
    known.map(Asked::Wish).ok_or_else(|| refusal(Status::BAD_REQUEST, "bad-request", words))
}

/// The reply to a wish that is taken.
pub(super) fn taken(wish: Wish) -> Reply {
    (Status::OK, json!({ "share": code(wish) }))
}

/// The reply to a peer that does not watch.
pub(super) fn no_call() -> Reply {
    refusal(Status::NOT_FOUND, "no-such-call", "only those who watch have a share")
}

fn refusal(status: Status, code: &str, message: &str) -> Reply {
    (status, json!({ "code": code, "message": message }))
}

/// As in the event `share`.
fn code(wish: Wish) -> &'static str {
    match wish {
        Wish::Full => "full",
        Wish::Small => "small",
        Wish::KeyFrames => "key-frames",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_one_of_three_and_what_nobody_understands_is_refused() {
        let read = |rest: &str| {
            let text = format!(r#"{{"type":"command","from":"bob|1","node":"camera:share",{rest}}}"#);
            let command = Message::parse(text).expect("a command");
            assert!(Wishes::is_concerned(&command));
            super::read(&command).map_err(|(status, _)| status.0)
        };
        for (rest, expected) in [
            (r#""action":"wish","data":{"share":"full"}"#, Ok(Asked::Wish(Wish::Full))),
            (r#""action":"wish","data":{"share":"small","more":1}"#, Ok(Asked::Wish(Wish::Small))),
            (r#""action":"wish","data":{"share":"key-frames"}"#, Ok(Asked::Wish(Wish::KeyFrames))),
            (r#""action":"read""#, Ok(Asked::Figures)),
            (r#""action":"read","data":{}"#, Ok(Asked::Figures)),
            (r#""action":"wish","data":{"share":"nothing"}"#, Err(400)),
            (r#""action":"wish","data":{"share":7}"#, Err(400)),
            (r#""action":"wish","data":"full""#, Err(400)),
            (r#""action":"wish""#, Err(400)),
            (r#""action":"other","data":{"share":"full"}"#, Err(400)),
            (r#""data":{"share":"full"}"#, Err(400)),
        ] {
            assert_eq!(read(rest), expected, "{rest}");
        }
    }
}
