//! Tries again, within the invocation, what failed for a reason that passes.
//!
//! Lambda tries an event twice more, minutes later: too seldom for an account that is throttled, and too late after one bad moment.
//! All that a message asks for is tried once first, so that nothing waits for what fails.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use tokio::time::Instant;

use crate::handler::{AT_ONCE, Deps, Outcome, carry_out_first};
use crate::moment::Moment;
use crate::request::{Follows, Request};

/// The pause before the second try; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(16);

/// What a try may take: with less time left there is no other one.
const SPARE_SECONDS: u64 = 60;

/// What has not been done so far.
#[derive(Debug, Default)]
pub(crate) struct Unfinished {
    entities: Vec<Waiting>,
    /// Why others are not done, of which this invocation has had its say.
    said: Vec<String>,
    /// Whether it was promised another try: then its last word has not been said.
    more: bool,
}

/// The requests of a message that name one entity, and why none of them is done.
#[derive(Debug)]
struct Waiting {
    requests: Vec<Request>,
    reason: String,
}

impl Unfinished {
    /// Why it is not done.
    pub(crate) fn reasons(self) -> Vec<String> {
        let waiting = self.entities.into_iter().map(|waiting| waiting.reason);
        self.said.into_iter().chain(waiting).collect()
    }
}

/// Tries what a message asks for, entity by entity, and returns what failed for a reason that passes.
pub(crate) async fn first(groups: Vec<Vec<Request>>, deps: &Deps) -> Unfinished {
    let more = another_follows(Instant::now() + deps.settings.persist, FIRST_PAUSE, deps);
    round(groups, more, deps).await
}

/// Tries again until it is done or the patience ends, and returns what is not done.
pub(crate) async fn again(mut unfinished: Unfinished, deps: &Deps) -> Unfinished {
    let ends = Instant::now() + deps.settings.persist;
    let mut pause = FIRST_PAUSE;
    while unfinished.more && !unfinished.entities.is_empty() {
        // Many invocations may have failed in one moment: the clock's last digits scatter them.
        let scatter = u64::try_from(Moment::now().millis() % 1000).unwrap_or(0);
        tokio::time::sleep(pause + Duration::from_millis(scatter)).await;
        pause = (pause * 2).min(LAST_PAUSE);
        let more = another_follows(ends, pause, deps);
        let groups = unfinished.entities.into_iter().map(|waiting| waiting.requests);
        let mut said = unfinished.said;
        unfinished = round(groups.collect(), more, deps).await;
        unfinished.said.append(&mut said);
    }
    unfinished
}

/// Whether there will be time for a try after this pause.
fn another_follows(ends: Instant, pause: Duration, deps: &Deps) -> bool {
    Instant::now() + pause <= ends && Moment::now().plus(pause).plus_seconds(SPARE_SECONDS) <= deps.deadline()
}

async fn round(groups: Vec<Vec<Request>>, more: bool, deps: &Deps) -> Unfinished {
    let tried = iter(groups).map(async |requests: Vec<Request>| {
        let now = requests.iter().map(|request| Request {
            follows: if more { Follows::Try } else { Follows::Delivery },
            ..request.clone()
        });
        (carry_out_first(now.collect(), deps).await, requests)
    });
    let mut unfinished = Unfinished {
        more,
        ..Unfinished::default()
    };
    for (outcome, requests) in tried.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await {
        match outcome {
            Outcome::Ended(_) | Outcome::Silent => {}
            Outcome::SaidAndRetry(reason) => unfinished.said.push(reason),
            Outcome::Retry(reason) => {
                let resumed = requests.into_iter().map(|request| Request {
                    resumed: true,
                    ..request
                });
                unfinished.entities.push(Waiting {
                    requests: resumed.collect(),
                    reason,
                });
            }
        }
    }
    unfinished
}
