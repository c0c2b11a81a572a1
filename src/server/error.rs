//! The error that a client gets when the server does not do what it asked.

use std::borrow::Cow;

use serde_json::Value;

use crate::proto::{CloseCode, Status};

/// An `error` to send: its status, and a message that explains what was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: Status,
    pub message: Cow<'static, str>,
}

impl Refusal {
    pub(super) fn new(status: Status, message: impl Into<Cow<'static, str>>) -> Self {
        Refusal { status, message: message.into() }
    }

    pub(super) fn bad(message: impl Into<Cow<'static, str>>) -> Self {
        Refusal::new(Status::BAD_REQUEST, message)
    }

    /// The frame as JSON.
    pub(super) fn frame(&self) -> String {
        let message = Value::from(&*self.message);
        format!(r#"{{"type":"error","status":{},"message":{message}}}"#, self.status)
    }

    /// The close code for the status, if the error closes the connection.
    pub(super) fn close_code(&self) -> CloseCode {
        match self.status {
            Status::TOO_LARGE => CloseCode::TOO_BIG,
            Status::INTERNAL => CloseCode::INTERNAL,
            Status::UNAVAILABLE => CloseCode::TRY_AGAIN,
            _ => CloseCode::POLICY,
        }
    }
}

/// The longest reason that fits in a close frame (RFC 6455, section 5.5: 125 bytes including the code).
const MAX_REASON: usize = 123;

/// Cuts a reason to the length that fits in a close frame.
pub(super) fn reason(text: Cow<'static, str>) -> Cow<'static, str> {
    if text.len() <= MAX_REASON {
        return text;
    }
    let mut end = MAX_REASON;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(text[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_written_in_its_wire_format() {
        let refusal = Refusal::new(Status::UNAUTHORIZED, "Authentication failed: No session");
        assert_eq!(
            refusal.frame(),
            r#"{"type":"error","status":401,"message":"Authentication failed: No session"}"#
        );
    }

    #[test]
    fn each_status_has_its_close_code() {
        for (status, code) in [
            (400, 1008),
            (401, 1008),
            (403, 1008),
            (408, 1008),
            (429, 1008),
            (413, 1009),
            (500, 1011),
            (503, 1013),
        ] {
            assert_eq!(Refusal::new(Status(status), "").close_code(), CloseCode(code), "{status}");
        }
    }

    #[test]
    fn a_reason_fits_a_close_frame() {
        let cut = reason("é".repeat(100).into());
        assert_eq!((cut.len(), cut.chars().all(|c| c == 'é')), (122, true));
    }
}
