//! Finishes what a dead invocation has left half done, when a wake-up comes for it.
//!
//! All that a wake-up can do is to have a containment, a release or a repair of the watch resumed that the record says was begun and
//! not ended: whoever forges one gains nothing.

use futures_util::FutureExt;

use crate::admit::unfinished;
use crate::aws::Failure;
use crate::execute;
use crate::handler::{Deps, Outcome};
use crate::journal::Stored;
use crate::moment::Moment;
use crate::request::{Action, Follows, Request};
use crate::wake::Wake;
use crate::{release, watch};

/// How many wake-ups follow one another at most; the last is delivered again and again.
const MOST: u32 = 40;

/// From how many wake-ups on one that fails tells what is not done, before others go on with it. Whoever asked is told by the last of
/// three deliveries, five minutes after the first; but a delivery that finds a wake-up at work leaves the message to it, and then there
/// are no more. The eighth comes after six minutes; it tells even where the journal can't be written.
const TELLS_AFTER: u32 = 8;

/// Looks at the record that a wake-up names, and finishes what its message has begun and nobody works on.
pub(crate) async fn resume(deps: &Deps, wake: Wake) -> Outcome {
    let stored = match deps.journal.load(&wake.record).await {
        Ok(Some(stored)) => stored,
        Ok(None) => return Outcome::Silent,
        Err(error) => return again(deps, wake, &error.to_string()).await,
    };
    if stored.record.containment.as_str() != wake.containment {
        return Outcome::Silent;
    }
    let Some(request) = unfinished(&stored.record, &wake.message) else {
        return repair(deps, wake, &stored).await;
    };
    // What a newer request has overtaken is refused, and that is the end of it.
    let overtaken = request.message.sent < stored.record.newest;
    // The next one is stored first: this invocation may die as the one before did.
    let relayed = if overtaken { Ok(()) } else { relay(deps, &wake).await };
    if stored.held_by_another("", Moment::now()) {
        return relayed.map_or_else(|failure| Outcome::Retry(failure.to_string()), |()| Outcome::Silent);
    }
    tracing::warn!(
        record = wake.record,
        containment = wake.containment,
        "an invocation left work undone: it is resumed"
    );
    let request = Request {
        follows: if wake.after < TELLS_AFTER {
            Follows::WakeUp
        } else {
            Follows::Word {
                unnoted: wake.after == TELLS_AFTER,
            }
        },
        ..request
    };
    match carry_on(deps, &request).await {
        // The wake-up that was stored above comes for it.
        Outcome::Retry(reason) | Outcome::SaidAndRetry(reason) if relayed.is_ok() => {
            tracing::warn!(record = wake.record, "to be tried again: {reason}");
            Outcome::Silent
        }
        outcome => outcome,
    }
}

/// The message is ended; a watch that was locking again what had drifted may have died over it, with an interface open for the settle.
async fn repair(deps: &Deps, wake: Wake, stored: &Stored) -> Outcome {
    if !watch::was_left(&stored.record) {
        return Outcome::Silent;
    }
    let relayed = relay(deps, &wake).await;
    if !stored.held_by_another("", Moment::now()) {
        watch::look_and_log(deps, &wake.record).boxed_local().await;
    }
    relayed.map_or_else(|failure| Outcome::Retry(failure.to_string()), |()| Outcome::Silent)
}

/// Carries a request out that was begun before, as its redelivery would.
pub(crate) async fn carry_on(deps: &Deps, request: &Request) -> Outcome {
    match request.action {
        Action::Contain => execute::contain(deps, request).boxed_local().await,
        Action::Release => release::release(deps, request).boxed_local().await,
        Action::Plan => Outcome::Silent,
    }
}

/// Stores the wake-up that follows. After the last one there is none: that one fails until its work is done, so that SQS delivers it
/// again, every quarter of an hour for a day (`WakeQueue` in the hub's template), and the function's errors show it.
async fn relay(deps: &Deps, wake: &Wake) -> Result<(), Failure> {
    if wake.after >= MOST {
        let why = format!("{MOST} wake-ups came for {}, and its work is not done", wake.record);
        return Err(deps.wakeups.refused("TooManyWakeups", why));
    }
    let next = Wake {
        after: wake.after + 1,
        ..wake.clone()
    };
    // While somebody works on the record, or another try may help: a little after a lease would lapse.
    deps.wakeups.store(&next, deps.settings.lease * 3 / 2).await
}

async fn again(deps: &Deps, wake: Wake, why: &str) -> Outcome {
    match relay(deps, &wake).await {
        Ok(()) => {
            tracing::warn!(record = wake.record, "to be tried again: {why}");
            Outcome::Silent
        }
        Err(failure) => Outcome::Retry(format!("{why}; {failure}")),
    }
}
