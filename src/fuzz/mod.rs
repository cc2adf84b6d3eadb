//! Random texts for whatever reads what others wrote: none may panic, and what is read is written as it was read.
//!
//! Few by default; `LOCKDOWN_FUZZ_CASES=10000000 cargo test --features testing --lib fuzz` tries as many as it says at each target,
//! from a seed that `LOCKDOWN_FUZZ_SEED` sets and each failure names. On stable, and in the same build as all other tests: what
//! guides a search by coverage needs another compiler.

mod arn;
mod message;
mod record;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// How many cases are tried when nobody says otherwise.
const CASES: u64 = 3_000;

/// Random numbers (xorshift64*, Vigna 2016): the same for the same seed, everywhere.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        usize::try_from(high).unwrap_or(0) % bound.max(1)
    }

    pub(crate) fn one<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    /// Parts in a row, or a whole text that is changed a little.
    pub(crate) fn text(&mut self, parts: &[&str], wholes: &[&str]) -> String {
        if self.below(2) == 0 {
            let space = if self.below(8) == 0 { "" } else { " " };
            let parts: Vec<&str> = (0..self.below(24)).map(|_| self.one(parts)).collect();
            return parts.join(space);
        }
        self.changed(parts, wholes)
    }

    /// A whole text that is changed in a few places.
    pub(crate) fn changed(&mut self, parts: &[&str], wholes: &[&str]) -> String {
        let mut text = self.one(wholes).to_owned();
        for _ in 0..self.below(4) {
            let at = text.floor_char_boundary(self.below(text.len() + 1));
            match self.below(4) {
                0 => text.truncate(at),
                1 if at < text.len() => drop(text.remove(at)),
                2 => {
                    let to = text.floor_char_boundary((at + self.below(40)).min(text.len()));
                    text.replace_range(at..to, self.one(parts));
                }
                _ => text.insert_str(at, self.one(parts)),
            }
        }
        text
    }
}

/// Tries as many cases as are asked for; `check` panics on a failure, and says whether the case was one that could be read. At least
/// one in `least` must be: were nothing ever read, nothing would be tested.
pub(crate) fn each<T: std::fmt::Debug>(least: u64, make: impl Fn(&mut Dice) -> T, check: impl Fn(&T) -> bool) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let cases = number("LOCKDOWN_FUZZ_CASES").unwrap_or(CASES);
    let mut dice = Dice(number("LOCKDOWN_FUZZ_SEED").unwrap_or(20_261_122).max(1));
    let mut read = 0;
    for case in 0..cases {
        let began = dice.0;
        let made = make(&mut dice);
        let tried = catch_unwind(AssertUnwindSafe(|| check(&made)));
        read += u64::from(tried.unwrap_or_else(|_| panic!("case {case}, LOCKDOWN_FUZZ_SEED={began}: {made:#?}")));
    }
    assert!(read > cases / least, "only {read} of {cases} could be read");
}
