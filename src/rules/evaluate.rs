//! Whether a condition holds of an event.
//!
//! Every test asks for **any** value at its path: an array stands for its elements, wherever it is met. Nothing can go wrong:
//!
//! - a field that is **missing** passes no test but `= null`; so `!=`, `not in` and `not` are true of it;
//! - a value of **another type** passes no test: a text is not less than a number;
//! - the rule's own value says the type: compared with a number, a text that is written as one (`"443"`) counts as it; with `true` and
//!   `false`, the texts `"true"` and `"false"` do. A text in the rule is equal to texts only;
//! - the **case** of letters counts, but for the operators that say that it doesn't (there, letters beyond ASCII keep theirs).

use std::cmp::Ordering;

use super::condition::{Condition, Literal, Order, Path, Relation, Root, Scalar, Test, Type};
use crate::event::Event;
use crate::event::json::Json;
use crate::event::number::Number;

impl Condition {
    /// Whether it holds of this event.
    pub fn holds(&self, event: &Event<'_>) -> bool {
        holds(self, event, event.root)
    }
}

/// Calls a test with every value at a path until it holds for one.
pub(super) fn any(path: &Path, event: &Event<'_>, here: &Json<'_>, test: &mut dyn FnMut(&Json<'_>) -> bool) -> bool {
    match path.root {
        Root::Here => here.any_at(&path.names, test),
        Root::Envelope => event.any_in_envelope(&path.names, test),
        Root::EventType => test(&Json::Text(event.kind.name().into())),
    }
}

fn holds(condition: &Condition, event: &Event<'_>, here: &Json<'_>) -> bool {
    match condition {
        Condition::All(parts) => parts.iter().all(|part| holds(part, event, here)),
        Condition::Any(parts) => parts.iter().any(|part| holds(part, event, here)),
        Condition::Not(inner) => !holds(inner, event, here),
        Condition::Has(path, inner) => any(path, event, here, &mut |value| holds(inner, event, value)),
        Condition::Test(path, test) => {
            any(path, event, here, &mut |value| passes(test, value))
                || (is_null(test) && !any(path, event, here, &mut |_| true))
        }
    }
}

/// Whether a test asks for nothing: then a missing field passes it.
fn is_null(test: &Test) -> bool {
    matches!(test, Test::In(literals) if literals.contains(&Literal::Null))
}

fn passes(test: &Test, value: &Json<'_>) -> bool {
    match test {
        Test::In(literals) => literals.iter().any(|literal| equals(literal, value)),
        Test::Compare(order, scalar) => compares(*order, scalar, value),
        Test::Text(relation, texts) => value
            .text()
            .is_some_and(|text| texts.iter().any(|other| relates(*relation, text, other))),
        Test::Like(wildcards) => value
            .text()
            .is_some_and(|text| wildcards.iter().any(|wildcard| wildcard.matches(text))),
        Test::Cidr(networks) => {
            let address = value.text().and_then(|text| text.parse().ok());
            address.is_some_and(|address| networks.iter().any(|network| network.contains(address)))
        }
        Test::Exists => true,
        Test::Is(kind) => match value {
            Json::Text(_) => *kind == Type::Text,
            Json::Number(_) => *kind == Type::Number,
            Json::Bool(_) => *kind == Type::Boolean,
            Json::Null => *kind == Type::Null,
            Json::Object(_) => *kind == Type::Object,
            Json::Array(_) => false,
        },
    }
}

fn equals(literal: &Literal, value: &Json<'_>) -> bool {
    match (literal, value) {
        (Literal::Text(text), Json::Text(value)) => text == value,
        (Literal::Number(number), value) => as_number(value).is_some_and(|value| value == *number),
        (Literal::Bool(literal), Json::Bool(value)) => literal == value,
        (Literal::Bool(literal), Json::Text(value)) => value == if *literal { "true" } else { "false" },
        (Literal::Null, value) => *value == Json::Null,
        (Literal::Text(_) | Literal::Bool(_), _) => false,
    }
}

fn as_number(value: &Json<'_>) -> Option<Number> {
    match value {
        Json::Number(number) => Some(*number),
        Json::Text(text) => Number::parse(text),
        _ => None,
    }
}

fn compares(order: Order, scalar: &Scalar, value: &Json<'_>) -> bool {
    let ordering = match scalar {
        Scalar::Number(number) => as_number(value).and_then(|value| value.partial_cmp(number)),
        Scalar::Text(text) => value.text().map(|value| value.cmp(text)),
    };
    ordering.is_some_and(|ordering| match order {
        Order::Less => ordering == Ordering::Less,
        Order::LessOrEqual => ordering != Ordering::Greater,
        Order::Greater => ordering == Ordering::Greater,
        Order::GreaterOrEqual => ordering != Ordering::Less,
    })
}

fn relates(relation: Relation, text: &str, other: &str) -> bool {
    let same = |part: Option<&[u8]>| part.is_some_and(|part| part.eq_ignore_ascii_case(other.as_bytes()));
    let bytes = text.as_bytes();
    match relation {
        Relation::StartsWith => text.starts_with(other),
        Relation::EndsWith => text.ends_with(other),
        Relation::Contains => text.contains(other),
        Relation::EqualsIgnoreCase => same(Some(bytes)),
        Relation::StartsWithIgnoreCase => same(bytes.get(..other.len())),
        Relation::EndsWithIgnoreCase => same(bytes.len().checked_sub(other.len()).and_then(|from| bytes.get(from..))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parser::parse;
    use crate::event::json::Json;
    use crate::event::recognise::recognise;

    /// Whether a query holds of a record with these fields.
    fn holds(query: &str, fields: &str) -> bool {
        let text = format!(r#"{{"eventSource": "s3.amazonaws.com", "eventName": "GetObject", {fields}}}"#);
        let json = Json::read(text.as_bytes()).expect("JSON");
        let events = recognise(&json);
        let event = events.first().and_then(|event| event.as_ref().ok()).expect("an event");
        parse(query)
            .unwrap_or_else(|mistake| panic!("{query}: {}", mistake.text))
            .holds(event)
    }

    fn table(fields: &str, rows: &[(&str, bool)]) {
        for (query, expected) in rows {
            assert_eq!(holds(query, fields), *expected, "{query} of {fields}");
        }
    }

    #[test]
    fn a_missing_field_is_null_and_nothing_else() {
        table(
            r#""a": {"b": 1}, "n": null, "e": [], "o": {}"#,
            &[
                ("x = 1", false),
                ("x != 1", true),
                ("x in (1, 2)", false),
                ("x not in (1, 2)", true),
                ("x > 0", false),
                ("x <= 0", false),
                ("not x > 0", true),
                ("x exists", false),
                ("not x exists", true),
                ("x = null", true),
                ("x != null", false),
                ("x in (null, 1)", true),
                ("a.x = null", true),
                ("a.b.x = null", true),
                ("a.b = null", false),
                ("a.b != null", true),
                ("x has (this = 1)", false),
                ("x has (this = null)", false),
                ("n = null", true),
                ("n exists", true),
                ("n != null", false),
                ("n has (this = null)", true),
                ("n = 0", false),
                ("e exists", false),
                ("e = null", true),
                ("o exists", true),
                ("o = null", false),
                ("a exists", true),
                ("a = 1", false),
            ],
        );
    }

    #[test]
    fn a_value_of_another_type_passes_no_test() {
        table(
            r#""t": "x", "n": 5, "b": true, "o": {"k": 1}"#,
            &[
                ("t > 1", false),
                ("t < 1", false),
                ("n = \"5\"", false),
                ("n > \"1\"", false),
                ("n starts_with \"5\"", false),
                ("b = 1", false),
                ("b = \"true\"", false),
                ("o = 1", false),
                ("o contains \"k\"", false),
                ("n cidr \"0.0.0.0/0\"", false),
                ("t cidr \"0.0.0.0/0\"", false),
                ("t is text and n is number and b is boolean and o is object", true),
                ("t is number or n is text or b is null or o is text", false),
            ],
        );
    }

    #[test]
    fn the_value_in_the_rule_says_the_type() {
        table(
            r#""port": "443", "odd": "0443", "half": "4.5", "yes": "true", "id": "056392974792", "n": 300, "big": 9007199254740993"#,
            &[
                ("port = 443", true),
                ("port = \"443\"", true),
                ("port > 400", true),
                ("port < 400", false),
                ("port >= \"4\"", true),
                ("odd = 443", false),
                ("half > 4 and half < 5", true),
                ("yes = true", true),
                ("yes = false", false),
                ("yes = \"true\"", true),
                ("id = 56392974792", false),
                ("n = 3e2", true),
                ("n = 300.0", true),
                ("big = 9007199254740992", false),
                ("port is number", false),
            ],
        );
    }

    #[test]
    fn case_counts_unless_the_operator_says_otherwise() {
        table(
            r#""a": "DescribeInstances", "u": "ÄB""#,
            &[
                ("a = \"describeinstances\"", false),
                ("a starts_with \"describe\"", false),
                ("a like \"describe*\"", false),
                ("A = \"DescribeInstances\"", false),
                ("a equals_ignore_case \"DESCRIBEINSTANCES\"", true),
                ("a equals_ignore_case \"Describe\"", false),
                ("a starts_with_ignore_case (\"x\", \"describe\")", true),
                ("a ends_with_ignore_case \"INSTANCES\"", true),
                ("a ends_with_ignore_case \"XDescribeInstances\"", false),
                ("u equals_ignore_case \"äb\"", false),
                ("u equals_ignore_case \"Äb\"", true),
            ],
        );
    }

    #[test]
    fn texts_are_looked_into() {
        table(
            r#""a": "DescribeInstances", "ip": "10.1.2.3", "odd": "075.050.255.67", "six": "2001:db8::1", "t": "2026-11-22T17:55:38Z""#,
            &[
                ("a contains \"beIn\"", true),
                ("a ends_with (\"x\", \"ces\")", true),
                ("a like \"*Inst*s\"", true),
                ("a like \"Inst*\"", false),
                ("ip cidr \"10.0.0.0/8\"", true),
                ("ip cidr (\"192.168.0.0/16\", \"172.16.0.0/12\")", false),
                ("odd cidr \"0.0.0.0/0\"", false),
                ("six cidr (\"0.0.0.0/0\", \"2001:db8::/32\")", true),
                ("t >= \"2026-11-22\" and t < \"2026-11-23\"", true),
            ],
        );
    }

    #[test]
    fn any_element_of_an_array_is_enough_and_has_keeps_to_one() {
        table(
            r#""p": [{"from": 22, "cidr": "10.0.0.0/8"}, {"from": 443, "cidr": "0.0.0.0/0"}], "l": [1, [2, "x"]], "m": [null]"#,
            &[
                ("p.from = 22 and p.cidr = \"0.0.0.0/0\"", true),
                ("p has (from = 22 and cidr = \"0.0.0.0/0\")", false),
                ("p has (from = 443 and cidr = \"0.0.0.0/0\")", true),
                ("p.from != 22", false),
                ("p has (from != 22)", true),
                ("l = 2 and l = \"x\"", true),
                ("l > 1 and l < 2", true),
                ("l has (this > 1 and this < 2)", false),
                ("l has (this is text)", true),
                ("m = null", true),
                ("m exists", true),
                (
                    "p has (event_type = \"cloudtrail\" and envelope.source = \"aws.s3\")",
                    true,
                ),
            ],
        );
    }

    #[test]
    fn the_envelope_of_an_event_without_one_is_what_eventbridge_would_write() {
        table(
            r#""eventTime": "2026-11-22T17:55:38Z", "recipientAccountId": "222222222222", "awsRegion": "eu-west-1", "eventID": "e""#,
            &[
                ("envelope.source = \"aws.s3\"", true),
                ("envelope.detail-type = \"AWS API Call via CloudTrail\"", true),
                ("envelope.account = \"222222222222\"", true),
                ("envelope.region = \"eu-west-1\"", true),
                ("envelope.time starts_with \"2026-11-22\"", true),
                ("envelope.id = \"e\"", true),
                ("envelope.detail.eventName = \"GetObject\"", true),
                ("envelope.resources exists", false),
                ("event_type = \"cloudtrail\"", true),
                ("event_type in (\"guardduty\", \"ocsf\")", false),
            ],
        );
    }
}
