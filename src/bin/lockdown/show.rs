//! `lockdown show`: one record, whole.

use std::fmt::Write;

use entity_lockdown::entity::Entity;
use entity_lockdown::journal::{Journal, Stored};
use entity_lockdown::moment::Moment;
use entity_lockdown::notice::report::release_command;
use entity_lockdown::record::{RecordedStep, Seen, StepState};

use crate::aws::{journal, journal_trouble};
use crate::screen::Screen;
use crate::status::TableArgs;
use crate::trouble::{Exit, Trouble};
use crate::{age, standing};

/// Show a whole record: requests, steps with the state before them, history, what stays open
///
/// An entity's ARN finds its present or last containment, open or closed. A containment id finds open ones only. Reads the
/// journal with your own credentials (dynamodb:GetItem, for an id dynamodb:Query on the index `open`; kms:Decrypt on the key).
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  lockdown show arn:aws:iam::222222222222:user/alice --table TABLE\n  lockdown show 0123456789abcdef --table TABLE --json"
)]
pub struct Args {
    /// The entity's ARN, or the id of an open containment (16 hexadecimal digits, in every notice)
    #[arg(value_name = "ID|ARN")]
    what: String,
    #[command(flatten)]
    table: TableArgs,
    /// The record as the journal has it; `lockdown journal import` reads it too
    #[arg(long)]
    json: bool,
}

/// Carries the verb out.
pub async fn run(args: Args, screen: &mut Screen) -> Result<Exit, Trouble> {
    let what = What::of(&args.what)?;
    let journal = journal(&args.table.table, args.table.region.as_ref()).await?;
    let stored = find(&journal, &what).await?;
    if args.json {
        screen.show_json(&stored.record)?;
    } else {
        screen.show(&written(&stored, Moment::now()));
    }
    Ok(Exit::Done)
}

/// What names a record.
#[derive(Debug, PartialEq)]
enum What {
    Entity(Box<Entity>),
    Containment(String),
}

impl What {
    fn of(text: &str) -> Result<Self, Trouble> {
        if text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self::Containment(text.to_owned()));
        }
        match text.parse::<Entity>() {
            Ok(entity) => Ok(Self::Entity(Box::new(entity))),
            Err(error) => Err(Trouble::usage(format!(
                "`{text}` is neither a containment id (16 hexadecimal digits) nor an entity's ARN. {error}"
            ))),
        }
    }
}

async fn find(journal: &Journal, what: &What) -> Result<Stored, Trouble> {
    match what {
        What::Entity(entity) => {
            let found = journal
                .load(&entity.key())
                .await
                .map_err(|error| journal_trouble(&error))?;
            found.ok_or_else(|| {
                Trouble::not_found(format!(
                    "the journal has no record of {}: it was never contained by this deployment, or a containment could not be \
                     journalled (then its notice says UNJOURNALLED)",
                    entity.named
                ))
            })
        }
        What::Containment(id) => {
            let found = journal.open_records().await.map_err(|error| journal_trouble(&error))?;
            let mut open = found.into_iter().flatten();
            let named = open.find(|stored| stored.record.containment.as_str().eq_ignore_ascii_case(id));
            named.ok_or_else(|| {
                Trouble::not_found(format!(
                    "no open containment has the id {id}: one that is closed is found by its entity's ARN (lockdown show ARN)"
                ))
            })
        }
    }
}

/// The record for people. Writing to a text doesn't fail.
pub fn written(stored: &Stored, now: Moment) -> String {
    let record = &stored.record;
    let mut text = format!("{}\n", standing::label(record));
    let mut fact = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<13}{value}");
    };
    fact("ARN", &record.entity.to_string());
    fact("Containment", record.containment.as_str());
    fact("Stage", &standing::stage(stored, now));
    let ago = |then: Moment| format!("{} ({} ago)", then.for_people(), age::since(then, now));
    fact("Opened", &ago(record.opened));
    fact("Changed", &ago(record.changed));
    if let Some(id) = &record.unique_id {
        fact("Unique id", id);
    }
    fact("Topic", &record.topic);
    if let Some(lease) = stored.lease.as_ref().filter(|lease| lease.until > now) {
        fact(
            "Worked on",
            &format!("by {} until {} at least", lease.holder, lease.until.for_people()),
        );
    }
    if let Some(message) = &stored.asked {
        fact("Asked", &format!("the release of the message {message} waits for it"));
    }
    let requests = record.messages.iter().flat_map(request);
    section(&mut text, "Requests, oldest first (who and why as claimed)", requests);
    section(
        &mut text,
        "Steps",
        (1..).zip(&record.steps).flat_map(|(n, one)| step(n, one)),
    );
    section(&mut text, "STAYS OPEN", record.residue.iter().cloned());
    section(&mut text, "Also affected", record.affected.iter().cloned());
    section(&mut text, "Good to know", record.remarks.iter().cloned());
    let events = record
        .history
        .iter()
        .map(|event| format!("{}  {}", event.at.for_people(), event.what));
    section(&mut text, "History", events);
    if record.is_open() {
        section(
            &mut text,
            "To release (asks for the ExternalId)",
            [release_command(record)],
        );
    }
    text
}

fn section(text: &mut String, title: &str, lines: impl IntoIterator<Item = String>) {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_none() {
        return;
    }
    let _ = writeln!(text, "\n{title}");
    for line in lines {
        let _ = writeln!(text, "  {}", line.replace('\n', " "));
    }
}

fn request(seen: &Seen) -> Vec<String> {
    let ended = seen
        .ended
        .map_or_else(|| "not ended".to_owned(), |stage| stage.to_string());
    let notices: Vec<String> = seen.notices.iter().map(ToString::to_string).collect();
    let mut lines = vec![
        format!("{}  {}: {ended}", seen.sent.for_people(), seen.action),
        format!(
            "    message {}, attempts: {}, notices: {}",
            seen.id,
            seen.attempts,
            or_none(&notices.join(", "))
        ),
    ];
    for (name, value) in [
        ("reason", &seen.claims.reason),
        ("incident", &seen.claims.incident),
        ("requested by", &seen.claims.requested_by),
    ] {
        lines.extend(value.as_ref().map(|value| format!("    {name}: {value}")));
    }
    lines
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

fn step(number: usize, step: &RecordedStep) -> Vec<String> {
    let mut lines = vec![format!("{number}. {}", step.step.describe())];
    let mut state = format!("   {} since {}", state(step.state), step.at.for_people());
    if let Some(id) = &step.aws_request {
        let _ = write!(state, " (AWS request {id})");
    }
    lines.push(state);
    lines.extend(step.until.map(|until| format!("   until {}", until.for_people())));
    lines.extend(step.detail.as_ref().map(|why| format!("   why: {why}")));
    if step.step.reverses() {
        let before = if step.before.is_null() {
            "not read".to_owned()
        } else {
            step.before.to_string()
        };
        lines.push(format!("   before: {before}"));
        if step.waits_for_undo() {
            let undo = if step.state == StepState::Unchanged {
                "nothing: it was so before".to_owned()
            } else {
                step.step.describe_undo(&step.before)
            };
            lines.push(format!("   a release would: {undo}"));
        }
    }
    lines
}

fn state(state: StepState) -> &'static str {
    match state {
        StepState::Planned => "planned: the change may or may not have been made",
        StepState::Applied => "applied",
        StepState::Unchanged => "unchanged: it was so before",
        StepState::Failed => "FAILED",
        StepState::Replaced => "replaced: another step does its work",
        StepState::Skipped => "skipped: not supported here, and not needed",
        StepState::Undone => "undone",
        StepState::Untouched => "untouched: it was found as it was before",
        StepState::Kept => "kept locked for other containments",
        StepState::Left => "left as it is",
        StepState::Gone => "gone: the resource no longer exists",
    }
}

#[cfg(test)]
mod tests {
    use entity_lockdown::journal::memory::Memory;
    use entity_lockdown::notice::Stage;
    use entity_lockdown::record::Status;

    use super::*;
    use crate::standing::tests::{at, stored};

    #[test]
    fn the_whole_record_can_be_read() {
        let mut stored = stored("alice", Status::Partial, StepState::Failed, Some(Stage::Partial));
        stored.record.residue = vec!["sessions that alice has assumed elsewhere".to_owned()];
        stored.record.affected = vec!["nobody else".to_owned()];
        insta::assert_snapshot!(written(&stored, at(120)), @r#"
        IAM user alice in account 222222222222
          ARN          arn:aws:iam::222222222222:user/alice
          Containment  558949d769105c63
          Stage        partial
          Opened       2026-11-22 17:00:00 UTC (2 min ago)
          Changed      2026-11-22 17:00:00 UTC (2 min ago)
          Topic        arn:aws:sns:us-east-1:111111111111:requests

        Requests, oldest first (who and why as claimed)
          2026-11-22 17:00:00 UTC  contain: Partial
              message m1, attempts: 1, notices: Started, Partial
              reason: key leaked

        Steps
          1. attach AWSDenyAll to the user alice
             FAILED since 2026-11-22 17:00:01 UTC
             why: iam:AttachUserPolicy: AccessDenied
             before: {"attached":false}
             a release would: detach AWSDenyAll from the user alice

        STAYS OPEN
          sessions that alice has assumed elsewhere

        Also affected
          nobody else

        History
          2026-11-22 17:00:02 UTC  contain: Partial

        To release (asks for the ExternalId)
          lockdown publish --topic-arn 'arn:aws:sns:us-east-1:111111111111:requests' --action release --entity-arn 'arn:aws:iam::222222222222:user/alice'
        "#);
    }

    #[tokio::test]
    async fn a_record_is_found_by_arn_and_an_open_one_by_its_id_too() {
        let journal = Journal::Memory(Memory::default());
        let open = stored("alice", Status::Contained, StepState::Applied, None);
        let closed = stored("bob", Status::Released, StepState::Undone, None);
        for stored in [&open, &closed] {
            journal.write(stored, None, &[]).await.expect("a write");
        }
        let of = |text: &str| What::of(text).expect("a name");
        for (name, expected) in [
            ("arn:aws:iam::222222222222:user/some/path/ALICE", Ok(&open)),
            (open.record.containment.as_str(), Ok(&open)),
            ("arn:aws:iam::222222222222:user/bob", Ok(&closed)),
            (closed.record.containment.as_str(), Err("found by its entity's ARN")),
            ("arn:aws:iam::222222222222:user/nobody", Err("never contained")),
        ] {
            match (find(&journal, &of(name)).await, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.record, expected.record),
                (Err(trouble), Err(part)) => {
                    assert!(
                        trouble.exit == Exit::NotFound && trouble.text.contains(part),
                        "{trouble}"
                    );
                }
                (found, _) => panic!("{name}: {found:?}"),
            }
        }
        let said = What::of("alice").expect_err("a refusal");
        assert!(said.exit == Exit::Usage && said.text.contains("Accepted are"), "{said}");
    }
}
