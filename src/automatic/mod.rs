//! What is done about findings and calls without a person's asking: the rules say it, and everything else can only make it less.
//!
//! In the order in which an event meets it: what nobody acts on any more is left; the rules decide ([`crate::rules`]); what has come
//! already is counted (`known`); each entity is judged by itself (`case`, `judge`), found (`resolve`), and asked for its tags; the
//! brake (`brake`) lets so many through an hour; a notice tells of the event (`tell`), and leads on (`lead`); then the entities are
//! contained as if a message had asked for it, and Security Hub's console is told (`write_back`). Automation fails closed: whatever can't be read, nothing is contained for it.

mod brake;
mod case;
mod judge;
mod known;
mod lead;
mod resolve;
mod tell;
mod write_back;

use futures_util::FutureExt;
use futures_util::future::join;
use serde_json::Value;
use tracing::Instrument;

use crate::aws::Failure;
use crate::event::Event;
use crate::event::json::Json;
use crate::event::recognise::{NotAnEvent, recognise};
use crate::handler::{Deps, HandlerError};
use crate::journal::JournalError;
use crate::moment::Moment;
use crate::rules::{Decision, Response, Rule, RuleSet};
use crate::settings::CustomAction;
use crate::steps::Permission;
use judge::Work;
use known::Seen;

/// The id of our custom action of Security Hub, by which people send a finding on (Security Hub takes at most 20 characters).
pub const CUSTOM_ACTION: &str = "EntityLockdown";

/// What finding entities and writing back take in a member account.
pub fn permissions() -> Vec<Permission> {
    [resolve::PERMISSIONS, write_back::PERMISSIONS].concat()
}

/// Why an event could not be dealt with now.
#[derive(Debug, thiserror::Error)]
enum Unfinished {
    #[error("{0}")]
    Journal(#[from] JournalError),
    #[error("{0}")]
    Aws(#[from] Failure),
    #[error("the rules can't be loaded")]
    Rules,
    #[error("the notice about it could not be sent")]
    Untold,
    #[error("{0}")]
    Work(String),
}

/// Deals with each event in what EventBridge has delivered.
///
/// # Errors
/// What a retry can help, and what is no event at all: Lambda delivers it again, and at last the dead-letter queue keeps it.
pub(crate) async fn all(deps: &Deps, delivered: &Value) -> Result<(), HandlerError> {
    let json = Json::of(delivered);
    let (mut unfinished, mut broken) = (vec![], vec![]);
    for event in recognise(&json) {
        match event {
            Ok(event) => {
                let span = tracing::info_span!("event", kind = %event.kind, id = event.id());
                if let Err(why) = one(deps, &event).instrument(span).boxed_local().await {
                    unfinished.push(why.to_string());
                }
            }
            Err(NotAnEvent::Other(what)) => tracing::info!("nothing is done about {what}"),
            Err(NotAnEvent::Broken(what)) => broken.push(what),
        }
    }
    if !unfinished.is_empty() {
        Err(HandlerError::RetryCanHelp(unfinished.join("; ")))
    } else if !broken.is_empty() {
        Err(HandlerError::BrokenEvent(broken.join("; ")))
    } else {
        Ok(())
    }
}

/// Deals with one event.
async fn one(deps: &Deps, event: &Event<'_>) -> Result<(), Unfinished> {
    let by_person = match event.custom_action() {
        None => false,
        Some(CUSTOM_ACTION) => true,
        Some(other) => {
            tracing::info!(action = other, "a custom action of somebody else's");
            return Ok(());
        }
    };
    if let Some(why) = event.never_acted_on() {
        tracing::info!("nothing is done about {why}");
        if by_person {
            let refused = tell::refused(event, &format!("It is {why}, and nothing is done about those"));
            deps.publisher.publish(&refused).await;
        }
        return Ok(());
    }
    let wanted = if by_person {
        Wanted::by_person(deps.settings.custom_action)
    } else {
        Wanted::Rules(rules(deps, event).await?.decide(event, Moment::now()))
    };
    if let Some(name) = wanted.suppressed_by() {
        tracing::info!(suppression = name, "suppressed");
        return Ok(());
    }
    if wanted.strongest() == Response::Ignore {
        tracing::info!(rules = wanted.names(), "nothing is to be done");
        return Ok(());
    }
    act(&Work {
        deps,
        event,
        wanted: &wanted,
        by_person,
    })
    .await
}

/// Tells of an event, and carries out what is to be done, unless that was done before.
async fn act(work: &Work<'_>) -> Result<(), Unfinished> {
    let known = work.known();
    let told = match known.come(work.event.severity().unwrap_or_default()).await? {
        Seen::New => false,
        Seen::Left { told } => told,
        Seen::Now => return Ok(()),
        Seen::Again(count) => {
            tracing::info!(count, "it has come before, and got no worse");
            return Ok(());
        }
    };
    let done = tell_and_carry_out(work, &known, told).await;
    if done.is_ok() {
        known.ended().await?;
    } else {
        // The next delivery goes on at once: it must not take this one for somebody who is still at work.
        known.left().await?;
    }
    done
}

async fn tell_and_carry_out(work: &Work<'_>, known: &known::Event<'_>, told: bool) -> Result<(), Unfinished> {
    let (cases, mut again) = work.judged(work.cases()).await;
    // A call that nobody is contained for now is told of once an hour, and those like it are counted.
    let alike = work
        .alike()
        .filter(|_| cases.iter().all(|case| case.response < Response::Contain));
    let alike_told = match alike.as_ref().filter(|_| !told) {
        Some(alike) => was_told(alike).await?,
        None => false,
    };
    let notice = async {
        if told || alike_told {
            return Ok(());
        }
        let report = work.notice(&work.with_owners(&cases).await);
        let sent = work.deps.publisher.publish(&report).await;
        match &alike {
            Some(alike) if sent => alike.ended().await?,
            // The next one like it is to be told of, then.
            Some(alike) => alike.left().await?,
            None => {}
        }
        if !sent {
            return Err(Unfinished::Untold);
        }
        Ok(known.told().await?)
    };
    // Where its like was told of there are plans at most, and those were told as well.
    let to_do = if alike_told { &[] } else { cases.as_slice() };
    let (noted, ended) = join(notice, work.carry_out(to_do)).await;
    if work.deps.settings.write_back {
        write_back::write(work.event, &ended, &work.deps.accounts).await;
    }
    again.extend(ended.into_iter().filter_map(|(_, outcome)| outcome.into_retry()));
    if again.is_empty() {
        noted
    } else {
        Err(Unfinished::Work(again.join("; ")))
    }
}

/// Whether another event like this one was told of within the hour.
async fn was_told(alike: &known::Event<'_>) -> Result<bool, Unfinished> {
    match alike.come(0.0).await? {
        Seen::New | Seen::Left { .. } => Ok(false),
        Seen::Now => Ok(true),
        Seen::Again(count) => {
            tracing::info!(count, "its like was told of within the hour");
            Ok(true)
        }
    }
}

/// The rules, or the end of all automation.
async fn rules<'d>(deps: &'d Deps, event: &Event<'_>) -> Result<&'d RuleSet, Unfinished> {
    match &deps.rules {
        Ok(rules) => Ok(rules),
        Err(problems) => {
            if deps.says_that_rules_fail() {
                deps.publisher.publish(&tell::no_rules(event, problems)).await;
            }
            Err(Unfinished::Rules)
        }
    }
}

/// What a person or the rules want to be done.
enum Wanted<'r> {
    Person(Response),
    Rules(Decision<'r>),
}

impl Wanted<'_> {
    fn by_person(setting: CustomAction) -> Self {
        Self::Person(match setting {
            CustomAction::Contain => Response::Contain,
            CustomAction::Notify => Response::Notify,
        })
    }

    fn suppressed_by(&self) -> Option<&str> {
        match self {
            Self::Person(_) => None,
            Self::Rules(decision) => decision.suppressed_by.first().map(|one| one.clause.name.as_str()),
        }
    }

    fn strongest(&self) -> Response {
        match self {
            Self::Person(response) => *response,
            Self::Rules(decision) => decision.response(),
        }
    }

    /// The rules that match; a person's decision needs none.
    fn rules(&self) -> impl Iterator<Item = &Rule> + Clone {
        let rules = match self {
            Self::Person(_) => &[],
            Self::Rules(decision) => decision.matched.as_slice(),
        };
        rules.iter().copied()
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.rules().map(|rule| rule.clause.name.as_str()).collect();
        names.join(", ")
    }
}

/// All that is said of an event without AWS, for tests with events of any shape.
#[cfg(test)]
pub(crate) fn told(event: &Event<'_>) {
    let settings = crate::settings::tests::settings();
    let cases: Vec<_> = case::without_profiles_of_instances(crate::event::named::named(event))
        .into_iter()
        .map(|named| case::Case::of(event, named, Response::Contain, false, &settings))
        .collect();
    let report = tell::notice(event, std::iter::empty(), &cases, "topic");
    let subject = crate::notice::mail::subject(&report);
    assert!(subject.len() < 100 && subject.is_ascii(), "{subject}");
    assert!(!crate::notice::mail::body(&report).contains('\u{0}'));
}
