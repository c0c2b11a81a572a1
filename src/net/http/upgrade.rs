//! The upgrade of a connection to a WebSocket (RFC 6455, section 4.2).

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use hyper::Method;
use hyper::header::{self, HeaderMap};

use super::proxy_faults::Trouble;
use super::{Response, Rules, single, text};

/// Checks a handshake (RFC 6455, section 4.2.1) and computes its `Sec-WebSocket-Accept`.
pub(super) fn handshake<B>(
    rules: &Rules,
    request: &hyper::Request<B>,
    host: Option<&str>,
) -> Result<String, Response> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(Response::text(405, "A WebSocket handshake must use GET.\n").header("Allow", "GET"));
    }
    if text(headers, "sec-websocket-version") != Some("13") {
        let refusal = Response::text(426, "Only WebSocket version 13 is supported.\n");
        return Err(refusal.header("Upgrade", "websocket").header("Sec-WebSocket-Version", "13"));
    }
    // 16 bytes in base64 are 22 characters and two of padding.
    let Some(key) =
        headers.get("sec-websocket-key").filter(|k| k.len() == 24 && k.as_bytes().ends_with(b"=="))
    else {
        return Err(Response::text(400, "Sec-WebSocket-Key must be 16 bytes in base64.\n"));
    };
    // An unreadable header must not count as absent, since a client without an origin is not a browser.
    let Ok(origin) = single(headers, header::ORIGIN.as_str()) else {
        return Err(Response::text(
            403,
            "There must be only one Origin header, and it must be valid text.\n",
        ));
    };
    if !rules.origins.admit(origin, host) {
        rules.warn(Trouble::ForeignOrigin);
        return Err(Trouble::ForeignOrigin.refusal(403));
    }
    Ok(derive_accept_key(key.as_bytes()))
}

pub(super) fn is_websocket(headers: &HeaderMap) -> bool {
    let has = |name: &str, token: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .any(|v| v.split(',').any(|t| t.trim().eq_ignore_ascii_case(token)))
    };
    has("upgrade", "websocket") && has("connection", "upgrade")
}
