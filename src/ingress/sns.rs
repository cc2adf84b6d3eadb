//! Reads the event by which SNS invokes the function.
//!
//! Lenient about what it doesn't need; the body of a message is free text and is not interpreted.
//! Source: AWS Lambda Developer Guide, "Invoking Lambda functions with Amazon SNS notifications".

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use crate::entity::{Entity, NotAnEntity};
use crate::moment::Moment;
use crate::request::{Action, Claims, Message};

/// How many entities one message may name.
pub const MOST_ENTITIES: usize = 25;

/// The longest claim (reason, incident, requested by) that is kept, in characters.
const LONGEST_CLAIM: usize = 256;

/// The longest id of a message that is kept: SNS's own are 36 characters.
const LONGEST_ID: usize = 128;

/// An event of another shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an SNS event: expected {{\"Records\": [{{\"Sns\": {{\"MessageId\", \"TopicArn\", \"Timestamp\", \"MessageAttributes\"}}}}]}}, \
     as SNS invokes a subscribed function with ({0})"
)]
pub struct NotAnSnsEvent(String);

/// One message with what it carries. Its secret must be judged before anything else of it counts.
#[derive(Debug)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// The ExternalId that it carries.
    pub external_id: Option<String>,
    /// What it asks for, or why that is no request.
    pub content: Result<Content, String>,
    /// Whether it asks for a release, as far as can be told: releases may have a secret of their own.
    pub releases: bool,
}

/// What a message asks for.
#[derive(Debug)]
pub struct Content {
    /// What to do.
    pub action: Action,
    /// To what; those that name nothing come with the reason.
    pub entities: Vec<Result<Entity, NotAnEntity>>,
    /// Why, as claimed.
    pub claims: Claims,
    /// Release over others' changes.
    pub force: bool,
    /// Release the access keys too.
    pub reactivate_keys: bool,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "Records")]
    records: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "Sns")]
    sns: Sns,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Sns {
    message_id: String,
    topic_arn: String,
    timestamp: Moment,
    #[serde(default)]
    message_attributes: HashMap<String, Value>,
}

/// The messages of an event.
///
/// # Errors
/// The event is of another shape; the error never quotes it.
pub fn read(event: Value) -> Result<Vec<Delivery>, NotAnSnsEvent> {
    let shape = |error: serde_json::Error| {
        // What serde quotes of the event ends with the first quoted text: the secret may be anywhere behind.
        let reason = error.to_string();
        let reason = reason
            .split(['`', '"', ':'])
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        NotAnSnsEvent(if reason.is_empty() {
            "malformed".to_owned()
        } else {
            reason
        })
    };
    let event = Event::deserialize(event).map_err(shape)?;
    if event.records.is_empty() {
        return Err(NotAnSnsEvent("no record".to_owned()));
    }
    Ok(event.records.into_iter().map(|entry| delivery(entry.sns)).collect())
}

fn delivery(sns: Sns) -> Delivery {
    let attributes = Attributes(sns.message_attributes);
    Delivery {
        message: Message {
            id: clean(&sns.message_id, LONGEST_ID),
            sent: sns.timestamp,
            topic: clean(&sns.topic_arn, LONGEST_CLAIM),
        },
        external_id: attributes.text("ExternalId").map(str::to_owned),
        releases: attributes.text("Action") == Some("release"),
        content: content(&attributes),
    }
}

fn content(attributes: &Attributes) -> Result<Content, String> {
    let action = match (attributes.has("Action"), attributes.text("Action")) {
        (false, _) => Action::Contain,
        (true, Some(action)) => action
            .parse()
            .map_err(|error: crate::request::NotAnAction| format!("{error}: leave it out for `contain`"))?,
        (true, None) => return Err("the message attribute Action is not of the type String".to_owned()),
    };
    let arns = attributes.list("Arn")?;
    if arns.len() > MOST_ENTITIES {
        return Err(format!(
            "the message names {} entities, and at most {MOST_ENTITIES} are accepted: publish several messages",
            arns.len()
        ));
    }
    let claim = |name| attributes.text(name).and_then(clean_claim);
    let flag = |name| attributes.text(name) == Some("true");
    Ok(Content {
        action,
        entities: arns.iter().map(|arn| arn.parse()).collect(),
        claims: Claims {
            reason: claim("Reason"),
            incident: claim("IncidentId"),
            requested_by: claim("RequestedBy"),
            owners: vec![],
        },
        force: flag("Force"),
        reactivate_keys: flag("ReactivateKeys"),
    })
}

/// The attributes by name; what is not of the expected type counts as missing.
struct Attributes(HashMap<String, Value>);

impl Attributes {
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn typed(&self, name: &str) -> Option<(&str, &str)> {
        let attribute = self.0.get(name)?;
        attribute.get("Type")?.as_str().zip(attribute.get("Value")?.as_str())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.typed(name)
            .filter(|(kind, _)| *kind == "String")
            .map(|(_, value)| value)
    }

    fn list(&self, name: &str) -> Result<Vec<String>, String> {
        let accepted = || {
            format!(
                "{}. Accepted are: {}",
                "the message attribute Arn names no entity",
                crate::entities::Kind::shapes()
            )
        };
        match self.typed(name) {
            Some(("String", "")) | None => Err(accepted()),
            Some(("String", text)) => Ok(vec![text.to_owned()]),
            Some(("String.Array", text)) => {
                let items: Vec<Value> = serde_json::from_str(text).map_err(|_| {
                    "the message attribute Arn is a String.Array, but its value is no JSON array of texts".to_owned()
                })?;
                if items.is_empty() {
                    return Err(accepted());
                }
                // What is no text becomes one that names nothing, and is refused by itself.
                Ok(items
                    .iter()
                    .map(|item| item.as_str().unwrap_or_default().to_owned())
                    .collect())
            }
            Some(_) => Err("the message attribute Arn is neither a String nor a String.Array".to_owned()),
        }
    }
}

/// A claim as it is kept, if anything is left of it.
pub(super) fn clean_claim(text: &str) -> Option<String> {
    Some(clean(text, LONGEST_CLAIM)).filter(|text| !text.is_empty())
}

fn clean(text: &str, longest: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(longest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn event(attributes: Value) -> Value {
        json!({"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": "arn:aws:sns:...", "Sns": {
            "Type": "Notification", "MessageId": "95df01b4-ee98-5cb9-9903-4c221d41eb5e",
            "TopicArn": "arn:aws:sns:us-east-1:111111111111:requests", "Subject": null, "Message": "free text",
            "Timestamp": "2026-11-22T17:55:38.120Z", "SignatureVersion": "1", "Signature": "x",
            "SigningCertUrl": "x", "SigningCertURL": "x", "UnsubscribeUrl": "x", "MessageAttributes": attributes}}]})
    }

    fn text(value: &str) -> Value {
        json!({"Type": "String", "Value": value})
    }

    fn only(attributes: Value) -> Delivery {
        let mut deliveries = read(event(attributes)).expect("an SNS event");
        assert_eq!(deliveries.len(), 1);
        deliveries.remove(0)
    }

    const USER: &str = "arn:aws:iam::222222222222:user/alice";

    #[test]
    fn the_whole_contract_is_read() {
        let delivery = only(json!({
            "Arn": text(USER), "ExternalId": text("secret-id"), "Action": text("release"), "Reason": text("key\nleaked"),
            "IncidentId": text("INC-1"), "RequestedBy": text(&"x".repeat(300)), "Force": text("true"), "Other": text("ignored")}));
        assert_eq!(delivery.external_id.as_deref(), Some("secret-id"));
        assert!(delivery.releases);
        assert_eq!(delivery.message.sent.to_string(), "2026-11-22T17:55:38.120Z");
        let content = delivery.content.expect("content");
        assert_eq!(
            (content.action, content.force, content.reactivate_keys),
            (Action::Release, true, false)
        );
        assert_eq!(content.claims.reason.as_deref(), Some("keyleaked"));
        assert_eq!(content.claims.requested_by.map(|text| text.len()), Some(256));
        assert_eq!(content.entities.len(), 1);
    }

    #[test]
    fn several_entities_come_as_an_array_and_a_bad_one_spoils_no_other() {
        let list = json!([USER, 7, "nonsense", null]).to_string();
        let content = only(json!({"Arn": {"Type": "String.Array", "Value": list}}))
            .content
            .expect("content");
        let good: Vec<bool> = content.entities.iter().map(Result::is_ok).collect();
        assert_eq!(good, [true, false, false, false]);
        assert_eq!(content.action, Action::Contain);
    }

    #[test]
    fn what_is_no_request_says_why() {
        let many = json!({"Type": "String.Array", "Value": json!(vec![USER; 26]).to_string()});
        for (attributes, reason) in [
            (json!({}), "names no entity"),
            (json!({"Arn": text("")}), "names no entity"),
            (json!({"arn": text(USER)}), "names no entity"),
            (
                json!({"Arn": {"Type": "String.Array", "Value": "[]"}}),
                "names no entity",
            ),
            (json!({"Arn": {"Type": "String.Array", "Value": "["}}), "no JSON array"),
            (json!({"Arn": {"Type": "Binary", "Value": "AAAA"}}), "neither a String"),
            (json!({"Arn": many}), "at most 25"),
            (
                json!({"Arn": text(USER), "Action": text("destroy")}),
                "`contain`, `release` and `plan`",
            ),
            (
                json!({"Arn": text(USER), "Action": {"Type": "Number", "Value": "1"}}),
                "type String",
            ),
        ] {
            let said = only(attributes.clone()).content.expect_err("a refusal");
            assert!(said.contains(reason), "{attributes}: {said}");
        }
    }

    #[test]
    fn a_secret_of_another_type_counts_as_missing() {
        for secret in [
            json!({"Type": "Binary", "Value": "x"}),
            json!({"Type": "String", "Value": 7}),
            json!("x"),
            json!(null),
        ] {
            assert_eq!(only(json!({"Arn": text(USER), "ExternalId": secret})).external_id, None);
        }
    }

    #[test]
    fn another_event_is_an_error_that_names_the_shape_and_quotes_nothing() {
        for event in [
            json!(null),
            json!([]),
            json!({}),
            json!({"Records": []}),
            json!({"Records": [{"s3": {}}]}),
            json!({"Records": "hunter2"}),
            json!({"Records": [{"Sns": {"MessageId": 1, "TopicArn": "hunter2"}}]}),
            json!({"Records": [{"Sns": {"MessageId": "1", "TopicArn": "t", "Timestamp": "hunter2"}}]}),
        ] {
            let said = read(event).expect_err("an error").to_string();
            assert!(said.contains("\"Records\""), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    proptest! {
        #[test]
        fn no_attribute_whatever_makes_the_reader_fail(name in "(Arn|Action|ExternalId|Reason|Force)", kind in ".{0,12}", value in ".{0,200}") {
            let mut attributes = serde_json::Map::new();
            attributes.insert(name, json!({"Type": kind, "Value": value}));
            prop_assert!(read(event(Value::Object(attributes))).is_ok());
        }
    }
}
