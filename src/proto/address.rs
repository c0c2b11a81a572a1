//! `user|id`: the address of a session, of a user, or of both.

use std::fmt;
use std::str::FromStr;

/// What a string addresses. An address splits at the first `|`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target<'a> {
    /// `user|id`: that session, if its user is `user`.
    Session {
        /// The user that the session must belong to.
        user: &'a str,
        /// The session.
        id: &'a str,
    },
    /// `user|`: every session of the user.
    User(&'a str),
    /// `|id`: the session, whichever user it belongs to.
    Id(&'a str),
    /// `name`: a session's id, a user or a named room; the server takes the union.
    Name(&'a str),
}

impl<'a> Target<'a> {
    /// Parses a `to`. `None` if it addresses nobody: the empty string and `|`.
    ///
    /// ```
    /// use symple::proto::Target;
    /// assert_eq!(Target::parse("alice|9f"), Some(Target::Session { user: "alice", id: "9f" }));
    /// assert_eq!(Target::parse("alice|"), Some(Target::User("alice")));
    /// assert_eq!(Target::parse("|9f"), Some(Target::Id("9f")));
    /// assert_eq!(Target::parse("team"), Some(Target::Name("team")));
    /// assert_eq!(Target::parse("|"), None);
    /// ```
    pub fn parse(text: &'a str) -> Option<Self> {
        match text.split_once('|') {
            None if text.is_empty() => None,
            None => Some(Target::Name(text)),
            Some(("", "")) => None,
            Some((user, "")) => Some(Target::User(user)),
            Some(("", id)) => Some(Target::Id(id)),
            Some((user, id)) => Some(Target::Session { user, id }),
        }
    }
}

/// A session's full address, `user|id`: what the server writes as `from`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    text: Box<str>,
    split: usize,
}

impl Address {
    /// Joins a user and a session id.
    pub fn new(user: &str, id: &str) -> Self {
        Address { text: format!("{user}|{id}").into(), split: user.len() }
    }

    /// The user before the first `|`.
    pub fn user(&self) -> &str {
        &self.text[..self.split]
    }

    /// The session id after the first `|`; empty if the text had none.
    pub fn id(&self) -> &str {
        self.text.get(self.split + 1..).unwrap_or("")
    }

    /// The whole address as written on the wire.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl From<&str> for Address {
    /// Never fails: text without `|` is a user with an empty id.
    fn from(text: &str) -> Self {
        Address { split: text.find('|').unwrap_or(text.len()), text: text.into() }
    }
}

impl FromStr for Address {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_splits_at_the_first_bar() {
        for (text, user, id) in
            [("alice|9f", "alice", "9f"), ("a|b|c", "a", "b|c"), ("alice", "alice", ""), ("|x", "", "x")]
        {
            let a = Address::from(text);
            assert_eq!((a.user(), a.id(), a.as_str()), (user, id, text));
        }
        assert_eq!(Address::new("alice", "9f"), Address::from("alice|9f"));
        assert_eq!(Target::parse("a|b|c"), Some(Target::Session { user: "a", id: "b|c" }));
    }
}
