//! What is wrong with rule files, for the person who must mend them.

use std::fmt;

/// The longest line that is shown whole, in characters.
const WIDEST: usize = 160;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name.
    pub file: String,
    /// Where in it; nowhere, if it can't be read at all.
    pub spot: Option<Spot>,
    /// What is wrong, and what to write.
    pub text: String,
}

/// A place in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// The line, counted from one.
    pub line: usize,
    /// The character of the line, counted from one.
    pub column: usize,
    /// The line itself.
    pub source: String,
}

/// A text whose lines are known.
pub(super) struct Lines<'a> {
    text: &'a str,
    /// The byte that each line begins at.
    begins: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub fn of(text: &'a str) -> Self {
        let behind = memchr::memchr_iter(b'\n', text.as_bytes()).map(|newline| newline + 1);
        Self {
            text,
            begins: std::iter::once(0).chain(behind).collect(),
        }
    }

    /// The line that a byte is in, counted from one.
    pub fn line(&self, at: usize) -> usize {
        self.begins.partition_point(|begins| *begins <= at)
    }

    /// The place of a byte.
    pub fn spot(&self, at: usize) -> Spot {
        let line = self.line(at);
        let begins = self.begins.get(line - 1).copied().unwrap_or_default();
        let source = self
            .text
            .get(begins..)
            .unwrap_or_default()
            .lines()
            .next()
            .unwrap_or_default();
        let before = source
            .char_indices()
            .take_while(|(index, _)| begins + index < at)
            .count();
        Spot {
            line,
            column: before + 1,
            source: source.to_owned(),
        }
    }

    /// The place where a line begins.
    pub fn begin(&self, line: usize) -> Spot {
        self.spot(self.begins.get(line - 1).copied().unwrap_or_default())
    }
}

impl Problem {
    /// The problem, with the line that it is in and a mark below.
    pub fn pointed(&self) -> String {
        let Some(spot) = &self.spot else {
            return self.to_string();
        };
        let skipped = (spot.column - 1).saturating_sub(WIDEST / 2);
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let shown: String = spot.source.chars().skip(skipped).take(WIDEST).map(plain).collect();
        let number = spot.line.to_string();
        let margin = " ".repeat(number.len());
        let mark = " ".repeat(spot.column - 1 - skipped);
        format!("{self}\n  {number} | {}\n  {margin} | {mark}^", shown.trim_end())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.spot {
            Some(Spot { line, column, .. }) => write!(f, "{}:{line}:{column}: {}", self.file, self.text),
            None => write!(f, "{}: {}", self.file, self.text),
        }
    }
}

/// All that is wrong, at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            let newline = if number > 0 { "\n" } else { "" };
            write!(f, "{newline}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spot_is_counted_in_characters_and_its_line_is_shown() {
        let problem = |text: &str, at| Problem {
            file: "x.toml".to_owned(),
            spot: Some(Lines::of(text).spot(at)),
            text: "wrong".to_owned(),
        };
        let text = "one\nzwö = three\r\nfour";
        assert_eq!(
            problem(text, 9).pointed(),
            "x.toml:2:5: wrong\n  2 | zwö = three\n    |     ^"
        );
        assert_eq!(problem(text, 7).to_string(), "x.toml:2:4: wrong");
        assert_eq!(problem(text, 999).to_string(), "x.toml:3:5: wrong");
        let long = problem(&"x".repeat(500), 400).pointed();
        assert!(long.lines().all(|line| line.chars().count() < 200), "{long}");
    }
}
