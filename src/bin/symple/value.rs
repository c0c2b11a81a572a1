//! Parses the value of a setting as written in a file, in the environment or as a flag.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;
use symple::proto::{Object, Token};

/// Stores a parsed value.
pub(crate) fn set<T>(place: &mut T, read: Result<T, String>) -> Result<(), String> {
    *place = read?;
    Ok(())
}

/// Yes or no, as the Node.js server reads it.
pub(crate) fn switch(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(on) => Ok(*on),
        Value::Number(n) if n.as_u64() == Some(1) => Ok(true),
        Value::Number(n) if n.as_u64() == Some(0) => Ok(false),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Ok(true),
            "0" | "false" | "no" | "off" => Ok(false),
            _ => Err("must be true or false (or 1, yes, on, 0, no, off)".into()),
        },
        _ => Err("must be true or false".into()),
    }
}

pub(crate) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err("must be a string".into()),
    }
}

pub(crate) fn secret(value: &Value) -> Result<Token, String> {
    let text = text(value)?;
    if text.is_empty() { Err("must not be empty".into()) } else { Ok(Token::new(text)) }
}

/// Anything that parses from text.
pub(crate) fn parsed<T: FromStr<Err: Display>>(value: &Value) -> Result<T, String> {
    text(value)?.trim().parse().map_err(|e| format!("{e}"))
}

/// Origins of web pages, or `*` for all of them.
pub(crate) fn origins(value: &Value) -> Result<Vec<String>, String> {
    let origins = list(value)?;
    match origins.iter().find(|o| !o.contains("://") && *o != "*") {
        Some(bad) => Err(format!("{bad} is not an origin, such as https://chat.example")),
        None => Ok(origins),
    }
}

/// A whole number, at least `least`.
pub(crate) fn count(value: &Value, least: u64) -> Result<u64, String> {
    let found = text(value).ok().and_then(|text| text.trim().parse::<u64>().ok());
    found.filter(|n| *n >= least).ok_or_else(|| format!("must be a whole number, at least {least}"))
}

/// A whole number where 0 means no limit.
pub(crate) fn limit(value: &Value) -> Result<Option<usize>, String> {
    let n = count(value, 0).map_err(|_| "must be a whole number, 0 for no limit")?;
    Ok((n > 0).then(|| usize::try_from(n).unwrap_or(usize::MAX)))
}

/// A duration in minutes; -1 means forever.
pub(crate) fn minutes(value: &Value) -> Result<Option<Duration>, String> {
    match text(value)?.trim().parse::<f64>() {
        Ok(-1.0) => Ok(None),
        Ok(minutes) if minutes > 0.0 && minutes < 1e9 => Ok(Some(Duration::from_secs_f64(minutes * 60.0))),
        _ => Err("must be a number of minutes, or -1".into()),
    }
}

/// A duration in seconds, from 1 ms to a day, so that sums of them cannot overflow.
pub(crate) fn seconds(value: &Value) -> Result<Duration, String> {
    const DAY: f64 = 86_400.0;
    let found = text(value)?.trim().parse::<f64>().ok().filter(|n| *n >= 0.001 && *n <= DAY);
    found.map(Duration::from_secs_f64).ok_or_else(|| format!("must be a number of seconds, at most {DAY}"))
}

/// Bytes: a number, optionally followed by K or M.
pub(crate) fn bytes(value: &Value) -> Result<usize, String> {
    let text = text(value)?;
    let text = text.trim().trim_end_matches(['B', 'b']).trim_end_matches(['i']);
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (&text[..at], 1 << 10),
        Some((at, 'M' | 'm')) => (&text[..at], 1 << 20),
        _ => (text, 1),
    };
    let found = digits.trim().parse::<usize>().ok().and_then(|n| n.checked_mul(unit)).filter(|n| *n > 0);
    found.ok_or_else(|| "must be a number of bytes, such as 65536, 512K or 1M".into())
}

/// Several strings: an array, or one string with commas.
pub(crate) fn list(value: &Value) -> Result<Vec<String>, String> {
    let parts = |text: &str| -> Vec<String> {
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(String::from).collect()
    };
    match value {
        Value::String(text) => Ok(parts(text)),
        Value::Array(entries) => {
            let texts = entries.iter().map(|entry| entry.as_str().map(parts));
            let lists: Option<Vec<_>> = texts.collect();
            Ok(lists.ok_or("must be a list of strings")?.concat())
        }
        _ => Err("must be a list of strings".into()),
    }
}

/// A list whose entries parse from text.
pub(crate) fn parsed_list<T: FromStr<Err: Display>>(value: &Value) -> Result<Vec<T>, String> {
    let read = |entry: String| entry.parse().map_err(|e| format!("{entry}: {e}"));
    list(value)?.into_iter().map(read).collect()
}

/// The addresses to listen on; `None` for `all`.
pub(crate) fn addresses(value: &Value) -> Result<Option<Vec<IpAddr>>, String> {
    let entries = list(value)?;
    if entries == ["all"] {
        return Ok(None);
    }
    let read = |entry: String| {
        let wrong = |_| format!("{entry} is not an IP address; use one of this machine, or `all`");
        entry.parse().map_err(wrong)
    };
    entries.into_iter().map(read).collect::<Result<_, _>>().map(Some)
}

/// A JSON object, or the text of one.
pub(crate) fn object(value: &Value) -> Result<Object, String> {
    match value {
        Value::Object(object) => Ok(object.clone()),
        Value::String(text) => serde_json::from_str(text).map_err(|e| format!("must be a JSON object: {e}")),
        _ => Err("must be a JSON object".into()),
    }
}

/// A list of JSON objects, or the text of one.
pub(crate) fn objects(value: &Value) -> Result<Vec<Value>, String> {
    let entries = match value {
        // Flags arrive as a list of strings, each of which is a list itself.
        Value::Array(texts) if texts.len() == 1 && texts[0].is_string() => return objects(&texts[0]),
        Value::Array(entries) => entries.clone(),
        Value::String(text) => {
            serde_json::from_str(text).map_err(|e| format!("must be a JSON array: {e}"))?
        }
        _ => return Err("must be a JSON array of objects".into()),
    };
    if entries.iter().all(Value::is_object) { Ok(entries) } else { Err("must be an array of objects".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_read_alike_from_every_place() {
        for (on, values) in [
            (true, [json!(true), json!(1), json!("Yes"), json!(" on ")]),
            (false, [json!(false), json!(0), json!("no"), json!("OFF")]),
        ] {
            assert!(values.iter().all(|value| switch(value) == Ok(on)), "{values:?}");
        }
        assert!(switch(&json!("maybe")).is_err());
        for (value, want) in
            [(json!("512K"), 512 << 10), (json!("1 MiB"), 1 << 20), (json!(77), 77), (json!("77"), 77)]
        {
            assert_eq!(bytes(&value), Ok(want), "{value}");
        }
        for (value, want) in [(json!(30), 30_000), (json!("0.5"), 500), (json!(86_400), 86_400_000)] {
            assert_eq!(seconds(&value), Ok(Duration::from_millis(want)), "{value}");
        }
        for wrong in [json!(0), json!(-1), json!("NaN"), json!(1e9), json!("inf"), json!(true)] {
            assert!(seconds(&wrong).is_err(), "{wrong}");
        }
        assert!(bytes(&json!("1G1")).is_err() && bytes(&json!(0)).is_err());
        assert_eq!(list(&json!("a, b,")), Ok(vec!["a".into(), "b".into()]));
        assert_eq!(list(&json!(["a", "b,c"])), Ok(vec!["a".into(), "b".into(), "c".into()]));
        assert_eq!((limit(&json!(0)), limit(&json!("5"))), (Ok(None), Ok(Some(5))));
        assert!(count(&json!(-1), 0).is_err() && count(&json!(1.5), 0).is_err());
        let ice = json!([{"urls": "stun:192.0.2.1"}]);
        assert_eq!(objects(&json!(ice.to_string())), objects(&ice));
    }
}
