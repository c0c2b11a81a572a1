//! What a server changes in a frame that it forwards: `from`, and in a presence also `data`.

use std::ops::Range;

use serde_json::Value;

use super::head::{Head, string, walk};
use super::peer::Peer;

/// Copies the frame and replaces every `from` that the client wrote with the sender's own address. The first
/// one is replaced and the others are removed; if there is none, it becomes the first member. Nothing else
/// changes.
///
/// ```
/// use symple::proto::{Head, stamped};
/// let head = Head::parse(r#"{"type":"message","from":"mallory","n":1.0,"from":7}"#)?;
/// assert_eq!(stamped(&head, "alice|9f"), r#"{"type":"message","from":"alice|9f","n":1.0}"#);
/// # Ok::<(), symple::proto::Malformed>(())
/// ```
pub fn stamped(head: &Head<'_>, from: &str) -> String {
    let member = member("from", from);
    let edits: Vec<(Range<usize>, &str)> =
        head.froms.iter().cloned().zip(std::iter::once(&*member).chain(std::iter::repeat(""))).collect();
    splice(head.text, &edits, if edits.is_empty() { &member } else { "" })
}

/// Rebuilds a client's presence: `from` is stamped; `data` keeps the client's members, with those that belong
/// to the server (`id`, `user`, `online`, and `name` when `forced_name`) set from `peer`; `token`, `host` and
/// `rooms` are removed from the message and from `data`. Everything else stays as it was.
pub fn presence(head: &Head<'_>, from: &str, peer: &Peer, forced_name: bool) -> String {
    let (from, data) =
        (member("from", from), format!("\"data\":{}", presence_data(head.data, peer, forced_name)));
    let (mut edits, mut froms, mut datas) = (Vec::new(), 0, 0);
    walk(head.text, |name, _, span| {
        let put = match name {
            "from" => {
                froms += 1;
                if froms == 1 { &*from } else { "" }
            }
            "data" => {
                datas += 1;
                if datas == 1 { &*data } else { "" }
            }
            "token" | "host" | "rooms" => "",
            _ => return,
        };
        edits.push((span, put));
    })
    .expect("a head was parsed from the same text");
    let missing = match (froms, datas) {
        (0, 0) => format!("{from},{data}"),
        (0, _) => from.clone(),
        (_, 0) => data.clone(),
        _ => String::new(),
    };
    splice(head.text, &edits, &missing)
}

fn presence_data(raw: Option<&str>, peer: &Peer, forced_name: bool) -> String {
    let mut own = vec![member("id", &peer.id), member("user", &peer.user)];
    let mut rest = String::new();
    let mut named = false;
    // Data that is not an object has nothing to merge and is replaced.
    _ = walk(raw.unwrap_or("{}"), |name, value, span| {
        match name {
            "id" | "user" | "online" | "token" | "host" | "rooms" => return,
            "name" if forced_name || named || string(value).is_none_or(|name| name.is_empty()) => return,
            "name" => named = true,
            _ => {}
        }
        rest.push(',');
        rest.push_str(&raw.unwrap_or_default()[span]);
    });
    if !named {
        own.push(member("name", &peer.name));
    }
    format!("{{{},\"online\":true{rest}}}", own.join(","))
}

fn member(name: &str, value: &str) -> String {
    format!("\"{name}\":{}", Value::from(value))
}

/// Replaces the members at `edits` (in order, not overlapping); an empty replacement also removes its comma.
/// `first` goes before all others.
fn splice(text: &str, edits: &[(Range<usize>, &str)], first: &str) -> String {
    let open = text.find('{').expect("an object was parsed") + 1;
    let mut out =
        String::with_capacity(text.len() + first.len() + 1 + edits.iter().map(|e| e.1.len()).sum::<usize>());
    out.push_str(&text[..open]);
    out.push_str(first);
    // Members are copied run by run. Removing one leaves two commas, and one of them goes with it.
    let mut any = !first.is_empty();
    let mut at = open;
    for (span, put) in edits {
        copy_members(&mut out, &text[at..span.start], &mut any);
        if !put.is_empty() {
            separate(&mut out, any);
            out.push_str(put);
            any = true;
        }
        at = span.end;
    }
    copy_members(&mut out, &text[at..], &mut any);
    out
}

/// Copies a run between two edits: whole members with the commas at either end, or the end of the object.
fn copy_members(out: &mut String, run: &str, any: &mut bool) {
    let body = run.trim_start().strip_prefix(',').unwrap_or(run);
    let body = body.trim_end().strip_suffix(',').unwrap_or(body);
    let starts_member = body.trim_start().starts_with('"');
    if starts_member {
        separate(out, *any);
        *any = true;
    }
    out.push_str(if starts_member || !body.trim().is_empty() { body } else { "" });
}

fn separate(out: &mut String, any: bool) {
    if any {
        out.push(',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(text: &str) -> String {
        stamped(&Head::parse(text).expect(text), "a|1")
    }

    #[test]
    fn from_is_the_servers_and_nothing_else_changes() {
        for (text, want) in [
            (r#"{"type":"m"}"#, r#"{"from":"a|1","type":"m"}"#),
            (r#" { "type" : "m" , "n":1.0 } "#, r#" {"from":"a|1", "type" : "m" , "n":1.0 } "#),
            (r#"{"from":"x","type":"m"}"#, r#"{"from":"a|1","type":"m"}"#),
            (r#"{"type":"m","from":"x"}"#, r#"{"type":"m","from":"a|1"}"#),
            (r#"{"type":"m","from":"x","from":"y"}"#, r#"{"type":"m","from":"a|1"}"#),
            (r#"{"from":"x","from":"y","type":"m"}"#, r#"{"from":"a|1","type":"m"}"#),
            (r#"{"from":{"a":1},"type":"m","fr\u006fm":[2],"b":3}"#, r#"{"from":"a|1","type":"m","b":3}"#),
            (
                r#"{"type":"m","big":12345678901234567890,"e":1e3,"s":"\u0041","data":{"from":"kept"}}"#,
                r#"{"from":"a|1","type":"m","big":12345678901234567890,"e":1e3,"s":"\u0041","data":{"from":"kept"}}"#,
            ),
        ] {
            assert_eq!(stamp(text), want);
        }
    }

    #[test]
    fn a_presence_carries_what_the_server_knows_and_no_secret() {
        let peer = Peer { id: "1".into(), user: "a".into(), name: "Al\"".into(), ..Peer::default() };
        let show = |text: &str, forced| presence(&Head::parse(text).expect(text), "a|1", &peer, forced);
        let own = r#""id":"1","user":"a","name":"Al\"","online":true"#;
        for (text, want) in [
            (r#"{"type":"presence"}"#, format!(r#"{{"from":"a|1","data":{{{own}}},"type":"presence"}}"#)),
            (
                r#"{"type":"presence","probe":true,"token":"t","data":{"id":"9","x":1.0,"host":"h","token":"t","online":false},"data":{"rooms":[],"y":2}}"#,
                format!(r#"{{"from":"a|1","type":"presence","probe":true,"data":{{{own},"y":2}}}}"#),
            ),
            (
                r#"{"type":"presence","data":null,"from":"b","host":"h"}"#,
                format!(r#"{{"type":"presence","data":{{{own}}},"from":"a|1"}}"#),
            ),
        ] {
            assert_eq!(show(text, true), want, "{text}");
            assert!(serde_json::from_str::<Value>(&show(text, true)).is_ok());
        }
        assert_eq!(
            show(r#"{"type":"presence","data":{"name":"Bo","name":"x"}}"#, false),
            r#"{"from":"a|1","type":"presence","data":{"id":"1","user":"a","online":true,"name":"Bo"}}"#
        );
        assert!(show(r#"{"type":"presence","data":{"name":7}}"#, false).contains(r#""name":"Al\""#));
        assert!(show(r#"{"type":"presence","data":{"name":"Bo"}}"#, true).contains(r#""name":"Al\"""#));
    }
}
