//! Contains one entity: survey, plan, record, apply, verify, tell.

use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::OptionFuture;
use tokio::task::yield_now;

use crate::admit::{Admission, admit};
use crate::apply::{Tally, apply, confirm};
use crate::aws::{Failure, Member, Reason};
use crate::closing::{finish, say_meanwhile};
use crate::entities::{self, Facts};
use crate::fall_back::apply_with_fall_backs;
use crate::guard;
use crate::handler::{Deps, Outcome};
use crate::journal::{JournalError, Stored};
use crate::moment::Moment;
use crate::notice::{Report, Stage};
use crate::plan::Plan;
use crate::record::{Record, Status};
use crate::recording::{is_fresh, record_plan};
use crate::request::Request;
use crate::wake::Wake;
use crate::work::{Stop, Work};

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

pub(crate) fn made(
    request: &Request,
    facts: &Facts,
    deps: &Deps,
    record: Option<&Record>,
) -> Result<Plan, guard::Refusal> {
    let plan = entities::plan(&request.entity, facts, &deps.settings, record)?;
    guard::judge_plan(&plan, &deps.settings)?;
    Ok(plan)
}

/// Locks an entity down.
pub(crate) async fn contain(deps: &Deps, request: &Request) -> Outcome {
    let holder = deps.new_holder();
    let patience = tokio::time::Instant::now() + deps.settings.wait;
    loop {
        let look = look(deps, request).await;
        if let Err(error) = &look.loaded
            && request.goes_on()
        {
            // Without the record, what was done before would count as the state before.
            return Outcome::Retry(error.to_string());
        }
        let stored = look.loaded.as_ref().ok().and_then(Option::as_ref);
        match admit(stored, request, &holder, Moment::now()) {
            Admission::Duplicate => return Outcome::Silent,
            Admission::Stale => return deps.refuse(request, STALE).await,
            Admission::Held if wait_for_holder(deps, request, &holder, patience).await => {}
            Admission::Held => return busy(stored, request),
            Admission::Begin | Admission::Resume => match take_up(deps, request, &holder, look).await {
                Ok(outcome) => return outcome,
                Err(Stop::Asked) => return Outcome::Silent,
                Err(Stop::Journal(error)) => return Outcome::Retry(error.to_string()),
                // Somebody else was faster: what is there now is judged again.
                Err(Stop::Lost) if tokio::time::Instant::now() < patience => {}
                Err(Stop::Lost) => return Outcome::Retry(BUSY.to_owned()),
            },
        }
    }
}

/// Why a request can't be carried out now.
pub(crate) const BUSY: &str = "another request for this entity is being carried out";

/// The holder lives, and waiting has an end. A copy of its own message is silent; any other request is tried again.
pub(crate) fn busy(stored: Option<&Stored>, request: &Request) -> Outcome {
    let same = stored.is_some_and(|stored| stored.record.seen(&request.message.id).is_some());
    if same {
        Outcome::Silent
    } else {
        Outcome::Retry(BUSY.to_owned())
    }
}

/// Takes the record up as it was loaded, and carries the request out.
async fn take_up(deps: &Deps, request: &Request, holder: &str, look: Look) -> Result<Outcome, Stop> {
    let Look { loaded, survey } = look;
    let stored = loaded.as_ref().ok().and_then(Option::as_ref);
    let mut record = match stored {
        Some(stored) => stored.record.clone(),
        None => Record::begin(request, Moment::now()),
    };
    let tally = Tally {
        // By another message: what an earlier delivery of this one has contained is still to be said.
        was_contained: record.status == Status::Contained && record.seen(&request.message.id).is_none(),
        was_releasing: record.status == Status::Releasing,
        ..Tally::default()
    };
    if !record.is_open() && stored.is_some() {
        record.begin_again(request, Moment::now());
    }
    record.seen_mut(request).attempts += u32::from(!request.resumed);
    let mut work = Work::new(deps, request, record, holder.to_owned(), stored);
    work.unjournalled = loaded.as_ref().err().cloned();
    let (member, facts) = match survey {
        Ok(found) => found,
        Err(failure) => return not_surveyed(work, failure).await,
    };
    let key = work.record.key.clone();
    // Boxed: the futures of a whole containment, nested by value, are more than the compiler lays out.
    Work::leased(
        deps,
        &key,
        holder,
        carry_out(work, &member, &facts, tally).boxed_local(),
    )
    .await
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

/// What a failed survey means for the entity: that depends on how far its record had come.
fn not_surveyed_summary(record: &Record, request: &Request, failure: &Failure) -> String {
    let entity = &request.entity;
    let opened = record.opened.for_people();
    match (record.status, failure.reason) {
        (Status::Contained, _) => format!(
            "The {entity} could not be looked at now: {failure}. Its containment of {opened} was not touched, and stands"
        ),
        _ if !record.steps.is_empty() => format!(
            "The {entity} could not be looked at now: {failure}. Its containment of {opened} was begun and NOT finished: \
             what it had planned may be done in part only, and an instance may still be open for the settle"
        ),
        (_, Reason::Absent) => {
            format!(
                "The {entity} does not exist in account {}: nothing was changed ({failure})",
                entity.account
            )
        }
        _ => format!("The {entity} was NOT contained: {failure}"),
    }
}

async fn not_surveyed(mut work: Work<'_>, failure: Failure) -> Result<Outcome, Stop> {
    let request = work.request;
    if failure.passes() && work.is_tried_again() && work.unjournalled.is_none() {
        work.close().await?;
        return Ok(Outcome::Retry(failure.to_string()));
    }
    if work.record.steps.is_empty() {
        work.record.status = Status::Failed;
    }
    let summary = not_surveyed_summary(&work.record, request, &failure);
    let next = vec!["Check the ARN, mend what is named above, and publish the message again".to_owned()];
    let report = Report {
        next,
        ..Report::about(Stage::Failed, request, summary)
    };
    if failure.passes() && !work.record.steps.is_empty() {
        // What was begun may have left something open.
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

async fn carry_out(mut work: Work<'_>, member: &Member, facts: &Facts, mut tally: Tally) -> Result<Outcome, Stop> {
    let (deps, request) = (work.deps, work.request);
    let known = work.record.is_open().then_some(&work.record);
    let plan = match made(request, facts, deps, known) {
        Ok(plan) => plan,
        Err(refusal) => return Ok(deps.refuse(request, &refusal.0).await),
    };
    let namesake = work.record.unique_id.is_some() && work.record.unique_id != plan.unique_id;
    if namesake {
        let what = "the entity was made anew under the same name: a new containment begins";
        work.record.happened(Moment::now(), what);
        let attempts = work.record.seen_mut(request).attempts;
        work.record.begin_again(request, Moment::now());
        let seen = work.record.seen_mut(request);
        // A wake-up that is stored is for the containment that was.
        (seen.attempts, seen.woken) = (attempts, None);
    }
    let recorded = record_plan(&mut work, plan, member, &mut tally).await?;
    // A wake-up and the first notice go out beside the work, never before it: what the work asks of AWS is on its way only when this
    // task has yielded to the connections.
    let can_note = work.unjournalled.is_none() || !request.goes_on();
    let says = can_note && !work.has_said(Stage::Started);
    let report = says.then(|| Report::started(request, &work.record));
    let (wake, out) = (Wake::of(request, &work.record), Rc::clone(&work.beside));
    let wakes = work.needs_a_wake_up();
    let beside = async {
        yield_now().await;
        let stored = OptionFuture::from(wakes.then(|| deps.wakeups.store_beside(&wake, deps.settings.lease)));
        let said = OptionFuture::from(report.as_ref().map(|report| deps.publisher.publish(report)));
        let (stored, said) = tokio::join!(stored, said);
        let mut out = out.borrow_mut();
        out.woken = (stored == Some(true)).then(Moment::now);
        out.sent.extend((said == Some(true)).then_some(Stage::Started));
    };
    let (applied, ()) = tokio::join!(
        apply_with_fall_backs(recorded, &mut work, member, facts, &mut tally),
        beside
    );
    applied?;
    confirm(&mut work, member, &mut tally).await;
    look_again(&mut work, member, &mut tally).await?;
    end(work, &tally).await
}

/// How often the entity is looked at again for what came to it while it was contained.
const LOOKS_AGAIN: usize = 2;

/// An interface that was attached in the middle, or a network ACL that took the place of another, is no part of the plan: the entity
/// is surveyed again, and what the new plan has beyond the old one is recorded and applied as well.
async fn look_again(work: &mut Work<'_>, member: &Member, tally: &mut Tally) -> Result<(), Stop> {
    let request = work.request;
    if tally.made == 0 || !request.entity.kind.changes_meanwhile() {
        return Ok(());
    }
    for _ in 0..LOOKS_AGAIN {
        let facts = match entities::survey(&request.entity, member, &work.deps.settings).await {
            Ok(facts) => facts,
            // What is gone needs no further lock; its steps say so themselves.
            Err(failure) if failure.reason == Reason::Absent => return Ok(()),
            Err(failure) => {
                let what =
                    format!("What came to it while it was contained, since it could not be looked at again: {failure}");
                if failure.passes() {
                    tally.passing.add(what.clone());
                }
                work.record.residue.push(what);
                return Ok(());
            }
        };
        let Ok(plan) = made(request, &facts, work.deps, Some(&work.record)) else {
            return Ok(());
        };
        let further = plan
            .steps
            .iter()
            .filter(|planned| is_fresh(&work.record, &planned.step))
            .count();
        if further == 0 {
            return Ok(());
        }
        let what = format!("contain: looked again, {further} further steps, for what came to it meanwhile");
        work.record.happened(Moment::now(), what);
        let recorded = record_plan(work, plan, member, tally).await?;
        apply(&recorded, work, member, tally, false).await?;
    }
    Ok(())
}

/// Says how it ended, and closes the record.
async fn end(mut work: Work<'_>, tally: &Tally) -> Result<Outcome, Stop> {
    let request = work.request;
    let amounts = work.record.amounts_to();
    work.record.status = amounts;
    let retry = tally.passing.line();
    if let Some(reason) = &retry
        && work.is_tried_again()
        && work.unjournalled.is_none()
    {
        work.close().await?;
        return Ok(Outcome::Retry(reason.clone()));
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
    let report = Report::contained(stage, request, &work.record, summary, next);
    if let Some(reason) = &retry
        && work.is_left_to_wake_ups(stage)
    {
        say_meanwhile(work, &report).await?;
        return Ok(Outcome::SaidAndRetry(reason.clone()));
    }
    finish(&mut work, &report).await?;
    if tally.made > 0 && work.unjournalled.is_none() {
        work.deps.look_again_at(&work.record.key);
    }
    Ok(match retry {
        Some(reason) => Outcome::SaidAndRetry(reason),
        None => Outcome::Ended(stage),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::tests::request;
    use crate::record::tests::kept;
    use crate::request::Action;

    #[test]
    fn only_what_was_contained_to_its_end_is_said_to_stand_when_it_can_not_be_looked_at() {
        let text = kept()
            .into_iter()
            .find(|(name, _)| name == "1-instance")
            .expect("the record")
            .1;
        let mut record: Record = serde_json::from_str(&text).expect("a record");
        let asked = request(Action::Contain, "m1", 0);
        let failure = Failure::own("ec2:DescribeInstances", "i-1", "222222222222", "AccessDenied", "no");
        assert!(not_surveyed_summary(&record, &asked, &failure).contains("stands"));
        for status in [Status::Containing, Status::Partial, Status::Releasing, Status::Failed] {
            record.status = status;
            let said = not_surveyed_summary(&record, &asked, &failure);
            assert!(
                said.contains("NOT finished") && !said.contains("stands"),
                "{status}: {said}"
            );
        }
        record.steps.clear();
        assert!(not_surveyed_summary(&record, &asked, &failure).contains("NOT contained"));
    }
}
