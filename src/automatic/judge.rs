//! Judges each entity of an event by all that AWS, the journal and the brake have to say, and carries out what is left to do.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use futures_util::stream::iter;
use futures_util::{FutureExt, StreamExt};

use super::case::{self, Case};
use super::{Unfinished, Wanted, brake, known, resolve, tell};
use crate::aws::Failure;
use crate::entities::{self, tags::Tags};
use crate::entity::Entity;
use crate::event::named::named;
use crate::event::{Event, EventType};
use crate::execute;
use crate::guard;
use crate::handler::{AT_ONCE, Deps, Outcome};
use crate::moment::Moment;
use crate::notice::Report;
use crate::record::{ContainmentId, Status};
use crate::request::{Action, Claims, Follows, Message, Request};
use crate::rules::Response;

/// The tag by which an entity's owners make automation weaker.
const TAG: &str = "entity-lockdown";

/// How long calls that are alike are counted and not told of again, in seconds: an hour.
const QUIET_SECONDS: u64 = 3600;

/// The longest id that a record keeps as it is; those of Security Hub have up to 512 characters, and a record keeps fifty.
const LONGEST_ID: usize = 160;

/// The work on one event.
pub(super) struct Work<'a> {
    pub(super) deps: &'a Deps,
    pub(super) event: &'a Event<'a>,
    pub(super) wanted: &'a Wanted<'a>,
    pub(super) by_person: bool,
}

impl<'a> Work<'a> {
    /// The event's id, and for what a person has sent on, that of the sending as well: each time is a decision.
    fn identity(&self) -> String {
        let envelope = self.event.envelope_id().unwrap_or_default();
        let id = self.event.id().unwrap_or(envelope);
        if self.by_person {
            format!("{id} by {envelope}")
        } else {
            id.to_owned()
        }
    }

    /// What the journal knows the event by.
    pub(super) fn known(&self) -> known::Event<'a> {
        known::Event::of(&self.deps.journal, self.event.kind.name(), &self.identity())
    }

    /// What the journal knows calls by that are alike: the same rules match, and the same identity has called the same. A finding needs
    /// none, since it is updated and keeps its id.
    pub(super) fn alike(&self) -> Option<known::Event<'a>> {
        if self.event.kind != EventType::CloudTrail {
            return None;
        }
        let text = |names: &[&str]| self.event.root.text_at(names).unwrap_or_default();
        // A session's own ARN ends with a name that whoever assumes the role chooses.
        let caller = match text(&["userIdentity", "sessionContext", "sessionIssuer", "arn"]) {
            "" => text(&["userIdentity", "arn"]),
            issuer => issuer,
        };
        let rules = self.wanted.names();
        let (account, source) = (text(&["recipientAccountId"]), text(&["eventSource"]));
        let alike = [rules.as_str(), caller, account, source, text(&["eventName"])].join("\n");
        Some(known::Event::quiet(&self.deps.journal, "alike", &alike, QUIET_SECONDS))
    }

    /// Each entity, as far as the event itself tells.
    pub(super) fn cases(&self) -> Vec<Case> {
        let response = |part| match self.wanted {
            Wanted::Person(response) => *response,
            Wanted::Rules(decision) => decision.response_to(part),
        };
        let named = case::without_profiles_of_instances(named(self.event)).into_iter();
        let case = named.map(|named| {
            let response = response(named.part);
            Case::of(self.event, named, response, self.by_person, &self.deps.settings)
        });
        case.collect()
    }

    /// Each entity, judged, and why some are to be judged again: what can't be read of one keeps no other from being contained. Only
    /// about what is more than to be told of, anything is read.
    pub(super) async fn judged(&self, cases: Vec<Case>) -> (Vec<Case>, Vec<String>) {
        let (mut found, mut again): (Vec<Case>, _) = (vec![], vec![]);
        for case in cases {
            match self.resolved(&case).await {
                Ok(cases) => cases.into_iter().for_each(|case| join_case(&mut found, case)),
                Err(failure) => found.push(postponed(case, failure.to_string(), &mut again)),
            }
        }
        let mut judged = vec![];
        for case in found {
            judged.push(match self.judge(case.clone()).await {
                Ok(case) => case,
                Err(why) => postponed(case, why.to_string(), &mut again),
            });
        }
        (judged, again)
    }

    async fn resolved(&self, case: &Case) -> Result<Vec<Case>, Failure> {
        if case.response > Response::Notify {
            resolve::resolve(case.clone(), &self.deps.accounts).await
        } else {
            Ok(vec![case.clone()])
        }
    }

    async fn judge(&self, mut case: Case) -> Result<Case, Unfinished> {
        let Some(entity) = case.entity.clone().filter(|_| case.response > Response::Notify) else {
            return Ok(case);
        };
        if let Err(refusal) = guard::judge_name(&entity, &self.deps.settings) {
            case.hold_back(refusal.0);
            return Ok(case);
        }
        if self.by_person {
            return Ok(case);
        }
        if let Some(why) = self.is_settled(&entity).await? {
            case.weaken(why);
            return Ok(case);
        }
        match self.tags(&entity).await {
            Ok(tags) => self.heed(&mut case, &tags),
            Err(failure) if failure.passes() => return Err(failure.into()),
            Err(failure) => case.hold_back(format!("its tags can't be read: {failure}")),
        }
        if case.response == Response::Contain {
            let what = format!("{} {}", self.message_id(), entity.key());
            let most = self.deps.settings.most_automatic;
            if let Err(held) = brake::ask(&self.deps.journal, &what, entity.account.as_str(), most).await? {
                case.hold_back(held.to_string());
            }
        }
        Ok(case)
    }

    /// Why nothing is to be done to an entity by its record, if there is a reason: an identity that is locked goes on calling, and
    /// each of its calls is an event.
    async fn is_settled(&self, entity: &Entity) -> Result<Option<String>, Unfinished> {
        let Some(stored) = self.deps.journal.load(&entity.key()).await? else {
            return Ok(None);
        };
        let record = &stored.record;
        if record.seen(&self.message_id()).is_some_and(|seen| seen.ended.is_none()) {
            return Ok(None);
        }
        Ok(match record.status {
            Status::Contained => Some(format!("it is contained since {}", record.opened.for_people())),
            Status::Partial => Some(format!(
                "it is contained in part ONLY, since {}: each watch tries the rest again",
                record.opened.for_people()
            )),
            Status::Containing if stored.held_by_another("", Moment::now()) => {
                Some("it is being contained already".to_owned())
            }
            _ if self.sent() < record.newest => {
                Some("what was decided about it since is newer than this event".to_owned())
            }
            Status::Containing | Status::Failed | Status::Releasing | Status::Released => None,
        })
    }

    async fn tags(&self, entity: &Entity) -> Result<Tags, Failure> {
        let accounts = &self.deps.accounts;
        let member = accounts
            .member(entity.partition, &entity.account, &entity.home())
            .await?;
        entities::tags(entity, &member).await
    }

    /// What the entity's own tags say. An intruder can tag too: a tag that holds a containment back is told loudly.
    fn heed(&self, case: &mut Case, tags: &Tags) {
        case.owner = tags.get(&self.deps.settings.owner_tag).map(tell::clean);
        let tag = tags.get(TAG);
        let (response, raised) = case.response.under_tag(tag);
        if response < case.response {
            let said = format!("its tag `{TAG}` says `{}`", tag.unwrap_or_default());
            if raised {
                case.hold_back(format!("{said}: it would have been contained, and an intruder can tag"));
            } else {
                case.weaken(said);
            }
        }
    }

    /// The same cases with the owners that the tags of those name about which nothing was read yet. Where that fails there is none.
    pub(super) async fn with_owners(&self, cases: &[Case]) -> Vec<Case> {
        let with_owner = cases.iter().map(|case| async move {
            let mut case = case.clone();
            if let Some(entity) = case
                .entity
                .as_ref()
                .filter(|_| case.owner.is_none() && !case.named.foreign)
                && let Ok(tags) = self.tags(entity).await
            {
                case.owner = tags.get(&self.deps.settings.owner_tag).map(tell::clean);
            }
            case
        });
        join_all(with_owner).await
    }

    /// Stays the same when the event is delivered again, and differs when it got worse.
    fn message_id(&self) -> String {
        let severity = self.event.severity().map(|severity| format!("@{severity}"));
        let identity = self.identity();
        let id = if identity.len() <= LONGEST_ID {
            tell::clean(&identity)
        } else {
            ContainmentId::of(self.event.kind.name(), &identity).to_string()
        };
        format!("{}/{id}{}", self.event.kind, severity.unwrap_or_default())
    }

    /// When it was sent.
    fn sent(&self) -> Moment {
        self.event.sent().unwrap_or_else(Moment::now)
    }

    /// Contains and plans what is to be, and says how each ended.
    pub(super) async fn carry_out(&self, cases: &[Case]) -> Vec<(Request, Outcome)> {
        let asked = cases.iter().filter_map(|case| self.request(case));
        let work = iter(asked).map(|request| {
            async move {
                let outcome = match request.action {
                    Action::Plan => execute::plan(self.deps, &request).boxed_local().await,
                    Action::Contain | Action::Release => execute::contain(self.deps, &request).boxed_local().await,
                };
                tracing::info!(entity = %request.entity.named, action = %request.action, ?outcome, "request ended");
                (request, outcome)
            }
            .boxed_local()
        });
        work.buffer_unordered(AT_ONCE).collect().await
    }

    fn request(&self, case: &Case) -> Option<Request> {
        let action = match case.response {
            Response::Contain => Action::Contain,
            Response::Plan => Action::Plan,
            Response::Notify | Response::Ignore => return None,
        };
        let by = match self.wanted {
            Wanted::Person(_) => "a person, by the custom action of Security Hub".to_owned(),
            Wanted::Rules(_) => format!("the automation, by the rules {}", self.wanted.names()),
        };
        Some(Request {
            action,
            entity: case.entity.clone()?,
            message: Message {
                id: self.message_id(),
                sent: self.sent(),
                topic: self.deps.settings.request_topic.clone(),
            },
            claims: Claims {
                reason: Some(tell::clean(&tell::summary(self.event))),
                incident: None,
                requested_by: Some(tell::clean(&by)),
                owners: self.owners(std::slice::from_ref(case)),
            },
            force: false,
            reactivate_keys: false,
            resumed: false,
            follows: Follows::Delivery,
        })
    }

    /// Whose the event is: the owners of the rules, and of these entities.
    fn owners(&self, cases: &[Case]) -> Vec<String> {
        let of_rules = self.wanted.rules().filter_map(|rule| rule.clause.owner.clone());
        let owners: BTreeSet<String> = of_rules
            .chain(cases.iter().filter_map(|case| case.owner.clone()))
            .collect();
        owners.into_iter().collect()
    }

    /// The notice about the event: which rules, which entities, what is done, and where to go on.
    pub(super) fn notice(&self, cases: &[Case]) -> Report {
        let topic = &self.deps.settings.request_topic;
        let mut report = tell::notice(self.event, self.wanted.rules(), cases, topic);
        report.owners = self.owners(cases);
        report
    }
}

/// A case that can't be judged now. Automation fails closed: nothing is done to it until it can be.
fn postponed(mut case: Case, why: String, again: &mut Vec<String>) -> Case {
    case.hold_back(format!("it could not be looked at now, and is tried again: {why}"));
    again.push(why);
    case
}

/// Adds a case, unless the same entity has one: an access key and its user may both be named. The stronger response counts.
fn join_case(found: &mut Vec<Case>, case: Case) {
    let key = case.entity.as_ref().map(Entity::key);
    let same = |other: &&mut Case| key.is_some() && other.entity.as_ref().map(Entity::key) == key;
    match found.iter_mut().find(same) {
        Some(other) if other.response < case.response => *other = case,
        Some(_) => {}
        None => found.push(case),
    }
}
