//! What stands in the arrays of a pattern: values and AWS's operators.
//!
//! Source: Amazon EventBridge User Guide, "Comparison operators for use in event patterns". Values are compared with their types,
//! as AWS compares them: the number 5 is not the text "5".

use super::json::{Member, Node, Value};
use crate::event::number::Number;
use crate::rules::condition::{Condition, Literal, Order, Path, Relation, Scalar, Test, Type};
use crate::rules::lexer::Mistake;
use crate::rules::network::Network;
use crate::rules::wildcard::Wildcard;
use crate::rules::words::nearest;

const OPERATORS: &[&str] = &[
    "prefix",
    "suffix",
    "equals-ignore-case",
    "wildcard",
    "anything-but",
    "numeric",
    "exists",
    "cidr",
];

/// Those that `anything-but` can turn round.
const TURNED: &[&str] = &["prefix", "suffix", "equals-ignore-case", "wildcard"];

/// Any of the elements matches the field.
pub(super) fn field(path: &Path, elements: &[Node], at: usize) -> Result<Condition, Mistake> {
    let mut texts = vec![];
    let mut others = vec![];
    for element in elements {
        match &element.value {
            // Texts together are one test, which the index of rules can look up.
            Value::Text(text) => texts.push(Literal::Text(text.clone())),
            _ => others.push(matcher(path, element)?),
        }
    }
    let texts = (!texts.is_empty()).then(|| Condition::Test(path.clone(), Test::In(texts)));
    any_of(texts.into_iter().chain(others).collect())
        .ok_or_else(|| Mistake::new(at, "an empty array matches nothing: name at least one value"))
}

/// One condition, or any of several.
fn any_of(mut parts: Vec<Condition>) -> Option<Condition> {
    match parts.len() {
        0 | 1 => parts.pop(),
        _ => Some(Condition::Any(parts)),
    }
}

fn test(path: &Path, test: Test) -> Condition {
    Condition::Test(path.clone(), test)
}

/// The value that a `has` looks at.
fn this() -> Path {
    Path::here(&[])
}

/// One value at the path meets all of these.
fn one_value(path: &Path, parts: Vec<Condition>) -> Condition {
    Condition::Has(path.clone(), Box::new(Condition::All(parts)))
}

/// A value of this type that is equal.
fn exactly(path: &Path, kind: Type, literal: Literal) -> Condition {
    one_value(
        path,
        vec![test(&this(), Test::Is(kind)), test(&this(), Test::In(vec![literal]))],
    )
}

fn matcher(path: &Path, node: &Node) -> Result<Condition, Mistake> {
    Ok(match &node.value {
        Value::Text(text) => test(path, Test::In(vec![Literal::Text(text.clone())])),
        Value::Number(number) => exactly(path, Type::Number, Literal::Number(*number)),
        Value::Bool(value) => exactly(path, Type::Boolean, Literal::Bool(*value)),
        Value::Null => test(path, Test::Is(Type::Null)),
        Value::Array(_) => {
            return Err(Mistake::new(
                node.at,
                "an array within an array: values stand side by side in one",
            ));
        }
        Value::Object(members) => operator(path, single(node, members)?)?,
    })
}

/// An operator is an object with one member.
fn single<'n>(node: &Node, members: &'n [Member]) -> Result<&'n Member, Mistake> {
    match members {
        [one] => Ok(one),
        _ => Err(Mistake::new(
            node.at,
            "an operator is an object with one name, such as {\"prefix\": \"x\"}; several stand side by side",
        )),
    }
}

fn operator(path: &Path, member: &Member) -> Result<Condition, Mistake> {
    let Member { name, node, .. } = member;
    match (name.as_str(), &node.value) {
        ("prefix" | "suffix" | "equals-ignore-case" | "wildcard" | "cidr", _) => texts(path, member, false),
        ("exists", Value::Bool(wanted)) => {
            // AWS: "exists matching only works on leaf nodes".
            let leaf = Condition::Not(Box::new(test(&this(), Test::Is(Type::Object))));
            let there = Condition::Has(path.clone(), Box::new(leaf));
            Ok(if *wanted {
                there
            } else {
                Condition::Not(Box::new(there))
            })
        }
        ("exists", _) => Err(Mistake::new(node.at, "`exists` is true or false")),
        ("numeric", Value::Array(parts)) => numeric(path, node.at, parts),
        ("numeric", _) => Err(Mistake::new(node.at, NUMERIC)),
        ("anything-but", _) => {
            let unwanted = unwanted(node)?;
            let leaf = Condition::Not(Box::new(test(&this(), Test::Is(Type::Object))));
            Ok(one_value(path, vec![leaf, Condition::Not(Box::new(unwanted))]))
        }
        _ => {
            let meant = nearest(name, OPERATORS.iter().copied())
                .map_or(String::new(), |meant| format!(": did you mean `{meant}`?"));
            let all = OPERATORS.join(", ");
            Err(Mistake::new(
                member.at,
                format!("`{name}` is no operator of EventBridge{meant} (there are {all})"),
            ))
        }
    }
}

/// Operators whose value is a text; within `anything-but` it may be several.
fn texts(path: &Path, member: &Member, several: bool) -> Result<Condition, Mistake> {
    let Member { name, node, .. } = member;
    let nodes = match &node.value {
        Value::Array(nodes) if several && !nodes.is_empty() => nodes.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let parts: Result<Vec<_>, _> = nodes.iter().map(|node| one_text(path, name, node)).collect();
    let nothing = || Mistake::new(node.at, format!("`{name}` needs a text"));
    any_of(parts?).ok_or_else(nothing)
}

fn one_text(path: &Path, name: &str, node: &Node) -> Result<Condition, Mistake> {
    let (text, ignore_case) = match &node.value {
        Value::Text(text) => (text, false),
        Value::Object(members) if matches!(name, "prefix" | "suffix") => match single(node, members)? {
            Member {
                name,
                node: Node {
                    value: Value::Text(text),
                    ..
                },
                ..
            } if name == "equals-ignore-case" => (text, true),
            other => {
                return Err(Mistake::new(
                    other.at,
                    format!("within `{name}` stands {{\"equals-ignore-case\": \"x\"}} alone"),
                ));
            }
        },
        _ => return Err(Mistake::new(node.at, format!("`{name}` needs a text"))),
    };
    let relation = |relation| Ok(test(path, Test::Text(relation, vec![text.clone()])));
    match (name, ignore_case) {
        ("prefix", false) => relation(Relation::StartsWith),
        ("prefix", true) => relation(Relation::StartsWithIgnoreCase),
        ("suffix", false) => relation(Relation::EndsWith),
        ("suffix", true) => relation(Relation::EndsWithIgnoreCase),
        ("equals-ignore-case", _) => relation(Relation::EqualsIgnoreCase),
        ("cidr", _) => Network::parse(text)
            .map(|network| test(path, Test::Cidr(vec![network])))
            .map_err(|reason| Mistake::new(node.at, reason)),
        // AWS takes a wildcard without a star for the text itself.
        _ if !text.contains(['*', '\\']) => Ok(test(path, Test::In(vec![Literal::Text(text.clone())]))),
        _ => Wildcard::parse(text)
            .map(|wildcard| test(path, Test::Like(vec![wildcard])))
            .map_err(|reason| Mistake::new(node.at, reason)),
    }
}

/// What a value must not be, as a condition on `this`.
fn unwanted(node: &Node) -> Result<Condition, Mistake> {
    let this = this();
    match &node.value {
        Value::Object(members) => match single(node, members)? {
            member if TURNED.contains(&&*member.name) => texts(&this, member, true),
            other => Err(Mistake::new(
                other.at,
                format!("within `anything-but` stand values, or one of {}", TURNED.join(", ")),
            )),
        },
        Value::Array(nodes) => {
            if let Some(other) = nodes.iter().find(|node| matches!(node.value, Value::Object(_))) {
                return Err(Mistake::new(
                    other.at,
                    "a list within `anything-but` holds texts and numbers alone",
                ));
            }
            field(&this, nodes, node.at)
        }
        _ => matcher(&this, node),
    }
}

const NUMERIC: &str = "`numeric` is a list of comparisons: [\"=\", 5], or [\">\", 0, \"<=\", 5]";

fn numeric(path: &Path, at: usize, parts: &[Node]) -> Result<Condition, Mistake> {
    let mut tests = vec![test(&this(), Test::Is(Type::Number))];
    let mut bounds: (Option<Number>, Option<Number>) = (None, None);
    let mut comparisons = parts.chunks_exact(2);
    for pair in &mut comparisons {
        let [
            Node {
                value: Value::Text(sign),
                at: sign_at,
            },
            Node {
                value: Value::Number(number),
                ..
            },
        ] = pair
        else {
            return Err(Mistake::new(at, NUMERIC));
        };
        let (order, bound) = match sign.as_str() {
            "=" if parts.len() == 2 => return Ok(exactly(path, Type::Number, Literal::Number(*number))),
            ">" => (Order::Greater, &mut bounds.0),
            ">=" => (Order::GreaterOrEqual, &mut bounds.0),
            "<" => (Order::Less, &mut bounds.1),
            "<=" => (Order::LessOrEqual, &mut bounds.1),
            _ => return Err(Mistake::new(*sign_at, NUMERIC)),
        };
        if bound.replace(*number).is_some() {
            return Err(Mistake::new(
                *sign_at,
                "`numeric` has one lower and one upper bound at most",
            ));
        }
        tests.push(test(&this(), Test::Compare(order, Scalar::Number(*number))));
    }
    if !comparisons.remainder().is_empty() || tests.len() == 1 {
        return Err(Mistake::new(at, NUMERIC));
    }
    if let (Some(low), Some(high)) = bounds
        && low >= high
    {
        return Err(Mistake::new(at, format!("no number is above {low} and below {high}")));
    }
    Ok(one_value(path, tests))
}
