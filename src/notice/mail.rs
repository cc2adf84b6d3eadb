//! Writes the mail: a subject that SNS accepts, and a body for a tired person.

use std::fmt::Write;

use super::report::Line;
use super::{Report, Stage};
use crate::moment::Moment;

/// SNS takes subjects of fewer than 100 ASCII characters without line breaks (SNS API Reference, "Publish").
const LONGEST_SUBJECT: usize = 99;

/// The subject: stage, entity and account, the entity's name cut where it must be.
pub fn subject(report: &Report) -> String {
    let subject = match &report.account_id {
        Some(account) => {
            let tail = format!(" in {account}");
            let head = format!("{}: {}", report.stage, report.label);
            let room = LONGEST_SUBJECT.saturating_sub(tail.len());
            if head.len() > room {
                format!(
                    "{}...{tail}",
                    head.chars().take(room.saturating_sub(3)).collect::<String>()
                )
            } else {
                format!("{head}{tail}")
            }
        }
        None => format!("{}: a message to entity-lockdown", report.stage),
    };
    subject
        .chars()
        .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' })
        .take(LONGEST_SUBJECT)
        .collect()
}

/// The body.
pub fn body(report: &Report) -> String {
    let mut text = format!("{}\n", sentence(&report.summary));
    let mut list = |title: &str, lines: &[String], left_out: &str| {
        if lines.is_empty() {
            return;
        }
        // INVARIANT: writing to a String doesn't fail.
        let _ = write!(text, "\n{title}\n");
        for line in lines {
            let _ = writeln!(text, "  - {line}");
        }
        if let Some(more) = report.left_out.get(left_out) {
            let _ = writeln!(
                text,
                "  ... and {more} more: the record has them all, see `lockdown show`"
            );
        }
    };
    list("UNJOURNALLED", &unjournalled(report), "");
    let about = report.event.as_ref();
    let rules: Vec<String> = about.map_or(vec![], |event| event.rules.iter().map(words).collect());
    list("Rules that match", &rules, "rules");
    let entities: Vec<String> = report.entities.iter().map(words).collect();
    list("Entities of the event, and what is done", &entities, "entities");
    list("What it changed", &report.traces, "traces");
    let steps: Vec<String> = report
        .steps
        .iter()
        .enumerate()
        .map(|(n, line)| format!("{}. {}", n + 1, words(line)))
        .collect();
    let being_done = if report.stage == Stage::Planned {
        "Steps"
    } else {
        "Being done"
    };
    list(being_done, &steps, "steps");
    list("Done", &report.done.iter().map(words).collect::<Vec<_>>(), "done");
    let left = if report.stage == Stage::Released {
        "Left as it is"
    } else {
        "NOT done"
    };
    list(left, &report.not_done.iter().map(words).collect::<Vec<_>>(), "notDone");
    list("STAYS OPEN", &report.residue, "residue");
    list("Also affected", &report.affected, "affected");
    list("Good to know", &report.remarks, "remarks");
    list("What to do next", &report.next, "next");
    if let Some(command) = &report.release_command {
        let _ = write!(text, "\nTo release (asks for the ExternalId)\n  {command}\n");
    }
    text.push('\n');
    let claimed = &report.claimed;
    let (at, id) = (
        about.and_then(|event| event.at).map(Moment::for_people),
        about.and_then(|event| event.id.clone()),
    );
    let owners = (!report.owners.is_empty()).then(|| report.owners.join(", "));
    for (name, value) in [
        ("Event", id.as_ref()),
        ("Happened", at.as_ref()),
        ("Region", about.and_then(|event| event.region.as_ref())),
        ("Owner", owners.as_ref()),
        ("Entity", report.entity.as_ref()),
        ("Account", report.account_id.as_ref()),
        ("Containment", report.containment_id.as_ref()),
        ("Message", report.message_id.as_ref()),
        ("Reason (as claimed)", claimed.reason.as_ref()),
        ("Incident (as claimed)", claimed.incident.as_ref()),
        ("Requested by (as claimed)", claimed.requested_by.as_ref()),
    ] {
        if let Some(value) = value {
            let _ = writeln!(text, "{name}: {value}");
        }
    }
    let _ = writeln!(text, "Written: {}", report.at.for_people());
    text
}

fn unjournalled(report: &Report) -> Vec<String> {
    if report.journalled {
        return vec![];
    }
    let where_it_is =
        "The journal could not be reached, so this record is in the function's log alone: import it before a release \
                       can undo anything"
            .to_owned();
    let mut lines = vec![where_it_is];
    if report.import_commands.is_empty() {
        lines.push("The command for it is `lockdown journal import`".to_owned());
    }
    lines.extend(report.import_commands.iter().cloned());
    lines
}

fn words(line: &Line) -> String {
    let mut text = line.what.clone();
    if let Some(at) = line.at {
        let _ = write!(text, " ({})", at.for_people());
    }
    if let Some(why) = &line.why {
        let _ = write!(text, ": {why}");
    }
    text
}

fn sentence(text: &str) -> String {
    let ends = text.ends_with(['.', '!', '?']);
    if ends { text.to_owned() } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::tests::request;
    use crate::request::Action;

    #[test]
    fn a_subject_is_short_ascii_and_names_stage_entity_and_account() {
        let mut asked = request(Action::Contain, "m1", 0);
        let report = Report::about(Stage::Contained, &asked, "done");
        assert_eq!(subject(&report), "Contained: IAM user alice in 222222222222");
        asked.entity.name = "x".repeat(300);
        let long = subject(&Report::about(Stage::Contained, &asked, "done"));
        assert_eq!(long.len(), LONGEST_SUBJECT);
        assert!(long.ends_with("... in 222222222222"), "{long}");
        let odd = Report {
            label: "a\r\nBcc: ä".to_owned(),
            ..report
        };
        assert_eq!(subject(&odd), "Contained: a??Bcc: ? in 222222222222");
    }

    #[test]
    fn the_mails_say_all_that_a_tired_person_needs() {
        use crate::record::Record;
        use crate::record::tests::kept;
        for (name, text) in kept() {
            let record: Record = serde_json::from_str(&text).expect("a record");
            let mut asked = request(Action::Contain, "m1", 0);
            asked.entity = record.entity.to_string().parse().expect("an entity");
            asked.claims = record.claims();
            let summary = "The summary".to_owned();
            let mut report = if name.ends_with("-released") {
                Report::released(Stage::Released, &asked, &record, summary, vec![])
            } else {
                Report::contained(Stage::Contained, &asked, &record, summary, vec!["Look".to_owned()])
            };
            report.at = record.changed;
            let mail = format!("{}\n\n{}", subject(&report), body(&report));
            insta::assert_snapshot!(format!("mail-{name}"), mail);
        }
    }

    #[test]
    fn an_unjournalled_mail_names_the_log_group_and_the_table() {
        let asked = request(Action::Contain, "m1", 0);
        let report = Report::about(Stage::Contained, &asked, "done").unjournalled(&crate::settings::tests::settings());
        let mail = body(&report);
        assert!(
            mail.contains("UNJOURNALLED") && mail.contains("'/aws/lambda/entity-lockdown'"),
            "{mail}"
        );
        assert!(
            mail.contains("lockdown journal import lines.json --table 'journal'"),
            "{mail}"
        );
    }
}
