//! Contains one entity: survey, plan, record, apply, verify, tell.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;

use crate::admit::{Admission, admit};
use crate::apply::{Recorded, Tally, apply, fail};
use crate::aws::{Failure, Member, Reason};
use crate::entities::{self, Facts};
use crate::guard;
use crate::handler::{Deps, Outcome};
use crate::journal::{ChangeWrite, JournalError, Stored, holder_of};
use crate::moment::Moment;
use crate::notice::{Report, Stage};
use crate::plan::{Plan, Planned};
use crate::record::{ATTEMPTS, Record, RecordedStep, Status, StepState};
use crate::request::Request;
use crate::steps::Step;
use crate::work::{Stop, Unsaved, Work};

/// How long a copy of a message waits for the one that is being worked on.
const WAIT_AT_MOST: Duration = Duration::from_secs(60);

/// How often one that waits looks again.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a look at AWS and the journal brought.
struct Look {
    loaded: Result<Option<Stored>, JournalError>,
    survey: Result<(Member, Facts), Failure>,
}

async fn look(deps: &Deps, request: &Request) -> Look {
    let entity = &request.entity;
    let survey = async {
        let member = deps
            .accounts
            .member(entity.partition, &entity.account, &entity.home())
            .await?;
        let facts = entities::survey(entity, &member, &deps.settings).await?;
        Ok((member, facts))
    };
    let key = entity.key();
    let (loaded, survey) = tokio::join!(deps.journal.load(&key), survey);
    Look { loaded, survey }
}

/// Says what containing an entity would do; changes nothing.
pub(crate) async fn plan(deps: &Deps, request: &Request) -> Outcome {
    let Look { loaded, survey } = look(deps, request).await;
    let record = loaded
        .ok()
        .flatten()
        .map(|stored| stored.record)
        .filter(Record::is_open);
    let planned = match &survey {
        Ok((_, facts)) => made(request, facts, deps, record.as_ref()),
        Err(failure) if failure.passes() => return Outcome::Retry(failure.to_string()),
        Err(failure) => {
            deps.publisher
                .publish(&Report::about(
                    Stage::Failed,
                    request,
                    format!("No plan could be made: {failure}"),
                ))
                .await;
            return Outcome::Ended(Stage::Failed);
        }
    };
    match planned {
        Ok(plan) => {
            deps.publisher.publish(&Report::planned(request, &plan)).await;
            Outcome::Ended(Stage::Planned)
        }
        Err(refusal) => deps.refuse(request, &refusal.0).await,
    }
}

fn made(request: &Request, facts: &Facts, deps: &Deps, record: Option<&Record>) -> Result<Plan, guard::Refusal> {
    let plan = entities::plan(&request.entity, facts, &deps.settings, record)?;
    guard::judge_plan(&plan, &deps.settings)?;
    Ok(plan)
}

/// Locks an entity down.
pub(crate) async fn contain(deps: &Deps, request: &Request) -> Outcome {
    let holder = deps.new_holder();
    let patience = tokio::time::Instant::now() + WAIT_AT_MOST;
    let Look { loaded, survey } = loop {
        let look = look(deps, request).await;
        let stored = look.loaded.as_ref().ok().and_then(Option::as_ref);
        match admit(stored, request, &holder, Moment::now()) {
            Admission::Duplicate => return Outcome::Silent,
            Admission::Stale => return deps.refuse(request, STALE).await,
            Admission::Held if wait_for_holder(deps, request, &holder, patience).await => {}
            Admission::Held => {
                let same = stored.is_some_and(|stored| stored.record.seen(&request.message.id).is_some());
                return if same {
                    Outcome::Silent
                } else {
                    Outcome::Retry("another request for this entity is being carried out".to_owned())
                };
            }
            Admission::Begin | Admission::Resume => break look,
        }
    };
    let stored = loaded.as_ref().ok().and_then(Option::as_ref);
    let mut record = match stored {
        Some(stored) => stored.record.clone(),
        None => Record::begin(request, Moment::now()),
    };
    let was_contained = record.status == Status::Contained;
    if !record.is_open() && stored.is_some() {
        record.begin_again(request, Moment::now());
    }
    record.seen_mut(request).attempts += 1;
    let mut work = Work::new(deps, request, record, holder.clone(), stored);
    work.unjournalled = loaded.as_ref().err().cloned();
    let (member, facts) = match survey {
        Ok(found) => found,
        Err(failure) => return not_surveyed(work, failure).await,
    };
    let tally = Tally {
        was_contained,
        ..Tally::default()
    };
    let key = work.record.key.clone();
    Work::leased(deps, &key, &holder, carry_out(work, &member, &facts, tally)).await
}

/// Waits until nobody else works on the record of this entity; says whether that came to be.
pub(crate) async fn wait_for_holder(deps: &Deps, request: &Request, holder: &str, until: tokio::time::Instant) -> bool {
    while tokio::time::Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
        let Ok(loaded) = deps.journal.load(&request.entity.key()).await else {
            return true;
        };
        if !loaded.is_some_and(|stored| stored.held_by_another(holder, Moment::now())) {
            return true;
        }
    }
    false
}

/// The reason for refusing a request that comes too late.
pub(crate) const STALE: &str =
    "a newer request was decided for this entity, so this one is stale: publish a new message if it is still meant";

async fn not_surveyed(mut work: Work<'_>, failure: Failure) -> Outcome {
    let request = work.request;
    let attempts = work.record.seen_mut(request).attempts;
    let last = attempts >= ATTEMPTS;
    if failure.passes() && !last {
        return match work.close().await {
            Ok(()) | Err(Stop::Asked | Stop::Lost | Stop::NoTime | Stop::Journal(_)) => {
                Outcome::Retry(failure.to_string())
            }
        };
    }
    if work.record.steps.is_empty() {
        work.record.status = Status::Failed;
    }
    let summary = match failure.reason {
        Reason::Absent => format!(
            "The {} does not exist in account {}: nothing was changed ({failure})",
            request.entity, request.entity.account
        ),
        _ => format!("The {} was NOT contained: {failure}", request.entity),
    };
    let next = vec!["Check the ARN, mend what is named above, and publish the message again".to_owned()];
    let report = Report {
        next,
        ..Report::about(Stage::Failed, request, summary)
    };
    finish(&mut work, &report).await;
    if failure.passes() {
        Outcome::Retry(failure.to_string())
    } else {
        Outcome::Ended(Stage::Failed)
    }
}

async fn carry_out(mut work: Work<'_>, member: &Member, facts: &Facts, mut tally: Tally) -> Outcome {
    let (deps, request) = (work.deps, work.request);
    let known = work.record.is_open().then_some(&work.record);
    let plan = match made(request, facts, deps, known) {
        Ok(plan) => plan,
        Err(refusal) => return deps.refuse(request, &refusal.0).await,
    };
    let namesake = work.record.unique_id.is_some() && work.record.unique_id != plan.unique_id;
    if namesake {
        work.record.happened(
            Moment::now(),
            "the entity was made anew under the same name: a new containment begins",
        );
        let attempts = work.record.seen_mut(request).attempts;
        work.record.begin_again(request, Moment::now());
        work.record.seen_mut(request).attempts = attempts;
    }
    let mut started = false;
    let mut next_plan = Some(plan);
    for _ in 0..4 {
        let Some(plan) = next_plan.take() else { break };
        let recorded = match record_plan(&mut work, plan, member, &mut tally).await {
            Ok(recorded) => recorded,
            Err(stop) => return stopped(stop),
        };
        // The first notice goes out beside the work, never before it.
        let report = (!started)
            .then(|| Report::started(request, &work.record))
            .filter(|_| not_yet_said(&work, Stage::Started));
        let said = async {
            match &report {
                Some(report) => deps.publisher.publish(report).await,
                None => false,
            }
        };
        let (sent, applied) = tokio::join!(said, apply(&recorded, &mut work, member, &mut tally, started));
        if sent {
            work.record.seen_mut(request).notices.push(Stage::Started);
        }
        started = true;
        if let Err(stop) = applied {
            return stopped(stop);
        }
        next_plan = fall_back(&mut work, facts);
    }
    end(work, &tally).await
}

/// Lambda delivers the event again, with a whole invocation's time.
const NO_TIME: &str =
    "too little time is left to open an instance for the settle and to close it again: nothing was opened yet";

fn stopped(stop: Stop) -> Outcome {
    match stop {
        Stop::Asked | Stop::Lost => Outcome::Silent,
        Stop::NoTime => Outcome::Retry(NO_TIME.to_owned()),
        Stop::Journal(error) => Outcome::Retry(error.to_string()),
    }
}

fn not_yet_said(work: &Work<'_>, stage: Stage) -> bool {
    work.record
        .seen(&work.request.message.id)
        .is_none_or(|seen| !seen.notices.contains(&stage))
}

/// Brings the plan into the record, with the state before of each new step, and writes it.
async fn record_plan(work: &mut Work<'_>, plan: Plan, member: &Member, tally: &mut Tally) -> Result<Recorded, Stop> {
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
        if !tally.passing.contains(&reason) {
            tally.passing.push(reason);
        }
    }
    let record = &mut work.record;
    (record.entity, record.unique_id, record.status) = (entity, unique_id, Status::Containing);
    (record.affected, record.residue, record.remarks) = (affected, residue, remarks);
    let fresh: Vec<Planned> = steps
        .into_iter()
        .filter(|planned| is_fresh(record, &planned.step))
        .collect();
    let befores = join_all(fresh.iter().map(|planned| async {
        match &planned.before {
            Some(before) => Ok(before.clone()),
            None => planned.step.read(member).await,
        }
    }))
    .await;
    let mut changes = Vec::new();
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
    for _ in 0..5 {
        match work.save(&changes).await {
            Ok(()) => return Ok(Recorded::by_the_journal()),
            Err(Unsaved::Stop(stop)) => return Err(stop),
            Err(Unsaved::Changed) => changes = join_others(work, changes).await.map_err(Stop::Journal)?,
        }
    }
    Err(Stop::Lost)
}

/// Whether a step is to be recorded anew: the record lacks it, or a release has put it back or let go of it.
fn is_fresh(record: &Record, step: &Step) -> bool {
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
async fn join_others(work: &mut Work<'_>, changes: Vec<ChangeWrite>) -> Result<Vec<ChangeWrite>, JournalError> {
    let keys: Vec<String> = changes.iter().map(|change| change.key().to_owned()).collect();
    let present = work.deps.journal.changes(&keys).await?;
    let holder = holder_of(&work.record);
    Ok(changes
        .into_iter()
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
                None => change,
            },
        })
        .collect())
}

/// A new plan, where steps can't be made and others can do their work.
fn fall_back(work: &mut Work<'_>, facts: &Facts) -> Option<Plan> {
    let failed = work.record.steps.iter().any(|step| step.state == StepState::Failed);
    if !failed {
        return None;
    }
    let plan = made(work.request, facts, work.deps, Some(&work.record)).ok()?;
    if plan
        .steps
        .iter()
        .all(|planned| work.record.find(&planned.step).is_some())
    {
        // Nothing else can do their work: what stays open is said.
        (work.record.residue, work.record.remarks) = (plan.residue, plan.remarks);
        return None;
    }
    let replaced = |step: &RecordedStep| {
        let still_planned = plan.steps.iter().any(|planned| planned.step.key() == step.step.key());
        step.state == StepState::Failed && step.is_impossible() && !still_planned
    };
    for step in work.record.steps.iter_mut().filter(|step| replaced(step)) {
        step.state = StepState::Replaced;
    }
    Some(plan)
}

/// Says how it ended, and closes the record.
async fn end(mut work: Work<'_>, tally: &Tally) -> Outcome {
    let request = work.request;
    let attempts = work.record.seen(&request.message.id).map_or(0, |seen| seen.attempts);
    let amounts = work.record.amounts_to();
    work.record.status = amounts;
    let retry = (!tally.passing.is_empty()).then(|| tally.passing.join("; "));
    if let Some(reason) = &retry
        && attempts < ATTEMPTS
    {
        if let Err(stop) = work.close().await {
            tracing::warn!(entity = %work.record.entity, "the record was not closed: {stop:?}");
        }
        return Outcome::Retry(reason.clone());
    }
    let entity = &request.entity;
    let (stage, summary, next) = match amounts {
        Status::Contained if tally.was_contained && tally.made == 0 => (
            Stage::Unchanged,
            format!("The {entity} was contained already, and everything still holds: nothing was to do"),
            vec![],
        ),
        Status::Contained if !tally.repaired.is_empty() => (
            Stage::Contained,
            format!(
                "The {entity} is contained. Some of it had been undone since and was made again: {}",
                tally.repaired.join("; ")
            ),
            vec!["Find out who undid it (CloudTrail): the intruder may hold other credentials".to_owned()],
        ),
        Status::Partial => (
            Stage::Partial,
            format!("The {entity} is contained in part ONLY: see what was not done and what stays open"),
            vec!["Mend what is named above and publish the message again: what holds is kept".to_owned()],
        ),
        Status::Failed => (
            Stage::Failed,
            format!("The {entity} was NOT contained"),
            vec!["Mend what is named above and publish the message again".to_owned()],
        ),
        Status::Contained | Status::Containing | Status::Releasing | Status::Released => (
            Stage::Contained,
            format!("The {entity} is contained: every step below was read back"),
            vec!["Look for what the intruder left behind, then release with the command below".to_owned()],
        ),
    };
    let mut report = Report::contained(stage, request, &work.record, summary, next);
    report.journalled = work.unjournalled.is_none();
    finish(&mut work, &report).await;
    match retry {
        Some(reason) => Outcome::Retry(reason),
        None => Outcome::Ended(stage),
    }
}

/// Sends the final notice and closes the record with it.
pub(crate) async fn finish(work: &mut Work<'_>, report: &Report) {
    let request = work.request;
    let stage = report.stage;
    let mut report = report.clone();
    report.journalled = work.unjournalled.is_none();
    let sent = work.deps.publisher.publish(&report).await;
    let seen = work.record.seen_mut(request);
    seen.ended = Some(stage);
    if sent {
        seen.notices.push(stage);
    }
    work.record
        .happened(Moment::now(), format!("{}: {stage}", request.action));
    if let Err(stop) = work.close().await {
        tracing::warn!(entity = %work.record.entity, "the record was not closed: {stop:?}");
    }
    if let Some(error) = &work.unjournalled {
        let record = serde_json::to_string(&work.record).unwrap_or_default();
        tracing::error!(
            unjournalled = true,
            record,
            "keep this line and import it with `lockdown journal import`: {error}"
        );
    }
}
