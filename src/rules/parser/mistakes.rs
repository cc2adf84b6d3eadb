//! What is said of mistakes, for the person who made them.

use crate::event::EventType;
use crate::rules::condition::{Literal, Path, Root, Test};
use crate::rules::lexer::{Mistake, TokenKind};
use crate::rules::print::is_reserved;
use crate::rules::words;

/// What is wrong with something behind a whole condition.
pub(super) fn behind(kind: &TokenKind<'_>) -> String {
    match kind {
        TokenKind::Word(word) if is_reserved(word) && ["and", "or"].contains(&&*word.to_ascii_lowercase()) => {
            format!("words of the language are small: write `{}`", word.to_ascii_lowercase())
        }
        kind => format!("expected `and`, `or` or the end, found {}", said(kind)),
    }
}

/// A part of a query, for people.
pub(super) fn said(kind: &TokenKind<'_>) -> String {
    match kind {
        TokenKind::Word(word) => format!("`{word}`"),
        TokenKind::Text(_) => "a text".to_owned(),
        TokenKind::Number(number) => format!("the number {number}"),
        TokenKind::Sign(sign) => format!("`{sign}`"),
        TokenKind::End => "the end".to_owned(),
    }
}

pub(super) fn no_operator(path: &Path, kind: &TokenKind<'_>, negated: bool) -> String {
    let operators = "= != < <= > >=, in, starts_with, ends_with, contains, like, cidr, exists, is, has";
    match kind {
        TokenKind::Word(word) if negated && ["has", "is"].contains(word) => {
            format!("`not` stands before the field: `not {path} {word} ...`")
        }
        TokenKind::Sign(_) if negated => format!("`not` stands before the field: `not {path} ...`"),
        TokenKind::Word(word) => match words::operator(word) {
            Some(meant) => format!("`{word}` is no operator: did you mean `{meant}`?"),
            None => format!("expected an operator behind `{path}` ({operators}), found `{word}`"),
        },
        TokenKind::End => {
            format!("expected an operator behind `{path}` ({operators}); a field that is true: `{path} = true`")
        }
        kind => format!(
            "expected an operator behind `{path}` ({operators}), found {}",
            said(kind)
        ),
    }
}

pub(super) fn no_value(kind: &TokenKind<'_>, operator: &str) -> String {
    match kind {
        TokenKind::Word(word) if ["and", "or", "not"].contains(word) => {
            format!("a value is missing behind `{operator}`")
        }
        TokenKind::Word(word) => {
            format!("expected a value behind `{operator}`, found `{word}`: texts stand in double quotes, \"{word}\"")
        }
        kind => format!("expected a value behind `{operator}`, found {}", said(kind)),
    }
}

/// Names behind the words of the language that lead nowhere.
pub(super) fn check_root(at: usize, root: Root, names: &[String]) -> Result<(), Mistake> {
    match (root, names) {
        (Root::EventType, [_, ..]) => Err(Mistake::new(at, "`event_type` is a word and has no fields")),
        (Root::Envelope, []) => Err(Mistake::new(
            at,
            "`envelope` needs the name of a field, such as `envelope.account`",
        )),
        (Root::Envelope, [first, ..]) if !words::ENVELOPE.contains(&&**first) => {
            let meant = words::nearest(first, words::ENVELOPE.iter().copied())
                .map_or(String::new(), |meant| format!(": did you mean `{meant}`?"));
            let all = words::ENVELOPE.join(", ");
            Err(Mistake::new(
                at,
                format!("no envelope has a field `{first}`{meant} (there are {all})"),
            ))
        }
        _ => Ok(()),
    }
}

/// A type of events that there is not would never be equal.
pub(super) fn check_type(at: usize, path: &Path, test: &Test) -> Result<(), Mistake> {
    let (Root::EventType, Test::In(literals)) = (path.root, test) else {
        return Ok(());
    };
    let names = EventType::ALL.map(EventType::name);
    for literal in literals {
        let text = match literal {
            Literal::Text(text) if names.contains(&&**text) => continue,
            Literal::Text(text) => text.as_str(),
            Literal::Number(_) | Literal::Bool(_) | Literal::Null => "",
        };
        let meant = words::nearest(text, names).map_or(String::new(), |meant| format!(": did you mean \"{meant}\"?"));
        return Err(Mistake::new(
            at,
            format!(
                "there is no event type {literal}{meant} (there are \"{}\")",
                names.join("\", \"")
            ),
        ));
    }
    Ok(())
}
