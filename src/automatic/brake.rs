//! The brake: how many containments the automation begins in an hour, over all instances of the function.
//!
//! A rule that is too wide, or somebody who makes findings, must not lock a whole company out. Messages of people are never braked.

use serde::{Deserialize, Serialize};

use crate::journal::{Journal, JournalError};
use crate::moment::Moment;
use crate::work::Tries;

/// How far back containments count, in seconds.
const WINDOW_SECONDS: u64 = 3600;

/// The key of the note that all instances share.
const NOTE: &str = "brake";

/// One containment that the automation has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    /// Which: the event and the entity. A repetition counts once.
    what: String,
    account: String,
    at: Moment,
}

/// The containments of the last hour, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Brake(Vec<Begun>);

/// Why no further containment may begin now, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Held {
    /// The automation contains nothing at all.
    #[error("MaxAutomaticPerHour is 0, so nothing is contained automatically")]
    Off,
    /// As many have begun as may.
    #[error(
        "the brake holds: {most} containments have begun automatically within an hour, the most that MaxAutomaticPerHour allows"
    )]
    All {
        /// So many.
        most: usize,
    },
    /// As many have begun in its account as may.
    #[error(
        "the brake holds: {most} containments have begun automatically in account {account} within an hour, half of what \
         MaxAutomaticPerHour allows in all"
    )]
    Account {
        /// So many.
        most: usize,
        /// Which.
        account: String,
    },
}

impl Brake {
    /// Counts a containment that is about to begin, if it may.
    ///
    /// # Errors
    /// It may not.
    pub(super) fn admit(&mut self, what: &str, account: &str, most: usize, now: Moment) -> Result<(), Held> {
        self.0.retain(|begun| begun.at.plus_seconds(WINDOW_SECONDS) > now);
        if self.0.iter().any(|begun| begun.what == what) {
            return Ok(());
        }
        // Half, and at least one: a brake that lets nothing through in any account would be one that is off.
        let most_here = most.div_ceil(2);
        let here = self.0.iter().filter(|begun| begun.account == account).count();
        if most == 0 {
            Err(Held::Off)
        } else if self.0.len() >= most {
            Err(Held::All { most })
        } else if here >= most_here {
            let (most, account) = (most_here, account.to_owned());
            Err(Held::Account { most, account })
        } else {
            let (what, account) = (what.to_owned(), account.to_owned());
            self.0.push(Begun { what, account, at: now });
            Ok(())
        }
    }
}

/// Asks the brake that all instances share.
///
/// # Errors
/// The journal can't be read or written: then nothing may be contained automatically.
pub(super) async fn ask(
    journal: &Journal,
    what: &str,
    account: &str,
    most: usize,
) -> Result<Result<(), Held>, JournalError> {
    let tries = Tries::begin();
    loop {
        let now = Moment::now();
        let note = journal.note(NOTE).await?;
        let before: Brake = match &note {
            Some(note) => serde_json::from_value(note.value.clone()).map_err(|error| JournalError::Unreadable {
                key: NOTE.to_owned(),
                problem: error.to_string(),
            })?,
            None => Brake::default(),
        };
        let mut brake = before.clone();
        let said = brake.admit(what, account, most, now);
        if said.is_err() || brake == before {
            return Ok(said);
        }
        let value = serde_json::to_value(&brake).unwrap_or_default();
        let expected = note.map(|note| note.version);
        match journal
            .write_note(NOTE, &value, expected, now.plus_seconds(2 * WINDOW_SECONDS))
            .await
        {
            Ok(()) => return Ok(said),
            Err(error @ JournalError::Conflict) => {
                if !tries.next().await {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::memory::Memory;

    fn at(second: u64) -> Moment {
        let base: Moment = "2026-11-22T00:00:00Z".parse().expect("a time");
        base.plus_seconds(second)
    }

    #[test]
    fn the_twenty_first_within_an_hour_is_held_and_the_first_of_the_next_is_not() {
        let mut brake = Brake::default();
        for n in 0..20 {
            let account = ["a", "b", "c"][n % 3];
            assert_eq!(brake.admit(&format!("{n}"), account, 20, at(n as u64)), Ok(()), "{n}");
        }
        assert_eq!(brake.admit("20", "d", 20, at(30)), Err(Held::All { most: 20 }));
        // The first has left the window, and makes room for one.
        assert_eq!(brake.admit("20", "d", 20, at(3600)), Ok(()));
        assert_eq!(brake.admit("21", "d", 20, at(3600)), Err(Held::All { most: 20 }));
    }

    #[test]
    fn one_account_gets_half() {
        let mut brake = Brake::default();
        for n in 0..10 {
            assert_eq!(brake.admit(&format!("{n}"), "a", 20, at(0)), Ok(()));
        }
        let held = Held::Account {
            most: 10,
            account: "a".to_owned(),
        };
        assert_eq!(brake.admit("10", "a", 20, at(0)), Err(held));
        assert_eq!(brake.admit("10", "b", 20, at(0)), Ok(()));
        let mut brake = Brake::default();
        assert_eq!(brake.admit("0", "a", 1, at(0)), Ok(()));
        assert!(brake.admit("1", "b", 1, at(0)).is_err());
    }

    #[test]
    fn a_repetition_counts_once_and_zero_is_off() {
        let mut brake = Brake::default();
        assert_eq!(brake.admit("0", "a", 1, at(0)), Ok(()));
        assert_eq!(brake.admit("0", "a", 1, at(9)), Ok(()));
        assert_eq!(Brake::default().admit("0", "a", 0, at(0)), Err(Held::Off));
    }

    #[tokio::test]
    async fn all_instances_share_it() {
        let journal = Journal::Memory(Memory::default());
        for (what, admitted) in [("1", true), ("2", true), ("2", true), ("3", false)] {
            let account = format!("account-{what}");
            let said = ask(&journal, what, &account, 2).await.expect("a journal");
            assert_eq!(said.is_ok(), admitted, "{what}: {said:?}");
        }
    }
}
