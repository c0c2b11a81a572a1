//! From an `auth` frame to a parsed request, or to the refusal.

use serde_json::value::RawValue;

use crate::proto::{Head, MAX_USER, PRESENCE_BATCH, Status, Token, valid_room, valid_user, walk};

use super::error::Refusal;
use super::presence::Profile;

/// The request of a client, parsed and checked.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub user: String,
    pub name: Option<String>,
    pub token: Option<Token>,
    pub rooms: Vec<String>,
    /// Raw JSON; an object.
    pub data: Option<Box<str>>,
    /// Whether the client understands `presence:batch`.
    pub batches: bool,
}

/// Parses the first frame of a connection. As on the Node.js server, an unusable `name`, `rooms` or `data` is ignored,
/// and so is every entry of `rooms` that is not a valid name. More than `max_rooms` rooms are refused if rooms are
/// `granted`; otherwise they are a request that the host may consider.
pub(super) fn claim(text: &str, granted: bool, max_rooms: usize) -> Result<Claim, Refusal> {
    let head = Head::parse(text).map_err(|malformed| Refusal::bad(malformed.to_string()))?;
    if head.kind != "auth" {
        return Err(denied("the first frame must be \"auth\""));
    }
    let (mut user, mut name, mut token, mut rooms, mut data) = (None, None, None, None, None);
    let mut batches = false;
    walk(text, |member, value, _| match member {
        "user" => user = Some(value),
        "name" => name = Some(value),
        "token" => token = Some(value),
        "rooms" => rooms = Some(value),
        "data" => data = Some(value),
        "accept" => batches = accepts(value, PRESENCE_BATCH),
        _ => {}
    })
    .expect("the head was parsed from the same text");
    // Clients that have nothing to send often send null.
    let [name, token, rooms, data] = [name, token, rooms, data].map(|value| value.filter(|v| *v != "null"));
    let user = user.and_then(string).filter(|user| valid_user(user)).ok_or_else(|| {
        denied(format!("\"user\" must be a string of 1 to {MAX_USER} bytes without | or control characters"))
    })?;
    let token = match token.map(string) {
        Some(None) => return Err(denied("\"token\" must be a string")),
        token => token.flatten().filter(|token| !token.is_empty()),
    };
    Ok(Claim {
        user,
        name: name.and_then(string).filter(|name| !name.is_empty()),
        token: token.map(Token::new),
        rooms: match rooms.map_or(Ok(Vec::new()), |raw| names(raw, max_rooms)) {
            Err(refusal) if granted => return Err(refusal),
            names => names.unwrap_or_default(),
        },
        data: data.filter(|raw| raw.starts_with('{')).map(Into::into),
        batches,
    })
}

/// A refusal with status 401.
pub(super) fn denied(why: impl std::fmt::Display) -> Refusal {
    Refusal::new(Status::UNAUTHORIZED, format!("Authentication failed: {why}"))
}

/// The names in `raw`. Anything but a list, and entries that are not valid names, are ignored.
fn names(raw: &str, max: usize) -> Result<Vec<String>, Refusal> {
    let entries: Vec<&RawValue> = serde_json::from_str(raw).unwrap_or_default();
    let names: Vec<String> =
        entries.iter().filter_map(|entry| string(entry.get())).filter(|room| valid_room(room)).collect();
    if names.len() > max {
        return Err(Refusal::new(Status::TOO_MANY, format!("A session can be in at most {max} rooms")));
    }
    Ok(names)
}

/// Whether the list `accept` has this entry. Other entries are ignored, and so is anything but a list.
fn accepts(raw: &str, what: &str) -> bool {
    let entries: Vec<&RawValue> = serde_json::from_str(raw).unwrap_or_default();
    entries.iter().any(|entry| string(entry.get()).as_deref() == Some(what))
}

fn string(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}

/// The terms on which a peer is admitted.
#[derive(Debug)]
pub(super) struct Terms {
    pub user: String,
    pub name: String,
    pub profile: Profile,
    /// Named rooms.
    pub rooms: Vec<String>,
    /// Whether the client understands `presence:batch`.
    pub batches: bool,
}

impl Terms {
    /// The names under which others reach the peer.
    pub(super) fn names<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        [&*self.user, id].into_iter().chain(self.rooms.iter().map(|room| &**room)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_auth_is_parsed_from_its_wire_format() {
        let text = r#"{"type":"auth","user":"alice","name":"Alice","token":"t0k","rooms":["team-a"],"data":{"peerType":"person"}}"#;
        let claim = claim(text, true, 256).expect("valid");
        assert_eq!((&*claim.user, claim.name.as_deref()), ("alice", Some("Alice")));
        assert_eq!(claim.token.as_ref().map(Token::reveal), Some("t0k"));
        assert_eq!(
            (&*claim.rooms, claim.data.as_deref()),
            (&["team-a".into()][..], Some(r#"{"peerType":"person"}"#))
        );
        assert!(!format!("{claim:?}").contains("t0k"));
    }

    #[test]
    fn only_presence_batch_counts_in_the_list_of_accepted_features() {
        for (accept, batches) in [
            (r#"["presence:batch"]"#, true),
            (r#"["x",7,"presence\u003abatch",null]"#, true),
            (r#"["presence"]"#, false),
            ("[]", false),
            (r#""presence:batch""#, false),
            ("null", false),
        ] {
            let text = format!(r#"{{"type":"auth","user":"a","accept":{accept}}}"#);
            assert_eq!(claim(&text, true, 2).expect("valid").batches, batches, "{accept}");
        }
        assert!(!claim(r#"{"type":"auth","user":"a"}"#, true, 2).expect("valid").batches);
    }

    #[test]
    fn fields_of_auth_by_the_table() {
        let long = format!(r#""user":"{}""#, "u".repeat(129));
        for (members, want) in [
            (r#""user":"a""#, Ok(())),
            (r#""user":"a","name":"","token":"","x":1"#, Ok(())),
            (r#""user":"a","name":null,"token":null,"rooms":null,"data":null"#, Ok(())),
            (r#""user":"a","rooms":[],"data":{}"#, Ok(())),
            (r#""name":"a""#, Err(401)),
            (r#""user":"""#, Err(401)),
            (r#""user":null"#, Err(401)),
            (r#""user":7"#, Err(401)),
            (r#""user":"a|b""#, Err(401)),
            (r#""user":"a\u0000""#, Err(401)),
            (r#""user":"\ud800""#, Err(401)),
            (&long, Err(401)),
            (r#""user":"a","token":7"#, Err(401)),
            (r#""user":"a","name":7"#, Ok(())),
            (r#""user":"a","rooms":"r""#, Ok(())),
            (r#""user":"a","rooms":{"0":"r"}"#, Ok(())),
            (r#""user":"a","rooms":["1","2",""]"#, Ok(())),
            (r#""user":"a","rooms":["1","2","3"]"#, Err(429)),
            (r#""user":"a","data":[]"#, Ok(())),
            (r#""user":"a","data":"{}""#, Ok(())),
        ] {
            let text = format!(r#"{{"type":"auth",{members}}}"#);
            let got = claim(&text, true, 2).map(drop).map_err(|refusal| refusal.status.0);
            assert_eq!(got, want, "{members}");
        }
        let odd = r#"{"type":"auth","user":"a","name":{},"rooms":["r",7,null,"",["x"],"s"],"data":[1]}"#;
        let odd = claim(odd, true, 2).expect("the usable fields count");
        assert_eq!((odd.name, odd.rooms, odd.data), (None, vec!["r".into(), "s".into()], None));
        let wished =
            claim(r#"{"type":"auth","user":"a","rooms":7}"#, false, 2).expect("rooms are only a request");
        assert!(wished.rooms.is_empty());
        for (text, want) in
            [(r#"{"type":"message"}"#, 401), ("null", 400), ("{", 400), (r#"{"type":7}"#, 400)]
        {
            assert_eq!(claim(text, true, 2).expect_err(text).status.0, want, "{text}");
        }
    }
}
