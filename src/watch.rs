//! Reads open containments again, repairs what has drifted, and clears what belongs to entities that are gone.
//!
//! Two occasions: some seconds after `Contained`, within the same invocation, since a watched identity can undo a change of IAM before
//! it holds everywhere; and every few minutes on a schedule. A record in which everything holds is only read: nothing is written, and
//! nothing is mailed, but that [`traces`] are told once.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::iter;
use futures_util::{FutureExt, StreamExt};

use crate::admit::{newest_containment, unfinished};
use crate::apply::{AT_ONCE, Tally};
use crate::aws::{Failure, Member, Reason};
use crate::entities::{self, Facts};
use crate::execute::made;
use crate::fall_back::apply_with_fall_backs;
use crate::handler::{Deps, Outcome};
use crate::journal::{JournalError, Stored};
use crate::moment::Moment;
use crate::notice::{Report, Stage};
use crate::plan::Plan;
use crate::record::{Record, RecordedStep, Status, StepState};
use crate::recording::{is_fresh, record_plan};
use crate::release;
use crate::request::{Action, Claims, Message, Request};
use crate::resume::carry_on;
use crate::traces;
use crate::trail;
use crate::work::{Stop, Work};

/// How many records are looked at side by side, those of one account one after the other: few enough for IAM, whose calls of one
/// account share a small allowance.
const RECORDS_AT_ONCE: usize = 16;

/// When the looks after `Contained` come, in multiples of the pause before it (5 s): after 5 and after 15 seconds.
const LOOKS_AFTER: [u32; 2] = [1, 2];

/// What is left of an invocation's time when the watch ends, in seconds: the next runs come to the rest, since none begins where
/// another began.
const SPARE_SECONDS: u64 = 60;

/// What came of looking at one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Looked {
    /// Everything holds, or it is nobody's to look at now.
    Quiet,
    /// Something had drifted, and was repaired as far as that was possible.
    Drifted,
    /// The entity is gone, and what belonged to it was cleared.
    Cleared,
    /// Work that an invocation had left undone was gone on with.
    Finished,
    /// It could not be looked at now.
    Failed(String),
}

/// Looks again at what this invocation has contained.
pub(crate) async fn after(deps: &Deps, keys: Vec<String>) {
    if keys.is_empty() {
        return;
    }
    for times in LOOKS_AFTER {
        let pause = deps.settings.confirm * times;
        let ends = Moment::now().plus_seconds(pause.as_secs() + SPARE_SECONDS);
        if ends > deps.deadline() {
            return;
        }
        tokio::time::sleep(pause).await;
        iter(&keys)
            .for_each_concurrent(RECORDS_AT_ONCE, |key| look_and_log(deps, key).boxed_local())
            .await;
    }
}

/// Looks at all open containments, accounts side by side.
///
/// # Errors
/// The journal can't be read: the next run tries again.
pub(crate) async fn all(deps: &Deps) -> Result<(), JournalError> {
    let keys = deps.journal.open_keys().await?;
    let open = keys.len();
    let mut by_account: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for key in keys {
        // A key begins with partition and account.
        let account: Vec<&str> = key.splitn(3, '/').take(2).collect();
        by_account.entry(account.join("/")).or_default().push(key);
    }
    let looking = iter(by_account.into_values()).for_each_concurrent(RECORDS_AT_ONCE, |mut keys| {
        async move {
            begin_elsewhere(&mut keys, Moment::now());
            for key in keys {
                if Moment::now().plus_seconds(SPARE_SECONDS) > deps.deadline() {
                    tracing::warn!(key, "the watch has no time left: the next run comes to it");
                    return;
                }
                look_and_log(deps, &key).await;
            }
        }
        .boxed_local()
    });
    looking.await;
    trace_all(deps).await;
    tracing::info!(open, "watched");
    Ok(())
}

/// Looks for the traces of what is due, after all else: CloudTrail takes few calls, and nothing that is open waits for it.
async fn trace_all(deps: &Deps) {
    for key in deps.to_trace() {
        if Moment::now().plus_seconds(SPARE_SECONDS) > deps.deadline() {
            tracing::warn!(key, "there is no time left to ask CloudTrail: the next run does");
            return;
        }
        match traces::tell(deps, &key).boxed_local().await {
            Ok(told) => tracing::info!(key, told, "its traces were looked for"),
            Err(why) => tracing::warn!(key, "its traces were not looked for now: {why}"),
        }
    }
}

/// Turns the order, so that where a run has no time for all, none is always last. The milliseconds of a schedule are as good as chance.
fn begin_elsewhere(keys: &mut [String], now: Moment) {
    let first = usize::try_from(now.millis()).unwrap_or_default() % keys.len().max(1);
    keys.rotate_left(first);
}

pub(crate) async fn look_and_log(deps: &Deps, key: &str) {
    match look(deps, key).await {
        Looked::Quiet => {}
        Looked::Failed(why) => tracing::warn!(key, "not watched now: {why}"),
        looked => tracing::warn!(key, "watched: {looked:?}"),
    }
}

/// Looks at one record.
async fn look(deps: &Deps, key: &str) -> Looked {
    let holder = deps.new_holder();
    let stored = match deps.journal.load(key).await {
        Ok(Some(stored)) => stored,
        Ok(None) => return Looked::Quiet,
        Err(error) => return Looked::Failed(error.to_string()),
    };
    if !stored.record.is_open() || stored.held_by_another(&holder, Moment::now()) {
        return Looked::Quiet;
    }
    let left = was_left(&stored.record);
    match stored.record.status {
        Status::Contained | Status::Partial | Status::Failed => {}
        Status::Containing if left => {}
        // Begun, and nobody works on it: neither a redelivery nor a wake-up has finished it.
        Status::Containing | Status::Releasing => return finish(deps, &stored.record).await,
        Status::Released => return Looked::Quiet,
    }
    let Some(request) = newest_containment(&stored.record) else {
        return Looked::Quiet;
    };
    let (member, facts) = match survey(deps, &request).await {
        Ok(found) => found,
        Err(failure) if failure.reason == Reason::Absent => {
            return gone(deps, stored, &request, &holder, failure).await;
        }
        Err(failure) => return Looked::Failed(failure.to_string()),
    };
    let Ok(plan) = made(&request, &facts, deps, Some(&stored.record)) else {
        return Looked::Quiet;
    };
    // A namesake that was made since is not what was contained: a new message contains it.
    if stored.record.unique_id.is_some() && stored.record.unique_id != plan.unique_id {
        return Looked::Quiet;
    }
    let further = plan.steps.iter().any(|planned| is_fresh(&stored.record, &planned.step));
    let unmade = stored.record.steps.iter().any(|step| step.state == StepState::Failed);
    let drifted = has_drifted(&stored.record, &member).await;
    if !further && !unmade && !drifted && !left {
        if traces::is_due(&stored.record, &deps.settings, Moment::now()) {
            deps.trace_later(key);
        }
        return Looked::Quiet;
    }
    let repairing = Repair {
        request: &request,
        holder: &holder,
        member: &member,
        facts: &facts,
        drifted,
        left,
    };
    match repairing.run(deps, stored, plan).await {
        Ok(true) => Looked::Drifted,
        Ok(false) => Looked::Quiet,
        Err(stop) => Looked::Failed(stop.to_string()),
    }
}

/// Whether a watch has begun to lock again what had drifted, and left it: all that messages asked for is ended, and yet work is under
/// way. A containment that gave way to a release is none of that.
pub(crate) fn was_left(record: &Record) -> bool {
    let gave_way = record
        .messages
        .iter()
        .rev()
        .find(|seen| seen.action == Action::Contain)
        .is_some_and(|seen| seen.ended == Some(Stage::Released));
    record.status == Status::Containing && !gave_way && newest_unfinished(record).is_none()
}

fn newest_unfinished(record: &Record) -> Option<Request> {
    record
        .messages
        .iter()
        .rev()
        .find_map(|seen| unfinished(record, &seen.id))
}

/// Goes on with what the newest message has begun.
async fn finish(deps: &Deps, record: &Record) -> Looked {
    let Some(request) = newest_unfinished(record) else {
        return Looked::Quiet;
    };
    match carry_on(deps, &request).await {
        Outcome::Retry(reason) | Outcome::SaidAndRetry(reason) => Looked::Failed(reason),
        Outcome::Ended(_) | Outcome::Silent => Looked::Finished,
    }
}

async fn survey(deps: &Deps, request: &Request) -> Result<(Member, Facts), Failure> {
    let entity = &request.entity;
    let member = deps
        .accounts
        .member(entity.partition, &entity.account, &entity.home())
        .await?;
    let facts = entities::survey(entity, &member, &deps.settings).await?;
    Ok((member, facts))
}

/// Whether a step that was made no longer holds. What can't be read now counts as holding: it is read again by the next run.
async fn has_drifted(record: &Record, member: &Member) -> bool {
    let lasts = |step: &&RecordedStep| {
        let held = matches!(step.state, StepState::Applied | StepState::Unchanged);
        held && step.step.pause().is_none() && !step.step.exposes()
    };
    let reading = iter(record.steps.iter().filter(lasts))
        .map(|step| async { matches!(step.step.read(member).await, Ok(now) if !step.step.holds(&now)) });
    let drifted: Vec<bool> = reading.buffer_unordered(AT_ONCE).collect().await;
    drifted.contains(&true)
}

/// What repairing one record needs.
struct Repair<'a> {
    request: &'a Request,
    holder: &'a str,
    member: &'a Member,
    facts: &'a Facts,
    /// Whether something that had been made holds no more.
    drifted: bool,
    /// Whether another look has begun to lock it again, and died: what that one had found, it has told nobody.
    left: bool,
}

impl Repair<'_> {
    /// Makes everything hold again, and says what had drifted and who did it. Says whether there was anything to say.
    async fn run(&self, deps: &Deps, stored: Stored, plan: Plan) -> Result<bool, Stop> {
        let key = stored.record.key.clone();
        let work = Work::new(
            deps,
            self.request,
            stored.record.clone(),
            self.holder.to_owned(),
            Some(&stored),
        );
        Work::leased(deps, &key, self.holder, self.make_hold(work, plan).boxed_local()).await
    }

    async fn make_hold(&self, mut work: Work<'_>, plan: Plan) -> Result<bool, Stop> {
        let mut tally = Tally {
            was_contained: true,
            ..Tally::default()
        };
        let held = |step: &&RecordedStep| matches!(step.state, StepState::Applied | StepState::Unchanged);
        let held: BTreeSet<String> = work
            .record
            .steps
            .iter()
            .filter(held)
            .map(|step| step.step.key())
            .collect();
        let recorded = record_plan(&mut work, plan, self.member, &mut tally).await?;
        apply_with_fall_backs(recorded, &mut work, self.member, self.facts, &mut tally).await?;
        work.record.status = work.record.amounts_to();
        let new = work.record.steps.iter().filter(|step| {
            step.step.reverses() && step.state == StepState::Applied && !held.contains(&step.step.key())
        });
        let new: Vec<String> = new.map(|step| format!("only now: {}", step.step.describe())).collect();
        let changed: Vec<String> = tally.repaired.into_iter().chain(new).collect();
        self.tell(&mut work, &changed).await
    }

    /// One notice about a drift; none about one that was told already and that could not be repaired since.
    async fn tell(&self, work: &mut Work<'_>, changed: &[String]) -> Result<bool, Stop> {
        let failed = work.record.steps.iter().filter(|step| step.state == StepState::Failed);
        let open: Vec<String> = failed.map(|step| step.step.describe()).collect();
        let drift = (self.drifted && changed.is_empty()).then(|| open.join("; "));
        let told = drift.is_none() || drift == work.record.drift;
        work.record.drift = drift;
        if changed.is_empty() && told && !self.left {
            return work.close().await.map(|()| false);
        }
        let entity = &self.request.entity;
        let summary = if changed.is_empty() && open.is_empty() {
            format!(
                "The {entity} was being locked when that was cut off, before it could be said what had been changed: all of it \
                 holds now"
            )
        } else if changed.is_empty() {
            format!(
                "The {entity} was changed since it was contained, and could NOT be locked again in full: see what was not done. \
                 Each look tries it again"
            )
        } else {
            format!(
                "The {entity} was not locked as it should be, and is locked again: {}",
                changed.join("; ")
            )
        };
        let next = vec![
            "Find out who did it: the intruder may hold other credentials. Contain those too".to_owned(),
            "Reserve such changes to the member role by a service control policy (README.md)".to_owned(),
        ];
        let mut report = Report::contained(Stage::Drifted, self.request, &work.record, summary, next);
        report.remarks.extend(trail::who(self.member, entity).await);
        work.deps.publisher.publish(&report).await;
        work.record
            .happened(Moment::now(), format!("watch: {}", report.summary));
        work.close().await.map(|()| true)
    }
}

/// The entity is gone. Only what AWS says twice is believed, since an answer can lag behind: then what belongs to it is cleared, as
/// by a release.
async fn gone(deps: &Deps, stored: Stored, request: &Request, holder: &str, failure: Failure) -> Looked {
    tokio::time::sleep(deps.settings.confirm).await;
    match survey(deps, request).await {
        Err(again) if again.reason == Reason::Absent => {}
        Ok(_) | Err(_) => return Looked::Quiet,
    }
    tracing::warn!(
        key = stored.record.key,
        "the entity is gone: what belongs to it is cleared ({failure})"
    );
    let release = Request {
        action: Action::Release,
        message: Message {
            id: format!("watch/{}", stored.record.containment),
            sent: stored.record.newest,
            topic: stored.record.topic.clone(),
        },
        claims: Claims {
            reason: Some("the entity no longer exists".to_owned()),
            incident: None,
            requested_by: Some("the watch of entity-lockdown".to_owned()),
            owners: request.claims.owners.clone(),
        },
        ..request.clone()
    };
    match release::take_up(deps, &release, holder, Some(stored)).await {
        Ok(_) => Looked::Cleared,
        Err(stop) => Looked::Failed(stop.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::tests::request;

    #[test]
    fn what_a_watch_has_left_is_told_from_what_a_message_has_begun() {
        let asked = request(Action::Contain, "m1", 0);
        let mut record = Record::begin(&asked, asked.message.sent);
        let mut left = |status, ended| {
            record.status = status;
            record.seen_mut(&asked).ended = ended;
            was_left(&record)
        };
        assert!(left(Status::Containing, Some(Stage::Contained)));
        assert!(!left(Status::Containing, None), "a message's work is not ended");
        assert!(!left(Status::Contained, Some(Stage::Contained)), "nobody works on it");
        assert!(
            !left(Status::Releasing, Some(Stage::Contained)),
            "nothing is locked again"
        );
        assert!(!left(Status::Containing, Some(Stage::Released)), "a release waits");
    }

    #[test]
    fn each_record_is_the_first_of_some_run_and_none_is_lost() {
        let keys: Vec<String> = (0..7).map(|number| number.to_string()).collect();
        let mut firsts = BTreeSet::new();
        for millis in 0..7 {
            let mut turned = keys.clone();
            begin_elsewhere(&mut turned, Moment::from_millis(1_700_000_000_000 + millis));
            firsts.insert(turned[0].clone());
            turned.sort();
            assert_eq!(turned, keys);
        }
        assert_eq!(firsts.len(), keys.len());
        begin_elsewhere(&mut [], Moment::from_millis(1));
    }
}
