//! Takes the text of a query apart into words, texts, numbers and signs.

use crate::event::number::Number;

/// Why a query can't be read: what is wrong at which byte, and what was meant, as far as that can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The byte at which it is wrong.
    pub at: usize,
    /// What is wrong, and what to write.
    pub text: String,
}

impl Mistake {
    pub(super) fn new(at: usize, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { at, text }
    }
}

/// A part of a query, and the byte that it begins at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token<'a> {
    pub at: usize,
    pub kind: TokenKind<'a>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind<'a> {
    /// Letters, digits, `_` and `-`; begins with a letter or `_`.
    Word(&'a str),
    /// In double quotes.
    Text(String),
    Number(Number),
    /// One of the signs of the language.
    Sign(&'static str),
    /// The end of the query.
    End,
}

/// The signs of the language, longer ones before those that they begin with.
const SIGNS: &[&str] = &["!=", "<=", ">=", "=", "<", ">", "(", ")", ",", "."];

/// What other languages write, and how it is written here.
const FOREIGN: &[(&str, &str)] = &[
    ("==", "="),
    ("<>", "!="),
    ("=<", "<="),
    ("=>", ">="),
    ("=~", "like"),
    ("!~", "not ... like"),
    ("&&", "and"),
    ("&", "and"),
    ("||", "or"),
    ("|", "or"),
];

/// The parts of a query, the end among them.
pub(super) fn tokens(source: &str) -> Result<Vec<Token<'_>>, Mistake> {
    let mut found = vec![];
    let mut at = 0;
    loop {
        let rest = source.get(at..).unwrap_or_default();
        let spaces = rest.len() - rest.trim_ascii_start().len();
        at += spaces;
        let rest = source.get(at..).unwrap_or_default();
        let behind_dot = matches!(
            found.last(),
            Some(Token {
                kind: TokenKind::Sign("."),
                ..
            })
        );
        if behind_dot && rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(Mistake::new(
                at,
                "an array stands for all its elements; the name of a field in digits stands in quotes",
            ));
        }
        let (kind, length) = token(rest).map_err(|text| Mistake::new(at, text))?;
        let end = kind == TokenKind::End;
        found.push(Token { at, kind });
        if end {
            return Ok(found);
        }
        at += length;
    }
}

/// The first part of a text that begins with no space, and its length in bytes.
fn token(rest: &str) -> Result<(TokenKind<'_>, usize), String> {
    let Some(first) = rest.chars().next() else {
        return Ok((TokenKind::End, 0));
    };
    if let Some((foreign, meant)) = FOREIGN.iter().find(|(foreign, _)| rest.starts_with(foreign)) {
        return Err(format!(
            "`{foreign}` is no sign of this language: did you mean `{meant}`?"
        ));
    }
    if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        return Ok((TokenKind::Sign(sign), sign.len()));
    }
    match first {
        '"' => text(rest).map(|(text, length)| (TokenKind::Text(text), length)),
        '-' | '0'..='9' => number(rest),
        c if c.is_ascii_alphabetic() || c == '_' => {
            let length = word_length(rest);
            Ok((TokenKind::Word(rest.get(..length).unwrap_or_default()), length))
        }
        '\'' | '‘' | '’' | '“' | '”' | '`' => {
            Err(format!("`{first}` is no quote here: texts stand in \"double quotes\""))
        }
        '!' => Err("`!` is no sign of this language: did you mean `not`, or `!=`?".to_owned()),
        '*' | '%' => Err(format!(
            "`{first}` stands for any characters only within a text, after `like`"
        )),
        c => Err(format!("`{}` has no meaning here", c.escape_debug())),
    }
}

fn word_length(text: &str) -> usize {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    text.bytes().take_while(part).count()
}

/// The text in double quotes that stands at the beginning, and its length in bytes, quotes included.
pub(super) fn text(rest: &str) -> Result<(String, usize), String> {
    let mut escaped = false;
    let end = rest.char_indices().skip(1).find(|&(_, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    let Some((end, _)) = end else {
        return Err("this text has no end: a double quote is missing".to_owned());
    };
    let length = end + 1;
    let quoted = rest.get(..length).unwrap_or_default();
    // Texts are escaped as in JSON; line breaks may stand as they are, as conditions of several lines have them.
    let value = serde_json::from_str(&quoted.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t"));
    let value = value.map_err(|_| {
        "this text has an escape that JSON doesn't know: write a backslash twice (\\\\), a double quote as \\\""
            .to_owned()
    })?;
    Ok((value, length))
}

fn number(rest: &str) -> Result<(TokenKind<'_>, usize), String> {
    let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-._".contains(byte);
    let written = rest.get(..rest.bytes().take_while(goes_on).count()).unwrap_or_default();
    match Number::parse(written) {
        Some(number) => Ok((TokenKind::Number(number), written.len())),
        None => Err(format!(
            "`{written}` is no number: ids, versions and addresses are texts: \"{written}\""
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(source: &str) -> Vec<TokenKind<'_>> {
        let tokens = tokens(source).expect("tokens");
        tokens.into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn a_query_comes_apart_into_its_parts() {
        use TokenKind::{End, Number as N, Sign, Text, Word};
        assert_eq!(
            kinds("a.b-c>=-1.5 and(\"x\\\"\\u00e4\"!= null)"),
            [
                Word("a"),
                Sign("."),
                Word("b-c"),
                Sign(">="),
                N(Number::Real(-1.5)),
                Word("and"),
                Sign("("),
                Text("x\"ä".to_owned()),
                Sign("!="),
                Word("null"),
                Sign(")"),
                End
            ]
        );
        assert_eq!(kinds("  \n\t"), [End]);
        assert_eq!(kinds("\"a\nb\""), [Text("a\nb".to_owned()), End]);
    }

    #[test]
    fn what_other_languages_write_is_translated() {
        for (source, at, part) in [
            ("a == 1", 2, "`=`"),
            ("a && b", 2, "`and`"),
            ("a || b", 2, "`or`"),
            ("!a", 0, "`not`"),
            ("a <> 1", 2, "`!=`"),
            ("a =~ 1", 2, "`like`"),
            ("a = 'x'", 4, "\"double quotes\""),
            ("a = “x”", 4, "\"double quotes\""),
            ("a = \"x", 4, "no end"),
            ("a = \"\\d\"", 4, "backslash twice"),
            ("a = 056392974792", 4, "\"056392974792\""),
            ("a = 10.0.0.0", 4, "\"10.0.0.0\""),
            ("a like *", 7, "within a text"),
            ("a ; b", 2, "no meaning"),
            ("ä = 1", 0, "no meaning"),
        ] {
            let mistake = tokens(source).expect_err(source);
            assert_eq!(mistake.at, at, "{source}");
            assert!(mistake.text.contains(part), "{source}: {}", mistake.text);
        }
    }
}
