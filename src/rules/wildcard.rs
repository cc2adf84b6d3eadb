//! Patterns with stars, as `like` and EventBridge's `wildcard` have them.

/// A pattern in which `*` stands for any characters, `\*` for a star and `\\` for a backslash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wildcard {
    /// As it was written.
    pub(super) written: String,
    first: String,
    middle: Vec<String>,
    last: String,
}

impl Wildcard {
    /// Reads one.
    ///
    /// # Errors
    /// It has no star, two stars in a row, or a backslash before anything else; the text says so.
    pub fn parse(written: &str) -> Result<Self, &'static str> {
        let mut pieces = vec![];
        let mut piece = String::new();
        let mut chars = written.chars();
        let mut star_before = false;
        while let Some(c) = chars.next() {
            let star = c == '*';
            match c {
                '*' if star_before => return Err("two stars in a row: one stands for any characters already"),
                '*' => pieces.push(std::mem::take(&mut piece)),
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '\\')) => piece.push(escaped),
                    _ => return Err("a backslash stands before a star or a backslash only"),
                },
                c => piece.push(c),
            }
            star_before = star;
        }
        let mut pieces = pieces.into_iter();
        let Some(first) = pieces.next() else {
            return Err("no `*`, which stands for any characters: write `=` where the whole text is meant");
        };
        Ok(Self {
            written: written.to_owned(),
            first,
            middle: pieces.collect(),
            last: piece,
        })
    }

    /// What a text begins with that it matches.
    pub(super) fn first(&self) -> &str {
        &self.first
    }

    /// Whether it matches a whole text. Takes time in proportion to the text's length for each star.
    pub fn matches(&self, text: &str) -> bool {
        let between = text
            .strip_prefix(&*self.first)
            .and_then(|rest| rest.strip_suffix(&*self.last));
        let Some(mut rest) = between else {
            return false;
        };
        self.middle.iter().all(|piece| match rest.split_once(&**piece) {
            Some((_, behind)) => {
                rest = behind;
                true
            }
            None => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters_and_an_escaped_one_for_itself() {
        for (pattern, text, expected) in [
            ("a*", "abc", true),
            ("a*", "ba", false),
            ("*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "a", false),
            ("aa*aa", "aaa", false),
            ("a*b*c", "aXbYc", true),
            ("*b*b*", "ab", false),
            ("*", "", true),
            (r"a\**", "a*b", true),
            (r"a\**", "ab", false),
            (r"a\\*", r"a\b", true),
        ] {
            assert_eq!(
                Wildcard::parse(pattern).map(|wildcard| wildcard.matches(text)),
                Ok(expected),
                "{pattern} {text}"
            );
        }
        for pattern in ["", "abc", "a**b", r"a\b*", r"*\"] {
            assert!(Wildcard::parse(pattern).is_err(), "{pattern}");
        }
    }
}
