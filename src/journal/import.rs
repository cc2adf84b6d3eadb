//! Brings a record into the journal that was written down elsewhere: the function logs it when the journal is out of reach.
//!
//! What such a record found as the state before may be another containment's work, and the journal may have gone on without it.
//! So two records of one entity are joined by their age: the older one knows the state before.

use std::time::Duration;

use super::{CHANGES_A_WRITE, ChangeItem, ChangeWrite, Journal, JournalError, Stored, holder_of};
use crate::entity::Entity;
use crate::moment::Moment;
use crate::record::{Event, FORMAT, Record, RecordedStep, Seen, StepState};

/// How often items that move on meanwhile are looked at again.
const TRIES: usize = 5;

/// Why a record is not imported.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NotImported {
    /// The record is of a newer format.
    #[error("its format {0} is newer than this version knows ({FORMAT}): update the tool")]
    Newer(u32),
    /// The record's key is not the one of its entity.
    #[error("its key `{key}` is not the one of its entity `{entity}`: the text was changed, or cut")]
    Inconsistent {
        /// The key that it names.
        key: String,
        /// The entity that it names.
        entity: String,
    },
    /// Somebody works on the journal's record.
    #[error("the function works on this entity at this moment: wait {} s and try again", .0.as_secs() + 1)]
    Held(Duration),
    /// The journal has all of it.
    #[error("the journal has all of it already: nothing is to import")]
    Present,
    /// What it locked has been put back since.
    #[error("all that it holds has been put back since ({0}): nothing is to import")]
    PutBack(String),
    /// The journal has a record of another entity of the same name.
    #[error(
        "the journal's record is about another entity of the same name (unique id {present}, here {here}): one was made anew since"
    )]
    Namesake {
        /// The journal's.
        present: String,
        /// The imported record's.
        here: String,
    },
    /// The journal has a record that counts too.
    #[error(
        "the journal has a record of this entity ({0}): import it with --merge to join the two, the state before from the older one"
    )]
    NeedsMerge(String),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// A record that is ready to be written, and what it is joined with.
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    /// What would be written.
    pub record: Record,
    /// What the journal has, in a sentence, if it has anything.
    pub present: Option<String>,
    expected: Option<u64>,
}

/// Decides what importing `record` would write, where the journal has `present`.
///
/// # Errors
/// The reason for writing nothing.
pub fn prepare(record: Record, present: Option<&Stored>, merge: bool, now: Moment) -> Result<Import, NotImported> {
    check(&record)?;
    let Some(stored) = present else {
        return Ok(Import {
            record: marked(record, "", now),
            present: None,
            expected: None,
        });
    };
    if let Some(lease) = stored.lease.as_ref().filter(|lease| lease.until > now) {
        return Err(NotImported::Held(now.until(lease.until)));
    }
    let present = &stored.record;
    if has_all_of(present, &record) {
        return Err(NotImported::Present);
    }
    let what = format!(
        "{}, containment {}, last changed {}",
        present.status,
        present.containment,
        present.changed.for_people()
    );
    let over_before = !present.is_open() && present.newest < record.newest;
    if let (Some(theirs), Some(here)) = (&present.unique_id, &record.unique_id)
        && theirs != here
        && !over_before
    {
        let (present, here) = (theirs.clone(), here.clone());
        return Err(NotImported::Namesake { present, here });
    }
    let goes_on = present.is_open() && present.containment == record.containment;
    if !over_before && !goes_on && !merge {
        return Err(NotImported::NeedsMerge(what));
    }
    let record = if over_before {
        continued(record, present)
    } else if (record.opened, record.changed) <= (present.opened, present.changed) {
        joined(&record, present)
    } else {
        joined(present, &record)
    };
    if !record.steps.iter().any(RecordedStep::waits_for_undo) {
        return Err(NotImported::PutBack(what));
    }
    Ok(Import {
        record: marked(record, &format!(", joined with what was there ({what})"), now),
        present: Some(what),
        expected: Some(stored.version),
    })
}

/// One record for each entity: several of one entity, as a journal that stays out of reach leaves them, are joined.
pub fn combined(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_by(|a, b| (&a.key, a.opened, a.changed).cmp(&(&b.key, b.opened, b.changed)));
    records.dedup();
    let mut all: Vec<Record> = Vec::new();
    for record in records {
        match all.last_mut().filter(|known| known.key == record.key) {
            Some(known) => *known = joined(known, &record),
            None => all.push(record),
        }
    }
    all
}

fn check(record: &Record) -> Result<(), NotImported> {
    if record.format > FORMAT {
        return Err(NotImported::Newer(record.format));
    }
    let named = record.entity.to_string();
    match named.parse::<Entity>() {
        Ok(entity) if entity.key() == record.key => Ok(()),
        Ok(_) | Err(_) => Err(NotImported::Inconsistent {
            key: record.key.clone(),
            entity: named,
        }),
    }
}

fn marked(mut record: Record, how: &str, now: Moment) -> Record {
    record.happened(
        now,
        format!("imported by an operator from a record that the journal lacked{how}"),
    );
    record.changed = now;
    record
}

fn has_all_of(present: &Record, record: &Record) -> bool {
    let messages = record.messages.iter().all(|message| {
        present
            .seen(&message.id)
            .is_some_and(|seen| seen.ended.is_some() || message.ended.is_none())
    });
    let steps = record.steps.iter().all(|step| present.find(&step.step).is_some());
    present.containment == record.containment && messages && steps
}

/// A new containment after one that was over: its steps, and what the messages and the history of both say.
fn continued(mut record: Record, present: &Record) -> Record {
    let waiting = |step: &&RecordedStep| step.state == StepState::Left && step.step.on_request();
    for step in present.steps.iter().filter(waiting) {
        if record.find(&step.step).is_none() {
            record.steps.insert(0, step.clone());
        }
    }
    remember_both(&mut record, present);
    record
}

/// Two records of which both count: the older one knows the state before, the newer one how things stand.
fn joined(older: &Record, newer: &Record) -> Record {
    let mut steps = older.steps.clone();
    for step in &newer.steps {
        match steps.iter_mut().find(|known| known.step.key() == step.step.key()) {
            Some(known) => meet(known, step),
            None => steps.push(step.clone()),
        }
    }
    let leading = if newer.is_open() { newer } else { older };
    let mut both = Record {
        steps,
        unique_id: newer.unique_id.clone().or_else(|| older.unique_id.clone()),
        topic: newer.topic.clone(),
        ..leading.clone()
    };
    remember_both(&mut both, older);
    remember_both(&mut both, newer);
    both
}

/// The same step in the older record and the newer one.
fn meet(older: &mut RecordedStep, newer: &RecordedStep) {
    match (older.state, newer.state) {
        // The older containment of this change is over: the newer one began from what it left.
        (StepState::Undone | StepState::Untouched | StepState::Kept | StepState::Gone, _) => *older = newer.clone(),
        _ if older.before.is_null() => *older = newer.clone(),
        // What was so before the older one stays "so before".
        (StepState::Unchanged, StepState::Applied | StepState::Planned | StepState::Unchanged) => {}
        // What the newer one found as "so before" was the older one's work.
        (_, StepState::Unchanged) => older.becomes(StepState::Applied, newer.detail.clone(), newer.at),
        _ => {
            let before = std::mem::take(&mut older.before);
            *older = newer.clone();
            if !before.is_null() {
                older.before = before;
            }
        }
    }
}

fn remember_both(record: &mut Record, other: &Record) {
    for message in &other.messages {
        match record.messages.iter_mut().find(|seen| seen.id == message.id) {
            Some(seen) if seen.ended.is_none() => *seen = message.clone(),
            Some(_) => {}
            None => record.messages.push(message.clone()),
        }
    }
    record.messages.sort_by_key(|message: &Seen| message.sent);
    let new: Vec<Event> = other
        .history
        .iter()
        .filter(|event| !record.history.contains(event))
        .cloned()
        .collect();
    record.history.extend(new);
    record.history.sort_by_key(|event| event.at);
    record.newest = record.newest.max(other.newest);
}

/// Writes a prepared record with the items of its changes: from then on a release undoes it.
///
/// # Errors
/// The journal failed, or the record there has moved on: prepare again.
pub async fn write(journal: &Journal, import: Import) -> Result<Record, NotImported> {
    let Import {
        mut record,
        mut expected,
        ..
    } = import;
    for _ in 0..TRIES {
        let keys: Vec<String> = record
            .steps
            .iter()
            .filter(|step| step.waits_for_undo())
            .map(|step| step.step.key())
            .collect();
        let items = journal.changes(&keys).await?;
        let rounds = rounds(&mut record, &items);
        match in_rounds(journal, &record, &mut expected, &rounds).await {
            Ok(()) => return Ok(record),
            Err(JournalError::Changed(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(JournalError::Conflict.into())
}

async fn in_rounds(
    journal: &Journal,
    record: &Record,
    expected: &mut Option<u64>,
    rounds: &[Vec<ChangeWrite>],
) -> Result<(), JournalError> {
    let mut writes: Vec<&[ChangeWrite]> = rounds.iter().flat_map(|round| round.chunks(CHANGES_A_WRITE)).collect();
    if writes.is_empty() {
        writes.push(&[]);
    }
    for changes in writes {
        let stored = Stored {
            record: record.clone(),
            version: expected.unwrap_or(0) + 1,
            lease: None,
            asked: None,
        };
        journal.write(&stored, *expected, changes).await?;
        *expected = Some(stored.version);
    }
    Ok(())
}

/// The writes to the changes' items. One that this containment alone holds with another state before is made anew, which takes
/// three writes, one after the other; where others hold it, theirs is the state before.
fn rounds(record: &mut Record, items: &[ChangeItem]) -> Vec<Vec<ChangeWrite>> {
    let holder = holder_of(record);
    let (mut leave, mut forget, mut hold) = (vec![], vec![], vec![]);
    for step in record.steps.iter_mut().filter(|step| step.waits_for_undo()) {
        let key = step.step.key();
        let first = |before| ChangeWrite::First {
            key: key.clone(),
            before,
            holder: holder.clone(),
        };
        let Some(seen) = items.iter().find(|item| item.key == key).cloned() else {
            hold.push(first(step.before.clone()));
            continue;
        };
        let others = seen.holders.iter().any(|other| *other != holder);
        let ours = seen.holders.contains(&holder);
        if others || seen.before == step.before {
            step.before = seen.before.clone();
            if step.state == StepState::Unchanged && !step.step.holds(&step.before) {
                // What was "so before" was the others' work: whoever is the last to release puts it back.
                step.becomes(StepState::Applied, step.detail.clone(), step.at);
            }
            if !ours {
                let holder = holder.clone();
                hold.push(ChangeWrite::Join { seen, holder });
            }
            continue;
        }
        if ours {
            let holder = holder.clone();
            leave.push(ChangeWrite::Leave { seen, holder });
        }
        forget.push(ChangeWrite::Forget { key: key.clone() });
        hold.push(first(step.before.clone()));
    }
    [leave, forget, hold]
        .into_iter()
        .filter(|round| !round.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admit::tests::request;
    use crate::journal::Lease;
    use crate::journal::memory::Memory;
    use crate::notice::Stage;
    use crate::plan::Planned;
    use crate::record::Status;
    use crate::request::Action;
    use crate::steps::Step;

    fn deny() -> Step {
        serde_json::from_value(json!({"change": "attach-policy", "principal": {
            "kind": "user", "name": "alice", "arn": "arn:aws:iam::222222222222:user/alice", "id": "AIDA1"}}))
        .expect("a step")
    }

    /// The containment that the message `id` of this second made, whose one step is in this state.
    fn contained(id: &str, second: u64, attached_before: bool, state: StepState) -> Record {
        let request = request(Action::Contain, id, second);
        let at = request.message.sent;
        let mut record = Record::begin(&request, at);
        record.seen_mut(&request).ended = Some(Stage::Contained);
        let before = json!({"attached": attached_before});
        let mut step = RecordedStep::planned(Planned::new(0, deny(), None), before, at);
        step.becomes(state, None, at);
        (record.steps, record.status) = (vec![step], Status::Contained);
        record.unique_id = Some("AIDA1".to_owned());
        record
    }

    fn stored(record: Record) -> Stored {
        Stored {
            record,
            version: 3,
            lease: None,
            asked: None,
        }
    }

    fn released(id: &str, second: u64) -> Record {
        let mut record = contained(id, second, false, StepState::Undone);
        record.status = Status::Released;
        record
    }

    async fn imported(journal: &Journal, record: Record, merge: bool) -> Result<Record, NotImported> {
        let present = journal.load(&record.key).await?;
        let import = prepare(record, present.as_ref(), merge, Moment::now())?;
        write(journal, import).await
    }

    #[tokio::test]
    async fn an_imported_record_is_there_as_it_was_with_its_changes_and_a_mark() {
        let journal = Journal::Memory(Memory::default());
        let record = contained("m1", 10, false, StepState::Applied);
        imported(&journal, record.clone(), false).await.expect("an import");
        let there = journal.load(&record.key).await.expect("a journal").expect("a record");
        assert!(
            there.record.history.iter().any(|event| event.what.contains("imported")),
            "{:?}",
            there.record.history
        );
        assert_eq!(
            (there.record.steps, there.record.messages, there.lease),
            (record.steps, record.messages, None)
        );
        let items = journal.changes(&[deny().key()]).await.expect("a journal");
        assert_eq!(items[0].before, json!({"attached": false}));
        assert_eq!(items[0].holders, [record.key.clone()].into());
        // Once more: there is nothing to do.
        assert_eq!(
            imported(&journal, contained("m1", 10, false, StepState::Applied), true).await,
            Err(NotImported::Present)
        );
    }

    #[tokio::test]
    async fn another_containment_that_holds_the_change_knows_the_state_before() {
        let journal = Journal::Memory(Memory::default());
        let mut other = contained("m0", 5, false, StepState::Applied);
        other.key = "aws/222222222222/us-east-1/lambda-function/f".to_owned();
        let first = ChangeWrite::First {
            key: deny().key(),
            before: json!({"attached": false}),
            holder: other.key.clone(),
        };
        journal
            .write(&stored(other.clone()), None, &[first])
            .await
            .expect("a write");
        let record = imported(&journal, contained("m1", 10, true, StepState::Unchanged), false)
            .await
            .expect("an import");
        assert_eq!(
            (record.steps[0].state, &record.steps[0].before),
            (StepState::Applied, &json!({"attached": false}))
        );
        let items = journal.changes(&[deny().key()]).await.expect("a journal");
        assert_eq!(items[0].holders, [other.key, record.key].into());
    }

    #[tokio::test]
    async fn a_containment_that_saw_an_unjournalled_one_gets_its_state_before_from_it() {
        let journal = Journal::Memory(Memory::default());
        // The journal came back, and a second message found all of the first one's work as "so before".
        let second = contained("m2", 20, true, StepState::Unchanged);
        let first = ChangeWrite::First {
            key: deny().key(),
            before: json!({"attached": true}),
            holder: holder_of(&second),
        };
        journal
            .write(&stored(second.clone()), None, &[first])
            .await
            .expect("a write");
        let lost = contained("m1", 10, false, StepState::Applied);
        assert!(matches!(
            imported(&journal, lost.clone(), false).await,
            Err(NotImported::NeedsMerge(_))
        ));
        let record = imported(&journal, lost, true).await.expect("an import");
        assert_eq!(
            (record.steps[0].state, &record.steps[0].before),
            (StepState::Applied, &json!({"attached": false}))
        );
        let messages: Vec<&str> = record.messages.iter().map(|seen| seen.id.as_str()).collect();
        assert_eq!((messages, record.containment), (vec!["m1", "m2"], second.containment));
        let items = journal.changes(&[deny().key()]).await.expect("a journal");
        assert_eq!(
            (&items[0].before, items[0].holders.len()),
            (&json!({"attached": false}), 1)
        );
    }

    #[test]
    fn several_records_of_one_entity_become_one_with_the_first_state_before() {
        let first = contained("m1", 10, false, StepState::Applied);
        let second = contained("m2", 20, true, StepState::Unchanged);
        let all = combined(vec![second.clone(), first.clone(), second, first]);
        assert_eq!(all.len(), 1);
        assert_eq!(
            (all[0].steps[0].state, &all[0].steps[0].before),
            (StepState::Applied, &json!({"attached": false}))
        );
        assert_eq!(all[0].messages.len(), 2);
    }

    #[test]
    fn a_new_containment_follows_one_that_was_over() {
        let now = Moment::now();
        let present = stored(released("m1", 10));
        let import = prepare(
            contained("m2", 20, false, StepState::Applied),
            Some(&present),
            false,
            now,
        )
        .expect("an import");
        assert_eq!(
            (import.record.status, import.record.messages.len()),
            (Status::Contained, 2)
        );
        assert!(import.present.is_some_and(|what| what.starts_with("released")));
    }

    #[test]
    fn a_release_that_found_nothing_yet_is_no_obstacle_and_one_that_put_all_back_is() {
        let now = Moment::now();
        let lost = contained("m1", 10, false, StepState::Applied);
        let mut nothing = released("m2", 20);
        nothing.steps.clear();
        let refused = prepare(lost.clone(), Some(&stored(nothing.clone())), false, now);
        assert!(matches!(refused, Err(NotImported::NeedsMerge(_))), "{refused:?}");
        let import = prepare(lost.clone(), Some(&stored(nothing)), true, now).expect("an import");
        assert!(import.record.is_open());
        let refused = prepare(lost, Some(&stored(released("m2", 20))), true, now);
        assert!(matches!(refused, Err(NotImported::PutBack(_))), "{refused:?}");
    }

    #[test]
    fn the_later_half_of_a_containment_goes_on_where_the_journal_lost_it() {
        let mut begun = contained("m1", 10, false, StepState::Planned);
        (begun.status, begun.messages[0].ended) = (Status::Containing, None);
        let mut whole = contained("m1", 10, false, StepState::Applied);
        whole.changed = whole.changed.plus_seconds(2);
        let import = prepare(whole, Some(&stored(begun)), false, Moment::now()).expect("an import");
        assert_eq!(
            (import.record.status, import.record.steps[0].state),
            (Status::Contained, StepState::Applied)
        );
        assert_eq!(import.record.messages[0].ended, Some(Stage::Contained));
    }

    #[test]
    fn what_cannot_be_trusted_is_refused() {
        let now = Moment::now();
        let record = contained("m1", 10, false, StepState::Applied);
        let newer = Record {
            format: FORMAT + 1,
            ..record.clone()
        };
        assert_eq!(prepare(newer, None, false, now), Err(NotImported::Newer(FORMAT + 1)));
        let other = Record {
            key: "aws/222222222222/-/iam-user/bob".to_owned(),
            ..record.clone()
        };
        assert!(matches!(
            prepare(other, None, false, now),
            Err(NotImported::Inconsistent { .. })
        ));
        let mut held = stored(released("m0", 5));
        let until = now.plus_seconds(20);
        held.lease = Some(Lease {
            holder: "f".to_owned(),
            until,
        });
        assert_eq!(
            prepare(record.clone(), Some(&held), true, now),
            Err(NotImported::Held(Duration::from_secs(20)))
        );
        let mut namesake = stored(contained("m0", 5, false, StepState::Applied));
        namesake.record.unique_id = Some("AIDA0".to_owned());
        assert!(matches!(
            prepare(record, Some(&namesake), true, now),
            Err(NotImported::Namesake { .. })
        ));
    }
}
