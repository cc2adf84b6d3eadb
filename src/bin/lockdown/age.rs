//! Spans of time, as people say them.

use std::time::Duration;

use entity_lockdown::moment::Moment;

/// How long ago something was, in its two largest units: `3 d 4 h`, `5 min`, `12 s`.
pub fn since(then: Moment, now: Moment) -> String {
    spoken(then.until(now))
}

/// A span in its two largest units.
pub fn spoken(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_said_in_its_two_largest_units() {
        for (seconds, said) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_660, "1 h 1 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(spoken(Duration::from_secs(seconds)), said);
        }
        let then = Moment::from_millis(5_000);
        assert_eq!(since(then, Moment::from_millis(0)), "0 s");
    }
}
