//! Numbers as events and rules write them.

use std::cmp::Ordering;
use std::fmt;

/// A number of JSON: whole where that fits in 64 bits, so that ids keep all their digits, else a finite float.
#[derive(Debug, Clone, Copy)]
pub enum Number {
    /// A whole number.
    Whole(i64),
    /// Any other; never infinite and never NaN.
    Real(f64),
}

impl Number {
    /// The number that a whole text is, as JSON writes numbers (RFC 8259, section 6): no `+`, no leading zero, no space. `None`
    /// for any other text, and for a number that is too large for a float.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, length) = Self::prefix(text)?;
        (length == text.len()).then_some(number)
    }

    /// The number that a text begins with, and how many bytes it takes.
    pub fn prefix(text: &str) -> Option<(Self, usize)> {
        let length = length(text.as_bytes())?;
        let text = text.get(..length)?;
        let number = match text.parse() {
            Ok(whole) => Self::Whole(whole),
            Err(_) => Self::Real(text.parse().ok().filter(|real: &f64| real.is_finite())?),
        };
        Some((number, length))
    }

    #[expect(clippy::cast_precision_loss, reason = "a float is what is asked for")]
    /// As a float; beyond 53 bits rounded.
    pub fn real(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
        }
    }
}

/// How many bytes the number at the beginning takes.
fn length(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let sign = usize::from(bytes.first() == Some(&b'-'));
    let whole = match bytes.get(sign)? {
        b'0' => 1,
        _ => digits(sign),
    };
    if whole == 0 {
        return None;
    }
    let mut end = sign + whole;
    if bytes.get(end) == Some(&b'.') && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    Some(end)
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => Some(one.cmp(other)),
            _ => self.real().partial_cmp(&other.real()),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(whole) => write!(f, "{whole}"),
            // The shortest text that reads as the same float, with an exponent where it would be long.
            Self::Real(real) => write!(f, "{real:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_what_json_says_it_is() {
        for (text, number) in [
            ("0", Number::Whole(0)),
            ("-12", Number::Whole(-12)),
            ("751203476945", Number::Whole(751_203_476_945)),
            ("1.5", Number::Real(1.5)),
            ("3.0e2", Number::Whole(300)),
            ("1E-1", Number::Real(0.1)),
            ("9223372036854775808", Number::Real(9_223_372_036_854_775_808.0)),
        ] {
            assert_eq!(Number::parse(text), Some(number), "{text}");
        }
        for text in [
            "",
            "-",
            "+1",
            "056392974792",
            "1.",
            ".5",
            "1e",
            "0x10",
            "1_000",
            " 1",
            "1 ",
            "NaN",
            "inf",
            "1e999",
            "١",
        ] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }

    #[test]
    fn whole_numbers_keep_all_their_digits() {
        assert_ne!(Number::parse("9007199254740993"), Number::parse("9007199254740992"));
        assert!(Number::Whole(2) < Number::Real(2.5));
    }

    proptest! {
        #[test]
        fn a_number_reads_as_it_is_written(real in any::<f64>().prop_filter("finite", |real| real.is_finite()), whole in any::<i64>()) {
            prop_assert_eq!(Number::parse(&Number::Real(real).to_string()), Some(Number::Real(real)));
            prop_assert_eq!(Number::parse(&Number::Whole(whole).to_string()), Some(Number::Whole(whole)));
        }
    }
}
