//! Moments in UTC, to the millisecond, written as in `2026-11-22T17:55:38.123Z`.

use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::arn::serde_as_text;

/// A moment: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(i64);

#[cfg(test)]
thread_local! {
    /// How far a test is ahead of the clock.
    static AHEAD: std::cell::Cell<i64> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
impl Moment {
    /// Lets time pass for this test.
    pub(crate) fn advance(millis: i64) {
        AHEAD.set(AHEAD.get() + millis);
    }
}

/// A text that is no RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time like 2026-11-22T17:55:38Z")]
pub struct NotAMoment;

impl Moment {
    /// The present.
    pub fn now() -> Self {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let now = Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        #[cfg(test)]
        let now = Self(now.0 + AHEAD.get());
        now
    }

    /// From milliseconds since 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// This moment, so many seconds later.
    pub const fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add((seconds as i64).saturating_mul(1000)))
    }

    /// This moment, so much later, to the millisecond.
    pub fn plus(self, later: std::time::Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(later.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// The time from this moment until `later`; zero if it has passed.
    pub fn until(self, later: Self) -> std::time::Duration {
        std::time::Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }

    /// For people: `2026-11-22 17:55:38 UTC`.
    pub fn for_people(self) -> String {
        let text = self.to_string();
        let (date, rest) = text.split_once('T').unwrap_or((&text, ""));
        format!("{date} {} UTC", rest.split('.').next().unwrap_or(rest))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = i128::from(self.0).saturating_mul(1_000_000);
        let when = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (hour, minute, second, milli) = (when.hour(), when.minute(), when.second(), when.millisecond());
        let (year, month, day) = (when.year(), u8::from(when.month()), when.day());
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"
        )
    }
}

impl FromStr for Moment {
    type Err = NotAMoment;

    fn from_str(text: &str) -> Result<Self, NotAMoment> {
        let when = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| NotAMoment)?;
        i64::try_from(when.unix_timestamp_nanos() / 1_000_000)
            .map(Self)
            .map_err(|_| NotAMoment)
    }
}

serde_as_text!(Moment);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_as_sns_writes_it_and_writes_itself_sortably() {
        let moment: Moment = "2026-11-22T17:55:38.120Z".parse().expect("a time");
        assert_eq!(moment.to_string(), "2026-11-22T17:55:38.120Z");
        assert_eq!(moment.for_people(), "2026-11-22 17:55:38 UTC");
        assert_eq!(moment.plus_seconds(60).to_string(), "2026-11-22T17:56:38.120Z");
        assert_eq!(moment.until(moment.plus_seconds(2)).as_secs(), 2);
        assert_eq!(moment.plus_seconds(2).until(moment).as_secs(), 0);
        assert_eq!("tomorrow".parse::<Moment>(), Err(NotAMoment));
    }
}
