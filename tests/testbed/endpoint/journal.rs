//! The journal's table: items by their key, conditions checked, as far as the product writes them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::reply::{self, Outcome, UNKNOWN};

/// The items by their key.
#[derive(Default)]
pub struct Journal {
    items: BTreeMap<String, Value>,
}

/// The calls whose answer doesn't depend on what they say, unless a condition fails: they are carried out after it was sent, so
/// that reading a long record is no part of the endpoint's time. A condition that fails is a complaint, not an answer.
pub fn is_write(action: &str) -> bool {
    matches!(action, "TransactWriteItems" | "PutItem" | "UpdateItem")
}

impl Journal {
    /// Answers a read.
    pub fn read(&self, action: &str, body: &Value) -> Outcome {
        let get = |key: &Value| self.items.get(&pk(key)).cloned();
        let answer = match action {
            "GetItem" => match get(part(body, "Key")) {
                Some(item) => json!({"Item": item}),
                None => json!({}),
            },
            "BatchGetItem" => {
                let asked = part(body, "RequestItems").as_object().into_iter().flatten();
                let found: BTreeMap<&String, Vec<Value>> = asked
                    .map(|(table, of)| {
                        let keys = part(of, "Keys").as_array().into_iter().flatten();
                        (table, keys.filter_map(get).collect())
                    })
                    .collect();
                json!({"Responses": found, "UnprocessedKeys": {}})
            }
            _ => return Err(UNKNOWN),
        };
        Ok(reply::json(&answer))
    }

    /// Carries a write out; the errors are those for which AWS would have refused it.
    pub fn write(&mut self, action: &str, body: &Value) -> Result<(), String> {
        match action {
            "TransactWriteItems" => {
                for write in part(body, "TransactItems").as_array().into_iter().flatten() {
                    for (kind, write) in write.as_object().into_iter().flatten() {
                        self.write_one(kind, write)?;
                    }
                }
                Ok(())
            }
            "PutItem" => self.write_one("Put", body),
            _ => self.write_one("Update", body),
        }
    }

    fn write_one(&mut self, kind: &str, write: &Value) -> Result<(), String> {
        let key = pk(part(write, if kind == "Put" { "Item" } else { "Key" }));
        let before = self.items.get(&key);
        let version = |item: &Value| text(item, "/version/N").map(str::to_owned);
        let wanted = text(write, "/ExpressionAttributeValues/:version/N");
        let holds = match text(write, "/ConditionExpression") {
            Some("attribute_not_exists(pk)") => before.is_none(),
            Some("#version = :version") => before.and_then(version).as_deref() == wanted,
            _ => true,
        };
        if !holds {
            return Err(format!("{kind} {key}: its condition does not hold"));
        }
        match kind {
            "Put" => {
                self.items.insert(key, part(write, "Item").clone());
            }
            "Delete" => {
                self.items.remove(&key);
            }
            // The lease is renewed every 10 s, and holders join at a second containment of one resource: both are none of the bench's.
            _ => return Err(format!("{kind} {key}: the bench's journal knows no updates")),
        }
        Ok(())
    }
}

/// A member; null where there is none.
fn part<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn pk(item: &Value) -> String {
    text(item, "/pk/S").unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_a_condition_is_checked() {
        let mut journal = Journal::default();
        let put = |version: &str, condition: &str| {
            json!({"TransactItems": [{"Put": {
                "Item": {"pk": {"S": "a"}, "version": {"N": version}},
                "ConditionExpression": condition,
                "ExpressionAttributeValues": {":version": {"N": "1"}},
            }}]})
        };
        assert!(
            journal
                .write("TransactWriteItems", &put("1", "attribute_not_exists(pk)"))
                .is_ok()
        );
        assert!(
            journal
                .write("TransactWriteItems", &put("1", "attribute_not_exists(pk)"))
                .is_err()
        );
        assert!(
            journal
                .write("TransactWriteItems", &put("2", "#version = :version"))
                .is_ok()
        );
        assert!(
            journal
                .write("TransactWriteItems", &put("3", "#version = :version"))
                .is_err()
        );
        let read = journal.read("GetItem", &json!({"Key": {"pk": {"S": "a"}}}));
        assert!(read.is_ok_and(|reply| reply.body.contains(r#""version":{"N":"2"}"#)));
    }
}
