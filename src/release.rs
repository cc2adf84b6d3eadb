//! Releases one entity: undoes what the record holds, newest first, and leaves what is not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use futures_util::stream::iter;
use futures_util::{FutureExt, StreamExt};

use crate::admit::{Admission, admit};
use crate::apply::{AT_ONCE, Held, hold};
use crate::aws::{Failure, Member, Reason};
use crate::closing::{finish, say_meanwhile};
use crate::entities;
use crate::execute::{BUSY, STALE, busy, wait_for_holder};
use crate::handler::{Deps, Outcome};
use crate::journal::{ChangeWrite, JournalError, Stored, holder_of};
use crate::moment::Moment;
use crate::notice::{Report, Stage};
use crate::passing::Passing;
use crate::record::{Record, RecordedStep, Status, StepState};
use crate::request::Request;
use crate::steps::Receipt;
use crate::wake::Wake;
use crate::work::{Stop, Tries, Unsaved, Work};

/// The first pause before an undone change is read again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// How long a release waits for a containment that it asked to stop, beyond the time after which its lease would lapse.
const WAIT_BEYOND_LEASE: Duration = Duration::from_secs(5);

/// Puts everything back that the record of an entity holds.
pub(crate) async fn release(deps: &Deps, request: &Request) -> Outcome {
    let holder = deps.new_holder();
    let patience = tokio::time::Instant::now() + deps.settings.lease + WAIT_BEYOND_LEASE;
    let key = request.entity.key();
    loop {
        let loaded = match deps.journal.load(&key).await {
            Ok(loaded) => loaded,
            Err(error) => return out_of_reach(&error),
        };
        let judged = match admit(loaded.as_ref(), request, &holder, Moment::now()) {
            Admission::Duplicate => return Outcome::Silent,
            Admission::Stale => return deps.refuse(request, STALE).await,
            Admission::Held => wait(deps, request, &holder, loaded.as_ref(), patience).await,
            Admission::Begin => nothing_to_release(deps, request, &holder, loaded).await,
            Admission::Resume => take_up(deps, request, &holder, loaded).await,
        };
        match judged {
            Ok(outcome) => return outcome,
            Err(Stop::Journal(error)) => return out_of_reach(&error),
            // Somebody else was faster: what is there now is judged again.
            Err(Stop::Lost | Stop::Asked) if tokio::time::Instant::now() < patience => {}
            Err(Stop::Lost | Stop::Asked) => return Outcome::Retry(BUSY.to_owned()),
        }
    }
}

fn out_of_reach(error: &JournalError) -> Outcome {
    Outcome::Retry(format!("nothing can be released without the journal: {error}"))
}

/// Waits for the holder; a containment is asked to stop, another release is not.
async fn wait(
    deps: &Deps,
    request: &Request,
    holder: &str,
    loaded: Option<&Stored>,
    patience: tokio::time::Instant,
) -> Result<Outcome, Stop> {
    let containing = loaded.filter(|stored| stored.record.status != Status::Releasing);
    if containing.is_some_and(|stored| stored.asked.is_none()) {
        deps.journal
            .ask(&request.entity.key(), &request.message.id)
            .await
            .map_err(Stop::Journal)?;
    }
    match wait_for_holder(deps, request, holder, patience).await {
        true => Err(Stop::Lost),
        false => Ok(busy(loaded, request)),
    }
}

/// Takes a record up as it was loaded, and undoes what it holds.
pub(crate) async fn take_up(
    deps: &Deps,
    request: &Request,
    holder: &str,
    loaded: Option<Stored>,
) -> Result<Outcome, Stop> {
    let Some(stored) = loaded else { return Err(Stop::Lost) };
    let mut record = stored.record.clone();
    record.seen_mut(request).attempts += u32::from(!request.resumed);
    if record.is_open() {
        record.status = Status::Releasing;
    }
    let key = record.key.clone();
    let mut work = Work::new(deps, request, record, holder.to_owned(), Some(&stored));
    // The lease is taken before anything is read: a containment that was asked to stop must have stopped.
    save(&mut work, &[]).await?;
    let (wake, out) = (Wake::of(request, &work.record), Rc::clone(&work.beside));
    let wakes = work.needs_a_wake_up();
    let waking = async {
        if wakes && deps.wakeups.store_beside(&wake, deps.settings.lease).await {
            out.borrow_mut().woken = Some(Moment::now());
        }
    };
    // Boxed, as a containment's is.
    let undoing = Work::leased(deps, &key, holder, undo_all(work).boxed_local());
    let (outcome, ()) = tokio::join!(undoing, waking);
    outcome
}

async fn save(work: &mut Work<'_>, changes: &[ChangeWrite]) -> Result<(), Stop> {
    match work.save(changes).await {
        Ok(()) | Err(Unsaved::Changed) => Ok(()),
        Err(Unsaved::Stop(stop)) => Err(stop),
    }
}

/// The decision is recorded all the same, and before it is said: no late copy of an older request locks anything after it.
async fn nothing_to_release(
    deps: &Deps,
    request: &Request,
    holder: &str,
    loaded: Option<Stored>,
) -> Result<Outcome, Stop> {
    let begun = || Record::begin(request, Moment::now());
    let mut record = loaded.as_ref().map_or_else(begun, |stored| stored.record.clone());
    let never = record.messages.is_empty();
    if record.status == Status::Containing {
        record.status = Status::Released;
    }
    record.seen_mut(request).attempts += 1;
    let mut work = Work::new(deps, request, record, holder.to_owned(), loaded.as_ref());
    save(&mut work, &[]).await?;
    let entity = &request.entity;
    let summary = if never {
        format!("The {entity} was never contained by this deployment: nothing was to release")
    } else {
        format!("The {entity} is not contained: nothing was to release")
    };
    let mut report = Report::about(Stage::Unchanged, request, summary);
    for (what, holders) in held_by_others(deps, request).await {
        report.residue.push(format!(
            "{what}: this is held by the containment of {holders}; releasing that undoes it"
        ));
    }
    report.next = vec![
        "If a notice said UNJOURNALLED when it was contained, import that record (`lockdown journal import`) and release again"
            .to_owned(),
    ];
    finish(&mut work, &report).await?;
    Ok(Outcome::Ended(Stage::Unchanged))
}

/// The changes that containing this entity would make and that other containments hold, as far as can be seen.
async fn held_by_others(deps: &Deps, request: &Request) -> Vec<(String, String)> {
    let entity = &request.entity;
    let Ok(member) = deps
        .accounts
        .member(entity.partition, &entity.account, &entity.home())
        .await
    else {
        return vec![];
    };
    let Ok(facts) = entities::survey(entity, &member, &deps.settings).await else {
        return vec![];
    };
    let Ok(plan) = entities::plan(entity, &facts, &deps.settings, None) else {
        return vec![];
    };
    let steps: Vec<_> = plan.steps.iter().filter(|planned| planned.step.reverses()).collect();
    let keys: Vec<String> = steps.iter().map(|planned| planned.step.key()).collect();
    let items = deps.journal.changes(&keys).await.unwrap_or_default();
    let held = items.iter().filter(|item| !item.holders.is_empty());
    held.filter_map(|item| {
        let planned = steps.iter().find(|planned| planned.step.key() == item.key)?;
        Some((
            planned.step.describe(),
            item.holders.iter().cloned().collect::<Vec<_>>().join(", "),
        ))
    })
    .collect()
}

/// What is to become of one step.
enum Undoing {
    /// To leave as it is, in this state, with this containment still among its holders.
    Rest(StepState, String),
    /// To undo, once nobody else holds the change.
    Due,
    /// The state before is there already.
    There,
    /// The resource is gone, and with it what was to undo.
    Gone,
}

async fn undo_all(mut work: Work<'_>) -> Result<Outcome, Stop> {
    let (deps, request) = (work.deps, work.request);
    let entity = &request.entity;
    let member = match deps
        .accounts
        .member(entity.partition, &entity.account, &entity.home())
        .await
    {
        Ok(member) => member,
        Err(failure) => return not_reached(work, failure).await,
    };
    let mut passing = Passing::default();
    let phases: BTreeSet<u8> = work.record.steps.iter().map(|step| step.phase).collect();
    for phase in phases.into_iter().rev() {
        undo_phase(&mut work, &member, phase, &mut passing).await?;
    }
    end(work, &passing).await
}

/// Undoes the steps of one phase: looks, takes this containment out of the holders, undoes what nobody holds any more, makes sure
/// of what others hold, and forgets what was undone. A crash anywhere in between leaves what the next delivery finds again.
async fn undo_phase(work: &mut Work<'_>, member: &Member, phase: u8, passing: &mut Passing) -> Result<(), Stop> {
    let request = work.request;
    let due = |step: &&mut RecordedStep| step.phase == phase && step.waits_for_undo();
    let looking = iter(work.record.steps.iter_mut().filter(due)).map(|step| async {
        let looked = look(step, member, request).await;
        (step, looked)
    });
    let looked: Vec<_> = looking.buffer_unordered(AT_ONCE).collect().await;
    let mut undo = BTreeMap::new();
    for (step, looked) in looked {
        match looked {
            Ok(Undoing::Rest(state, detail)) => step.becomes(state, Some(detail), Moment::now()),
            Ok(way @ (Undoing::Due | Undoing::There | Undoing::Gone)) => {
                undo.insert(step.step.key(), way);
            }
            Err(failure) => fail(step, &failure, passing),
        }
    }
    let kept = leave(work, &undo).await?;
    let ours = |step: &&mut RecordedStep| undo.contains_key(&step.step.key());
    let undoing = iter(work.record.steps.iter_mut().filter(ours)).map(|step| async {
        let outcome = match (kept.get(&step.step.key()), undo.get(&step.step.key())) {
            (_, Some(Undoing::Gone) | None) => Ok((StepState::Gone, Receipt::default())),
            (Some(holders), Some(_)) => keep(step, member, holders).await,
            (None, Some(Undoing::Due)) => put_back(step, member).await,
            (None, Some(Undoing::There | Undoing::Rest(..))) => Ok((StepState::Untouched, Receipt::default())),
        };
        (step, outcome)
    });
    let outcomes: Vec<_> = undoing.buffer_unordered(AT_ONCE).collect().await;
    let mut forget = Vec::new();
    for (step, outcome) in outcomes {
        match outcome {
            Ok((state, receipt)) => {
                step.becomes(state, receipt.note, Moment::now());
                step.aws_request = receipt.request;
                if !kept.contains_key(&step.step.key()) {
                    forget.push(step.step.key());
                }
            }
            Err(failure) => fail(step, &failure, passing),
        }
    }
    forget_changes(work, member, forget, passing).await
}

/// Looks at what is there now, and decides.
async fn look(step: &RecordedStep, member: &Member, request: &Request) -> Result<Undoing, Failure> {
    if step.state == StepState::Unchanged {
        return Ok(Undoing::There);
    }
    if step.step.on_request() && !request.reactivate_keys {
        let how = "left inactive: release with ReactivateKeys `true` (lockdown publish --reactivate-keys) makes it active again";
        return Ok(Undoing::Rest(StepState::Left, how.to_owned()));
    }
    let (exists, now) = tokio::join!(step.step.exists(member), step.step.read(member));
    if !exists? {
        return Ok(Undoing::Gone);
    }
    let now = match now {
        Err(failure) if failure.reason == Reason::Absent => return Ok(Undoing::Gone),
        now => now?,
    };
    if step.step.is_undone(&now, &step.before) {
        return Ok(Undoing::There);
    }
    if step.step.is_ours(&now) || request.force {
        return Ok(Undoing::Due);
    }
    let detail = format!(
        "left as it is: somebody else has changed it since ({now}, where containment had found {}). Release with Force `true` to overwrite it",
        step.before
    );
    Ok(Undoing::Rest(StepState::Left, detail))
}

/// Takes this containment out of the holders of these changes, and says who else holds which.
async fn leave(work: &mut Work<'_>, undo: &BTreeMap<String, Undoing>) -> Result<BTreeMap<String, String>, Stop> {
    let keys: Vec<String> = undo.keys().cloned().collect();
    let holder = holder_of(&work.record);
    let tries = Tries::begin();
    loop {
        let items = match keys.is_empty() {
            true => vec![],
            false => work.deps.journal.changes(&keys).await.map_err(Stop::Journal)?,
        };
        let others = items.iter().filter_map(|item| {
            let others: Vec<&str> = item
                .holders
                .iter()
                .filter(|other| **other != holder)
                .map(String::as_str)
                .collect();
            (!others.is_empty()).then(|| (item.key.clone(), others.join(", ")))
        });
        let kept: BTreeMap<String, String> = others.collect();
        let mine = items.iter().filter(|item| item.holders.contains(&holder));
        let leaves: Vec<ChangeWrite> = mine
            .map(|seen| ChangeWrite::Leave {
                seen: seen.clone(),
                holder: holder.clone(),
            })
            .collect();
        match work.save(&leaves).await {
            Ok(()) => return Ok(kept),
            Err(Unsaved::Stop(stop)) => return Err(stop),
            Err(Unsaved::Changed) if tries.next().await => {}
            Err(Unsaved::Changed) => return Err(Stop::Lost),
        }
    }
}

/// What others hold stays, and is made sure of: an earlier delivery of this release may have undone it.
async fn keep(step: &RecordedStep, member: &Member, holders: &str) -> Result<(StepState, Receipt), Failure> {
    if let Held::Gone(_) = hold(step, member, false).await? {
        return Ok((StepState::Gone, Receipt::default()));
    }
    let note = format!("stays: it is also held by the containment of {holders}; its release undoes it");
    Ok((
        StepState::Kept,
        Receipt {
            request: None,
            note: Some(note),
        },
    ))
}

/// Undoes one step and reads it back until the state before is there.
async fn put_back(step: &RecordedStep, member: &Member) -> Result<(StepState, Receipt), Failure> {
    let ends = tokio::time::Instant::now() + step.step.patience();
    let mut pause = FIRST_PAUSE;
    loop {
        let failure = match undone(step, member).await {
            Ok(Some(receipt)) => return Ok((StepState::Undone, receipt)),
            Ok(None) => {
                let message = format!(
                    "AWS took the change, and it does not show after {} s",
                    step.step.patience().as_secs()
                );
                let what = step.step.describe_undo(&step.before);
                Failure::own("read back", what, member.account.as_str(), "NotHolding", message)
            }
            // Either the resource is gone, or something that it is to get back: only the first is an end.
            Err(failure) if failure.reason == Reason::Absent => {
                return match step.step.exists(member).await? {
                    true => Err(failure),
                    false => Ok((StepState::Gone, Receipt::default())),
                };
            }
            Err(failure) if failure.passes() => failure,
            Err(failure) => return Err(failure),
        };
        if tokio::time::Instant::now() + pause > ends {
            return Err(failure);
        }
        tokio::time::sleep(pause).await;
        if matches!(step.step.read(member).await, Ok(now) if step.step.is_undone(&now, &step.before)) {
            return Ok((StepState::Undone, Receipt::default()));
        }
        pause *= 2;
    }
}

/// Undoes a step and reads it back; `None`: it does not show.
async fn undone(step: &RecordedStep, member: &Member) -> Result<Option<Receipt>, Failure> {
    let receipt = step.step.undo(member, &step.before, step.made.as_ref()).await?;
    if receipt.note.is_some() {
        return Ok(Some(receipt));
    }
    let now = step.step.read(member).await?;
    Ok(step.step.is_undone(&now, &step.before).then_some(receipt))
}

/// Removes the items of undone changes. Where another containment has joined meanwhile, the change is made again for it.
async fn forget_changes(
    work: &mut Work<'_>,
    member: &Member,
    mut forget: Vec<String>,
    passing: &mut Passing,
) -> Result<(), Stop> {
    let tries = Tries::begin();
    loop {
        let writes: Vec<ChangeWrite> = forget
            .iter()
            .map(|key| ChangeWrite::Forget { key: key.clone() })
            .collect();
        match work.save(&writes).await {
            Ok(()) => return Ok(()),
            Err(Unsaved::Stop(stop)) => return Err(stop),
            Err(Unsaved::Changed) => {}
        }
        let items = work.deps.journal.changes(&forget).await.map_err(Stop::Journal)?;
        for item in items.iter().filter(|item| !item.holders.is_empty()) {
            forget.retain(|key| *key != item.key);
            let holders = item.holders.iter().cloned().collect::<Vec<_>>().join(", ");
            let Some(step) = work.record.steps.iter_mut().find(|step| step.step.key() == item.key) else {
                continue;
            };
            match keep(step, member, &holders).await {
                Ok((state, receipt)) => step.becomes(state, receipt.note, Moment::now()),
                Err(failure) => fail(step, &failure, passing),
            }
        }
        if !tries.next().await {
            return Err(Stop::Lost);
        }
    }
}

fn fail(step: &mut RecordedStep, failure: &Failure, passing: &mut Passing) {
    tracing::warn!(
        step = step.step.describe(),
        code = failure.code,
        "undoing failed: {failure}"
    );
    step.becomes(StepState::Failed, Some(failure.to_string()), Moment::now());
    step.code = Some(failure.code.clone());
    step.passing = failure.passes();
    if failure.passes() {
        passing.add(failure.to_string());
    }
}

async fn not_reached(mut work: Work<'_>, failure: Failure) -> Result<Outcome, Stop> {
    let request = work.request;
    if failure.passes() && work.is_tried_again() {
        work.close().await?;
        return Ok(Outcome::Retry(failure.to_string()));
    }
    let summary = format!("The {} was NOT released: {failure}", request.entity);
    let next = vec!["Mend what is named above and publish the release again: the record is kept".to_owned()];
    let report = Report::released(Stage::Failed, request, &work.record, summary, next);
    if failure.passes() && work.is_left_to_wake_ups(report.stage) {
        say_meanwhile(work, &report).await?;
        return Ok(Outcome::SaidAndRetry(failure.to_string()));
    }
    finish(&mut work, &report).await?;
    Ok(if failure.passes() {
        Outcome::SaidAndRetry(failure.to_string())
    } else {
        Outcome::Ended(Stage::Failed)
    })
}

async fn end(mut work: Work<'_>, passing: &Passing) -> Result<Outcome, Stop> {
    let request = work.request;
    let entity = &request.entity;
    let retry = passing.line();
    if let Some(reason) = &retry
        && work.is_tried_again()
    {
        work.close().await?;
        return Ok(Outcome::Retry(reason.clone()));
    }
    let steps = || work.record.steps.iter().filter(|step| step.step.reverses());
    let stuck = steps().any(|step| match step.state {
        StepState::Failed => !step.before.is_null(),
        StepState::Left => !step.step.on_request(),
        StepState::Planned
        | StepState::Applied
        | StepState::Unchanged
        | StepState::Replaced
        | StepState::Skipped
        | StepState::Undone
        | StepState::Untouched
        | StepState::Kept
        | StepState::Gone => false,
    });
    let gone = steps().count() > 0 && steps().all(|step| step.state == StepState::Gone);
    let (stage, summary, next) = if stuck {
        let next = "Look at what was left, mend it, and publish the release again (with Force `true` to overwrite what others changed)";
        (
            Stage::Partial,
            format!("The {entity} is released in part ONLY: the record stays open"),
            vec![next.to_owned()],
        )
    } else if gone {
        (
            Stage::Released,
            format!("The {entity} no longer exists: there was nothing to put back, and the record is closed"),
            vec![],
        )
    } else if steps().any(|step| step.state == StepState::Kept) {
        (
            Stage::Released,
            format!(
                "The {entity} is released, but some of it STAYS LOCKED, since other containments hold it too: see below"
            ),
            vec!["Release the containments that are named below as well, if it is to open".to_owned()],
        )
    } else {
        (
            Stage::Released,
            format!("The {entity} is released: what containment had changed was put back, and read back"),
            vec![],
        )
    };
    if !stuck {
        work.record.status = Status::Released;
    }
    let report = Report::released(stage, request, &work.record, summary, next);
    if let Some(reason) = &retry
        && stuck
        && work.is_left_to_wake_ups(stage)
    {
        say_meanwhile(work, &report).await?;
        return Ok(Outcome::SaidAndRetry(reason.clone()));
    }
    finish(&mut work, &report).await?;
    Ok(match retry {
        Some(reason) => Outcome::SaidAndRetry(reason),
        None => Outcome::Ended(stage),
    })
}
