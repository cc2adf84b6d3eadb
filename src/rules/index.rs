//! Which rules can match an event at all, found without looking at the others.
//!
//! Most conditions demand that some field has one of a few values, or begins with one: they are filed under these, and looked at
//! only for events that have them. The rest is looked at for every event. So the cost of an event grows with the number of rules
//! about its kind, not with the number of rules.

use std::collections::HashMap;

use super::condition::{Condition, Literal, Path, Relation, Root, Test};
use super::evaluate::any;
use crate::event::Event;

/// A field that rules are filed under.
struct Key {
    root: Root,
    names: &'static [&'static str],
    /// How many events it tells apart, by a whole value and by the beginning of one: the less, the more.
    exact: u8,
    prefix: u8,
}

const fn key(names: &'static [&'static str], exact: u8, prefix: u8) -> Key {
    Key {
        root: Root::Here,
        names,
        exact,
        prefix,
    }
}

const KEYS: &[Key] = &[
    // The names of calls begin with few words: `Describe` tells less than the service does.
    key(&["eventName"], 0, 6),
    key(&["type"], 1, 1),
    key(&["GeneratorId"], 2, 2),
    key(&["Types"], 3, 3),
    key(&["finding_info", "types"], 4, 4),
    key(&["eventSource"], 5, 7),
    Key {
        root: Root::Envelope,
        ..key(&["source"], 5, 7)
    },
    Key {
        root: Root::Envelope,
        ..key(&["detail-type"], 8, 8)
    },
    Key {
        root: Root::EventType,
        ..key(&[], 9, 9)
    },
];

/// A rule's number in the index.
pub(super) type Number = usize;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    fields: Vec<Field>,
    /// Those that are looked at for every event.
    rest: Vec<Number>,
}

/// What is filed under one field.
#[derive(Debug, Clone)]
struct Field {
    path: Path,
    exact: HashMap<String, Vec<Number>>,
    /// By the prefix's length in bytes: a text has one prefix of each length.
    prefixes: Vec<(usize, HashMap<String, Vec<Number>>)>,
}

/// What a condition demands of fields: that one of these has its value.
struct Demand<'c> {
    /// The rank of the field that tells least.
    rank: u8,
    /// The fields, by their place in [`KEYS`].
    values: Vec<(usize, Value<'c>)>,
}

#[derive(Clone, Copy)]
enum Value<'c> {
    Exact(&'c str),
    Prefix(&'c str),
}

impl Index {
    /// Files conditions under their numbers.
    pub fn new<'c>(conditions: impl Iterator<Item = (Number, &'c Condition)>) -> Self {
        let mut index = Self::default();
        for (number, condition) in conditions {
            match demand(condition) {
                None => index.rest.push(number),
                Some(demand) => demand
                    .values
                    .iter()
                    .for_each(|(key, value)| index.file(*key, *value, number)),
            }
        }
        index
    }

    fn file(&mut self, key: usize, value: Value<'_>, number: Number) {
        let path = KEYS.get(key).map_or_else(|| Path::here(&[]), path);
        let at = self.fields.iter().position(|field| field.path == path);
        let at = at.unwrap_or_else(|| {
            self.fields.push(Field {
                path,
                exact: HashMap::new(),
                prefixes: vec![],
            });
            self.fields.len() - 1
        });
        let Some(field) = self.fields.get_mut(at) else {
            return;
        };
        let (texts, text) = match value {
            Value::Exact(text) => (&mut field.exact, text),
            Value::Prefix(text) => {
                let lengths = &mut field.prefixes;
                let at = lengths.iter().position(|(length, _)| *length == text.len());
                let at = at.unwrap_or_else(|| {
                    lengths.push((text.len(), HashMap::new()));
                    lengths.len() - 1
                });
                match lengths.get_mut(at) {
                    Some((_, texts)) => (texts, text),
                    None => return,
                }
            }
        };
        let numbers = texts.entry(text.to_owned()).or_default();
        if numbers.last() != Some(&number) {
            numbers.push(number);
        }
    }

    /// The numbers of all conditions that may hold of an event, in their order.
    pub fn candidates(&self, event: &Event<'_>) -> Vec<Number> {
        let mut found = self.rest.clone();
        for field in &self.fields {
            any(&field.path, event, event.root, &mut |value| {
                if let Some(text) = value.text() {
                    found.extend(field.exact.get(text).into_iter().flatten());
                    for (length, prefixes) in &field.prefixes {
                        let numbers = text.get(..*length).and_then(|prefix| prefixes.get(prefix));
                        found.extend(numbers.into_iter().flatten());
                    }
                }
                false
            });
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn path(key: &Key) -> Path {
    let path = Path::here(key.names);
    Path { root: key.root, ..path }
}

/// What a condition demands, of the field that tells most.
fn demand(condition: &Condition) -> Option<Demand<'_>> {
    match condition {
        Condition::Test(path, test) => {
            let same = |key: &Key| key.root == path.root && path.names.iter().eq(key.names);
            let (place, key) = KEYS.iter().enumerate().find(|(_, key)| same(key))?;
            let values = values(test)?;
            let rank = |value: &Value<'_>| match value {
                Value::Exact(_) => key.exact,
                Value::Prefix(_) => key.prefix,
            };
            Some(Demand {
                rank: values.iter().map(rank).max()?,
                values: values.into_iter().map(|value| (place, value)).collect(),
            })
        }
        Condition::All(parts) => parts
            .iter()
            .filter_map(demand)
            .min_by_key(|demand| (demand.rank, demand.values.len())),
        Condition::Any(parts) => {
            let demands: Option<Vec<_>> = parts.iter().map(demand).collect();
            let demands = demands?;
            Some(Demand {
                rank: demands.iter().map(|demand| demand.rank).max()?,
                values: demands.into_iter().flat_map(|demand| demand.values).collect(),
            })
        }
        // What must not be, and what is demanded of something within a field.
        Condition::Not(_) | Condition::Has(..) => None,
    }
}

/// The values that a test demands, if only texts can pass it.
fn values(test: &Test) -> Option<Vec<Value<'_>>> {
    match test {
        Test::In(literals) => literals
            .iter()
            .map(|literal| match literal {
                Literal::Text(text) => Some(Value::Exact(text)),
                Literal::Number(_) | Literal::Bool(_) | Literal::Null => None,
            })
            .collect(),
        Test::Text(Relation::StartsWith, texts) => {
            let prefix = |text: &'_ String| !text.is_empty();
            texts
                .iter()
                .all(prefix)
                .then(|| texts.iter().map(|text| Value::Prefix(text)).collect())
        }
        Test::Like(wildcards) => {
            let firsts = wildcards.iter().map(|wildcard| wildcard.first());
            let all = firsts.clone().all(|first| !first.is_empty());
            all.then(|| firsts.map(Value::Prefix).collect())
        }
        Test::Text(..) | Test::Compare(..) | Test::Cidr(_) | Test::Exists | Test::Is(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parser::parse;
    use super::*;
    use crate::event::json::Json;
    use crate::event::recognise::recognise;

    fn index(queries: &[&str]) -> (Index, Vec<Condition>) {
        let conditions: Vec<Condition> = queries.iter().map(|query| parse(query).expect(query)).collect();
        (Index::new(conditions.iter().enumerate()), conditions)
    }

    fn candidates(index: &Index, text: &str) -> Vec<Number> {
        let json = Json::read(text.as_bytes()).expect("JSON");
        let events = recognise(&json);
        index.candidates(events.first().and_then(|event| event.as_ref().ok()).expect("an event"))
    }

    #[test]
    fn only_conditions_that_can_hold_are_candidates() {
        let (index, _) = index(&[
            r#"eventName = "A""#,
            r#"eventName = "B" and eventSource = "s.amazonaws.com""#,
            r#"eventSource = "s.amazonaws.com" and (eventName starts_with "A" or eventName starts_with "B")"#,
            r#"eventName starts_with "Desc""#,
            r#"eventName like "Desc*s""#,
            r#"eventName in ("A", "B")"#,
            r#"eventName = "A" or eventSource = "t.amazonaws.com""#,
            r#"event_type = "guardduty""#,
            r#"event_type = "cloudtrail" and x = 1"#,
            r#"envelope.source = "aws.s""#,
            r#"not eventName = "A""#,
            r#"eventName = "A" or x = 1"#,
            r#"eventName = null"#,
            r#"eventName starts_with """#,
        ]);
        let event = |source: &str, name: &str| format!(r#"{{"eventSource": "{source}", "eventName": "{name}"}}"#);
        for (source, name, expected) in [
            ("s.amazonaws.com", "A", vec![0, 2, 5, 6, 8, 9, 10, 11, 12, 13]),
            ("s.amazonaws.com", "B", vec![1, 2, 5, 8, 9, 10, 11, 12, 13]),
            ("t.amazonaws.com", "Describe", vec![3, 4, 6, 8, 10, 11, 12, 13]),
            ("u.amazonaws.com", "Des", vec![8, 10, 11, 12, 13]),
            ("u.amazonaws.com", "Dé", vec![8, 10, 11, 12, 13]),
        ] {
            assert_eq!(candidates(&index, &event(source, name)), expected, "{source} {name}");
        }
    }

    #[test]
    fn a_finding_is_found_by_the_beginning_of_its_type() {
        let queries: Vec<String> = (0..100).map(|n| format!("type starts_with \"Kind{n:03}:\"")).collect();
        let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
        let (index, _) = index(&queries);
        let finding = r#"{"schemaVersion": "2.0", "type": "Kind042:EC2/X.Y", "service": {}, "resource": {}}"#;
        assert_eq!(candidates(&index, finding), [42]);
    }

    #[test]
    fn no_condition_that_holds_is_missed() {
        let names = ["A", "AB", "B", "Describe", ""];
        let mut queries = vec![];
        for name in names {
            for operator in ["=", "!=", "starts_with", "ends_with", "contains"] {
                queries.push(format!("eventName {operator} \"{name}\""));
                queries.push(format!("eventName {operator} \"{name}\" and eventSource = \"x\""));
                queries.push(format!("eventName {operator} \"{name}\" or eventSource = \"x\""));
                queries.push(format!(
                    "not (eventName {operator} \"{name}\" and eventSource starts_with \"x\")"
                ));
            }
        }
        let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
        let (index, conditions) = index(&queries);
        for source in ["x", "y"] {
            for name in names {
                let text = format!(r#"{{"eventSource": "{source}", "eventName": "{name}"}}"#);
                let json = Json::read(text.as_bytes()).expect("JSON");
                let events = recognise(&json);
                let event = events.first().and_then(|event| event.as_ref().ok()).expect("an event");
                let found = index.candidates(event);
                for (number, condition) in conditions.iter().enumerate() {
                    assert!(!condition.holds(event) || found.contains(&number), "{condition}");
                }
            }
        }
    }
}
