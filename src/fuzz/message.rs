//! Whatever may invoke the function: SNS, SQS, the schedule, EventBridge, a program.

use serde_json::Value;

use super::each;
use crate::ingress;
use crate::request::Action;

const PARTS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "null",
    "true",
    "5",
    "\"x\"",
    "\"Records\":[",
    "\"Sns\":{",
    "\"MessageAttributes\":{",
    "\"MessageId\":\"m\",",
    "\"TopicArn\":\"t\",",
    "\"Timestamp\":\"2026-11-22T17:55:38.120Z\",",
    "\"Timestamp\":\"0000-00-00\",",
    "\"Arn\":{\"Type\":\"String.Array\",\"Value\":\"[7]\"}",
    "\"Type\":\"Binary\"",
    "\"Value\":\"release\"",
    "\"eventSource\":\"aws:sqs\",",
    "\"body\":\"{}\"",
    "\"watch\":true",
    "\"arn\":\"x\",",
    "\"externalId\":7,",
    "\"detail-type\":\"x\",\"source\":\"y\",\"detail\":{}",
    "\\u0000",
    "ü",
    "\"",
    "\\",
];
const WHOLES: &[&str] = &[
    r#"{"Records": [{"EventSource": "aws:sns", "Sns": {"MessageId": "m", "TopicArn": "t", "Timestamp": "2026-11-22T17:55:38.120Z",
        "MessageAttributes": {"Arn": {"Type": "String", "Value": "arn:aws:iam::222222222222:user/alice"},
        "ExternalId": {"Type": "String", "Value": "hunter2"}, "Action": {"Type": "String", "Value": "release"}}}}]}"#,
    r#"{"Records": [{"Sns": {"MessageId": "m", "TopicArn": "t", "Timestamp": "2026-11-22T17:55:38Z", "MessageAttributes":
        {"Arn": {"Type": "String.Array", "Value": "[\"arn:aws:iam::222222222222:user/alice\", \"x\"]"}}}}]}"#,
    r#"{"Records": [{"eventSource": "aws:sqs", "body": "{\"record\": \"r\", \"containment\": \"c\", \"message\": \"m\", \"after\": 2}"}]}"#,
    r#"{"arn": "arn:aws:iam::222222222222:user/alice", "externalId": "hunter2", "action": "plan", "reason": "r", "force": true}"#,
    r#"{"watch": true}"#,
    r#"{"source": "aws.guardduty", "detail-type": "GuardDuty Finding", "detail": {"type": "t"}}"#,
];

#[test]
fn no_event_makes_a_reader_panic_and_no_mistake_quotes_it() {
    each(
        20,
        |dice| dice.text(PARTS, WHOLES),
        |text| {
            let Ok(event) = serde_json::from_str::<Value>(text) else {
                return false;
            };
            let kinds = [
                ingress::wake::read(&event).is_some(),
                ingress::watch::read(&event),
                ingress::events::read(&event),
                ingress::direct::is_one(&event),
            ];
            assert!(
                kinds.iter().filter(|is_one| **is_one).count() <= 1,
                "one event, two kinds"
            );
            let direct = ingress::direct::read(event.clone(), "id", "topic");
            let mut deliveries = vec![direct];
            match ingress::sns::read(event) {
                Ok(read) => deliveries.extend(read),
                Err(error) => assert!(!error.to_string().contains("hunter2"), "{error}"),
            }
            for delivery in &deliveries {
                match &delivery.content {
                    Ok(content) => {
                        assert!(
                            delivery.releases || content.action != Action::Release,
                            "a release unseen"
                        );
                        assert!(
                            !format!("{:?}", content.claims).contains("\\u{0}"),
                            "{:?}",
                            content.claims
                        );
                    }
                    Err(reason) => assert!(!reason.contains("hunter2"), "{reason}"),
                }
            }
            true
        },
    );
}
