//! `lockdown journal import`: a record that the journal lacks.

use std::io::{BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};

use entity_lockdown::journal::import::{Import, NotImported, prepare, write};
use entity_lockdown::journal::{Journal, Stored};
use entity_lockdown::moment::Moment;
use entity_lockdown::record::Record;

use crate::aws::{journal, journal_trouble};
use crate::screen::Screen;
use crate::status::TableArgs;
use crate::trouble::{Exit, Trouble};
use crate::{log_lines, show};

/// The most that is read: a day's log is smaller.
const MOST_BYTES: u64 = 256 * 1024 * 1024;

/// Import a record that the journal lacks, so that a release can undo what it holds
///
/// When the journal is out of reach, containment goes on, its notice says UNJOURNALLED, and the function's log keeps the
/// record in one line (with "unjournalled":true). This writes it into the journal, together with the state before of each
/// change. Nothing in any account is changed.
///
/// FILE holds that line, or an export of the log that it is in (aws logs filter-log-events or tail, Logs Insights, CSV), or a
/// record as `lockdown show --json` prints it. A record that the journal has is joined only with --merge; the state before
/// then comes from the older of the two.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  aws logs filter-log-events --log-group-name GROUP --filter-pattern unjournalled > lines.json\n  lockdown journal import lines.json --table TABLE\n  lockdown journal import - --table TABLE --yes < line.txt"
)]
pub struct Args {
    /// What holds the record (`-`: standard input)
    file: PathBuf,
    #[command(flatten)]
    table: TableArgs,
    /// Don't ask before writing
    #[arg(long, short)]
    yes: bool,
    /// Join the record with one that the journal has
    #[arg(long)]
    merge: bool,
}

/// Carries the verb out.
pub async fn run(args: Args, screen: &mut Screen) -> Result<Exit, Trouble> {
    let records = log_lines::records(&read(&args.file)?)?;
    let from_stdin = args.file == Path::new("-");
    if !args.yes && (from_stdin || !std::io::stdin().is_terminal()) {
        return Err(Trouble::usage(
            "nothing was written: there is no terminal to ask at; --yes writes without asking",
        ));
    }
    let journal = journal(&args.table.table, args.table.region.as_ref()).await?;
    let answer = || {
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
    };
    import_all(&journal, records, args.merge, screen, args.yes, answer).await
}

fn read(file: &Path) -> Result<String, Trouble> {
    let wrong = |error: std::io::Error| Trouble::not_found(format!("`{}` can't be read: {error}", file.display()));
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin()
            .take(MOST_BYTES)
            .read_to_end(&mut bytes)
            .map_err(wrong)?;
    } else {
        let file = std::fs::File::open(file).map_err(wrong)?;
        file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(wrong)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Imports one after the other; the worst outcome decides the exit code.
async fn import_all(
    journal: &Journal,
    records: Vec<Record>,
    merge: bool,
    screen: &mut Screen,
    yes: bool,
    answer: impl Fn() -> bool,
) -> Result<Exit, Trouble> {
    let mut exit = Exit::Done;
    for record in records {
        let entity = record.entity.to_string();
        match import(journal, record, merge, screen, yes, &answer).await {
            Ok(true) => screen.show(&format!("Imported: {entity}: a release undoes it from now on")),
            Ok(false) => {
                screen.show(&format!("Not imported: {entity}: nothing was written"));
                exit = Exit::Failed;
            }
            Err(NotImported::Present) => screen.show(&format!("Not needed: {entity}: {}", NotImported::Present)),
            Err(NotImported::Journal(error)) => {
                let trouble = journal_trouble(&error);
                screen.say(&format!("error: {entity}: {trouble}"));
                exit = trouble.exit;
            }
            Err(refusal) => {
                screen.say(&format!("error: {entity}: not imported: {refusal}"));
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}

async fn import(
    journal: &Journal,
    record: Record,
    merge: bool,
    screen: &mut Screen,
    yes: bool,
    answer: impl Fn() -> bool,
) -> Result<bool, NotImported> {
    let present = journal.load(&record.key).await?;
    let import = prepare(record, present.as_ref(), merge, Moment::now())?;
    screen.show(&shown(&import));
    if !yes {
        screen.ask("Write this record into the journal? [y/N] ");
        if !answer() {
            return Ok(false);
        }
    }
    write(journal, import).await.map(|_| true)
}

/// What would be written, and what the journal has.
fn shown(import: &Import) -> String {
    let there = import.present.as_deref().unwrap_or("nothing");
    let stored = Stored {
        record: import.record.clone(),
        version: 0,
        lease: None,
        asked: None,
    };
    format!(
        "{}\nIn the journal so far: {there}\n",
        show::written(&stored, Moment::now())
    )
}

#[cfg(test)]
mod tests {
    use entity_lockdown::journal::memory::Memory;
    use entity_lockdown::notice::Stage;
    use entity_lockdown::record::{Status, StepState};

    use super::*;
    use crate::screen::tests::paper;
    use crate::standing::tests::stored;

    fn record(status: Status, state: StepState) -> Record {
        stored("alice", status, state, Some(Stage::Contained)).record
    }

    async fn imported(journal: &Journal, record: Record, merge: bool, yes: bool, said: bool) -> (Exit, String) {
        let (mut screen, out, err) = paper();
        let exit = import_all(journal, vec![record], merge, &mut screen, yes, || said)
            .await
            .expect("an end");
        (exit, out.text() + &err.text())
    }

    #[tokio::test]
    async fn a_record_is_written_once_and_only_if_it_is_confirmed() {
        let journal = Journal::Memory(Memory::default());
        let lost = record(Status::Contained, StepState::Applied);
        let (exit, said) = imported(&journal, lost.clone(), false, false, false).await;
        assert!(
            exit == Exit::Failed && said.contains("[y/N]") && said.contains("nothing was written"),
            "{said}"
        );
        assert_eq!(journal.load(&lost.key).await, Ok(None));
        let (exit, said) = imported(&journal, lost.clone(), false, false, true).await;
        assert!(exit == Exit::Done && said.contains("a release undoes it"), "{said}");
        let there = journal.load(&lost.key).await.expect("a journal").expect("a record");
        assert_eq!(there.record.steps, lost.steps);
        let (exit, said) = imported(&journal, lost, false, true, true).await;
        assert!(exit == Exit::Done && said.contains("Not needed"), "{said}");
    }

    #[tokio::test]
    async fn what_was_released_since_is_named_and_left() {
        let journal = Journal::Memory(Memory::default());
        let mut there = stored("alice", Status::Released, StepState::Undone, Some(Stage::Released));
        there.record.messages[0].id = "m2".to_owned();
        there.record.newest = there.record.newest.plus_seconds(60);
        journal.write(&there, None, &[]).await.expect("a write");
        let lost = record(Status::Contained, StepState::Applied);
        for (merge, part) in [(false, "--merge"), (true, "put back since")] {
            let (exit, said) = imported(&journal, lost.clone(), merge, true, true).await;
            assert!(exit == Exit::Failed && said.contains(part), "{said}");
        }
        assert_eq!(journal.load(&lost.key).await, Ok(Some(there)));
    }

    #[tokio::test]
    async fn every_record_that_was_ever_written_can_be_read_shown_and_imported() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/records");
        for entry in std::fs::read_dir(folder).expect("records") {
            let path = entry.expect("a record").path();
            let records = log_lines::records(&read(&path).expect("a text")).expect("a record");
            let [record] = records.as_slice() else {
                panic!("{path:?}")
            };
            let journal = Journal::Memory(Memory::default());
            let (exit, said) = imported(&journal, record.clone(), false, true, true).await;
            assert!(
                exit == Exit::Done && said.contains(&record.entity.to_string()),
                "{path:?}: {said}"
            );
            let there = journal.load(&record.key).await.expect("a journal").expect("a record");
            assert_eq!(there.record.steps, record.steps, "{path:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let said = read(Path::new("/nowhere/at/all")).expect_err("an error");
        assert!(
            said.exit == Exit::NotFound && said.text.contains("/nowhere/at/all"),
            "{said}"
        );
    }
}
