//! Reads the event by which SQS hands wake-ups to the function.
//!
//! Source: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS".

use serde::Deserialize;
use serde_json::Value;

use crate::wake::Wake;

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "Records")]
    records: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "eventSource")]
    source: String,
    body: String,
}

/// The wake-ups of an event, if it is SQS's. What is in the queue and is no wake-up is logged and left out: a retry can't mend it.
pub fn read(event: &Value) -> Option<Vec<Wake>> {
    let event = Event::deserialize(event).ok()?;
    if event.records.is_empty() || event.records.iter().any(|entry| entry.source != "aws:sqs") {
        return None;
    }
    let wakes = event.records.iter().filter_map(|entry| {
        serde_json::from_str(&entry.body)
            .inspect_err(|error| tracing::error!("a message in the wake-up queue is no wake-up: {error}"))
            .ok()
    });
    Some(wakes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(source: &str, body: &str) -> Value {
        json!({"Records": [{"eventSource": source, "eventSourceARN": "arn:aws:sqs:us-east-1:111111111111:wake",
            "messageId": "m", "body": body}]})
    }

    #[test]
    fn a_wake_up_is_read_as_it_was_stored() {
        let wake = Wake {
            record: "aws/222222222222/us-east-1/ec2-instance/i-1".into(),
            containment: "0123456789abcdef".into(),
            message: "m1".into(),
            after: 2,
        };
        let body = serde_json::to_string(&wake).expect("JSON");
        assert_eq!(read(&event("aws:sqs", &body)), Some(vec![wake]));
    }

    #[test]
    fn another_event_is_none_of_sqs_and_a_foreign_message_wakes_nothing() {
        assert_eq!(read(&event("aws:sns", "{}")), None);
        assert_eq!(read(&json!({"Records": []})), None);
        assert_eq!(read(&json!({"Records": [{"Sns": {}}]})), None);
        for body in ["", "{}", "[]", "{\"record\": 1}"] {
            assert_eq!(read(&event("aws:sqs", body)), Some(vec![]), "{body}");
        }
    }
}
