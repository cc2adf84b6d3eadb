//! `lockdown status`: what is open, and how to release it.

use comfy_table::{Cell, Color};
use entity_lockdown::arn::Region;
use entity_lockdown::entity::Entity;
use entity_lockdown::journal::{Journal, JournalError, Stored};
use entity_lockdown::moment::Moment;
use entity_lockdown::notice::report::release_command;
use entity_lockdown::record::Status;
use entity_lockdown::request::Claims;
use serde::Serialize;

use crate::aws::{journal, journal_trouble};
use crate::screen::{Screen, clean, table};
use crate::trouble::{Exit, Trouble};
use crate::{age, standing};

/// Below this many columns a table would be more line ends than text.
const NARROW: u16 = 100;

/// List open containments: entity, stage, age, what is left to do, how to release
///
/// Open is what may still be locked, in whole or in part. Reads the journal's index `open` with your own credentials
/// (dynamodb:Query on it, kms:Decrypt on the table's key).
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  lockdown status --table TABLE\n  lockdown status --table TABLE --json | jq -r '.[].entity'"
)]
pub struct Args {
    #[command(flatten)]
    pub table: TableArgs,
    /// A JSON array, one object for each containment
    #[arg(long)]
    json: bool,
}

/// Where the journal is.
#[derive(Debug, clap::Args)]
pub struct TableArgs {
    /// The journal's table: output JournalTableName of the hub's stack
    #[arg(long, env = "LOCKDOWN_TABLE", value_name = "NAME")]
    pub table: String,
    /// The hub's region [default: that of your AWS configuration]
    #[arg(long)]
    pub region: Option<Region>,
}

/// One open containment, as programs read it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    entity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_type: Option<&'static str>,
    account_id: String,
    containment_id: String,
    status: Status,
    worked_on: bool,
    opened: Moment,
    age_seconds: u64,
    left: Vec<String>,
    stays_open: Vec<String>,
    claimed: Claims,
    release_command: String,
    #[serde(skip)]
    stage: String,
    #[serde(skip)]
    label: String,
    #[serde(skip)]
    age: String,
}

impl Open {
    fn of(stored: &Stored, now: Moment) -> Self {
        let record = &stored.record;
        let entity = record.entity.to_string();
        Self {
            entity_type: entity.parse::<Entity>().ok().map(|entity| entity.kind.name()),
            entity,
            account_id: record.entity.account.to_string(),
            containment_id: record.containment.to_string(),
            status: record.status,
            worked_on: standing::is_worked_on(stored, now),
            opened: record.opened,
            age_seconds: record.opened.until(now).as_secs(),
            left: standing::left(record),
            stays_open: record.residue.clone(),
            claimed: record.claims(),
            release_command: release_command(record),
            stage: standing::stage(stored, now),
            label: standing::label(record),
            age: age::since(record.opened, now),
        }
    }

    /// What is left to do, and what no step can close.
    fn left_in_words(&self) -> Vec<String> {
        let open = self.stays_open.iter().map(|what| format!("stays open: {what}"));
        self.left.iter().cloned().chain(open).collect()
    }
}

/// Carries the verb out.
pub async fn run(args: Args, screen: &mut Screen) -> Result<Exit, Trouble> {
    let journal = journal(&args.table.table, args.table.region.as_ref()).await?;
    list(&journal, args.json, Moment::now(), screen).await
}

async fn list(journal: &Journal, json: bool, now: Moment, screen: &mut Screen) -> Result<Exit, Trouble> {
    let found = journal.open_records().await.map_err(|error| journal_trouble(&error))?;
    let (good, bad): (Vec<_>, Vec<_>) = found.into_iter().partition(Result::is_ok);
    let open: Vec<Open> = good.iter().flatten().map(|stored| Open::of(stored, now)).collect();
    if json {
        screen.show_json(&open)?;
    } else {
        let text = written(&open, screen.width, screen.color);
        if screen.color {
            screen.show_as_is(&text)
        } else {
            screen.show(&text)
        }
    }
    let bad: Vec<JournalError> = bad.into_iter().filter_map(Result::err).collect();
    for error in &bad {
        screen.say(&format!("error: {error}"));
    }
    Ok(if bad.is_empty() { Exit::Done } else { Exit::Failed })
}

/// A table where there is room for it, else one paragraph each; the commands stand in lines of their own, to be pasted.
fn written(open: &[Open], width: Option<u16>, color: bool) -> String {
    if open.is_empty() {
        return "Nothing is locked: there is no open containment.".to_owned();
    }
    if width.is_some_and(|width| width < NARROW) {
        return open.iter().map(paragraph).collect::<Vec<_>>().join("\n\n");
    }
    let mut table = table(["ENTITY", "CONTAINMENT", "STAGE", "AGE", "LEFT TO DO"], width);
    if color {
        table.enforce_styling();
    }
    for one in open {
        let left = one.left_in_words();
        let left = if left.is_empty() {
            "-".to_owned()
        } else {
            left.join("\n")
        };
        let stage = Cell::new(clean(&one.stage)).fg(colour(one.status));
        let plain = |text: &str| Cell::new(clean(text));
        table.add_row([
            plain(&one.entity),
            plain(&one.containment_id),
            stage,
            plain(&one.age),
            plain(&left),
        ]);
    }
    let commands: Vec<String> = open
        .iter()
        .map(|one| format!("  {}", clean(&one.release_command)))
        .collect();
    let count = match open.len() {
        1 => "1 containment is open".to_owned(),
        count => format!("{count} containments are open"),
    };
    format!(
        "{}\n\n{count}. To release (asks for the ExternalId):\n{}",
        table.trim_fmt(),
        commands.join("\n")
    )
}

fn paragraph(one: &Open) -> String {
    let mut lines = vec![
        one.label.clone(),
        format!("  {}", one.entity),
        format!("  containment {}", one.containment_id),
        format!("  {}, opened {} ago", one.stage, one.age),
    ];
    lines.extend(one.left_in_words().iter().map(|left| format!("  left: {left}")));
    lines.push(format!("  release: {}", one.release_command));
    lines.iter().map(|line| clean(line)).collect::<Vec<_>>().join("\n")
}

fn colour(status: Status) -> Color {
    match status {
        Status::Contained | Status::Released => Color::Green,
        Status::Containing | Status::Partial | Status::Releasing => Color::Yellow,
        Status::Failed => Color::Red,
    }
}

#[cfg(test)]
mod tests {
    use entity_lockdown::journal::memory::Memory;
    use entity_lockdown::notice::Stage;
    use entity_lockdown::record::StepState;

    use super::*;
    use crate::screen::tests::paper;
    use crate::standing::tests::{at, stored};

    fn two() -> Vec<Open> {
        let mut partial = stored("bob", Status::Partial, StepState::Failed, Some(Stage::Partial));
        partial.record.residue = vec!["sessions that bob has assumed elsewhere".to_owned()];
        let contained = stored("alice", Status::Contained, StepState::Applied, Some(Stage::Contained));
        [contained, partial]
            .iter()
            .map(|stored| Open::of(stored, at(3_700)))
            .collect()
    }

    #[test]
    fn a_wide_screen_gets_a_table_and_commands_to_paste() {
        insta::assert_snapshot!(written(&two(), None, false), @r#"
        ENTITY                                CONTAINMENT       STAGE      AGE        LEFT TO DO
        arn:aws:iam::222222222222:user/alice  558949d769105c63  contained  1 h 1 min  -
        arn:aws:iam::222222222222:user/bob    047b06e3dee45e4a  partial    1 h 1 min  attach AWSDenyAll to the user bob: iam:AttachUserPolicy: AccessDenied
                                                                                      stays open: sessions that bob has assumed elsewhere

        2 containments are open. To release (asks for the ExternalId):
          lockdown publish --topic-arn 'arn:aws:sns:us-east-1:111111111111:requests' --action release --entity-arn 'arn:aws:iam::222222222222:user/alice'
          lockdown publish --topic-arn 'arn:aws:sns:us-east-1:111111111111:requests' --action release --entity-arn 'arn:aws:iam::222222222222:user/bob'
        "#);
    }

    #[test]
    fn a_terminal_never_breaks_a_command_and_no_line_of_the_table_is_too_long() {
        let text = written(&two(), Some(120), false);
        assert!(
            text.contains("--action release --entity-arn 'arn:aws:iam::222222222222:user/bob'"),
            "{text}"
        );
        let table = text.split("\n\n").next().unwrap_or_default();
        assert!(table.lines().all(|line| line.chars().count() <= 120), "{table}");
    }

    #[test]
    fn a_narrow_terminal_gets_paragraphs() {
        insta::assert_snapshot!(written(&two(), Some(60), false), @r#"
        IAM user alice in account 222222222222
          arn:aws:iam::222222222222:user/alice
          containment 558949d769105c63
          contained, opened 1 h 1 min ago
          release: lockdown publish --topic-arn 'arn:aws:sns:us-east-1:111111111111:requests' --action release --entity-arn 'arn:aws:iam::222222222222:user/alice'

        IAM user bob in account 222222222222
          arn:aws:iam::222222222222:user/bob
          containment 047b06e3dee45e4a
          partial, opened 1 h 1 min ago
          left: attach AWSDenyAll to the user bob: iam:AttachUserPolicy: AccessDenied
          left: stays open: sessions that bob has assumed elsewhere
          release: lockdown publish --topic-arn 'arn:aws:sns:us-east-1:111111111111:requests' --action release --entity-arn 'arn:aws:iam::222222222222:user/bob'
        "#);
    }

    #[test]
    fn colours_are_only_where_they_are_wanted() {
        assert!(written(&two(), None, true).contains("\u{1b}["));
        assert!(!written(&two(), None, false).contains('\u{1b}'));
    }

    #[tokio::test]
    async fn the_journals_open_records_are_listed_and_closed_ones_are_not() {
        let journal = Journal::Memory(Memory::default());
        for (name, status) in [("alice", Status::Contained), ("carol", Status::Released)] {
            journal
                .write(&stored(name, status, StepState::Applied, None), None, &[])
                .await
                .expect("a write");
        }
        let (mut screen, out, _) = paper();
        assert_eq!(list(&journal, true, at(10), &mut screen).await, Ok(Exit::Done));
        let found: serde_json::Value = serde_json::from_str(&out.text()).expect("JSON");
        assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");
        assert_eq!(found[0]["entity"], "arn:aws:iam::222222222222:user/alice");
        assert_eq!(
            (&found[0]["status"], &found[0]["ageSeconds"]),
            (&"contained".into(), &10.into())
        );
        assert!(
            found[0]["releaseCommand"]
                .as_str()
                .is_some_and(|command| command.contains("--action release"))
        );
    }

    #[tokio::test]
    async fn an_empty_journal_says_so_and_is_an_empty_array() {
        let journal = Journal::Memory(Memory::default());
        for (json, said) in [
            (true, "[]\n"),
            (false, "Nothing is locked: there is no open containment.\n"),
        ] {
            let (mut screen, out, _) = paper();
            assert_eq!(list(&journal, json, at(0), &mut screen).await, Ok(Exit::Done));
            assert_eq!(out.text(), said);
        }
    }
}
