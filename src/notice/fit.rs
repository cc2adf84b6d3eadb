//! Makes a notice as short as SNS takes it: what was done gives way first, what was not done and stays open last, and nothing without
//! saying so.

use serde_json::json;

use super::report::Line;
use super::{Report, mail};

/// SNS takes 262,144 bytes of message and attributes together (SNS API Reference, "Publish"); the rest is room for the attributes.
const LONGEST_MESSAGE: usize = 256_000;

/// How many lines of a list are kept, the most that fit.
const KEPT: [usize; 6] = [1_000, 300, 100, 30, 10, 3];

/// The longest text of one line, once the number of lines is not what makes a notice too long.
const LONGEST_LINE: usize = 600;

/// The message for SNS: JSON for programs, text for mails.
pub(super) fn message(report: &Report) -> String {
    let whole = written(report);
    if whole.len() <= LONGEST_MESSAGE {
        return whole;
    }
    let mut short = report.clone();
    cut(&mut short.summary, LONGEST_LINE);
    // Each list is shortened as far as it goes before the next one is touched.
    let ways: [fn(&mut Report, &Report, usize); 4] = [shorten_done, shorten_beside, shorten_open, |short, _, _| {
        cut_lines(short)
    }];
    for way in ways {
        for kept in KEPT {
            way(&mut short, report, kept);
            let message = written(&short);
            if message.len() <= LONGEST_MESSAGE {
                return message;
            }
        }
    }
    written(&short)
}

fn written(report: &Report) -> String {
    let data = serde_json::to_string(report).unwrap_or_default();
    json!({"default": data, "email": mail::body(report)}).to_string()
}

fn shorten_done(short: &mut Report, whole: &Report, kept: usize) {
    let left = [
        ("done", keep(&mut short.done, whole.done.len(), kept)),
        ("steps", keep(&mut short.steps, whole.steps.len(), kept)),
    ];
    note(short, left);
}

fn shorten_beside(short: &mut Report, whole: &Report, kept: usize) {
    let left = [
        ("affected", keep(&mut short.affected, whole.affected.len(), kept)),
        ("remarks", keep(&mut short.remarks, whole.remarks.len(), kept)),
    ];
    note(short, left);
}

fn shorten_open(short: &mut Report, whole: &Report, kept: usize) {
    let left = [
        ("notDone", keep(&mut short.not_done, whole.not_done.len(), kept)),
        ("residue", keep(&mut short.residue, whole.residue.len(), kept)),
    ];
    note(short, left);
    let rules = short.event.as_mut().map_or(0, |event| {
        let whole = whole.event.as_ref().map_or(0, |event| event.rules.len());
        keep(&mut event.rules, whole, kept)
    });
    let left = [
        ("rules", rules),
        ("entities", keep(&mut short.entities, whole.entities.len(), kept)),
    ];
    note(short, left);
}

/// Shortens a list, and says how many of the whole are left out of it.
fn keep<T>(list: &mut Vec<T>, whole: usize, kept: usize) -> usize {
    list.truncate(kept);
    whole - list.len()
}

fn note(short: &mut Report, left_out: [(&'static str, usize); 2]) {
    for (list, left) in left_out.into_iter().filter(|(_, left)| *left > 0) {
        short.left_out.insert(list, left);
    }
}

fn cut_lines(short: &mut Report) {
    let cut_line = |line: &mut Line| {
        cut(&mut line.what, LONGEST_LINE);
        if let Some(why) = &mut line.why {
            cut(why, LONGEST_LINE);
        }
    };
    let lines = [
        &mut short.done,
        &mut short.steps,
        &mut short.not_done,
        &mut short.entities,
    ];
    lines.into_iter().flatten().for_each(cut_line);
    let texts = [
        &mut short.residue,
        &mut short.affected,
        &mut short.remarks,
        &mut short.next,
        &mut short.traces,
    ];
    texts.into_iter().flatten().for_each(|text| cut(text, LONGEST_LINE));
}

fn cut(text: &mut String, longest: usize) {
    if text.len() > longest {
        let at = text.floor_char_boundary(longest);
        text.truncate(at);
        text.push_str("...");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::tests::request;
    use crate::moment::Moment;
    use crate::notice::Stage;
    use crate::request::Action;
    use serde_json::Value;

    /// SNS's own limit.
    const LIMIT: usize = 262_144;

    fn lines(count: usize, length: usize) -> Vec<Line> {
        let line = |n| Line {
            what: format!("step {n} \"{}\"", "x".repeat(length)),
            at: Some(Moment::now()),
            why: Some("é".repeat(length)),
        };
        (0..count).map(line).collect()
    }

    fn report(done: Vec<Line>, not_done: Vec<Line>) -> Report {
        Report {
            steps: done.clone(),
            done,
            not_done,
            residue: vec!["this stays open".to_owned()],
            next: vec!["do this next".to_owned()],
            release_command: Some("lockdown publish --action release".to_owned()),
            ..Report::about(Stage::Partial, &request(Action::Contain, "m1", 0), "in part only")
        }
    }

    /// The mail and the JSON of a message that SNS takes.
    fn sent(report: &Report) -> (String, Value) {
        let message = message(report);
        assert!(message.len() <= LIMIT - 2_000, "{}", message.len());
        let both: Value = serde_json::from_str(&message).expect("JSON");
        let text = |name: &str| both[name].as_str().expect("a text").to_owned();
        (text("email"), serde_json::from_str(&text("default")).expect("JSON"))
    }

    #[test]
    fn a_notice_that_fits_is_sent_whole() {
        let (mail, data) = sent(&report(lines(20, 50), lines(2, 50)));
        assert!(mail.contains("step 19") && !mail.contains("more"), "{mail}");
        assert_eq!(
            (data["done"].as_array().map(Vec::len), data.get("leftOut")),
            (Some(20), None)
        );
    }

    #[test]
    fn what_was_done_gives_way_to_what_was_not() {
        let (mail, data) = sent(&report(lines(2_000, 100), lines(50, 300)));
        for part in [
            "NOT done",
            "step 49 \"",
            "this stays open",
            "do this next",
            "lockdown publish --action release",
        ] {
            assert!(mail.contains(part), "{part}");
        }
        let (kept, left) = (
            data["done"].as_array().map_or(0, Vec::len),
            data["leftOut"]["done"].as_u64(),
        );
        assert!(kept > 0 && left == Some(2_000 - kept as u64), "{kept} {left:?}");
        assert!(mail.contains(&format!("... and {} more", 2_000 - kept)), "{mail}");
        assert_eq!(data["notDone"].as_array().map(Vec::len), Some(50));
        assert_eq!(data["leftOut"].get("notDone"), None);
    }

    #[test]
    fn what_was_not_done_is_never_left_out_without_a_word() {
        for (count, length) in [(600, 200), (20, 20_000)] {
            let (mail, data) = sent(&report(lines(count, length), lines(count, length)));
            assert!(
                data["notDone"].as_array().is_some_and(|lines| lines.len() >= 3),
                "{count}"
            );
            assert!(mail.contains("NOT done") && mail.contains("this stays open"), "{count}");
            assert!(mail.contains("more: the record has them all"), "{count}");
            assert!(mail.contains("lockdown publish --action release"), "{count}");
        }
    }
}
