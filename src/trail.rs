//! Asks CloudTrail who has changed an entity of late, as far as it knows already: events show there after some minutes.
//!
//! Source: AWS CloudTrail API Reference, "LookupEvents" (management events of the last 90 days, two calls a second and account).

use std::time::Duration;

use aws_sdk_cloudtrail::types::{Event, LookupAttribute, LookupAttributeKey};
use aws_smithy_types::DateTime;

use crate::aws::Member;
use crate::entity::Entity;
use crate::moment::Moment;
use crate::steps::Permission;

/// What asking takes.
pub const PERMISSIONS: &[Permission] = &[Permission {
    action: "cloudtrail:LookupEvents",
    used_for: "say who changed an entity that was contained",
}];

/// How far back is asked.
const BACK_SECONDS: i64 = 3600;

/// How many events are asked for, and how many are named.
const ASKED: i32 = 50;
const NAMED: usize = 5;

/// How long the notice waits for the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// One sentence for each change of the entity that CloudTrail knows of, newest first; else one that says that it knows none.
pub(crate) async fn who(member: &Member, entity: &Entity) -> Vec<String> {
    let asked = LookupAttribute::builder()
        .attribute_key(LookupAttributeKey::ResourceName)
        .attribute_value(&entity.name)
        .build();
    let Ok(asked) = asked else { return vec![] };
    let from = DateTime::from_secs(Moment::now().millis() / 1000 - BACK_SECONDS);
    let call = member.trail.lookup_events().lookup_attributes(asked).start_time(from);
    let answer = match tokio::time::timeout(PATIENCE, call.max_results(ASKED).send()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            let failure = member.failure("cloudtrail:LookupEvents", &entity.name, &error);
            return vec![format!("CloudTrail could not be asked who did it: {failure}")];
        }
        Err(_) => {
            return vec![format!(
                "CloudTrail did not say within {} s who did it",
                PATIENCE.as_secs()
            )];
        }
    };
    let named: Vec<String> = answer
        .events()
        .iter()
        .filter(|event| is_a_change(event))
        .take(NAMED)
        .map(sentence)
        .collect();
    if named.is_empty() {
        let nobody = "CloudTrail names nobody yet: its events show after some minutes. Look up the events of this resource there";
        return vec![nobody.to_owned()];
    }
    named
}

/// Whether an event is somebody else's change.
fn is_a_change(event: &Event) -> bool {
    let reads = event.read_only() == Some("true");
    let ours = event
        .username()
        .is_some_and(|name| name.starts_with("entity-lockdown-"));
    !reads && !ours
}

fn sentence(event: &Event) -> String {
    let at = event
        .event_time()
        .map(|at| Moment::from_millis(at.to_millis().unwrap_or_default()).for_people());
    format!(
        "CloudTrail: {} by {} with the key {} ({}, event {})",
        event.event_name().unwrap_or("?"),
        event.username().unwrap_or("?"),
        event.access_key_id().unwrap_or("?"),
        at.unwrap_or_default(),
        event.event_id().unwrap_or("?"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, user: &str, read_only: &str) -> Event {
        Event::builder()
            .event_name(name)
            .username(user)
            .read_only(read_only)
            .access_key_id("AKIA1")
            .event_id("e1")
            .event_time(DateTime::from_secs(1_795_600_000))
            .build()
    }

    #[test]
    fn reads_and_our_own_changes_name_nobody() {
        assert!(is_a_change(&event("DetachUserPolicy", "mallory", "false")));
        assert!(!is_a_change(&event("GetUser", "mallory", "true")));
        assert!(!is_a_change(&event(
            "AttachUserPolicy",
            "entity-lockdown-111111111111",
            "false"
        )));
    }

    #[test]
    fn a_change_is_said_with_who_when_and_where_to_find_it() {
        let said = sentence(&event("DetachUserPolicy", "mallory", "false"));
        assert_eq!(
            said,
            "CloudTrail: DetachUserPolicy by mallory with the key AKIA1 (2026-11-25 09:46:40 UTC, event e1)"
        );
    }
}
