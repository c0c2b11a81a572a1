//! The bodies of call messages: what `data` holds, in both directions.

mod ending;
pub(super) mod init;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use ending::{End, EndReason};

/// The body of `call:candidate`: one ICE candidate, or the end of them.
///
/// Deserializing accepts `a=candidate:…` for `candidate:…`, either of the last two members missing or `null`,
/// and `null` for an empty candidate. Serializing writes all three members, because some stacks throw if one
/// is missing.
///
/// ```
/// use symple::call::body::Candidate;
/// let candidate: Candidate = serde_json::from_str(r#"{"candidate":"a=candidate:1 1 udp 7 192.0.2.1 9 typ host"}"#)?;
/// assert_eq!(
///     serde_json::to_string(&candidate)?,
///     r#"{"candidate":"candidate:1 1 udp 7 192.0.2.1 9 typ host","sdpMid":"0","sdpMLineIndex":0}"#
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub struct Candidate {
    /// `candidate:…` (RFC 8839 section 5.1), opaque here; empty for the end of candidates.
    #[serde(deserialize_with = "candidate_line")]
    pub candidate: String,
    /// The `a=mid` of the media section it belongs to.
    #[serde(rename = "sdpMid", default)]
    pub sdp_mid: Option<String>,
    /// The index of the media section it belongs to, from 0.
    #[serde(rename = "sdpMLineIndex", default)]
    pub sdp_m_line_index: Option<u16>,
}

impl Candidate {
    /// A candidate for the first media section, which with BUNDLE covers all of them.
    pub fn new(candidate: impl Into<String>) -> Self {
        Candidate { candidate: candidate.into(), ..Self::default() }
    }

    /// The empty candidate: there will be no more.
    pub fn end() -> Self {
        Self::default()
    }

    /// Whether this marks the end of candidates.
    pub fn is_end(&self) -> bool {
        self.candidate.is_empty()
    }
}

impl Serialize for Candidate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A missing member is derived from the other: browsers and str0m number mids like media sections.
        let index = self
            .sdp_m_line_index
            .or_else(|| self.sdp_mid.as_deref().and_then(|mid| mid.parse().ok()))
            .unwrap_or(0);
        let mid = self.sdp_mid.clone().unwrap_or_else(|| index.to_string());
        let mut body = serializer.serialize_struct("Candidate", 3)?;
        body.serialize_field("candidate", without_prefix(&self.candidate))?;
        body.serialize_field("sdpMid", &mid)?;
        body.serialize_field("sdpMLineIndex", &index)?;
        body.end()
    }
}

fn candidate_line<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let line = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    Ok(without_prefix(&line).to_owned())
}

/// Removes every repetition of the prefix, so that what was read is written back unchanged.
fn without_prefix(line: &str) -> &str {
    let mut line = line.trim();
    while let Some(rest) = line.strip_prefix("a=") {
        line = rest.trim_start();
    }
    line
}

/// Which half of a negotiation a [`Description`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SdpType {
    /// `"offer"`
    Offer,
    /// `"answer"`
    Answer,
}

/// The body of `call:offer` and `call:answer`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Description {
    /// `type` on the wire.
    #[serde(rename = "type")]
    pub kind: SdpType,
    /// The session description, opaque here.
    pub sdp: String,
    /// Tells the renegotiations of one side apart: an offer has the next number from 1 on, and its answer the same. The
    /// first offer of a call has none, and neither have those of clients that do not count.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "number")]
    pub number: Option<u64>,
}

impl Description {
    pub(super) fn new(kind: SdpType, sdp: impl Into<String>) -> Self {
        Description { kind, sdp: sdp.into(), number: None }
    }
}

/// Whatever else stands there is another client's own.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(serde_json::Value::deserialize(deserializer)?.as_u64())
}

/// Serializes one of our own bodies as JSON.
pub(super) fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("bodies hold strings and numbers only")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(line: &str, mid: Option<&str>, index: Option<u16>) -> Candidate {
        Candidate { candidate: line.into(), sdp_mid: mid.map(Into::into), sdp_m_line_index: index }
    }

    #[test]
    fn every_spelling_of_a_candidate_is_read() {
        for (json, expected) in [
            (
                r#"{"candidate":"candidate:1 x","sdpMid":"0","sdpMLineIndex":0}"#,
                candidate("candidate:1 x", Some("0"), Some(0)),
            ),
            (
                r#"{"candidate":"a=candidate:1 x","sdpMid":"a","sdpMLineIndex":2}"#,
                candidate("candidate:1 x", Some("a"), Some(2)),
            ),
            (r#"{"candidate":"candidate:1 x","sdpMid":"1"}"#, candidate("candidate:1 x", Some("1"), None)),
            (r#"{"candidate":"candidate:1 x","sdpMLineIndex":1}"#, candidate("candidate:1 x", None, Some(1))),
            (
                r#"{"candidate":"candidate:1 x\r\n","sdpMid":null,"sdpMLineIndex":null,"usernameFragment":"u"}"#,
                candidate("candidate:1 x", None, None),
            ),
            (r#"{"candidate":"","sdpMid":"0","sdpMLineIndex":0}"#, candidate("", Some("0"), Some(0))),
            (r#"{"candidate":null}"#, Candidate::end()),
            (r#"{"candidate":"a=a= candidate:1 x"}"#, candidate("candidate:1 x", None, None)),
            (r#"{"candidate":"a=a="}"#, Candidate::end()),
        ] {
            let read: Candidate = serde_json::from_str(json).expect(json);
            assert_eq!(read, expected, "{json}");
            let again: Candidate = serde_json::from_str(&super::json(&read)).expect("just written");
            assert_eq!(again.candidate, read.candidate, "{json}");
            assert_eq!(read.is_end(), expected.candidate.is_empty());
        }
    }

    #[test]
    fn what_is_no_candidate_is_an_error() {
        for json in [
            "null",
            "1",
            "[]",
            "{}",
            r#"{"candidate":1}"#,
            r#"{"candidate":"c","sdpMid":0}"#,
            r#"{"candidate":"c","sdpMLineIndex":-1}"#,
            r#"{"candidate":"c","sdpMLineIndex":70000}"#,
            r#"{"candidate":"c","sdpMLineIndex":"0"}"#,
        ] {
            assert!(serde_json::from_str::<Candidate>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn all_three_members_are_written() {
        for (value, expected) in [
            (
                candidate("candidate:1 x", Some("v"), Some(3)),
                r#"{"candidate":"candidate:1 x","sdpMid":"v","sdpMLineIndex":3}"#,
            ),
            (
                candidate("a=candidate:1 x", None, None),
                r#"{"candidate":"candidate:1 x","sdpMid":"0","sdpMLineIndex":0}"#,
            ),
            (candidate("c", Some("2"), None), r#"{"candidate":"c","sdpMid":"2","sdpMLineIndex":2}"#),
            (candidate("c", None, Some(1)), r#"{"candidate":"c","sdpMid":"1","sdpMLineIndex":1}"#),
            (Candidate::end(), r#"{"candidate":"","sdpMid":"0","sdpMLineIndex":0}"#),
        ] {
            assert_eq!(json(&value), expected);
        }
    }

    #[test]
    fn descriptions_go_both_ways() {
        for (wire, kind) in [
            (r#"{"type":"offer","sdp":"v=0\r\n"}"#, SdpType::Offer),
            (r#"{"type":"answer","sdp":"v=0\r\n"}"#, SdpType::Answer),
        ] {
            let value = Description::new(kind, "v=0\r\n");
            assert_eq!(serde_json::from_str::<Description>(wire).expect(wire), value);
            assert_eq!(json(&value), wire);
        }
        for bad in
            ["{}", r#"{"sdp":"v=0"}"#, r#"{"type":"pranswer","sdp":"v=0"}"#, r#"{"type":"offer","sdp":null}"#]
        {
            assert!(serde_json::from_str::<Description>(bad).is_err(), "{bad}");
        }
    }
}
