//! Applies what is recorded, phase by phase, and reads it back: a failing step stops no other.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use serde_json::Value;

use crate::aws::{Failure, Member, Reason};
use crate::journal::ChangeWrite;
use crate::moment::Moment;
use crate::passing::Passing;
use crate::record::{RecordedStep, StepState};
use crate::steps::Receipt;
use crate::wake::Wake;
use crate::work::{Stop, Unsaved, Work};

/// The first pause before a change is read again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// During a pause the record is written every so often: the lease is kept, and a release that waits is seen.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What must be left of an invocation's time beside the pauses before anything is opened, in seconds.
const SPARE_SECONDS: u64 = 30;

/// Why an instance was not opened.
const NO_TIME: &str = "too little time is left to open an instance for the settle and to close it again: it is tried again from the start";

/// How many steps are worked on at once: enough for every interface of an instance with its addresses and volumes, few enough for
/// the memory and the sockets of the function.
pub(crate) const AT_ONCE: usize = 48;

/// The steps that the journal has recorded (or the log, where the journal is out of reach): nothing else can be applied.
pub(crate) struct Recorded(BTreeSet<String>);

impl Recorded {
    /// What this write has recorded. The only door: whoever makes one has written the record down.
    pub(crate) async fn write(work: &mut Work<'_>, changes: &[ChangeWrite]) -> Result<Self, Unsaved> {
        work.save(changes).await?;
        Ok(Self(work.record.steps.iter().map(|step| step.step.key()).collect()))
    }
}

/// What this invocation did, beside what the record says.
#[derive(Default)]
pub(crate) struct Tally {
    /// Steps that were recorded by this invocation: their state is known from the survey.
    pub(crate) fresh: BTreeSet<String>,
    /// Whether everything held when this invocation took the record up.
    pub(crate) was_contained: bool,
    /// Whether a release was under way when this invocation took the record up.
    pub(crate) was_releasing: bool,
    /// How many steps were made by this invocation.
    pub(crate) made: usize,
    /// What did not hold any more and was made again.
    pub(crate) repaired: Vec<String>,
    /// Failures that a retry can help.
    pub(crate) passing: Passing,
}

/// Applies the steps of a record, or only those that this invocation has recorded last.
pub(crate) async fn apply(
    recorded: &Recorded,
    work: &mut Work<'_>,
    member: &Member,
    tally: &mut Tally,
    only_fresh: bool,
) -> Result<(), Stop> {
    let phases: BTreeSet<u8> = work.record.steps.iter().map(|step| step.phase).collect();
    let mut exposed = Exposed::Nothing;
    for (n, phase) in phases.into_iter().enumerate() {
        let fresh_ones = tally.fresh.clone();
        let due = |step: &RecordedStep| {
            let key = step.step.key();
            let wanted = recorded.0.contains(&key) && (!only_fresh || fresh_ones.contains(&key));
            step.phase == phase && wanted && is_to_hold(step) && !step.before.is_null()
        };
        if !enough_time(work, due) {
            // Lambda delivers the event again, with a whole invocation's time.
            tally.passing.add(NO_TIME.to_owned());
            break;
        }
        let may_open = see_to_the_way_back(work, member, due).await;
        let due = |step: &RecordedStep| due(step) && (may_open || !step.step.exposes());
        begin_pauses(&mut work.record.steps, due, exposed);
        if n > 0 {
            // Between phases the state is written down; the condition of that write tells whether a release asks to stop.
            work.hold().await?;
        }
        wait(work, due).await?;
        let steps = work
            .record
            .steps
            .iter_mut()
            .filter(|step| due(step) && step.step.pause().is_none());
        let holding = iter(steps).map(|step| async {
            let fresh = fresh_ones.contains(&step.step.key());
            let outcome = hold_in_time(step, member, fresh).await;
            (step, outcome)
        });
        let outcomes: Vec<_> = holding.buffer_unordered(AT_ONCE).collect().await;
        for (step, outcome) in outcomes {
            if step.step.exposes() {
                exposed = exposed.after(&outcome);
            }
            took(step, outcome, tally);
        }
    }
    tally.fresh.clear();
    Ok(())
}

/// Whether interfaces were opened by steps of earlier phases.
#[derive(Clone, Copy, PartialEq)]
enum Exposed {
    /// None.
    Nothing,
    /// By an invocation before this one.
    Before,
    /// By this one.
    Now,
}

impl Exposed {
    fn after(self, outcome: &Result<Held, Failure>) -> Self {
        match (self, outcome) {
            (Self::Now, _) | (_, Ok(Held::Now(..))) => Self::Now,
            (_, Ok(Held::Already(_))) => Self::Before,
            (before, Ok(Held::Gone(_)) | Err(_)) => before,
        }
    }
}

/// Nothing is opened without the time to close it again.
fn enough_time(work: &Work<'_>, due: impl Fn(&RecordedStep) -> bool) -> bool {
    if !work.record.steps.iter().any(|step| due(step) && step.step.exposes()) {
        return true;
    }
    let pauses: u64 = work
        .record
        .steps
        .iter()
        .filter_map(|step| step.step.pause())
        .map(|pause| pause.as_secs())
        .sum();
    Moment::now().plus_seconds(pauses + SPARE_SECONDS) <= work.deps.deadline()
}

/// Nothing is opened unless something outside of this process will close it: a wake-up is stored first, by which another invocation
/// finishes what this one may leave. Where none can be stored, nothing is opened, and isolation comes at once. Says whether anything may be
/// opened.
async fn see_to_the_way_back(work: &mut Work<'_>, member: &Member, due: impl Fn(&RecordedStep) -> bool) -> bool {
    if !work.record.steps.iter().any(|step| due(step) && step.step.exposes()) {
        return true;
    }
    let pauses: Duration = work.record.steps.iter().filter_map(|step| step.step.pause()).sum();
    let stored = match &work.unjournalled {
        Some(error) => Err(format!(
            "the journal is out of reach, so that nobody would know what to close again ({error})"
        )),
        None if !work.needs_a_wake_up() => Ok(()),
        None => work
            .deps
            .wakeups
            .store(&Wake::of(work.request, &work.record), pauses + work.deps.settings.lease)
            .await
            .map(|()| work.record.seen_mut(work.request).woken = Some(Moment::now()))
            .map_err(|failure| format!("no wake-up could be stored for it ({failure})")),
    };
    let Err(why) = stored else { return true };
    tracing::warn!(entity = %work.record.entity, "nothing is opened: {why}");
    let detail = format!(
        "it was not opened, since {why}: it is isolated at once, and connections that were tracked go on for as long as they are active"
    );
    let opening = work.record.steps.iter_mut();
    for step in opening.filter(|step| due(step) && step.step.exposes()) {
        // What was opened before and closed again since has nothing to lose.
        let done = step.state == StepState::Applied;
        let holds = done && matches!(step.step.read(member).await, Ok(now) if step.step.holds(&now));
        if !holds {
            step.becomes(StepState::Skipped, Some(detail.clone()), Moment::now());
        }
    }
    false
}

/// Sets when the pauses of a phase end. The end is stored before the pause begins, so that whoever resumes waits for the rest only.
fn begin_pauses(steps: &mut [RecordedStep], due: impl Fn(&RecordedStep) -> bool, exposed: Exposed) {
    let now = Moment::now();
    for step in steps.iter_mut().filter(|step| due(step)) {
        let Some(pause) = step.step.pause() else { continue };
        match (exposed, step.until) {
            (Exposed::Now, _) | (Exposed::Before, None) => step.until = Some(now.plus_seconds(pause.as_secs())),
            (Exposed::Before, Some(_)) => {}
            (Exposed::Nothing, _) => step.becomes(StepState::Skipped, Some("nothing was opened".to_owned()), now),
        }
    }
}

async fn wait(work: &mut Work<'_>, due: impl Fn(&RecordedStep) -> bool) -> Result<(), Stop> {
    loop {
        let left = work
            .record
            .steps
            .iter()
            .filter(|step| due(step))
            .filter_map(|step| step.until)
            .max();
        let left = left.map_or(Duration::ZERO, |until| Moment::now().until(until));
        if left.is_zero() {
            break;
        }
        tokio::time::sleep(left.min(LOOK_EVERY)).await;
        work.hold().await?;
    }
    for step in work
        .record
        .steps
        .iter_mut()
        .filter(|step| due(step) && step.until.is_some())
    {
        step.becomes(StepState::Applied, None, Moment::now());
    }
    Ok(())
}

fn is_to_hold(step: &RecordedStep) -> bool {
    match step.state {
        StepState::Planned | StepState::Applied | StepState::Unchanged | StepState::Failed | StepState::Left => true,
        // What was isolated without having been opened is not opened any more.
        StepState::Skipped => !step.step.exposes(),
        StepState::Replaced | StepState::Undone | StepState::Untouched | StepState::Kept | StepState::Gone => false,
    }
}

/// Writes down what came of one step.
fn took(step: &mut RecordedStep, outcome: Result<Held, Failure>, tally: &mut Tally) {
    let was = step.state;
    match outcome {
        Ok(Held::Already(_)) if is_known(step) => {}
        Ok(Held::Already(_)) if step.step.holds(&step.before) => {
            step.becomes(StepState::Unchanged, None, Moment::now());
        }
        Ok(Held::Already(now)) => applied(step, now),
        Ok(Held::Now(request, now)) => {
            applied(step, now);
            step.aws_request = request;
            tally.made += 1;
            if matches!(was, StepState::Applied | StepState::Unchanged) {
                tally.repaired.push(step.step.describe());
            }
        }
        // What is gone needs no lock any more.
        Ok(Held::Gone(failure)) => step.becomes(StepState::Gone, Some(failure.to_string()), Moment::now()),
        Err(failure) => fail(step, &failure, tally),
    }
}

/// Whether the record says that the step holds, and all that it has made.
fn is_known(step: &RecordedStep) -> bool {
    let made = step.made.is_some() || !step.step.remembers();
    (step.state == StepState::Applied && made) || step.state == StepState::Unchanged
}

/// The step holds, and this is what it has made.
fn applied(step: &mut RecordedStep, now: Value) {
    let made = step.step.describe_made(&now);
    step.becomes(StepState::Applied, made, Moment::now());
    if step.step.remembers() {
        step.made = Some(now);
    }
}

/// Writes a failure down: final, or one that a retry can help, or one that the work can do without.
pub(crate) fn fail(step: &mut RecordedStep, failure: &Failure, tally: &mut Tally) {
    tracing::warn!(
        step = step.step.describe(),
        code = failure.code,
        "step failed: {failure}"
    );
    let skipped = step.step.dispensable() && failure.reason == Reason::Final;
    let state = if skipped { StepState::Skipped } else { StepState::Failed };
    step.becomes(state, Some(failure.to_string()), Moment::now());
    // A call that got no answer may have taken effect all the same.
    step.doubt();
    step.code = Some(failure.code.clone());
    step.passing = failure.passes();
    if failure.passes() {
        tally.passing.add(failure.to_string());
    }
}

/// What came of making a step hold.
pub(crate) enum Held {
    /// It held when it was looked at; the state.
    Already(Value),
    /// It was made now; the request's id at AWS, and the state read back.
    Now(Option<String>, Value),
    /// There is nothing to hold: the very resource is gone, as this says.
    Gone(Failure),
}

/// Makes one step hold, and doesn't let those that come after wait longer than the step is worth.
async fn hold_in_time(step: &RecordedStep, member: &Member, fresh: bool) -> Result<Held, Failure> {
    let holding = hold(step, member, fresh);
    let Some(at_most) = step.step.at_most() else {
        return holding.await;
    };
    tokio::time::timeout(at_most, holding).await.unwrap_or_else(|_| {
        // Which of its calls it was that AWS throttled, or answered with errors that the SDK retries, is not known here.
        let message = format!(
            "it was not done within {} s by {}, which may be throttled or fail, and the work went on without it",
            at_most.as_secs(),
            step.step.calls().join(", ")
        );
        Err(Failure {
            reason: Reason::Passing,
            ..Failure::own(
                "waiting",
                step.step.describe(),
                member.account.as_str(),
                "TimedOut",
                message,
            )
        })
    })
}

/// Makes one step hold: applied where it doesn't, read back, and applied again until it does or patience ends. What a retry can
/// help is retried here first, since the next delivery is a minute away.
pub(crate) async fn hold(step: &RecordedStep, member: &Member, fresh: bool) -> Result<Held, Failure> {
    match made_hold(step, member, fresh).await {
        // Absent may be the resource, or something that the change needs: only the first is an end.
        Err(failure) if failure.reason == Reason::Absent => match step.step.exists(member).await {
            Ok(false) => Ok(Held::Gone(failure)),
            Ok(true) | Err(_) => Err(failure),
        },
        outcome => outcome,
    }
}

async fn made_hold(step: &RecordedStep, member: &Member, fresh: bool) -> Result<Held, Failure> {
    // A survey is older than the record: what it saw as holding is read again, what it saw as open is not.
    let seen_open = fresh && !step.step.holds(&step.before);
    if !seen_open {
        let now = step.step.read(member).await?;
        if step.step.holds(&now) {
            return Ok(Held::Already(now));
        }
    }
    let ends = tokio::time::Instant::now() + step.step.patience();
    let mut pause = FIRST_PAUSE;
    loop {
        let failure = match once(step, member).await {
            Ok(Some((receipt, now))) => return Ok(Held::Now(receipt.request, now)),
            Ok(None) => {
                let patience = step.step.patience().as_secs();
                let message = format!("AWS took the change, and it still does not show after {patience} s");
                Failure::own(
                    "read back",
                    step.step.describe(),
                    member.account.as_str(),
                    "NotHolding",
                    message,
                )
            }
            Err(failure) if failure.passes() => failure,
            Err(failure) => return given_up(step, member, failure).await,
        };
        if tokio::time::Instant::now() + pause > ends {
            return given_up(step, member, failure).await;
        }
        tokio::time::sleep(pause).await;
        if let Ok(now) = step.step.read(member).await
            && step.step.holds(&now)
        {
            return Ok(Held::Now(None, now));
        }
        pause *= 2;
    }
}

/// Applies a step and reads it back; `None`: it does not show.
async fn once(step: &RecordedStep, member: &Member) -> Result<Option<(Receipt, Value)>, Failure> {
    let receipt = match step.step.apply(member, &step.before).await {
        Ok(receipt) => receipt,
        // Somebody made the same in the same moment: what counts is what is read now.
        Err(failure) if failure.reason == Reason::Duplicate => Receipt::default(),
        Err(failure) => return Err(failure),
    };
    let now = step.step.read(member).await?;
    Ok(step.step.holds(&now).then_some((receipt, now)))
}

/// The step can't be made: nothing may stay more open than it was before containment.
async fn given_up(step: &RecordedStep, member: &Member, mut failure: Failure) -> Result<Held, Failure> {
    if let Some(what) = step.step.give_up(member, &step.before).await {
        failure.message = format!(
            "{}{}{what}",
            failure.message,
            if failure.message.is_empty() { "" } else { "; " }
        );
    }
    Err(failure)
}

/// Looks at everything again, some seconds after the last change: IAM's changes take seconds to hold everywhere, and until then a
/// watched identity can undo them. Says what had to be made again.
pub(crate) async fn confirm(work: &mut Work<'_>, member: &Member, tally: &mut Tally) {
    if tally.made == 0 {
        return;
    }
    tokio::time::sleep(work.deps.settings.confirm).await;
    // Phase by phase, as they were made: what one needs may have to be repaired by the one before, such as our groups.
    let phases: BTreeSet<u8> = work.record.steps.iter().map(|step| step.phase).collect();
    for phase in phases {
        let holds = |step: &RecordedStep| {
            let lasts = step.step.pause().is_none() && !step.step.exposes();
            lasts && step.phase == phase && matches!(step.state, StepState::Applied | StepState::Unchanged)
        };
        let steps = work.record.steps.iter_mut().filter(|step| holds(step));
        let holding = iter(steps).map(|step| async {
            let outcome = hold(step, member, false).await;
            (step, outcome)
        });
        let outcomes: Vec<_> = holding.buffer_unordered(AT_ONCE).collect().await;
        for (step, outcome) in outcomes {
            took(step, outcome, tally);
        }
    }
}
