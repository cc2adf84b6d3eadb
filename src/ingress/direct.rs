//! Reads a direct invocation, by which a SOAR asks and waits for the answer.
//!
//! Unlike in a message, a name that is not known is a mistake: a program that waits for the answer can mend it.

use serde::Deserialize;
use serde_json::Value;

use super::sns::{Content, Delivery, clean_claim};
use crate::moment::Moment;
use crate::request::{Action, Claims, Message};

/// What is accepted, for whoever sent something else.
const ACCEPTED: &str = "accepted are the texts `arn`, `externalId`, and if wanted `action` (`contain`, `release` or `plan`), \
     `reason`, `incidentId` and `requestedBy`, and the booleans `force` and `reactivateKeys`";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    arn: String,
    // Judged by `secret` alone, so that a request of another shape is refused to those alone who know it.
    #[serde(rename = "externalId")]
    _external_id: Option<Value>,
    action: Option<String>,
    reason: Option<String>,
    incident_id: Option<String>,
    requested_by: Option<String>,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    reactivate_keys: bool,
}

/// Whether an event is one: an object with an `arn`, and no envelope.
pub fn is_one(event: &Value) -> bool {
    event.get("arn").is_some() && event.get("Records").is_none() && event.get("detail").is_none()
}

/// The request that an invocation makes. `id` is the invocation's, which stays the same when Lambda tries it again; `topic` is where
/// people ask for a release.
pub fn read(event: Value, id: &str, topic: &str) -> Delivery {
    let external_id = event.get("externalId").and_then(Value::as_str).map(str::to_owned);
    let releases = event.get("action").and_then(Value::as_str) == Some("release");
    let message = Message {
        id: id.to_owned(),
        sent: Moment::now(),
        topic: topic.to_owned(),
    };
    Delivery {
        message,
        external_id,
        content: content(event),
        releases,
    }
}

fn content(event: Value) -> Result<Content, String> {
    // What serde says of a mistake may quote the event, and with it the secret.
    let asked: Asked =
        serde_json::from_value(event).map_err(|_| format!("the request is of another shape: {ACCEPTED}"))?;
    let action = match asked.action {
        None => Action::Contain,
        Some(action) => action
            .parse()
            .map_err(|error: crate::request::NotAnAction| format!("{error}: leave it out for `contain`"))?,
    };
    Ok(Content {
        action,
        entities: vec![asked.arn.parse()],
        claims: Claims {
            reason: asked.reason.as_deref().and_then(clean_claim),
            incident: asked.incident_id.as_deref().and_then(clean_claim),
            requested_by: asked.requested_by.as_deref().and_then(clean_claim),
            owners: vec![],
        },
        force: asked.force,
        reactivate_keys: asked.reactivate_keys,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const USER: &str = "arn:aws:iam::222222222222:user/alice";

    #[test]
    fn the_whole_contract_is_read() {
        let event = json!({"arn": USER, "externalId": "secret-id", "action": "release", "reason": "key\nleaked",
            "incidentId": "INC-1", "requestedBy": "the SOAR", "force": true, "reactivateKeys": true});
        assert!(is_one(&event));
        let delivery = read(event, "r-1", "topic");
        assert_eq!(delivery.external_id.as_deref(), Some("secret-id"));
        assert!(delivery.releases);
        assert_eq!(
            (delivery.message.id.as_str(), delivery.message.topic.as_str()),
            ("r-1", "topic")
        );
        let content = delivery.content.expect("content");
        assert_eq!(
            (content.action, content.force, content.reactivate_keys),
            (Action::Release, true, true)
        );
        assert_eq!(content.claims.reason.as_deref(), Some("keyleaked"));
        assert_eq!(content.claims.requested_by.as_deref(), Some("the SOAR"));
        let shortest = read(json!({"arn": USER, "externalId": "s"}), "r", "t")
            .content
            .expect("content");
        assert_eq!(shortest.action, Action::Contain);
    }

    #[test]
    fn what_is_of_another_shape_says_what_is_accepted_and_quotes_nothing() {
        for event in [
            json!({"arn": 7, "externalId": "hunter2"}),
            json!({"arn": USER, "externalId": "hunter2", "hunter2": 1}),
            json!({"arn": USER, "action": "hunter2"}),
            json!({"arn": USER, "force": "hunter2"}),
        ] {
            assert!(is_one(&event));
            let said = read(event, "r", "t").content.expect_err("a refusal");
            assert!(said.contains("`contain`") && !said.contains("hunter2"), "{said}");
        }
        for event in [
            json!({"Records": []}),
            json!({"watch": true}),
            json!([]),
            json!({"arn": "x", "Records": []}),
        ] {
            assert!(!is_one(&event), "{event}");
        }
    }
}
