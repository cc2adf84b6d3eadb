//! Finds where a JSON value ends, by its brackets and quotes alone.

use std::ops::Range;

use memchr::memchr2;

/// How far a value is known. It goes on where it stopped when more bytes have come.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// So many bytes of the value have been looked at.
    pub at: usize,
    /// So many brackets are open.
    depth: u32,
    /// The text that is open begins here.
    text: Option<usize>,
}

/// What [`Scan::advance`] came to.
pub(super) enum Step {
    /// The end of the value: [`Scan::at`] is behind it.
    End,
    /// The end of a text in the outermost brackets: a name or a value.
    Text(Range<usize>),
    /// The end of the bytes.
    More,
}

impl Scan {
    /// A scan from within one bracket, as if its value had begun there.
    pub fn within_bracket() -> Self {
        Self {
            depth: 1,
            ..Self::default()
        }
    }

    /// Looks further; `value` begins where the value does.
    pub fn advance(&mut self, value: &[u8]) -> Step {
        while let Some(rest) = value.get(self.at..) {
            let found = match self.text {
                Some(_) => memchr2(b'"', b'\\', rest),
                None => rest
                    .iter()
                    .position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']')),
            };
            let Some(found) = found else {
                self.at = value.len();
                return Step::More;
            };
            self.at += found + 1;
            match (rest.get(found), self.text) {
                // What is escaped may lie behind the bytes that are there: then the loop ends.
                (Some(b'\\'), Some(_)) => self.at += 1,
                (Some(b'"'), Some(from)) => {
                    self.text = None;
                    match self.depth {
                        0 => return Step::End,
                        1 => return Step::Text(from..self.at - 1),
                        _ => {}
                    }
                }
                (Some(b'"'), None) => self.text = Some(self.at),
                (Some(b'{' | b'['), _) => self.depth += 1,
                _ if self.depth <= 1 => return Step::End,
                _ => self.depth -= 1,
            }
        }
        Step::More
    }

    /// Forgets bytes that are no longer held.
    pub fn forget(&mut self, length: usize) {
        self.at = self.at.saturating_sub(length);
    }
}
