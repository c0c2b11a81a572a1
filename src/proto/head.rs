//! The head of a frame: the members that routing and handling use, borrowed from the text.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// How deep arrays and objects may nest in a frame, counting the frame's own object. `serde_json` can read
/// values of this depth back.
pub const MAX_DEPTH: usize = 128;

/// Why a frame is not a message. Its `Display` text is the `message` of `error` 400.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// Not JSON, or not an object; the text says where.
    Json(String),
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// `type` is missing or not a string.
    NoType,
    /// A member that decides where the message goes appears twice.
    Twice(&'static str),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Json(why) => write!(f, "Not a JSON object: {why}"),
            Malformed::TooDeep => write!(f, "Nested deeper than {MAX_DEPTH}"),
            Malformed::NoType => f.write_str("\"type\" must be a string"),
            Malformed::Twice(member) => write!(f, "\"{member}\" appears twice"),
        }
    }
}

impl std::error::Error for Malformed {}

/// Where a message should go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum To<'a> {
    /// No `to`: everyone who shares a room with the sender.
    Absent,
    /// One name or address.
    One(Cow<'a, str>),
    /// A list. Entries that are not non-empty strings are ignored.
    List(Vec<Cow<'a, str>>),
}

/// The members of a frame that are used. Raw members are JSON text exactly as received.
#[derive(Clone, Debug)]
pub struct Head<'a> {
    /// The whole frame.
    pub text: &'a str,
    /// `type`.
    pub kind: Cow<'a, str>,
    /// `to`, raw.
    pub to: Option<&'a str>,
    /// `from`, raw; the last one if there are several.
    pub from: Option<&'a str>,
    /// `id`, raw.
    pub id: Option<&'a str>,
    /// `subtype`, raw.
    pub subtype: Option<&'a str>,
    /// `data`, raw.
    pub data: Option<&'a str>,
    /// `room`, raw.
    pub room: Option<&'a str>,
    /// Whether `probe` is `true`.
    pub probe: bool,
    /// Whether `receipt` is `true`.
    pub receipt: bool,
    /// Where each `from` is in `text`, from the first byte of the name to the last byte of the value.
    pub(crate) froms: Vec<Range<usize>>,
}

impl<'a> Head<'a> {
    /// Reads one frame.
    ///
    /// ```
    /// let head = symple::proto::Head::parse(r#"{"type":"message","to":"bob","n":1.0}"#)?;
    /// assert_eq!((&*head.kind, head.to), ("message", Some("\"bob\"")));
    /// # Ok::<(), symple::proto::Malformed>(())
    /// ```
    pub fn parse(text: &'a str) -> Result<Head<'a>, Malformed> {
        let mut head = Head {
            text,
            kind: Cow::Borrowed(""),
            to: None,
            from: None,
            id: None,
            subtype: None,
            data: None,
            room: None,
            probe: false,
            receipt: false,
            froms: Vec::new(),
        };
        let (mut kind, mut twice) = (None, None);
        walk(text, |key, value, span| match key {
            "type" if kind.replace(value).is_some() => twice = Some("type"),
            "to" if head.to.replace(value).is_some() => twice = Some("to"),
            "from" => {
                head.from = Some(value);
                head.froms.push(span);
            }
            "id" => head.id = Some(value),
            "subtype" => head.subtype = Some(value),
            "data" => head.data = Some(value),
            "room" => head.room = Some(value),
            "probe" => head.probe = value == "true",
            "receipt" => head.receipt = value == "true",
            _ => {}
        })?;
        if let Some(member) = twice {
            return Err(Malformed::Twice(member));
        }
        head.kind = kind.and_then(string).ok_or(Malformed::NoType)?;
        Ok(head)
    }

    /// Reads `to`. `None` if it is neither a non-empty string nor a list.
    pub fn to(&self) -> Option<To<'a>> {
        let Some(raw) = self.to else { return Some(To::Absent) };
        match raw.as_bytes().first() {
            Some(b'"') => string(raw).filter(|s| !s.is_empty()).map(To::One),
            Some(b'[') => {
                let entries: Vec<&'a RawValue> = serde_json::from_str(raw).ok()?;
                let named = entries.into_iter().filter_map(|e| string(e.get())).filter(|s| !s.is_empty());
                Some(To::List(named.collect()))
            }
            _ => None,
        }
    }
}

/// Calls `each(name, raw value, span)` for every top-level member of `text`, with names unescaped. The span
/// runs from the first byte of the name to the last byte of the value.
///
/// Errors: `text` is not a single JSON object, or nests deeper than [`MAX_DEPTH`].
pub fn walk<'a>(text: &'a str, each: impl FnMut(&str, &'a str, Range<usize>)) -> Result<(), Malformed> {
    if too_deep(text) {
        return Err(Malformed::TooDeep);
    }
    let json = |e: serde_json::Error| Malformed::Json(e.to_string());
    let mut de = serde_json::Deserializer::from_str(text);
    Members { text, each }.deserialize(&mut de).map_err(json)?;
    de.end().map_err(json)
}

/// A raw JSON string, unescaped; `None` for any other JSON.
pub(crate) fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Counts brackets outside strings, but only if there are enough of them to exceed the limit.
fn too_deep(text: &str) -> bool {
    if text.len() <= 2 * MAX_DEPTH || opening_brackets(text) <= MAX_DEPTH {
        return false;
    }
    let (mut depth, mut bytes) = (0usize, text.bytes());
    while let Some(b) = bytes.next() {
        match b {
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => loop {
                match bytes.next() {
                    Some(b'\\') => _ = bytes.next(),
                    Some(b'"') | None => break,
                    _ => {}
                }
            },
            _ => {}
        }
    }
    false
}

/// Counts every `{` and `[` in a text. It sums bytes, which compilers vectorize: on a 4 KiB frame the walk
/// below took as long as all the parsing.
fn opening_brackets(text: &str) -> usize {
    let opens = |byte: &u8| u8::from(byte | 0x20 == b'{');
    text.as_bytes().chunks(255).map(|chunk| usize::from(chunk.iter().map(opens).sum::<u8>())).sum()
}

struct Members<'a, F> {
    text: &'a str,
    each: F,
}

impl<'a, F: FnMut(&str, &'a str, Range<usize>)> DeserializeSeed<'a> for Members<'a, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, de: D) -> Result<(), D::Error> {
        de.deserialize_map(self)
    }
}

impl<'a, F: FnMut(&str, &'a str, Range<usize>)> Visitor<'a> for Members<'a, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(mut self, mut map: M) -> Result<(), M::Error> {
        let at = |part: &str| part.as_ptr() as usize - self.text.as_ptr() as usize;
        while let Some((key, value)) = map.next_entry::<&'a RawValue, &'a RawValue>()? {
            let (key, value) = (key.get(), value.get());
            let name =
                string(key).ok_or_else(|| serde::de::Error::custom("a member name is not a valid string"))?;
            (self.each)(&name, value, at(key)..at(value) + value.len());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_read_and_the_rest_left_alone() {
        let text = r#" {"n":1e3, "\u0074ype" : "message","to":["a","", 7,"b"],"from":"x","fr\u006fm":1,"data":{"a":[1.0]}} "#;
        let head = Head::parse(text).expect("valid");
        assert_eq!(head.kind, "message");
        assert_eq!(head.to(), Some(To::List(vec!["a".into(), "b".into()])));
        assert_eq!(head.data, Some(r#"{"a":[1.0]}"#));
        let froms: Vec<&str> = head.froms.iter().map(|r| &text[r.clone()]).collect();
        assert_eq!(froms, [r#""from":"x""#, r#""fr\u006fm":1"#]);
    }

    #[test]
    fn what_is_no_message_is_refused_in_words() {
        let deep = format!(r#"{{"type":"message","data":{}{}}}"#, "[".repeat(128), "]".repeat(128));
        for (text, why) in [
            ("null", "Not a JSON object"),
            ("[]", "Not a JSON object"),
            ("7", "Not a JSON object"),
            ("", "Not a JSON object"),
            ("{} {}", "Not a JSON object"),
            (r#"{"type":"message",}"#, "Not a JSON object"),
            (r#"{"type":"\ud800"}"#, "\"type\" must be a string"),
            ("{}", "\"type\" must be a string"),
            (r#"{"type":7}"#, "\"type\" must be a string"),
            (r#"{"type":"message","\u0074ype":"x"}"#, "\"type\" appears twice"),
            (r#"{"type":"message","to":"a","t\u006f":"b"}"#, "\"to\" appears twice"),
            (&deep, "Nested deeper than 128"),
        ] {
            let said = Head::parse(text).expect_err(text).to_string();
            assert!(said.starts_with(why), "{text}: {said}");
        }
        let shallow = format!(r#"{{"type":"message","data":{}{}}}"#, "[".repeat(127), "]".repeat(127));
        assert!(Head::parse(&shallow).is_ok());
        let quoted = format!(r#"{{"type":"message","data":"{}\"{}"}}"#, "[".repeat(200), "{".repeat(200));
        assert!(Head::parse(&quoted).is_ok(), "brackets in strings do not nest");
    }

    #[test]
    fn to_is_a_name_a_list_or_nothing() {
        for (to, want) in [
            (r#""a""#, Some(To::One("a".into()))),
            (r#""\u0061""#, Some(To::One("a".into()))),
            ("[]", Some(To::List(vec![]))),
            (r#""""#, None),
            ("null", None),
            ("7", None),
            ("{}", None),
        ] {
            let text = format!(r#"{{"type":"message","to":{to}}}"#);
            assert_eq!(Head::parse(&text).expect("valid").to(), want, "{to}");
        }
        assert_eq!(Head::parse(r#"{"type":"message"}"#).expect("valid").to(), Some(To::Absent));
    }
}
