//! Holds the way of a message together: event in, notices out, and an error exactly when a retry can help.

use futures_util::future::join;
use futures_util::stream::iter;
use futures_util::{FutureExt, StreamExt};
use lambda_runtime::Diagnostic;
use serde_json::Value;
use tracing::Instrument;

pub use crate::deps::Deps;
use crate::guard;
use crate::ingress;
use crate::ingress::sns::{self, Content, Delivery, NotAnSnsEvent};
use crate::moment::Moment;
use crate::notice::{Report, Stage};
use crate::persist::Unfinished;
use crate::request::{Action, Follows, Message, Request};
use crate::wake::Wake;
use crate::{automatic, execute, persist, release, resume, watch};

/// How many entities of a message are worked on at once.
pub(crate) const AT_ONCE: usize = 8;

/// How one request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With this notice, which an earlier delivery may have sent.
    Ended(Stage),
    /// Nothing was to say.
    Silent,
    /// A retry can help, for this reason.
    Retry(String),
    /// The same, and what there was to say has been said: to say it again is Lambda's to cause, minutes later, and not this invocation's.
    SaidAndRetry(String),
}

impl Outcome {
    /// Why a retry can help, where it can.
    pub(crate) fn into_retry(self) -> Option<String> {
        match self {
            Self::Retry(reason) | Self::SaidAndRetry(reason) => Some(reason),
            Self::Ended(_) | Self::Silent => None,
        }
    }
}

/// An error that reaches Lambda. Its type is a stable word.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The event is of another shape; a retry brings it to the dead-letter queue, where it can be looked at.
    #[error(transparent)]
    NotAnSnsEvent(#[from] NotAnSnsEvent),
    /// An event without what makes one; it is kept in the same way.
    #[error("not an event that anything can be done about: {0}")]
    BrokenEvent(String),
    /// Something failed that may work when the event is delivered again.
    #[error("{0}")]
    RetryCanHelp(String),
}

impl From<HandlerError> for Diagnostic {
    fn from(error: HandlerError) -> Self {
        let error_type = match &error {
            HandlerError::NotAnSnsEvent(_) => "NotAnSnsEvent",
            HandlerError::BrokenEvent(_) => "BrokenEvent",
            HandlerError::RetryCanHelp(_) => "RetryCanHelp",
        };
        Self {
            error_type: error_type.to_owned(),
            error_message: error.to_string(),
        }
    }
}

/// Carries out what one invocation asks for, and answers whoever waits for it: with the notice that says how it ended, as JSON
/// ([`Report`]). `id` is the invocation's; nobody waits for an answer to an event of another kind.
///
/// # Errors
/// As [`handle`].
pub async fn invoke(event: Value, id: &str, deadline: Moment, deps: &Deps) -> Result<Value, HandlerError> {
    if !ingress::direct::is_one(&event) {
        return handle(event, deadline, deps).await.map(|()| Value::Null);
    }
    deps.begin(deadline);
    let delivery = ingress::direct::read(event, id, &deps.settings.request_topic);
    if !deps.admits(&delivery) {
        deps.refuse_stranger().await;
        let summary = "The request came without the right ExternalId: nothing was read or changed in any account";
        return Ok(answer(&Report::bare(Stage::Refused, summary)));
    }
    deps.publisher.listen();
    let retries = persist::again(handle_one(delivery, deps).await, deps).await.reasons();
    // The last one: what came before it was on the way.
    let said = deps.publisher.heard().pop();
    watch::after(deps, deps.to_look_at_again()).await;
    match said {
        _ if !retries.is_empty() => Err(HandlerError::RetryCanHelp(retries.join("; "))),
        Some(report) => Ok(answer(&report)),
        None => Ok(Value::Null),
    }
}

fn answer(report: &Report) -> Value {
    serde_json::to_value(report).unwrap_or_default()
}

/// Carries out all that an event asks for, before the deadline at which Lambda ends the invocation.
///
/// # Errors
/// The event is no SNS event, or something failed that a retry can help.
pub async fn handle(event: Value, deadline: Moment, deps: &Deps) -> Result<(), HandlerError> {
    deps.begin(deadline);
    if let Some(wakes) = ingress::wake::read(&event) {
        let outcome = wake_up(wakes, deps).await;
        watch::after(deps, deps.to_look_at_again()).await;
        return outcome;
    }
    if ingress::watch::read(&event) {
        return watch::all(deps)
            .await
            .map_err(|error| HandlerError::RetryCanHelp(error.to_string()));
    }
    if ingress::events::read(&event) {
        let outcome = automatic::all(deps, &event).await;
        watch::after(deps, deps.to_look_at_again()).await;
        return outcome;
    }
    let (admitted, strange): (Vec<_>, Vec<_>) = sns::read(event)?
        .into_iter()
        .partition(|delivery| deps.admits(delivery));
    let work = async {
        let mut unfinished = Vec::new();
        for delivery in admitted {
            unfinished.push(handle_one(delivery, deps).await);
        }
        unfinished
    };
    let refusals = async {
        for _ in strange {
            deps.refuse_stranger().await;
        }
    };
    let (unfinished, ()) = join(work, refusals).await;
    let mut retries = Vec::new();
    for unfinished in unfinished {
        retries.extend(to_the_end(unfinished, deps).await);
    }
    if retries.is_empty() {
        Ok(())
    } else {
        Err(HandlerError::RetryCanHelp(retries.join("; ")))
    }
}

/// Tries again what is not done, looks again at what is, and says why a retry can help, where it can.
async fn to_the_end(unfinished: Unfinished, deps: &Deps) -> Vec<String> {
    let looks = watch::after(deps, deps.to_look_at_again());
    let (unfinished, ()) = join(persist::again(unfinished, deps), looks).await;
    watch::after(deps, deps.to_look_at_again()).await;
    unfinished.reasons()
}

/// Finishes what the wake-ups name, one after the other.
async fn wake_up(wakes: Vec<Wake>, deps: &Deps) -> Result<(), HandlerError> {
    let mut retries = Vec::new();
    for wake in wakes {
        let span = tracing::info_span!("wake-up", record = wake.record, containment = wake.containment);
        retries.extend(
            resume::resume(deps, wake)
                .instrument(span)
                .boxed_local()
                .await
                .into_retry(),
        );
    }
    if retries.is_empty() {
        Ok(())
    } else {
        Err(HandlerError::RetryCanHelp(retries.join("; ")))
    }
}

/// Carries out all requests of a message, and returns what failed for a reason that passes. What is refused unread is refused beside
/// the work, never before it.
async fn handle_one(delivery: Delivery, deps: &Deps) -> Unfinished {
    let (groups, unreadable) = requests(delivery);
    let refusals = iter(&unreadable).for_each_concurrent(AT_ONCE, |refused| refuse_message(deps, refused));
    join(persist::first(groups, deps), refusals).await.0
}

/// A message, or a part of it, that names no entity.
struct Unreadable {
    message: Message,
    /// Which part; nothing for the whole.
    part: String,
    reason: String,
}

/// Refuses a message, or a part of it, that names no entity.
async fn refuse_message(deps: &Deps, refused: &Unreadable) {
    let Unreadable { message, part, reason } = refused;
    if !deps.first_refusal(&format!("{} {part}", message.id)) {
        return;
    }
    tracing::warn!(message = message.id, "refused: {reason}");
    let next = vec!["Nothing was changed for it. Publish a corrected message".to_owned()];
    let report = Report {
        message_id: Some(message.id.clone()),
        next,
        ..Report::bare(Stage::Refused, reason.as_str())
    };
    deps.publisher.publish(&report).await;
}

/// The requests of a message, those of one entity together, and what is none.
fn requests(delivery: Delivery) -> (Vec<Vec<Request>>, Vec<Unreadable>) {
    let message = delivery.message;
    let unreadable = |part, reason| Unreadable {
        message: message.clone(),
        part,
        reason,
    };
    let Content {
        action,
        entities,
        claims,
        force,
        reactivate_keys,
    } = match delivery.content {
        Ok(content) => content,
        Err(reason) => return (vec![], vec![unreadable(String::new(), reason)]),
    };
    let (mut groups, mut refused) = (Vec::<Vec<Request>>::new(), Vec::new());
    for (n, entity) in entities.into_iter().enumerate() {
        let entity = match entity {
            Ok(entity) => entity,
            Err(refusal) => {
                refused.push(unreadable(n.to_string(), refusal.to_string()));
                continue;
            }
        };
        let request = Request {
            action,
            entity,
            message: message.clone(),
            claims: claims.clone(),
            force,
            reactivate_keys,
            resumed: false,
            follows: Follows::Delivery,
        };
        let key = request.entity.key();
        match groups
            .iter_mut()
            .find(|group| group.iter().any(|other| other.entity.key() == key))
        {
            Some(group) => group.push(request),
            None => groups.push(vec![request]),
        }
    }
    (groups, refused)
}

/// Carries out one request of those that name one entity: the first that is not refused, as one under a wrong path would be.
pub(crate) async fn carry_out_first(requests: Vec<Request>, deps: &Deps) -> Outcome {
    let mut outcome = Outcome::Silent;
    for request in requests {
        // On the heap: eight of these at once are too much for a small stack.
        outcome = carry_out(request, deps).boxed_local().await;
        if outcome != Outcome::Ended(Stage::Refused) {
            break;
        }
    }
    outcome
}

async fn carry_out(request: Request, deps: &Deps) -> Outcome {
    let span = tracing::info_span!("request", entity = %request.entity.named, action = %request.action, message = request.message.id);
    async {
        let judged = match request.action {
            Action::Release => guard::judge_partition(&request.entity, &deps.settings),
            Action::Contain | Action::Plan => guard::judge_name(&request.entity, &deps.settings),
        };
        let outcome = match (judged, request.action) {
            (Err(refusal), _) => deps.refuse(&request, &refusal.0).await,
            (Ok(()), Action::Release) => release::release(deps, &request).await,
            (Ok(()), Action::Plan) => execute::plan(deps, &request).await,
            (Ok(()), Action::Contain) => execute::contain(deps, &request).await,
        };
        tracing::info!(?outcome, "request ended");
        outcome
    }
    .instrument(span)
    .await
}
