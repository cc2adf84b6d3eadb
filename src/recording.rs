//! Brings a plan into the record, with the state before of each new step, and writes it down: nothing is applied before that.

use futures_util::future::join_all;
use serde_json::Value;

use crate::apply::{Recorded, Tally, fail};
use crate::aws::{Failure, Member};
use crate::handler::Deps;
use crate::journal::{ChangeWrite, JournalError, holder_of};
use crate::moment::Moment;
use crate::plan::{Plan, Planned};
use crate::record::{Record, RecordedStep, Status, StepState};
use crate::steps::Step;
use crate::work::{Stop, Tries, Unsaved, Work};

/// Brings the plan into the record, with the state before of each new step, and writes it.
pub(crate) async fn record_plan(
    work: &mut Work<'_>,
    plan: Plan,
    member: &Member,
    tally: &mut Tally,
) -> Result<Recorded, Stop> {
    let now = Moment::now();
    let Plan {
        entity,
        unique_id,
        steps,
        affected,
        residue,
        unread,
        remarks,
    } = plan;
    // What is known is locked first; the retry brings the rest.
    for reason in unread {
        tally.passing.add(reason);
    }
    let mut changes = if std::mem::take(&mut tally.was_releasing) {
        held_again(&mut work.record)
    } else {
        vec![]
    };
    let record = &mut work.record;
    (record.entity, record.unique_id, record.status) = (entity, unique_id, Status::Containing);
    (record.affected, record.residue, record.remarks) = (affected, residue, remarks);
    let (fresh, known): (Vec<Planned>, Vec<Planned>) =
        steps.into_iter().partition(|planned| is_fresh(record, &planned.step));
    // Of a step that is known, the record has the state before; its place among the others, and what may differ without making it
    // another change, are the plan's.
    for Planned { phase, step, before: _ } in known {
        if let Some(recorded) = record
            .steps
            .iter_mut()
            .find(|recorded| recorded.step.key() == step.key())
        {
            (recorded.phase, recorded.step) = (phase, step);
        }
    }
    let befores = join_all(fresh.iter().map(|planned| state_before(planned, member, work.deps))).await;
    for (planned, before) in fresh.into_iter().zip(befores) {
        let key = planned.step.key();
        let reverses = planned.step.reverses();
        let mut step = RecordedStep::planned(planned, Value::Null, now);
        match before {
            Ok(before) => {
                step.before = before;
                tally.fresh.insert(key.clone());
                if reverses {
                    changes.push(ChangeWrite::First {
                        key,
                        before: step.before.clone(),
                        holder: holder_of(record),
                    });
                }
            }
            Err(failure) => fail(&mut step, &failure, tally),
        }
        match record.find(&step.step) {
            #[expect(clippy::indexing_slicing, reason = "the position was found just above")]
            Some(at) => record.steps[at] = step,
            None => record.steps.push(step),
        }
    }
    let tries = Tries::begin();
    loop {
        match Recorded::write(work, &changes).await {
            Ok(recorded) => return Ok(recorded),
            Err(Unsaved::Stop(stop)) => return Err(stop),
            Err(Unsaved::Changed) => match join_others(work, &changes).await {
                Ok(joined) => changes = joined,
                Err(error) => match work.go_on_without(error) {
                    Ok(()) => {}
                    Err(Unsaved::Stop(stop)) => return Err(stop),
                    Err(Unsaved::Changed) => {}
                },
            },
        }
        if !tries.next().await {
            return Err(Stop::Lost);
        }
    }
}

/// The state before of a step that is to be recorded. What seems to hold already may be another containment's, and its release
/// under way: it is a state before only if no change item stands for it when it is read.
async fn state_before(planned: &Planned, member: &Member, deps: &Deps) -> Result<Value, Failure> {
    let step = &planned.step;
    let seen = match &planned.before {
        Some(before) => before.clone(),
        None => step.read(member).await?,
    };
    if !step.holds(&seen) || !step.reverses() {
        return Ok(seen);
    }
    let items = deps.journal.changes(&[step.key()]).await.unwrap_or_default();
    if items.is_empty() {
        step.read(member).await
    } else {
        Ok(seen)
    }
}

/// A release was under way, and may have taken this containment out of the holders of its changes: it holds them again.
fn held_again(record: &mut Record) -> Vec<ChangeWrite> {
    let holder = holder_of(record);
    let mut changes = Vec::new();
    for step in record.steps.iter_mut().filter(|step| step.waits_for_undo()) {
        if step.state != StepState::Left {
            step.becomes(StepState::Planned, None, Moment::now());
        }
        changes.push(ChangeWrite::First {
            key: step.step.key(),
            before: step.before.clone(),
            holder: holder.clone(),
        });
    }
    changes
}

/// Whether a step is to be recorded anew: the record lacks it, or a release has put it back or let go of it.
pub(crate) fn is_fresh(record: &Record, step: &Step) -> bool {
    let known = record.steps.iter().find(|recorded| recorded.step.key() == step.key());
    known.is_none_or(|recorded| match recorded.state {
        StepState::Undone | StepState::Untouched | StepState::Kept | StepState::Gone => true,
        StepState::Failed => recorded.before.is_null(),
        StepState::Planned
        | StepState::Applied
        | StepState::Unchanged
        | StepState::Replaced
        | StepState::Skipped
        | StepState::Left => false,
    })
}

/// Other containments hold some of these changes: theirs is the first state before, and this one joins them.
async fn join_others(work: &mut Work<'_>, changes: &[ChangeWrite]) -> Result<Vec<ChangeWrite>, JournalError> {
    let keys: Vec<String> = changes.iter().map(|change| change.key().to_owned()).collect();
    let present = work.deps.journal.changes(&keys).await?;
    let holder = holder_of(&work.record);
    Ok(changes
        .iter()
        .map(|change| match present.iter().find(|item| item.key == change.key()) {
            Some(seen) => {
                if let Some(step) = work.record.steps.iter_mut().find(|step| step.step.key() == seen.key) {
                    step.before = seen.before.clone();
                }
                ChangeWrite::Join {
                    seen: seen.clone(),
                    holder: holder.clone(),
                }
            }
            None => match work.record.steps.iter().find(|step| step.step.key() == change.key()) {
                Some(step) => ChangeWrite::First {
                    key: change.key().to_owned(),
                    before: step.before.clone(),
                    holder: holder.clone(),
                },
                None => change.clone(),
            },
        })
        .collect())
}
