//! The body of `call:init`: what the caller wants, and perhaps its offer.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Description, SdpType};

/// Adds an offer to what the caller wants. Returns `None` unless `data` is a JSON object without an `offer`.
pub(crate) fn with_offer(data: &str, offer: &Description) -> Option<String> {
    let Members(members) = serde_json::from_str(data).ok()?;
    if members.iter().any(|(name, _)| is_offer(name)) {
        return None;
    }
    let offer = super::json(offer);
    let ours = std::iter::once(("\"offer\"", offer.as_str()));
    Some(object(members.iter().map(|(name, value)| (name.get(), value.get())).chain(ours)))
}

/// Separates the offer from what the caller wants, which otherwise stays as it was written. An `offer` that is not
/// a description of at most `max` bytes is the application's own, and stays in.
pub(crate) fn split(data: &str, max: usize) -> (Cow<'_, str>, Option<String>) {
    let whole = || (Cow::Borrowed(data), None);
    let Ok(Members(members)) = serde_json::from_str(data) else { return whole() };
    let Some((_, offer)) = members.iter().find(|(name, _)| is_offer(name)) else { return whole() };
    let offer = Some(offer.get()).filter(|offer| offer.len() <= max);
    match offer.and_then(|offer| serde_json::from_str::<Description>(offer).ok()) {
        Some(Description { kind: SdpType::Offer, sdp, .. }) if !sdp.is_empty() => {
            let rest = members.iter().filter(|(name, _)| !is_offer(name));
            (Cow::Owned(object(rest.map(|(name, value)| (name.get(), value.get())))), Some(sdp))
        }
        _ => whole(),
    }
}

/// Whether an accept says that the answer to the init's offer follows.
pub(crate) fn takes_offer(accept: Option<&str>) -> bool {
    #[derive(Deserialize)]
    struct Accept {
        offer: bool,
    }
    accept.and_then(|data| serde_json::from_str::<Accept>(data).ok()).is_some_and(|accept| accept.offer)
}

fn is_offer(name: &RawValue) -> bool {
    serde_json::from_str::<Cow<'_, str>>(name.get()).is_ok_and(|name| name == "offer")
}

fn object<'a>(members: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let members: Vec<String> = members.map(|(name, value)| format!("{name}:{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// The members of an object in order, names and values as they were written.
struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Each<'a> {
            type Value = Members<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'a>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<&'a RawValue, &'a RawValue>()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_goes_in_and_comes_out() {
        let offer = Description::new(SdpType::Offer, "v=0\r\n");
        for (data, with) in [
            ("{}", r#"{"offer":{"type":"offer","sdp":"v=0\r\n"}}"#),
            (" { } ", r#"{"offer":{"type":"offer","sdp":"v=0\r\n"}}"#),
            (
                r#"{"b":1.0,"a":{"offer":1e3}}"#,
                r#"{"b":1.0,"a":{"offer":1e3},"offer":{"type":"offer","sdp":"v=0\r\n"}}"#,
            ),
        ] {
            assert_eq!(with_offer(data, &offer).as_deref(), Some(with));
            let (rest, sdp) = split(with, 100);
            assert_eq!((rest.replace(' ', ""), sdp.as_deref()), (data.replace(' ', ""), Some("v=0\r\n")));
        }
        for data in ["[]", "7", "null", r#"{"offer":1}"#, r#"{"\u006fffer":1}"#] {
            assert_eq!(with_offer(data, &offer), None, "{data}");
        }
    }

    #[test]
    fn what_is_no_offer_is_the_applications() {
        for data in [
            "{}",
            "[]",
            "null",
            "7",
            r#"{"offer":"half price"}"#,
            r#"{"offer":{}}"#,
            r#"{"offer":{"type":"answer","sdp":"v=0"}}"#,
            r#"{"offer":{"type":"offer","sdp":""}}"#,
            r#"{"offer":{"type":"offer","sdp":"longer than forty bytes, all in all"}}"#,
            r#"{"more":{"offer":{"type":"offer","sdp":"v=0"}}}"#,
        ] {
            assert_eq!(split(data, 40), (data.into(), None), "{data}");
        }
        let escaped = r#"{"x":1,"\u006fffer":{"type":"offer","sdp":"v=0"}}"#;
        assert_eq!(split(escaped, 40), (r#"{"x":1}"#.into(), Some("v=0".into())));
    }
}
