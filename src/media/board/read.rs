//! Parses TOML, with errors that give the path of the key, what is wrong, and the most similar valid name.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::nearest;

/// Parses a `T` from the text of a file.
pub(super) fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| format!("invalid TOML: {}", error.to_string().trim()))?;
    T::deserialize(Node(toml::Value::Table(table))).map_err(|error| error.to_string())
}

/// An error message, and its location.
#[derive(Debug)]
struct Words {
    path: String,
    words: String,
}

impl Words {
    fn new(words: impl Into<String>) -> Words {
        Words { path: String::new(), words: words.into() }
    }

    /// The same error, with the location prefixed by a key.
    fn under(self, key: &str) -> Words {
        let path = if self.path.is_empty() { key.into() } else { format!("{key}.{}", self.path) };
        Words { path, ..self }
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.words)
    }
}

impl std::error::Error for Words {}

impl de::Error for Words {
    fn custom<T: fmt::Display>(words: T) -> Self {
        Words::new(words.to_string())
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let hint = nearest::hint(field, expected.iter().copied());
        Words::new(format!("unknown key \"{field}\"{hint}"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = nearest::hint(variant, expected.iter().copied());
        Words::new(format!("must be one of {}, not \"{variant}\"{hint}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Words::new(format!("\"{field}\" is missing"))
    }
}

struct Node(toml::Value);

impl<'de> IntoDeserializer<'de, Words> for Node {
    type Deserializer = Node;

    fn into_deserializer(self) -> Node {
        self
    }
}

impl<'de> de::Deserializer<'de> for Node {
    type Error = Words;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Words> {
        match self.0 {
            toml::Value::String(text) => visitor.visit_string(text),
            toml::Value::Integer(number) => visitor.visit_i64(number),
            toml::Value::Float(number) => visitor.visit_f64(number),
            toml::Value::Boolean(on) => visitor.visit_bool(on),
            toml::Value::Datetime(time) => visitor.visit_string(time.to_string()),
            toml::Value::Array(values) => visitor.visit_seq(List { values: values.into_iter(), at: 0 }),
            toml::Value::Table(table) => visitor.visit_map(Entries { table: table.into_iter(), next: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Words> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Words> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Words> {
        match self.0 {
            toml::Value::String(text) => {
                let text: de::value::StringDeserializer<Words> = text.into_deserializer();
                text.deserialize_enum(name, variants, visitor)
            }
            _ => Err(Words::new(format!("must be one of {}", variants.join(", ")))),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Entries {
    table: <toml::Table as IntoIterator>::IntoIter,
    next: Option<(String, toml::Value)>,
}

impl<'de> MapAccess<'de> for Entries {
    type Error = Words;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Words> {
        self.next = self.table.next();
        let key = self.next.as_ref().map(|(key, _)| key.clone());
        key.map(|key| seed.deserialize(key.into_deserializer())).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Words> {
        let (key, value) = self.next.take().ok_or_else(|| Words::new("value without a key"))?;
        seed.deserialize(Node(value)).map_err(|error| error.under(&key))
    }
}

struct List {
    values: std::vec::IntoIter<toml::Value>,
    at: usize,
}

impl<'de> SeqAccess<'de> for List {
    type Error = Words;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Words> {
        let Some(value) = self.values.next() else { return Ok(None) };
        self.at += 1;
        seed.deserialize(Node(value)).map(Some).map_err(|error| error.under(&format!("[{}]", self.at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "parsed, but not used")]
    struct Outer {
        name: String,
        #[serde(default)]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "parsed, but not used")]
    struct Inner {
        count: u32,
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Large,
        Small,
    }

    #[test]
    fn an_error_gives_the_location_and_a_suggestion() {
        for (text, words) in [
            ("name = 'a'\n[[inner]]\ncount = 1\nkind = 'large'", ""),
            ("nmae = 'a'", "unknown key \"nmae\"; did you mean \"name\"?"),
            ("name = 1", "name: invalid type: integer `1`, expected a string"),
            ("", "\"name\" is missing"),
            (
                "name = 'a'\ninner = [{ count = 1, cuont = 2 }]",
                "inner.[1]: unknown key \"cuont\"; did you mean \"count\"?",
            ),
            (
                "name = 'a'\ninner = [{ count = 1 }, { count = -1 }]",
                "inner.[2].count: invalid value: integer `-1`, expected u32",
            ),
            (
                "name = 'a'\ninner = [{ count = 1, kind = 'smal' }]",
                "inner.[1].kind: must be one of large, small, not \"smal\"; did you mean \"small\"?",
            ),
            ("name = 'a'\ninner = [{ count = 1, kind = 7 }]", "inner.[1].kind: must be one of large, small"),
        ] {
            let found = read::<Outer>(text).err().unwrap_or_default();
            assert_eq!(found, words, "{text}");
        }
        assert!(read::<Outer>("name = ").is_err_and(|words| words.starts_with("invalid TOML: ")));
    }
}
