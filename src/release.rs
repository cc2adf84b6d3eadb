//! Releases one entity: undoes what the record holds, newest first, and leaves what is not ours.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;

use crate::admit::{Admission, admit};
use crate::aws::{Failure, Member, Reason};
use crate::execute::{STALE, finish, wait_for_holder};
use crate::handler::{Deps, Outcome};
use crate::journal::{ChangeItem, ChangeWrite, JournalError, LEASE_SECONDS, holder_of};
use crate::moment::Moment;
use crate::notice::{Report, Stage};
use crate::record::{ATTEMPTS, Record, RecordedStep, Status, StepState};
use crate::request::Request;
use crate::steps::Receipt;
use crate::work::{Stop, Unsaved, Work};

/// The first pause before an undone change is read again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// How long a release waits for a containment that it asked to stop: until its lease would lapse, and a little more.
const WAIT_AT_MOST: Duration = Duration::from_secs(LEASE_SECONDS + 5);

/// Puts everything back that the record of an entity holds.
pub(crate) async fn release(deps: &Deps, request: &Request) -> Outcome {
    let holder = deps.new_holder();
    let patience = tokio::time::Instant::now() + WAIT_AT_MOST;
    let key = request.entity.key();
    let mut asked = false;
    let loaded = loop {
        let loaded = match deps.journal.load(&key).await {
            Ok(loaded) => loaded,
            Err(error) => return out_of_reach(&error),
        };
        match admit(loaded.as_ref(), request, &holder, Moment::now()) {
            Admission::Duplicate => return Outcome::Silent,
            Admission::Stale => return deps.refuse(request, STALE).await,
            Admission::Begin => return nothing_to_release(deps, request, &holder, loaded).await,
            Admission::Resume => break loaded,
            Admission::Held => {
                if !asked && let Err(error) = deps.journal.ask(&key, &request.message.id).await {
                    return out_of_reach(&error);
                }
                asked = true;
                if !wait_for_holder(deps, request, &holder, patience).await {
                    return Outcome::Retry("another request for this entity is being carried out".to_owned());
                }
            }
        }
    };
    let Some(stored) = loaded else {
        return nothing_to_release(deps, request, &holder, None).await;
    };
    let mut record = stored.record.clone();
    record.seen_mut(request).attempts += 1;
    if record.is_open() {
        record.status = Status::Releasing;
    }
    let mut work = Work::new(deps, request, record, holder.clone(), Some(&stored));
    // The lease is taken before anything is read: a containment that was asked to stop must have stopped.
    match work.save(&[]).await {
        Ok(()) | Err(Unsaved::Changed) => {}
        Err(Unsaved::Stop(stop)) => return stopped(stop),
    }
    Work::leased(deps, &key, &holder, undo_all(work)).await
}

fn out_of_reach(error: &JournalError) -> Outcome {
    Outcome::Retry(format!("nothing can be released without the journal: {error}"))
}

fn stopped(stop: Stop) -> Outcome {
    match stop {
        Stop::Asked | Stop::Lost | Stop::NoTime => {
            Outcome::Retry("another request for this entity is being carried out".to_owned())
        }
        Stop::Journal(error) => out_of_reach(&error),
    }
}

/// The decision is recorded all the same: no late copy of an older request locks anything after it.
async fn nothing_to_release(
    deps: &Deps,
    request: &Request,
    holder: &str,
    loaded: Option<crate::journal::Stored>,
) -> Outcome {
    let mut record = loaded
        .as_ref()
        .map_or_else(|| Record::begin(request, Moment::now()), |stored| stored.record.clone());
    let never = record.messages.is_empty();
    record.status = if record.status == Status::Containing {
        Status::Released
    } else {
        record.status
    };
    record.seen_mut(request).attempts += 1;
    let entity = &request.entity;
    let summary = if never {
        format!("The {entity} was never contained by this deployment: nothing was to release")
    } else {
        format!("The {entity} is not contained: nothing was to release")
    };
    let report = Report::about(Stage::Unchanged, request, summary);
    let mut work = Work::new(deps, request, record, holder.to_owned(), loaded.as_ref());
    finish(&mut work, &report).await;
    Outcome::Ended(Stage::Unchanged)
}

/// What became of one step.
enum Undoing {
    /// To leave as it is, in this state.
    Rest(StepState, Option<String>),
    /// To undo, once nobody else holds the change.
    Due,
    /// The state before is there already.
    There,
}

async fn undo_all(mut work: Work<'_>) -> Outcome {
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
    let mut passing = Vec::new();
    let phases: BTreeSet<u8> = work.record.steps.iter().map(|step| step.phase).collect();
    for phase in phases.into_iter().rev() {
        if let Err(stop) = undo_phase(&mut work, &member, phase, &mut passing).await {
            return stopped(stop);
        }
    }
    end(work, passing).await
}

async fn undo_phase(work: &mut Work<'_>, member: &Member, phase: u8, passing: &mut Vec<Failure>) -> Result<(), Stop> {
    let request = work.request;
    let due: Vec<usize> = (0..)
        .zip(&work.record.steps)
        .filter(|(_, step)| step.phase == phase && step.waits_for_undo())
        .map(|(at, _)| at)
        .collect();
    let steps = due.iter().filter_map(|at| work.record.steps.get(*at));
    let looks = join_all(steps.map(|step| look(step, member, request))).await;
    let mut undo = Vec::new();
    for (at, look) in due.into_iter().zip(looks) {
        let Some(step) = work.record.steps.get_mut(at) else {
            continue;
        };
        match look {
            Ok(Undoing::Rest(state, detail)) => step.becomes(state, detail, Moment::now()),
            Ok(Undoing::Due) => undo.push((at, true)),
            Ok(Undoing::There) => undo.push((at, false)),
            Err(failure) => fail(step, failure, passing),
        }
    }
    let keys: Vec<String> = undo
        .iter()
        .filter_map(|(at, _)| work.record.steps.get(*at))
        .map(|step| step.step.key())
        .collect();
    let kept = leave(work, &keys).await?;
    undo.retain(|(at, _)| {
        work.record
            .steps
            .get(*at)
            .is_some_and(|step| !kept.contains(&step.step.key()))
    });
    let steps = undo
        .iter()
        .filter_map(|(at, due)| work.record.steps.get(*at).map(|step| (step, *due)));
    let outcomes = join_all(steps.map(|(step, due)| async move {
        if due {
            put_back(step, member).await
        } else {
            Ok(Receipt::default())
        }
    }))
    .await;
    let mut forget = Vec::new();
    for ((at, due), outcome) in undo.into_iter().zip(outcomes) {
        let Some(step) = work.record.steps.get_mut(at) else {
            continue;
        };
        match outcome {
            Ok(receipt) => {
                let state = if due { StepState::Undone } else { StepState::Untouched };
                step.becomes(state, receipt.note, Moment::now());
                step.aws_request = receipt.request;
                forget.push(step.step.key());
            }
            Err(failure) if failure.reason == Reason::Absent => {
                step.becomes(StepState::Gone, None, Moment::now());
                forget.push(step.step.key());
            }
            Err(failure) => fail(step, failure, passing),
        }
    }
    forget_changes(work, member, forget).await
}

/// Looks at what is there now, and decides.
async fn look(step: &RecordedStep, member: &Member, request: &Request) -> Result<Undoing, Failure> {
    if step.state == StepState::Unchanged {
        return Ok(Undoing::There);
    }
    if step.step.on_request() && !request.reactivate_keys {
        let how = "left inactive: release with ReactivateKeys `true` (lockdown publish --reactivate-keys) makes it active again";
        return Ok(Undoing::Rest(StepState::Left, Some(how.to_owned())));
    }
    let (exists, now) = tokio::join!(step.step.exists(member), step.step.read(member));
    if !exists? {
        return Ok(Undoing::Rest(StepState::Gone, None));
    }
    let now = match now {
        Err(failure) if failure.reason == Reason::Absent => return Ok(Undoing::Rest(StepState::Gone, None)),
        now => now?,
    };
    if now == step.before {
        return Ok(Undoing::There);
    }
    if step.step.is_ours(&now) || request.force {
        return Ok(Undoing::Due);
    }
    let detail = format!(
        "left as it is: somebody else has changed it since ({now}, where containment had found {}). Release with Force `true` to overwrite it",
        step.before
    );
    Ok(Undoing::Rest(StepState::Left, Some(detail)))
}

/// Takes this containment out of the holders of these changes; says which are still held by others, and notes them as kept.
async fn leave(work: &mut Work<'_>, keys: &[String]) -> Result<BTreeSet<String>, Stop> {
    for _ in 0..5 {
        let items = if keys.is_empty() {
            vec![]
        } else {
            work.deps.journal.changes(keys).await.map_err(Stop::Journal)?
        };
        let holder = holder_of(&work.record);
        let others = |item: &ChangeItem| {
            item.holders
                .iter()
                .filter(|other| **other != holder)
                .cloned()
                .collect::<Vec<_>>()
        };
        let kept: BTreeSet<String> = items
            .iter()
            .filter(|item| !others(item).is_empty())
            .map(|item| item.key.clone())
            .collect();
        let before = work.record.clone();
        for item in items.iter().filter(|item| kept.contains(&item.key)) {
            if let Some(step) = work.record.steps.iter_mut().find(|step| step.step.key() == item.key) {
                let why = format!(
                    "stays: it is also held by the containment of {}; its release undoes it",
                    others(item).join(", ")
                );
                step.becomes(StepState::Kept, Some(why), Moment::now());
            }
        }
        let mine = items.into_iter().filter(|item| item.holders.contains(&holder));
        let leaves: Vec<ChangeWrite> = mine
            .map(|seen| ChangeWrite::Leave {
                seen,
                holder: holder.clone(),
            })
            .collect();
        match work.save(&leaves).await {
            Ok(()) => return Ok(kept),
            Err(Unsaved::Stop(stop)) => return Err(stop),
            Err(Unsaved::Changed) => work.record.steps = before.steps,
        }
    }
    Err(Stop::Lost)
}

/// Undoes one step and reads it back until the state before is there.
async fn put_back(step: &RecordedStep, member: &Member) -> Result<Receipt, Failure> {
    let ends = tokio::time::Instant::now() + step.step.patience();
    let mut pause = FIRST_PAUSE;
    loop {
        let receipt = step.step.undo(member, &step.before).await?;
        if receipt.note.is_some() {
            return Ok(receipt);
        }
        let now = step.step.read(member).await?;
        if now == step.before {
            return Ok(receipt);
        }
        if tokio::time::Instant::now() + pause > ends {
            let message = format!(
                "AWS took the change, and after {} s it is still {now}",
                step.step.patience().as_secs()
            );
            let what = step.step.describe_undo(&step.before);
            return Err(Failure::own(
                "read back",
                what,
                member.account.as_str(),
                "NotHolding",
                message,
            ));
        }
        tokio::time::sleep(pause).await;
        if step.step.read(member).await? == step.before {
            return Ok(receipt);
        }
        pause *= 2;
    }
}

/// Removes the items of undone changes. Where another containment has joined meanwhile, the change is made again for it.
async fn forget_changes(work: &mut Work<'_>, member: &Member, mut forget: Vec<String>) -> Result<(), Stop> {
    for _ in 0..5 {
        let writes: Vec<ChangeWrite> = forget
            .iter()
            .map(|key| ChangeWrite::Forget { key: key.clone() })
            .collect();
        match work.save(&writes).await {
            Ok(()) => return Ok(()),
            Err(Unsaved::Stop(stop)) => return Err(stop),
            Err(Unsaved::Changed) => {
                let items = work.deps.journal.changes(&forget).await.map_err(Stop::Journal)?;
                for item in items.iter().filter(|item| !item.holders.is_empty()) {
                    forget.retain(|key| *key != item.key);
                    if let Some(step) = work.record.steps.iter_mut().find(|step| step.step.key() == item.key) {
                        again(step, member, item).await;
                    }
                }
            }
        }
    }
    Err(Stop::Lost)
}

async fn again(step: &mut RecordedStep, member: &Member, item: &ChangeItem) {
    let holders = item.holders.iter().cloned().collect::<Vec<_>>().join(", ");
    match step.step.apply(member, &step.before).await {
        Ok(_) => step.becomes(
            StepState::Kept,
            Some(format!(
                "made again: the containment of {holders} has begun to hold it meanwhile"
            )),
            Moment::now(),
        ),
        Err(failure) => step.becomes(
            StepState::Failed,
            Some(format!(
                "undone, although the containment of {holders} holds it: {failure}"
            )),
            Moment::now(),
        ),
    }
}

fn fail(step: &mut RecordedStep, failure: Failure, passing: &mut Vec<Failure>) {
    tracing::warn!(
        step = step.step.describe(),
        code = failure.code,
        "undoing failed: {failure}"
    );
    step.becomes(StepState::Failed, Some(failure.to_string()), Moment::now());
    step.code = Some(failure.code.clone());
    if failure.passes() {
        passing.push(failure);
    }
}

async fn not_reached(mut work: Work<'_>, failure: Failure) -> Outcome {
    let request = work.request;
    let attempts = work.record.seen_mut(request).attempts;
    if failure.passes() && attempts < ATTEMPTS {
        return closed_for_retry(work, failure.to_string()).await;
    }
    let summary = format!("The {} was NOT released: {failure}", request.entity);
    let next = vec!["Mend what is named above and publish the release again: the record is kept".to_owned()];
    let report = Report::released(Stage::Failed, request, &work.record, summary, next);
    finish(&mut work, &report).await;
    if failure.passes() {
        Outcome::Retry(failure.to_string())
    } else {
        Outcome::Ended(Stage::Failed)
    }
}

async fn closed_for_retry(mut work: Work<'_>, reason: String) -> Outcome {
    if let Err(stop) = work.close().await {
        tracing::warn!(entity = %work.record.entity, "the record was not closed: {stop:?}");
    }
    Outcome::Retry(reason)
}

async fn end(mut work: Work<'_>, passing: Vec<Failure>) -> Outcome {
    let request = work.request;
    let entity = &request.entity;
    let retry = passing
        .iter()
        .map(ToString::to_string)
        .reduce(|all, one| format!("{all}; {one}"));
    if let Some(reason) = &retry
        && work.record.seen_mut(request).attempts < ATTEMPTS
    {
        return closed_for_retry(work, reason.clone()).await;
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
    finish(&mut work, &report).await;
    match retry {
        Some(reason) => Outcome::Retry(reason),
        None => Outcome::Ended(stage),
    }
}
