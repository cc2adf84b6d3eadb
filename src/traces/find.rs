//! Asks CloudTrail what an identity has changed.
//!
//! Source: AWS CloudTrail API Reference, "LookupEvents" (two calls a second, account and region).

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_cloudtrail::types::{Event, LookupAttribute, LookupAttributeKey};
use aws_smithy_types::DateTime;
use serde_json::Value;

use crate::arn::{Arn, Partition};
use crate::aws::{Failure, Member};
use crate::entities::Kind;
use crate::entity::Entity;
use crate::handler::Deps;
use crate::moment::Moment;
use crate::notice::report::quoted;
use crate::record::{Record, StepState};

/// How far before the containment is asked, in seconds.
const BEFORE_SECONDS: i64 = 3600;

/// How long after its opening an identity may still have made something, in seconds: AWSDenyAll takes some to hold everywhere.
const WINDOW_SECONDS: i64 = 300;

/// How many pages of 50 events are asked for in a region, and the pause between two.
const PAGES: usize = 20;
const PAUSE: Duration = Duration::from_millis(600);

/// How many changes are named.
const NAMED: usize = 40;

/// Whose changes are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Who {
    /// A user.
    User(Arn),
    /// All sessions of a role.
    Role(Arn),
    /// The sessions of an instance: those of its role that are named by its id.
    Instance(String),
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Traces {
    /// One sentence for each change, newest first.
    pub(super) changes: Vec<String>,
    /// What is to be contained as well: one command or hint each.
    pub(super) next: Vec<String>,
    /// How many more changes there are than are named.
    pub(super) more: usize,
    /// Where not all events could be read.
    pub(super) truncated: Vec<String>,
    /// Where was asked.
    pub(super) regions: Vec<String>,
}

impl Traces {
    /// Whether there is nothing to tell: no change, and nothing that could not be read. A flood of events must hide none.
    pub(super) fn is_nothing(&self) -> bool {
        self.changes.is_empty() && self.truncated.is_empty()
    }
}

/// Asks CloudTrail, in the region of the global services, in the entity's own and in the hub's.
///
/// # Errors
/// The first call that failed.
pub(super) async fn find(record: &Record, entity: &Entity, deps: &Deps) -> Result<Traces, Failure> {
    let mut regions = vec![entity.partition.home_region(), entity.home()];
    regions.extend(deps.settings.region.clone());
    let mut seen = BTreeSet::new();
    regions.retain(|region| seen.insert(region.to_string()));
    let who = who(record, entity);
    let mut events: Vec<Event> = vec![];
    let mut traces = Traces::default();
    for region in &regions {
        let member = deps.accounts.member(entity.partition, &entity.account, region).await?;
        if !pages(&member, &who, record.opened, &mut events).await? {
            traces.truncated.push(region.to_string());
        }
        traces.regions.push(region.to_string());
    }
    let asked = Asked {
        who: &who,
        entity,
        topic: &record.topic,
    };
    asked.name(&events, &mut traces);
    Ok(traces)
}

/// Whose changes the record is about: the entity itself, or the principals that it denies.
fn who(record: &Record, entity: &Entity) -> Vec<Who> {
    if entity.kind == Kind::Instance {
        return vec![Who::Instance(entity.name.clone())];
    }
    let held = |state| matches!(state, StepState::Applied | StepState::Unchanged | StepState::Failed);
    let denied = record
        .steps
        .iter()
        .filter(|step| step.step.denies() && held(step.state))
        .filter_map(|step| step.step.target());
    let mut who: Vec<Who> = vec![];
    for arn in denied {
        let one = if arn.resource.starts_with("user/") {
            Who::User(arn)
        } else {
            Who::Role(arn)
        };
        if !who.contains(&one) {
            who.push(one);
        }
    }
    who
}

/// Reads the changes around a containment in one region; says whether that was all.
async fn pages(member: &Member, who: &[Who], opened: Moment, events: &mut Vec<Event>) -> Result<bool, Failure> {
    // A user's events are found by its name. A session is named by whoever assumes the role: all changes of the account are read.
    let (key, value) = match who {
        [Who::User(arn)] => (LookupAttributeKey::Username, name_of(arn)),
        _ => (LookupAttributeKey::ReadOnly, "false"),
    };
    let Ok(asked) = LookupAttribute::builder()
        .attribute_key(key)
        .attribute_value(value)
        .build()
    else {
        return Ok(true);
    };
    let at = opened.millis() / 1000;
    let mut from = None;
    for page in 0..PAGES {
        if page > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let call = member.trail.lookup_events().lookup_attributes(asked.clone());
        let call = call
            .start_time(DateTime::from_secs(at - BEFORE_SECONDS))
            .end_time(DateTime::from_secs(at + WINDOW_SECONDS));
        let answer = call.max_results(50).set_next_token(from).send().await;
        let answer = answer.map_err(|error| member.failure("cloudtrail:LookupEvents", value, &error))?;
        from = answer.next_token.filter(|token| !token.is_empty());
        events.extend(answer.events.unwrap_or_default());
        if from.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn name_of(arn: &Arn) -> &str {
    arn.resource.rsplit('/').next().unwrap_or_default()
}

/// What was asked for.
struct Asked<'a> {
    who: &'a [Who],
    entity: &'a Entity,
    topic: &'a str,
}

impl Asked<'_> {
    /// Names the changes that are theirs and that succeeded.
    fn name(&self, events: &[Event], traces: &mut Traces) {
        let mut known = BTreeSet::new();
        for event in events {
            let detail = event
                .cloud_trail_event()
                .and_then(|text| serde_json::from_str(text).ok());
            let detail: Value = detail.unwrap_or_default();
            let reads = event.read_only() == Some("true");
            let failed = detail.get("errorCode").is_some_and(|code| !code.is_null());
            let theirs = self.who.iter().any(|one| is_by(one, event, &detail));
            if reads || failed || !theirs || !known.insert(event.event_id().unwrap_or_default()) {
                continue;
            }
            if traces.changes.len() >= NAMED {
                traces.more += 1;
                continue;
            }
            traces.changes.push(sentence(event));
            if let Some(command) = self.command(&detail).filter(|command| !traces.next.contains(command)) {
                traces.next.push(command);
            }
        }
    }

    /// The command that contains what a call has made or armed, if it is an entity of its own.
    fn command(&self, detail: &Value) -> Option<String> {
        let made = made(detail, self.entity.partition)?;
        // What can't be named well can't be put into a command either.
        let entity: Entity = made.parse().ok()?;
        (entity.key() != self.entity.key()).then(|| {
            format!(
                "Contain what it made (asks for the ExternalId): lockdown publish --topic-arn {} --entity-arn {}",
                quoted(self.topic),
                quoted(&made)
            )
        })
    }
}

/// Whether an event is one of theirs.
fn is_by(who: &Who, event: &Event, detail: &Value) -> bool {
    let identity = detail.get("userIdentity").unwrap_or(&Value::Null);
    match who {
        Who::User(arn) => match text(identity, "/arn") {
            Some(caller) => caller == arn.to_string() || session_issuer(identity) == Some(&arn.to_string()),
            None => event.username() == Some(name_of(arn)),
        },
        Who::Role(arn) => session_issuer(identity) == Some(&arn.to_string()),
        // "ROLE-ID:SESSION-NAME", and an instance's sessions are named by its id.
        Who::Instance(id) => text(identity, "/principalId")
            .and_then(|principal| principal.rsplit_once(':'))
            .is_some_and(|(_, session)| session == id),
    }
}

fn session_issuer(identity: &Value) -> Option<&str> {
    text(identity, "/sessionContext/sessionIssuer/arn")
}

/// The entity that a call has made or armed, as an ARN.
fn made(detail: &Value, partition: Partition) -> Option<String> {
    let account = text(detail, "/recipientAccountId")?;
    let named = |kind: &str, pointer: &str| {
        let name = text(detail, pointer)?;
        Some(format!("arn:{partition}:iam::{account}:{kind}/{name}"))
    };
    let answered = |pointer: &str| text(detail, pointer).map(str::to_owned);
    match text(detail, "/eventName")? {
        "CreateUser" => answered("/responseElements/user/arn"),
        "CreateRole" => answered("/responseElements/role/arn"),
        "CreateAccessKey" => named("user", "/responseElements/accessKey/userName"),
        "CreateLoginProfile" | "UpdateLoginProfile" => named("user", "/requestParameters/userName"),
        "UpdateAssumeRolePolicy" => named("role", "/requestParameters/roleName"),
        // CloudTrail writes the name of Lambda's calls with the version of the API behind it.
        name if name.starts_with("CreateFunction") || name.starts_with("UpdateFunctionCode") => {
            answered("/responseElements/functionArn")
        }
        _ => None,
    }
}

/// The text at a JSON pointer (RFC 6901).
fn text<'d>(json: &'d Value, pointer: &str) -> Option<&'d str> {
    json.pointer(pointer)?.as_str()
}

fn sentence(event: &Event) -> String {
    let at = event
        .event_time()
        .map(|at| Moment::from_millis(at.to_millis().unwrap_or_default()).for_people());
    let names: Vec<&str> = event
        .resources()
        .iter()
        .filter_map(|resource| resource.resource_name())
        .collect();
    let about = if names.is_empty() {
        String::new()
    } else {
        format!(" {}", names.join(", "))
    };
    let text = format!(
        "{}{about} ({}, with the key {}, event {})",
        event.event_name().unwrap_or("?"),
        at.unwrap_or_default(),
        event.access_key_id().unwrap_or("?"),
        event.event_id().unwrap_or("?"),
    );
    text.chars().filter(|c| !c.is_control()).take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_cloudtrail::types::Resource;

    const TOPIC: &str = "arn:aws:sns:us-east-1:111111111111:requests";

    fn event(id: &str, name: &str, identity: &str, rest: &str) -> Event {
        let detail = format!(
            r#"{{"eventName": "{name}", "recipientAccountId": "222222222222", "userIdentity": {identity}, {rest} "x": 1}}"#
        );
        Event::builder()
            .event_id(id)
            .event_name(name)
            .read_only("false")
            .access_key_id("AKIA1")
            .event_time(DateTime::from_secs(1_795_600_000))
            .resources(Resource::builder().resource_name("mallory").build())
            .cloud_trail_event(detail)
            .build()
    }

    const ALICE: &str = r#"{"type": "IAMUser", "arn": "arn:aws:iam::222222222222:user/div/alice"}"#;
    const SESSION: &str = r#"{"type": "AssumedRole", "principalId": "AROA1:i-1", "arn": "arn:aws:sts::222222222222:assumed-role/r/i-1",
        "sessionContext": {"sessionIssuer": {"arn": "arn:aws:iam::222222222222:role/x/r"}}}"#;
    const MADE: &str = r#""responseElements": {"user": {"arn": "arn:aws:iam::222222222222:user/mallory"}},"#;

    fn found(who: Who, events: &[Event]) -> Traces {
        let asked = Asked {
            who: &[who],
            entity: &"arn:aws:iam::222222222222:user/div/alice".parse().expect("an entity"),
            topic: TOPIC,
        };
        let mut traces = Traces::default();
        asked.name(events, &mut traces);
        traces
    }

    fn user() -> Who {
        Who::User("arn:aws:iam::222222222222:user/div/alice".parse().expect("an ARN"))
    }

    #[test]
    fn what_an_identity_made_is_named_with_the_command_that_contains_it() {
        let events = [
            event("e1", "CreateUser", ALICE, MADE),
            event("e1", "CreateUser", ALICE, MADE),
            event("e2", "CreateUser", ALICE, r#""errorCode": "AccessDenied","#),
            event("e3", "CreateUser", SESSION, MADE),
        ];
        let traces = found(user(), &events);
        assert_eq!(
            traces.changes,
            ["CreateUser mallory (2026-11-25 09:46:40 UTC, with the key AKIA1, event e1)"]
        );
        assert_eq!(traces.next.len(), 1);
        assert!(
            traces.next[0].ends_with("--entity-arn 'arn:aws:iam::222222222222:user/mallory'"),
            "{:?}",
            traces.next
        );
    }

    #[test]
    fn sessions_are_known_by_their_role_and_an_instances_by_its_id() {
        let events = [
            event("e1", "CreateRole", SESSION, ""),
            event("e2", "CreateRole", ALICE, ""),
        ];
        let role = |arn: &str| Who::Role(arn.parse().expect("an ARN"));
        for (who, count) in [
            (role("arn:aws:iam::222222222222:role/x/r"), 1),
            (role("arn:aws:iam::222222222222:role/r"), 0),
            (Who::Instance("i-1".to_owned()), 1),
            (Who::Instance("i-2".to_owned()), 0),
        ] {
            assert_eq!(found(who.clone(), &events).changes.len(), count, "{who:?}");
        }
    }

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        let events: Vec<Event> = (0..NAMED + 3)
            .map(|n| event(&format!("e{n}"), "CreateUser", ALICE, ""))
            .collect();
        let traces = found(user(), &events);
        assert_eq!((traces.changes.len(), traces.more), (NAMED, 3));
        let unread = Traces {
            truncated: vec!["us-east-1".to_owned()],
            ..Traces::default()
        };
        assert!(Traces::default().is_nothing() && !unread.is_nothing());
    }

    #[test]
    fn what_is_named_badly_makes_no_command() {
        for (name, rest) in [
            (
                "CreateAccessKey",
                r#""responseElements": {"accessKey": {"userName": "a b"}},"#,
            ),
            ("CreateUser", r#""responseElements": {"user": {"arn": "$(id)"}},"#),
            ("CreateUser", r#""responseElements": null,"#),
            (
                "CreateAccessKey",
                r#""responseElements": {"accessKey": {"userName": "alice"}},"#,
            ),
            ("PutObject", ""),
        ] {
            let traces = found(user(), &[event("e1", name, ALICE, rest)]);
            assert_eq!((traces.changes.len(), traces.next.len()), (1, 0), "{name}");
        }
        for (name, rest, arn) in [
            (
                "CreateAccessKey",
                r#""responseElements": {"accessKey": {"userName": "bob"}},"#,
                "user/bob",
            ),
            (
                "UpdateLoginProfile",
                r#""requestParameters": {"userName": "bob"},"#,
                "user/bob",
            ),
            (
                "UpdateAssumeRolePolicy",
                r#""requestParameters": {"roleName": "door"},"#,
                "role/door",
            ),
            (
                "CreateFunction20150331",
                r#""responseElements": {"functionArn": "arn:aws:lambda:us-east-1:222222222222:function:f"},"#,
                "function:f",
            ),
        ] {
            let traces = found(user(), &[event("e1", name, ALICE, rest)]);
            assert!(traces.next.concat().contains(arn), "{name}: {traces:?}");
        }
    }
}
