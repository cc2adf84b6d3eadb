//! Knows the events that EventBridge delivers: findings and calls. What they hold is read by [`crate::event`].
//!
//! Source: Amazon EventBridge User Guide, "Events in Amazon EventBridge".

use serde_json::Value;

/// Whether an event is an envelope of EventBridge.
pub fn read(event: &Value) -> bool {
    let is_text = |name| event.get(name).is_some_and(Value::is_string);
    is_text("detail-type") && is_text("source") && event.get("detail").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_an_envelope_is_one() {
        assert!(read(
            &json!({"source": "aws.guardduty", "detail-type": "GuardDuty Finding", "detail": {}})
        ));
        for event in [
            json!({"watch": true}),
            json!({"Records": []}),
            json!({"detail": {}, "source": "aws.guardduty"}),
            json!({"detail": {}, "detail-type": 7, "source": "aws.guardduty"}),
            json!(null),
        ] {
            assert!(!read(&event), "{event}");
        }
    }
}
