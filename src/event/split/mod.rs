//! Takes what holds many events apart into single JSON values, in constant memory: `{"Records": [...]}` and arrays element by
//! element, JSON lines line by line, and values that just follow each other.
//!
//! It looks at brackets and quotes alone, so that a value that is no JSON costs that value and no other; only whoever reads a value
//! finds that out, and says so by [`Splitter::reject`]. A quote or bracket too few makes a value run on over those behind it:
//! it is then cut before the first line in it that begins with `{`, and from there on each line is taken by itself.

mod scan;
mod window;

use std::io::{self, Read};

use memchr::{memchr, memmem};
use scan::{Scan, Step};
use window::Window;

/// The longest value that is looked at, in bytes. A record of CloudTrail has at most 256 KB, an event of EventBridge 1 MB.
const LONGEST: usize = 8 * 1024 * 1024;

/// How much is read at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// How a line begins that is a value by itself.
const NEXT_LINE: &[u8] = b"\n{";

/// One value.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Where it is.
    pub place: Place,
}

/// Where a value is in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which value of the file, counted from one.
    pub record: u64,
    /// The line that it begins in, counted from one.
    pub line: u64,
}

/// Why a value can't be handed out.
#[derive(Debug, thiserror::Error)]
pub enum Unsplit {
    /// The reader failed; nothing more comes.
    #[error("the file can't be read any further: {0}")]
    Io(#[from] io::Error),
    /// The file ends before the value does; nothing more comes.
    #[error("the file ends before this does: it was cut off, or a quote or bracket is missing")]
    Cut,
    /// The value was left out.
    #[error("longer than {} MiB", LONGEST / 1024 / 1024)]
    Long,
}

/// See the module.
pub struct Splitter<R> {
    window: Window<R>,
    /// The longest value, in bytes.
    longest: usize,
    within: Within,
    record: u64,
    /// The length of the value that was handed out last, and is not done with yet.
    handed_out: usize,
}

/// What surrounds the next value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    /// Nothing.
    File,
    /// An array.
    Array,
    /// The array `Records` of an object.
    Records,
    /// A file of which each line is a value.
    Lines,
    /// The same, after what may be the rest of a value that was cut.
    Remains,
}

impl<R: Read> Splitter<R> {
    /// Takes a reader apart.
    pub fn new(reader: R) -> Self {
        Self::with_limits(reader, CHUNK, LONGEST)
    }

    fn with_limits(reader: R, chunk: usize, longest: usize) -> Self {
        Self {
            window: Window::new(reader, chunk),
            longest,
            within: Within::File,
            record: 0,
            handed_out: 0,
        }
    }

    /// The next value, or why there is none in its place; `None` at the end.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator could not lend out of the buffer"
    )]
    pub fn next(&mut self) -> Option<Result<Piece<'_>, (Place, Unsplit)>> {
        self.window.consume(std::mem::take(&mut self.handed_out));
        let found = self.find();
        let place = Place {
            record: self.record,
            line: self.window.line(),
        };
        match found {
            Ok(None) => None,
            Ok(Some(length)) => {
                self.handed_out = length;
                let bytes = self.window.first(length);
                Some(Ok(Piece { bytes, place }))
            }
            Err(error) => {
                if !matches!(error, Unsplit::Long) {
                    self.window.consume(usize::MAX);
                    self.within = Within::File;
                }
                Some(Err((place, error)))
            }
        }
    }

    /// Says that the last value was no JSON: if it ran on over others, those come next.
    pub fn reject(&mut self) {
        if let Some(newline) = memmem::find(self.window.first(self.handed_out), NEXT_LINE) {
            self.handed_out = newline + 1;
            self.within = Within::Remains;
        }
    }

    /// Goes to the next value, and says how long it is.
    fn find(&mut self) -> Result<Option<usize>, Unsplit> {
        if self.record == 0 && self.window.byte(2)?.is_some() && self.window.first(3) == b"\xEF\xBB\xBF" {
            self.window.consume(3);
        }
        loop {
            let Some(byte) = self.window.byte(0)? else {
                return match self.within {
                    Within::Array | Within::Records => Err(Unsplit::Cut),
                    Within::File | Within::Lines | Within::Remains => Ok(None),
                };
            };
            match (self.within, byte) {
                // What is left of a value that was cut, and the brackets around values that stand in lines of their own.
                (Within::Lines, b'}' | b']') => self.leave_line_out()?,
                (Within::Remains, byte) if !matches!(byte, b'{' | b'\n') => self.leave_line_out()?,
                (_, b' ' | b'\t' | b'\r' | b'\n') | (Within::Array | Within::Records | Within::Lines, b',') => {
                    self.window.consume(1)
                }
                (Within::Lines | Within::Remains, _) => {
                    self.within = Within::Lines;
                    self.record += 1;
                    let length = self.line(|_| false)?;
                    return Ok(Some(self.without_comma(length)));
                }
                (Within::File, b'[') => {
                    self.window.consume(1);
                    self.within = Within::Array;
                }
                (Within::Array, b']') => {
                    self.window.consume(1);
                    self.within = Within::File;
                }
                (Within::Records, b']') => {
                    self.window.consume(1);
                    self.within = Within::File;
                    self.leave_out(Scan::within_bracket())?;
                }
                (_, b'{' | b'[' | b'"') => {
                    self.record += 1;
                    if let Some(length) = self.value()? {
                        return Ok(Some(length));
                    }
                }
                (within, _) => {
                    self.record += 1;
                    let in_array = within != Within::File;
                    return self.line(|byte| in_array && matches!(byte, b',' | b']')).map(Some);
                }
            }
        }
    }

    /// How long the value is that begins here; `None` if it is an object whose `Records` come next.
    fn value(&mut self) -> Result<Option<usize>, Unsplit> {
        let mut scan = Scan::default();
        let outermost = self.within == Within::File;
        let missing = loop {
            let step = scan.advance(self.window.held());
            if scan.at > self.longest {
                break Unsplit::Long;
            }
            match step {
                Step::End => return Ok(Some(scan.at)),
                Step::Text(range) => {
                    if outermost
                        && self.window.held().get(range) == Some(b"Records")
                        && let Some(first) = self.array_behind(scan.at)?
                    {
                        self.window.consume(first);
                        self.within = Within::Records;
                        self.record -= 1;
                        return Ok(None);
                    }
                }
                Step::More if self.window.more()? => {}
                Step::More => break Unsplit::Cut,
            }
        };
        if let Some(newline) = memmem::find(self.window.first(self.longest), NEXT_LINE) {
            self.within = Within::Remains;
            return Ok(Some(newline));
        }
        if matches!(missing, Unsplit::Long) {
            self.leave_out(Scan::default())?;
        }
        Err(missing)
    }

    /// Where the first element begins, if a colon and an array follow.
    fn array_behind(&mut self, mut at: usize) -> io::Result<Option<usize>> {
        for wanted in *b":[" {
            while at <= self.longest && self.window.byte(at)?.is_some_and(|byte| byte.is_ascii_whitespace()) {
                at += 1;
            }
            if self.window.byte(at)? != Some(wanted) {
                return Ok(None);
            }
            at += 1;
        }
        Ok(Some(at))
    }

    /// Goes behind a value without keeping it.
    fn leave_out(&mut self, mut scan: Scan) -> Result<(), Unsplit> {
        loop {
            match scan.advance(self.window.held()) {
                Step::End => break,
                Step::Text(_) => {}
                Step::More => {
                    scan.forget(self.window.held().len());
                    self.window.consume(usize::MAX);
                    if !self.window.more()? {
                        return Err(Unsplit::Cut);
                    }
                }
            }
        }
        self.window.consume(scan.at);
        Ok(())
    }

    /// How long it is to the end of the line, or to a byte before that; a line that is too long is left out.
    fn line(&mut self, ends: impl Fn(u8) -> bool) -> Result<usize, Unsplit> {
        let mut at = 0;
        loop {
            let rest = self.window.held().get(at..).unwrap_or_default();
            let end = rest.iter().position(|&byte| byte == b'\n' || ends(byte));
            at += end.unwrap_or(rest.len());
            if at > self.longest {
                break;
            }
            if end.is_some() || !self.window.more()? {
                return Ok(at);
            }
        }
        loop {
            if let Some(newline) = memchr(b'\n', self.window.held()) {
                self.window.consume(newline);
                return Err(Unsplit::Long);
            }
            self.window.consume(usize::MAX);
            if !self.window.more()? {
                return Err(Unsplit::Long);
            }
        }
    }

    fn leave_line_out(&mut self) -> Result<(), Unsplit> {
        let length = self.line(|_| false)?;
        self.window.consume(length);
        Ok(())
    }

    /// Without the comma behind a value that stood in an array, in a line of its own.
    fn without_comma(&self, length: usize) -> usize {
        let line = self.window.first(length).trim_ascii_end();
        line.strip_suffix(b",").unwrap_or(line).len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The pieces of a text, each rejected that is no JSON: their line and text, or why there is none.
    fn pieces(text: &str, chunk: usize, longest: usize) -> Vec<String> {
        let mut splitter = Splitter::with_limits(text.as_bytes(), chunk, longest);
        let mut found = vec![];
        while let Some(piece) = splitter.next() {
            let sound = match &piece {
                Ok(piece) => serde_json::from_slice::<serde::de::IgnoredAny>(piece.bytes).is_ok(),
                Err(_) => true,
            };
            found.push(match piece {
                Ok(piece) => format!(
                    "{}{}:{} {}",
                    if sound { "" } else { "broken " },
                    piece.place.record,
                    piece.place.line,
                    String::from_utf8_lossy(piece.bytes)
                ),
                Err((place, error)) => format!("{}:{} {error}", place.record, place.line),
            });
            if !sound {
                splitter.reject();
            }
        }
        found
    }

    fn split(text: &str) -> Vec<String> {
        pieces(text, CHUNK, LONGEST)
    }

    #[test]
    fn every_wrapping_comes_apart_into_its_values() {
        for (text, expected) in [
            ("", vec![]),
            (" \n", vec![]),
            (r#"{"a": 1}"#, vec![r#"1:1 {"a": 1}"#]),
            (
                "{\"a\": 1}\n\n{\"b\": \"}\"}\n",
                vec!["1:1 {\"a\": 1}", "2:3 {\"b\": \"}\"}"],
            ),
            ("{\n \"a\": [1]\n}\n{}", vec!["1:1 {\n \"a\": [1]\n}", "2:4 {}"]),
            (
                "[{\"a\": 1},\n {\"b\": [2]}]",
                vec!["1:1 {\"a\": 1}", "2:2 {\"b\": [2]}"],
            ),
            ("[]", vec![]),
            ("[1, \"x,]\", null\n]", vec!["1:1 1", "2:1 \"x,]\"", "3:1 null"]),
            (
                r#"{"Records": [{"a": 1}, {"b": 2}]}"#,
                vec![r#"1:1 {"a": 1}"#, r#"2:1 {"b": 2}"#],
            ),
            (
                "{\"x\": \"Records\", \"y\": [\"Records\", []],\n\"Records\" : [ {\"a\": 1} ], \"z\": [{\"c\": \"]}\"}]} {\"d\": 4}",
                vec!["1:2 {\"a\": 1}", "2:2 {\"d\": 4}"],
            ),
            (r#"{"Records": 7}"#, vec![r#"1:1 {"Records": 7}"#]),
            (r#"{"a": {"Records": [1]}}"#, vec![r#"1:1 {"a": {"Records": [1]}}"#]),
            ("\u{feff}{\"a\": 1}", vec!["1:1 {\"a\": 1}"]),
            (r#"{"a": "\\\""}{}"#, vec![r#"1:1 {"a": "\\\""}"#, "2:1 {}"]),
        ] {
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_broken_costs_itself_alone() {
        for (text, expected) in [
            (
                "{\"a\": 1\n{\"b\": 2}\n{\"c\": 3}\n",
                vec!["broken 1:1 {\"a\": 1", "2:2 {\"b\": 2}", "3:3 {\"c\": 3}"],
            ),
            (
                "{\"a\": \"1}\n{\"b\": \"2\"}\n{\"c\": 3}",
                vec!["broken 1:1 {\"a\": \"1}", "2:2 {\"b\": \"2\"}", "3:3 {\"c\": 3}"],
            ),
            (
                "{\"a\": 1}}\n{\"b\": 2}",
                vec!["1:1 {\"a\": 1}", "broken 2:1 }", "3:2 {\"b\": 2}"],
            ),
            ("hello\n{\"b\": 2}", vec!["broken 1:1 hello", "2:2 {\"b\": 2}"]),
            (
                "[{\"a\": nope}, {\"b\": 2}]",
                vec!["broken 1:1 {\"a\": nope}", "2:1 {\"b\": 2}"],
            ),
            (
                "{\"Records\": [{\"a\": nope}, {\"b\": 2}]}",
                vec!["broken 1:1 {\"a\": nope}", "2:1 {\"b\": 2}"],
            ),
            (
                "[\n{\"a\": \"1},\n{\"b\": 2},\n{\"c\": 3}\n]\n",
                vec![
                    "broken 1:2 {\"a\": \"1},\n{\"b\": 2},\n{\"c\": 3}\n]\n",
                    "2:3 {\"b\": 2}",
                    "3:4 {\"c\": 3}",
                ],
            ),
            (
                "[{\"a\": 1}, {\"b\"",
                vec!["1:1 {\"a\": 1}", "2:1 the file ends before this does"],
            ),
            (
                "[{\"a\": 1},",
                vec!["1:1 {\"a\": 1}", "1:1 the file ends before this does"],
            ),
            (
                "{\"Records\": [{\"a\": 1}]",
                vec!["1:1 {\"a\": 1}", "1:1 the file ends before this does"],
            ),
            ("{\n  \"a\": 1,\n", vec!["1:1 the file ends before this does"]),
            (
                "{\n  \"a\": nope\n}\n{\"b\": 2}",
                vec!["broken 1:1 {\n  \"a\": nope\n}", "2:4 {\"b\": 2}"],
            ),
        ] {
            let found = split(text);
            assert_eq!(found.len(), expected.len(), "{text}: {found:?}");
            for (found, expected) in found.iter().zip(expected) {
                let cut = expected.split(",\n{").next().unwrap_or_default();
                assert!(found.starts_with(cut), "{text}: {found:?} {expected:?}");
            }
        }
    }

    #[test]
    fn what_is_too_long_is_left_out_in_constant_memory() {
        let long = format!("{{\"a\": \"{}\", \"b\": [\"}}\"]}}", "x\\\"".repeat(3_000));
        for text in [
            format!("[{{\"b\": 1}}, {long}, {{\"c\": 2}}]"),
            format!("{{\"Records\": [{{\"b\": 1}}, {long}, {{\"c\": 2}}]}}"),
            format!("{{\"b\": 1}} {long} {{\"c\": 2}}"),
            format!("{{\"b\": 1}}\n{long}\n{{\"c\": 2}}\n"),
            format!("nonsense\n{}\n{{\"c\": 2}}", "x".repeat(9_000)),
        ] {
            let found = pieces(&text, 64, 1_024);
            assert_eq!(found.len(), 3, "{found:?}");
            assert!(found.iter().any(|one| one.contains("longer than")), "{found:?}");
            assert!(found.iter().any(|one| one.contains("{\"c\": 2}")), "{found:?}");
        }
        let endless = io::repeat(b'x').take(1 << 20);
        let mut splitter = Splitter::with_limits(endless, 64, 1_024);
        assert!(matches!(splitter.next(), Some(Err((_, Unsplit::Long)))));
        assert!(splitter.window.held().len() <= 2_048);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail_and_the_size_of_reads_changes_nothing(
            text in r#"([{}\[\],:"\\ \n]|a|1|"Records"|\{"Records": \[|\}\n\{){0,60}"#, chunk in 1_usize..9, longest in 8_usize..64)
        {
            prop_assert_eq!(pieces(&text, chunk, longest), pieces(&text, CHUNK, longest));
        }

        #[test]
        fn no_sound_line_is_lost_whatever_stands_between(
            kinds in prop::collection::vec(0_usize..9, 0..12), chunk in 1_usize..64)
        {
            let broken = ["{\"a\": \"x", "{\"a\": {", "nonsense", "}", "{\"a\": 1}}", "[\"", "[", "{\"a\" 1", ""];
            let lines = kinds.iter().enumerate().flat_map(|(number, kind)| [format!("{{\"n\": {number}}}"), broken[*kind].to_owned()]);
            let found = pieces(&lines.collect::<Vec<_>>().join("\n"), chunk, LONGEST);
            for number in 0..kinds.len() {
                let wanted = format!(" {{\"n\": {number}}}");
                prop_assert!(found.iter().any(|one| one.ends_with(&wanted)), "{} of {:?}", number, found);
            }
        }
    }
}
