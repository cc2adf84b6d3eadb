//! One `[[rule]]` or `[[suppress]]` of a rule file.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::Reader;
use crate::moment::Moment;
use crate::rules::condition::Condition;
use crate::rules::lexer::Mistake;
use crate::rules::rule::{Clause, Origin, Response, Rule, Suppression, Whom};
use crate::rules::{parser, pattern, words};

/// The longest name of a rule, in characters.
const LONGEST_NAME: usize = 64;

/// The longest of the other texts, in characters.
const LONGEST_TEXT: usize = 512;

/// One `[[rule]]` or `[[suppress]]`.
pub(super) struct Table<'r, 'a, 't> {
    reader: &'r mut Reader<'a>,
    table: &'t DeTable<'t>,
    kind: &'static str,
    at: usize,
    /// How many problems there were before this table's values were read.
    before: usize,
}

/// A value, and the byte that it begins at.
type Found<'t> = (&'t DeValue<'t>, Range<usize>);

impl<'r, 'a, 't> Table<'r, 'a, 't> {
    pub fn new(reader: &'r mut Reader<'a>, table: &'t DeTable<'t>, kind: &'static str, at: usize) -> Self {
        let before = reader.problems.len();
        Self {
            reader,
            table,
            kind,
            at,
            before,
        }
    }

    pub fn rule(mut self) -> Option<Rule> {
        let clause = self.clause();
        self.required("title");
        let severity = self.severity();
        let response = self.word("action", &Response::ALL, Response::name);
        let whom = self.word("entities", &Whom::ALL, Whom::name);
        self.required("action");
        if response >= Some(Response::Plan) && !self.has("entities") {
            self.problem(
                self.at,
                "`entities` is missing: whom a rule plans or contains must be said (principal, resource, all)",
            );
        }
        self.is_sound().then_some(Rule {
            clause: clause?,
            severity: severity?,
            response: response?,
            whom: whom.unwrap_or(Whom::All),
        })
    }

    pub fn suppression(mut self) -> Option<Suppression> {
        let clause = self.clause();
        self.required("reason");
        self.required("expires");
        self.is_sound().then_some(Suppression { clause: clause? })
    }

    fn is_sound(&self) -> bool {
        self.reader.problems.len() == self.before
    }

    fn problem(&mut self, at: usize, text: impl Into<String>) {
        self.reader.problem(at, text);
    }

    fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn required(&mut self, key: &str) {
        if !self.has(key) {
            self.problem(self.at, format!("`{key}` is missing in [[{}]]", self.kind));
        }
    }

    fn find(&self, key: &str) -> Option<Found<'t>> {
        let value = self.table.get(key)?;
        Some((value.get_ref(), value.span()))
    }

    fn wrong_type(&mut self, key: &str, at: usize, wanted: &str, found: &DeValue<'_>) {
        self.problem(at, format!("`{key}` is {wanted}, not {}", type_name(found)));
    }

    fn clause(&mut self) -> Option<Clause> {
        self.required("name");
        let name = self.name();
        let condition = self.condition();
        let (title, reason, owner) = (self.words("title"), self.words("reason"), self.words("owner"));
        let (enabled, expires) = (self.enabled(), self.expires());
        Some(Clause {
            name: name?,
            title,
            condition: condition?,
            reason,
            owner,
            enabled,
            expires,
            origin: Origin {
                file: self.reader.file.to_owned(),
                line: self.reader.lines.line(self.at),
            },
        })
    }

    fn text(&mut self, key: &str) -> Option<(&'t str, Range<usize>)> {
        let (value, span) = self.find(key)?;
        let text = value.as_str();
        if text.is_none() {
            self.wrong_type(key, span.start, "a text", value);
        }
        Some((text?, span))
    }

    /// A text for people.
    fn words(&mut self, key: &str) -> Option<String> {
        let (text, span) = self.text(key)?;
        let trimmed = text.trim();
        if trimmed.is_empty() {
            self.problem(span.start, format!("`{key}` is empty"));
        } else if trimmed.chars().count() > LONGEST_TEXT {
            self.problem(span.start, format!("`{key}` is longer than {LONGEST_TEXT} characters"));
        } else if trimmed.chars().any(|c| c.is_control() && c != '\n') {
            self.problem(span.start, format!("`{key}` has control characters"));
        }
        Some(trimmed.to_owned())
    }

    fn name(&mut self) -> Option<String> {
        let (text, span) = self.text("name")?;
        let well_formed = (1..=LONGEST_NAME).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !well_formed {
            self.problem(
                span.start,
                format!("a `name` is 1 to {LONGEST_NAME} letters, digits, `-`, `_` and `.`"),
            );
        }
        Some(text.to_owned())
    }

    fn severity(&mut self) -> Option<u8> {
        self.required("severity");
        let (value, span) = self.find("severity")?;
        let severity = match value {
            DeValue::Integer(integer) => integer
                .as_str()
                .parse()
                .ok()
                .filter(|severity| (1..=3).contains(severity)),
            _ => None,
        };
        if severity.is_none() {
            self.problem(span.start, "`severity` is 1 (the highest), 2 or 3");
        }
        severity
    }

    fn word<T: Copy>(&mut self, key: &str, all: &[T], name: fn(T) -> &'static str) -> Option<T> {
        let (text, span) = self.text(key)?;
        let found = all.iter().find(|one| name(**one) == text).copied();
        if found.is_none() {
            let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
            let meant = words::nearest(text, names.iter().copied());
            let meant = meant.map_or(String::new(), |meant| format!(": did you mean \"{meant}\"?"));
            let names = names.join(", ");
            self.problem(
                span.start,
                format!(
                    "`{key}` can't be \"{}\"{meant} (there are {names})",
                    text.escape_debug()
                ),
            );
        }
        found
    }

    fn enabled(&mut self) -> bool {
        match self.find("enabled") {
            None => true,
            Some((DeValue::Boolean(enabled), _)) => *enabled,
            Some((other, span)) => {
                self.wrong_type("enabled", span.start, "true or false", other);
                false
            }
        }
    }

    fn expires(&mut self) -> Option<Moment> {
        let (value, span) = self.find("expires")?;
        let moment = match value {
            DeValue::Datetime(datetime) => moment(&datetime.to_string()),
            DeValue::String(_) => Err("`expires` stands without quotes, as in 2027-06-30"),
            _ => Err("`expires` is a day like 2027-06-30, or a time like 2027-06-30T12:00:00Z"),
        };
        moment.map_err(|text| self.problem(span.start, text)).ok()
    }

    /// Either `when` or `pattern`.
    fn condition(&mut self) -> Option<Condition> {
        match (self.has("when"), self.has("pattern")) {
            (true, true) => self.problem(
                self.at,
                "`when` and `pattern` say the same in two ways: one of them is enough",
            ),
            (false, false) => self.problem(self.at, format!("`when` or `pattern` is missing in [[{}]]", self.kind)),
            _ => {}
        }
        let when = self.parsed("when", parser::parse);
        let pattern = self.parsed("pattern", pattern::parse);
        when.or(pattern)
    }

    fn parsed(&mut self, key: &str, parse: fn(&str) -> Result<Condition, Mistake>) -> Option<Condition> {
        let (text, span) = self.text(key)?;
        match parse(text) {
            Ok(condition) => Some(condition),
            Err(Mistake { at, text: reason }) => {
                let raw = self.reader.text.get(span.clone()).unwrap_or_default();
                // Of a text with escapes only its beginning is known for sure.
                let within = begins(raw, text).map_or(0, |begins| begins + at);
                self.problem(span.start + within, format!("in `{key}`: {reason}"));
                None
            }
        }
    }
}

/// At which byte of a quoted text its value begins, if it stands there as it is.
fn begins(raw: &str, value: &str) -> Option<usize> {
    let quotes = ["'''", "\"\"\"", "'", "\""];
    let quote = quotes.iter().find(|quote| raw.starts_with(**quote))?;
    let mut at = quote.len();
    if quote.len() == 3 {
        let rest = raw.get(at..)?;
        // A line's end behind three quotes is no part of the text.
        at += rest.len()
            - rest
                .strip_prefix("\r\n")
                .or(rest.strip_prefix('\n'))
                .unwrap_or(rest)
                .len();
    }
    raw.get(at..)?.starts_with(value).then_some(at)
}

/// A day means its end, in UTC.
fn moment(text: &str) -> Result<Moment, &'static str> {
    let parsed = |text: &str| text.parse::<Moment>().ok();
    if let Some(begins) = parsed(&format!("{text}T00:00:00Z")) {
        return Ok(begins.plus_seconds(86_400));
    }
    let without_zone =
        || parsed(&format!("{text}Z")).map(|_| "`expires` is without a time zone: end it with Z for UTC");
    parsed(text).ok_or_else(|| {
        without_zone().unwrap_or("`expires` is a day like 2027-06-30, or a time like 2027-06-30T12:00:00Z")
    })
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
