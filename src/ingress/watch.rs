//! Reads the event by which the schedule asks for a watch: the constant input of the hub template's rule.

use serde_json::Value;

/// Whether an event is that one, and nothing else.
pub fn read(event: &Value) -> bool {
    let fields = event.as_object();
    fields.is_some_and(|fields| fields.len() == 1 && fields.get("watch") == Some(&Value::Bool(true)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_constant_input_of_the_rule_asks_for_a_watch() {
        assert!(read(&json!({"watch": true})));
        for event in [
            json!({"watch": false}),
            json!({"watch": "true"}),
            json!({"watch": true, "Records": []}),
            json!({"Records": []}),
            json!(true),
        ] {
            assert!(!read(&event), "{event}");
        }
    }
}
