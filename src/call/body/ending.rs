//! How a call ends: a code that decides, and a message for people.

use std::fmt;

use serde::Serialize;

use crate::proto::Object;

/// The longest code and message accepted from a peer, in bytes.
const MAX_CODE: usize = 64;
const MAX_MESSAGE: usize = 240;

/// Declares the enum, its codes and its words in one table.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $words:literal;)*) => {
        /// Why a call ended: the `reason` of `call:reject` and `call:hangup`. What a viewer does next depends
        /// on this alone.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum EndReason {
            $($(#[$doc])* $name,)*
            /// A code defined by someone else, at most 64 bytes. A viewer treats it as
            /// [`Busy`](EndReason::Busy).
            Other(String),
        }

        impl EndReason {
            /// Every reason with a name here.
            pub const ALL: &[EndReason] = &[$(EndReason::$name),*];

            /// The spelling on the wire.
            pub fn code(&self) -> &str {
                match self {
                    $(EndReason::$name => $code,)*
                    EndReason::Other(code) => code,
                }
            }

            /// A sentence for people.
            fn words(&self) -> &str {
                match self {
                    $(EndReason::$name => $words,)*
                    EndReason::Other(code) => code,
                }
            }
        }

        impl From<&str> for EndReason {
            /// From its code, or from `hangup`, with which the published browser client ends a call.
            fn from(code: &str) -> EndReason {
                match code {
                    $($code => EndReason::$name,)*
                    "hangup" => EndReason::Ended,
                    other => EndReason::Other(other.to_owned()),
                }
            }
        }
    };
}

reasons! {
    /// A person hung up. Also the meaning of a `call:hangup` without a reason.
    Ended = "ended", "the call was ended";
    /// The callee does not want this call. Also the meaning of a `call:reject` without a reason.
    Declined = "declined", "the call was declined";
    /// The caller may not call, or may not do what it asked for.
    NotAllowed = "not-allowed", "the call is not allowed";
    /// The callee is at its limit of calls.
    Busy = "busy", "it cannot take any more calls";
    /// Nobody answered in time, or media did not connect in time.
    Timeout = "timeout", "it was not answered in time";
    /// The remote, or our own signalling, went offline: before media was connected, or for longer than a call waits.
    Offline = "offline", "the other side is offline";
    /// The program is shutting down.
    Shutdown = "shutdown", "the program is shutting down";
    /// Media was connected, and nothing was received from the other side for a while; signalling still reaches it.
    Vanished = "vanished", "the other side vanished";
    /// Signalling and media were both lost, or the network path of media was.
    Lost = "lost", "the connection was lost";
    /// ICE found no path between the two.
    IceFailed = "ice-failed", "no network path was found";
    /// The two sides have no codec in common.
    NoCodec = "no-codec", "there is no codec in common";
    /// A session description could not be parsed or used.
    BadDescription = "bad-description", "the session description cannot be used";
    /// The source ended.
    SourceEnded = "source-ended", "the source ended";
    /// The source failed and was not reopened.
    SourceFailed = "source-failed", "the source failed";
    /// Replaced by another call from the same remote, or answered on another device.
    Replaced = "replaced", "it was replaced by another call";
    /// The answer to a message for a call that has ended, or never existed.
    NoSuchCall = "no-such-call", "there is no such call";
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// How a call ended.
///
/// ```
/// use symple::call::body::{End, EndReason};
/// let end = End::new(EndReason::NoCodec, "this camera only sends H.264");
/// assert_eq!((end.reason.code(), end.to_string().as_str()), ("no-codec", "this camera only sends H.264"));
/// assert_eq!(End::from(EndReason::Busy).to_string(), "it cannot take any more calls");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The reason, as a code.
    pub reason: EndReason,
    /// A message for people; may be empty. From a peer: at most 240 bytes without control characters.
    pub message: String,
}

impl End {
    /// A reason with a message of your own.
    pub fn new(reason: EndReason, message: impl Into<String>) -> End {
        End { reason, message: message.into() }
    }

    /// The end that a peer's body describes. If it has no usable reason, `default`: a reject or hangup counts
    /// however odd its body is.
    pub(crate) fn of(data: Option<&str>, default: EndReason) -> End {
        let object: Object = data.and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
        let member = |name: &str| object.get(name).and_then(serde_json::Value::as_str);
        let code = member("reason").map(|code| clean(code, MAX_CODE)).filter(|code| !code.is_empty());
        End {
            reason: code.map_or(default, |code| EndReason::from(code.as_str())),
            message: member("message").map(|words| clean(words, MAX_MESSAGE)).unwrap_or_default(),
        }
    }

    /// The body of `call:reject` and `call:hangup`.
    pub(crate) fn body(&self) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            reason: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            message: &'a str,
        }
        super::json(&Body { reason: self.reason.code(), message: &self.message })
    }
}

impl std::error::Error for End {}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() { self.reason.fmt(f) } else { f.write_str(&self.message) }
    }
}

impl From<EndReason> for End {
    fn from(reason: EndReason) -> End {
        End { reason, message: String::new() }
    }
}

impl From<&str> for End {
    /// From a code.
    fn from(code: &str) -> End {
        EndReason::from(code).into()
    }
}

/// At most `max` bytes, without control characters: the text is shown on screens.
fn clean(text: &str, max: usize) -> String {
    let mut clean: String = text.chars().filter(|c| !c.is_control()).take(max).collect();
    while clean.len() > max {
        clean.pop();
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_its_reason_and_back() {
        for reason in EndReason::ALL {
            assert_eq!(&EndReason::from(reason.code()), reason);
            assert!(reason.code().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{reason:?}");
        }
        assert_eq!(EndReason::from("hangup"), EndReason::Ended);
        assert_eq!(EndReason::from("bye"), EndReason::Other("bye".into()));
    }

    #[test]
    fn an_end_is_read_from_any_body() {
        let long = format!(r#"{{"reason":"{0}","message":"{0}"}}"#, "é".repeat(500));
        for (data, code, message) in [
            (None, "declined", ""),
            (Some("{}"), "declined", ""),
            (Some("[]"), "declined", ""),
            (Some("garbage"), "declined", ""),
            (Some(r#"{"reason":7,"message":[]}"#), "declined", ""),
            (Some(r#"{"reason":"","message":"no"}"#), "declined", "no"),
            (Some(r#"{"reason":"busy","more":1}"#), "busy", ""),
            (Some(r#"{"reason":"a\u0000b\n","message":"c\u0007d"}"#), "ab", "cd"),
            (Some(&long), &*"é".repeat(32), &*"é".repeat(120)),
        ] {
            let end = End::of(data, EndReason::Declined);
            assert_eq!((end.reason.code(), end.message.as_str()), (code, message), "{data:?}");
        }
    }

    #[test]
    fn a_body_has_words_where_there_are_some() {
        assert_eq!(End::from(EndReason::Busy).body(), r#"{"reason":"busy"}"#);
        let end = End::new(EndReason::Other("bu\"sy".into()), "wait");
        assert_eq!(end.body(), r#"{"reason":"bu\"sy","message":"wait"}"#);
    }
}
