//! Which events the automation has seen: EventBridge delivers some twice, GuardDuty sends a finding again whenever it updates it, and a
//! call that CloudTrail records can be made a thousand times in a minute.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::journal::{Journal, JournalError};
use crate::moment::Moment;
use crate::work::Tries;

/// How long an event is remembered, in seconds: as long as GuardDuty keeps its findings, 90 days.
const REMEMBERED_SECONDS: u64 = 90 * 24 * 3600;

/// How long one invocation may take to tell of an event before another one counts it as left alone, in seconds.
const TELLING_SECONDS: u64 = 30;

/// What is remembered of one event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    /// The highest severity that it had.
    severity: f64,
    /// How often it came.
    count: u64,
    /// When it was first taken up at this severity.
    since: Moment,
    /// Whether the notice about it is out.
    told: bool,
    /// Whether all that was to be done about it is done.
    ended: bool,
}

/// What to do with an event that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is new, or its severity rose.
    New,
    /// An invocation has left it half done.
    Left {
        /// Whether the notice about it is out.
        told: bool,
    },
    /// It is being worked on at this moment.
    Now,
    /// It has come so often, and nothing is to do.
    Again(u64),
}

impl Known {
    /// How it is known after it has come (once more), and what to do with it.
    fn come(before: Option<&Self>, severity: f64, quiet: u64, now: Moment) -> (Self, Seen) {
        let new = |count| Self {
            severity,
            count,
            since: now,
            told: false,
            ended: false,
        };
        let Some(before) = before else {
            return (new(1), Seen::New);
        };
        let count = before.count + 1;
        let is_over = before.ended && before.since.plus_seconds(quiet) <= now;
        if severity > before.severity || is_over {
            return (new(count), Seen::New);
        }
        let again = Self {
            count,
            ..before.clone()
        };
        if before.ended {
            (again, Seen::Again(count))
        } else if !before.told && before.since.plus_seconds(TELLING_SECONDS) > now {
            (before.clone(), Seen::Now)
        } else {
            let told = before.told;
            (
                Self {
                    since: now,
                    ..before.clone()
                },
                Seen::Left { told },
            )
        }
    }
}

/// One event, or all events that count as one.
#[derive(Debug)]
pub(super) struct Event<'j> {
    journal: &'j Journal,
    key: String,
    quiet: u64,
}

impl<'j> Event<'j> {
    /// The event by this id of its kind: it is remembered for as long as its service may send it again.
    pub(super) fn of(journal: &'j Journal, kind: &str, id: &str) -> Self {
        Self::quiet(journal, kind, id, REMEMBERED_SECONDS)
    }

    /// All events that have this in common: after the first, they are counted and not told for so long.
    pub(super) fn quiet(journal: &'j Journal, kind: &str, what: &str, seconds: u64) -> Self {
        // Ids are as long as their service likes, and a key of DynamoDB has at most 2,048 bytes.
        let digest: String = Sha256::digest(what).iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            journal,
            key: format!("event/{kind}/{digest}"),
            quiet: seconds,
        }
    }

    /// Notes that it has come.
    ///
    /// # Errors
    /// The journal can't be read or written: then it is not known whether it is new.
    pub(super) async fn come(&self, severity: f64) -> Result<Seen, JournalError> {
        let mut seen = Seen::Now;
        self.change(|before, now| {
            let (known, what) = Known::come(before, severity, self.quiet, now);
            seen = what;
            Some(known)
        })
        .await?;
        Ok(seen)
    }

    /// Notes that the notice about it is out.
    ///
    /// # Errors
    /// The journal can't be written.
    pub(super) async fn told(&self) -> Result<(), JournalError> {
        self.change(|before, _| {
            before.map(|known| Known {
                told: true,
                ..known.clone()
            })
        })
        .await
    }

    /// Notes that this invocation gives it up, and that the next delivery goes on with what is left.
    ///
    /// # Errors
    /// The journal can't be written.
    pub(super) async fn left(&self) -> Result<(), JournalError> {
        self.change(|before, _| {
            before.map(|known| Known {
                since: Moment::from_millis(0),
                ..known.clone()
            })
        })
        .await
    }

    /// Notes that nothing more is to be done about it.
    ///
    /// # Errors
    /// The journal can't be written.
    pub(super) async fn ended(&self) -> Result<(), JournalError> {
        self.change(|before, _| {
            before.map(|known| Known {
                told: true,
                ended: true,
                ..known.clone()
            })
        })
        .await
    }

    async fn change(
        &self,
        mut change: impl FnMut(Option<&Known>, Moment) -> Option<Known>,
    ) -> Result<(), JournalError> {
        let tries = Tries::begin();
        loop {
            let now = Moment::now();
            let note = self.journal.note(&self.key).await?;
            // What can't be read any more is as good as never seen: to act twice is better than not to act.
            let before = note
                .as_ref()
                .and_then(|note| serde_json::from_value::<Known>(note.value.clone()).ok());
            let Some(after) = change(before.as_ref(), now).filter(|after| Some(after) != before.as_ref()) else {
                return Ok(());
            };
            let value = serde_json::to_value(&after).unwrap_or_default();
            let expires = now.plus_seconds(self.quiet.max(2 * TELLING_SECONDS));
            let expected = note.map(|note| note.version);
            match self.journal.write_note(&self.key, &value, expected, expires).await {
                Err(error @ JournalError::Conflict) => {
                    if !tries.next().await {
                        return Err(error);
                    }
                }
                written => return written,
            }
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

    /// What becomes of an event that was `told` and `ended`, since the first second, and comes with this severity at this time.
    fn come(told: bool, ended: bool, severity: f64, second: u64) -> Seen {
        let before = Known {
            severity: 5.0,
            count: 1,
            since: at(0),
            told,
            ended,
        };
        Known::come(Some(&before), severity, 3600, at(second)).1
    }

    #[test]
    fn an_event_is_acted_on_once_and_again_only_if_it_got_worse() {
        assert_eq!(Known::come(None, 5.0, 3600, at(0)).1, Seen::New);
        for severity in [4.0, 5.0] {
            assert_eq!(come(true, true, severity, 100), Seen::Again(2));
        }
        assert_eq!(come(true, true, 5.1, 100), Seen::New);
        assert_eq!(come(true, true, 5.0, 3600), Seen::New, "its time is over");
    }

    #[test]
    fn what_was_left_half_done_is_taken_up_by_the_next_delivery_and_not_by_a_copy() {
        assert_eq!(come(false, false, 5.0, 29), Seen::Now);
        assert_eq!(come(false, false, 5.0, 30), Seen::Left { told: false });
        assert_eq!(come(true, false, 5.0, 1), Seen::Left { told: true });
        assert_eq!(come(true, false, 5.0, 7200), Seen::Left { told: true });
    }

    #[tokio::test]
    async fn what_is_noted_is_known_to_the_next_one() {
        let journal = Journal::Memory(Memory::default());
        let event = Event::of(&journal, "guardduty", &"x".repeat(5000));
        assert_eq!(event.come(5.0).await, Ok(Seen::New));
        assert_eq!(event.come(5.0).await, Ok(Seen::Now));
        assert_eq!(event.left().await, Ok(()));
        assert_eq!(event.come(5.0).await, Ok(Seen::Left { told: false }));
        assert_eq!(event.told().await, Ok(()));
        assert_eq!(event.come(5.0).await, Ok(Seen::Left { told: true }));
        assert_eq!(event.ended().await, Ok(()));
        assert_eq!(event.come(5.0).await, Ok(Seen::Again(2)));
        assert_eq!(event.come(8.0).await, Ok(Seen::New));
        let other = Event::of(&journal, "guardduty", "y");
        assert_eq!(other.come(1.0).await, Ok(Seen::New));
    }
}
