//! JSON as rules look at it: a tree that borrows its texts from the event's own bytes.
//!
//! `serde_json::Value` owns each text and sorts each object; over gigabytes of CloudTrail that is most of the work.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::number::Number;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text, borrowed unless it has escapes.
    Text(Cow<'a, str>),
    /// An array.
    Array(Vec<Json<'a>>),
    /// An object, as it was written: where a name stands twice, the last one counts.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Reads one JSON text (RFC 8259), nested at most 128 deep.
    ///
    /// # Errors
    /// It is none.
    pub fn read(bytes: &'a [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes)
    }

    /// The same event as the rest of the program holds it; nothing of it is copied.
    pub fn of(value: &'a serde_json::Value) -> Self {
        // A value deserialises into any self-describing type; there is nothing that could fail.
        Self::deserialize(value).unwrap_or(Self::Null)
    }

    /// The member of an object by this name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members
                .iter()
                .rev()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The value at the end of these names, each a member of the one before.
    pub fn at(&self, names: &[&str]) -> Option<&Self> {
        names.iter().try_fold(self, |value, name| value.get(name))
    }

    /// The text at the end of these names.
    pub fn text_at(&self, names: &[&str]) -> Option<&str> {
        self.at(names)?.text()
    }

    /// The text that this is.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of an array; none for anything else.
    pub fn elements(&self) -> &[Self] {
        match self {
            Self::Array(elements) => elements,
            _ => &[],
        }
    }

    /// Whether a test holds for any value at a path. An array stands for its elements, wherever it is met.
    pub fn any_at(&self, path: &[String], test: &mut dyn FnMut(&Json<'_>) -> bool) -> bool {
        if let Self::Array(elements) = self {
            return elements.iter().any(|element| element.any_at(path, test));
        }
        match path.split_first() {
            None => test(self),
            Some((name, rest)) => self.get(name).is_some_and(|value| value.any_at(rest, test)),
        }
    }
}

/// A name or a text, borrowed where it can be.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Texts)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(Number::Whole(value)))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "beyond 64 bits with a sign a number is a float, as everywhere in JSON"
    )]
    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(
            i64::try_from(value).map_or(Number::Real(value as f64), Number::Whole),
        ))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Number(Number::Real(value)))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Json<'de>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element()? {
            elements.push(element);
        }
        Ok(Json::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some((Text(name), value)) = map.next_entry()? {
            members.push((name, value));
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(text: &str, path: &[&str], wanted: &str) -> bool {
        let json = Json::read(text.as_bytes()).expect("JSON");
        let path: Vec<String> = path.iter().map(|&name| name.to_owned()).collect();
        json.any_at(&path, &mut |value| value.text() == Some(wanted))
    }

    #[test]
    fn an_array_stands_for_its_elements_wherever_it_is_met() {
        let text = r#"{"a": [{"b": "1"}, {"b": ["2", ["3"]]}, 7, null], "c": {"d": "4"}, "e": []}"#;
        for (path, wanted, found) in [
            (["a", "b"], "1", true),
            (["a", "b"], "3", true),
            (["a", "b"], "4", false),
            (["c", "d"], "4", true),
            (["e", "b"], "1", false),
        ] {
            assert_eq!(any(text, &path, wanted), found, "{path:?} {wanted}");
        }
    }

    #[test]
    fn of_two_members_by_one_name_the_last_counts() {
        assert!(any(r#"{"a": "1", "a": "2"}"#, &["a"], "2"));
        assert!(!any(r#"{"a": "1", "a": "2"}"#, &["a"], "1"));
    }

    #[test]
    fn texts_are_borrowed_and_a_value_reads_as_its_text_does() {
        let text = r#"{"a": "plain", "b": "esc\"aped", "c": [1, -2, 1.5, 18446744073709551615, true, null]}"#;
        let read = Json::read(text.as_bytes()).expect("JSON");
        assert!(matches!(read.get("a"), Some(Json::Text(Cow::Borrowed("plain")))));
        let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(Json::of(&value), read);
        assert_eq!(read.text_at(&["b"]), Some("esc\"aped"));
    }

    #[test]
    fn what_is_too_deep_is_an_error_and_no_overflow() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Json::read(deep.as_bytes()).is_err());
    }
}
