//! Reads a pattern as EventBridge has it, into the tree that queries become as well.
//!
//! A pattern is written against the envelope: `{"source": ["aws.guardduty"], "detail": {"type": [{"prefix": "..."}]}}`. What stands in
//! `detail` is the event itself; `detail.findings` of Security Hub is each finding by itself, as rules see them.
//!
//! An object that names several fields is met by one object of the event: of an array, by one element alone (as AWS's own
//! implementation has it, "array-consistent").

mod json;
mod matcher;

use json::{Member, Node, Value};

use super::condition::{Condition, Path};
use super::lexer::Mistake;
use super::words;
use crate::event::recognise::{CUSTOM_ACTION, IMPORTED, IMPORTED_V2};

/// The longest pattern, in bytes; EventBridge takes 4,096.
pub const LONGEST: usize = 8192;

/// Reads a pattern.
///
/// # Errors
/// What is wrong first, where, and what was meant.
pub fn parse(source: &str) -> Result<Condition, Mistake> {
    if source.len() > LONGEST {
        return Err(Mistake::new(
            LONGEST,
            format!("the pattern is longer than {LONGEST} bytes"),
        ));
    }
    let node = json::read(source)?;
    let Value::Object(members) = &node.value else {
        return Err(Mistake::new(
            node.at,
            "a pattern is an object: {\"source\": [...], \"detail\": {...}}",
        ));
    };
    let of_findings = is_of_findings(members);
    Level::Envelope { of_findings }.all(members, node.at)
}

/// Whether a pattern is about Security Hub, whose findings are looked at one by one.
fn is_of_findings(members: &[Member]) -> bool {
    members
        .iter()
        .any(|Member { name, node, .. }| match (name.as_str(), &node.value) {
            ("detail", Value::Object(members)) => members.iter().any(|member| {
                member.name == "findings"
                    || (member.name == "$or" && branches(&member.node).any(|inner| has(inner, "findings")))
            }),
            ("source" | "detail-type", Value::Array(nodes)) => nodes.iter().any(|node| match &node.value {
                Value::Text(text) => ["aws.securityhub", IMPORTED, CUSTOM_ACTION, IMPORTED_V2].contains(&&**text),
                _ => false,
            }),
            ("$or", _) => branches(node).any(is_of_findings),
            _ => false,
        })
}

fn has(members: &[Member], name: &str) -> bool {
    members.iter().any(|member| member.name == name)
}

/// The objects of an array.
fn branches(node: &Node) -> impl Iterator<Item = &[Member]> {
    let nodes = match &node.value {
        Value::Array(nodes) => nodes.as_slice(),
        _ => &[],
    };
    nodes.iter().filter_map(|node| match &node.value {
        Value::Object(members) => Some(members.as_slice()),
        _ => None,
    })
}

/// What the fields of an object are fields of.
enum Level {
    /// The envelope.
    Envelope { of_findings: bool },
    /// Its `detail`.
    Detail { of_findings: bool },
    /// What is at this path.
    Inside(Path),
}

impl Level {
    /// All fields of an object match.
    fn all(&self, members: &[Member], at: usize) -> Result<Condition, Mistake> {
        let mut parts = vec![];
        for member in members {
            parts.push(match (member.name.as_str(), self) {
                ("$or", _) => self.either(&member.node)?,
                (_, Self::Envelope { of_findings }) => of_envelope(member, *of_findings)?,
                (_, Self::Detail { of_findings }) => of_detail(member, *of_findings)?,
                (name, Self::Inside(path)) => value(&path.to(name), &member.node)?,
            });
        }
        match parts.len() {
            0 | 1 => parts
                .pop()
                .ok_or_else(|| Mistake::new(at, "an empty object matches nothing: name at least one field")),
            _ => Ok(Condition::All(parts)),
        }
    }

    /// `$or`: any of several objects matches.
    fn either(&self, node: &Node) -> Result<Condition, Mistake> {
        let wrong = || Mistake::new(node.at, "`$or` is an array of two objects or more");
        let Value::Array(nodes) = &node.value else {
            return Err(wrong());
        };
        let mut parts = vec![];
        for node in nodes {
            match (&node.value, self) {
                (Value::Object(members), Self::Inside(path)) => parts.push(object(path, members, node.at)?),
                (Value::Object(members), _) => parts.push(self.all(members, node.at)?),
                _ => return Err(wrong()),
            }
        }
        if parts.len() < 2 {
            return Err(wrong());
        }
        Ok(Condition::Any(parts))
    }
}

fn of_envelope(member: &Member, of_findings: bool) -> Result<Condition, Mistake> {
    match (member.name.as_str(), &member.node.value) {
        ("detail", Value::Object(members)) => Level::Detail { of_findings }.all(members, member.node.at),
        ("detail", _) => Err(Mistake::new(member.node.at, "`detail` is an object")),
        (name, _) if words::ENVELOPE.contains(&name) => value(&Path::envelope(&[name]), &member.node),
        (name, _) => {
            let meant = match words::nearest(name, words::ENVELOPE.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("fields of the event itself stand in `detail`: {{\"detail\": {{\"{name}\": [...]}}}}"),
            };
            Err(Mistake::new(
                member.at,
                format!("no event of EventBridge has a field `{name}`: {meant}"),
            ))
        }
    }
}

fn of_detail(member: &Member, of_findings: bool) -> Result<Condition, Mistake> {
    match (member.name.as_str(), &member.node.value) {
        ("findings", Value::Object(members)) => object(&Path::here(&[]), members, member.node.at),
        ("findings", _) => Err(Mistake::new(
            member.node.at,
            "`findings` is an object that each finding is compared with",
        )),
        // Beside the findings: the name of a custom action.
        (name, _) if of_findings => value(&Path::envelope(&["detail", name]), &member.node),
        (name, _) => value(&Path::here(&[name]), &member.node),
    }
}

/// A field: an object of fields, or an array of what it may be.
fn value(path: &Path, node: &Node) -> Result<Condition, Mistake> {
    match &node.value {
        Value::Object(members) => object(path, members, node.at),
        Value::Array(elements) => matcher::field(path, elements, node.at),
        _ => Err(Mistake::new(node.at, "a value stands in an array: [\"x\"], not \"x\"")),
    }
}

fn object(path: &Path, members: &[Member], at: usize) -> Result<Condition, Mistake> {
    // One field needs no `has`, the path leads on to it; nor do those of the event itself.
    if members.len() == 1 || *path == Path::here(&[]) {
        return Level::Inside(path.clone()).all(members, at);
    }
    let together = Level::Inside(Path::here(&[])).all(members, at)?;
    Ok(Condition::Has(path.clone(), Box::new(together)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::json::Json;
    use crate::event::recognise::recognise;

    /// The query that a pattern for a record of CloudTrail becomes.
    fn query(detail: &str) -> String {
        let pattern = format!(r#"{{"detail": {detail}}}"#);
        parse(&pattern)
            .unwrap_or_else(|mistake| panic!("{pattern}: {}", mistake.text))
            .to_string()
    }

    #[test]
    fn every_operator_becomes_a_query() {
        for (value, expected) in [
            (r#"["x"]"#, r#"f = "x""#),
            (r#"["x", "y"]"#, r#"f in ("x", "y")"#),
            ("[5]", "f has (this is number and this = 5)"),
            ("[true]", "f has (this is boolean and this = true)"),
            ("[null]", "f is null"),
            (
                r#"["x", null, {"prefix": "y"}]"#,
                r#"f = "x" or f is null or f starts_with "y""#,
            ),
            (r#"[{"prefix": "x"}]"#, r#"f starts_with "x""#),
            (r#"[{"suffix": "x"}]"#, r#"f ends_with "x""#),
            (r#"[{"equals-ignore-case": "x"}]"#, r#"f equals_ignore_case "x""#),
            (
                r#"[{"prefix": {"equals-ignore-case": "x"}}]"#,
                r#"f starts_with_ignore_case "x""#,
            ),
            (
                r#"[{"suffix": {"equals-ignore-case": "x"}}]"#,
                r#"f ends_with_ignore_case "x""#,
            ),
            (r#"[{"wildcard": "a*b"}]"#, r#"f like "a*b""#),
            (r#"[{"wildcard": "ab"}]"#, r#"f = "ab""#),
            (r#"[{"cidr": "10.0.0.0/8"}]"#, r#"f cidr "10.0.0.0/8""#),
            (r#"[{"exists": true}]"#, "f has (not this is object)"),
            (r#"[{"exists": false}]"#, "not f has (not this is object)"),
            (r#"[{"numeric": ["=", 5]}]"#, "f has (this is number and this = 5)"),
            (
                r#"[{"numeric": [">", 0, "<=", 5]}]"#,
                "f has (this is number and this > 0 and this <= 5)",
            ),
            (
                r#"[{"anything-but": "x"}]"#,
                r#"f has (not this is object and this != "x")"#,
            ),
            (
                r#"[{"anything-but": ["x", "y"]}]"#,
                r#"f has (not this is object and this not in ("x", "y"))"#,
            ),
            (
                r#"[{"anything-but": 5}]"#,
                "f has (not this is object and not this has (this is number and this = 5))",
            ),
            (
                r#"[{"anything-but": {"prefix": "x"}}]"#,
                r#"f has (not this is object and not this starts_with "x")"#,
            ),
            (
                r#"[{"anything-but": {"suffix": ["x", "y"]}}]"#,
                r#"f has (not this is object and not (this ends_with "x" or this ends_with "y"))"#,
            ),
            (
                r#"[{"anything-but": {"wildcard": "x*"}}]"#,
                r#"f has (not this is object and not this like "x*")"#,
            ),
            (
                r#"[{"anything-but": {"equals-ignore-case": "x"}}]"#,
                r#"f has (not this is object and not this equals_ignore_case "x")"#,
            ),
        ] {
            assert_eq!(query(&format!(r#"{{"f": {value}}}"#)), expected, "{value}");
        }
    }

    #[test]
    fn objects_become_paths_and_several_fields_of_one_are_met_together() {
        for (detail, expected) in [
            (r#"{"a": {"b": {"c": ["x"]}}}"#, r#"a.b.c = "x""#),
            (r#"{"a": ["x"], "b": ["y"]}"#, r#"a = "x" and b = "y""#),
            (
                r#"{"a": {"b": ["x"], "c": {"d": ["y"], "e": ["z"]}}}"#,
                r#"a has (b = "x" and c has (d = "y" and e = "z"))"#,
            ),
            (
                r#"{"a": ["x"], "$or": [{"b": ["y"]}, {"c": ["z"]}]}"#,
                r#"a = "x" and (b = "y" or c = "z")"#,
            ),
            (
                r#"{"a": {"$or": [{"b": ["y"]}, {"c": ["z"], "d": ["w"]}]}}"#,
                r#"a.b = "y" or a has (c = "z" and d = "w")"#,
            ),
            (
                r#"{"findings": {"AwsAccountId": ["1"], "Types": ["x"]}, "actionName": ["n"]}"#,
                r#"(AwsAccountId = "1" and Types = "x") and envelope.detail.actionName = "n""#,
            ),
        ] {
            assert_eq!(query(detail), expected, "{detail}");
        }
        let pattern = r#"{"source": ["aws.securityhub"], "detail-type": [{"prefix": "Security"}], "detail": {"actionName": ["n"]}}"#;
        assert_eq!(
            parse(pattern).map(|tree| tree.to_string()),
            Ok(r#"envelope.source = "aws.securityhub" and envelope.detail-type starts_with "Security" and envelope.detail.actionName = "n""#.to_owned())
        );
    }

    #[test]
    fn a_mistake_points_at_its_byte_and_says_what_was_meant() {
        for (pattern, at, part) in [
            ("", 0, "ends too soon"),
            ("[]", 0, "a pattern is an object"),
            ("{}", 0, "at least one field"),
            (r#"{"eventName": ["x"]}"#, 1, "stand in `detail`"),
            (r#"{"detailtype": ["x"]}"#, 1, "`detail-type`"),
            (r#"{"detail": ["x"]}"#, 11, "is an object"),
            (r#"{"detail": {"a": "x"}}"#, 17, "stands in an array"),
            (r#"{"detail": {"a": []}}"#, 17, "empty array"),
            (r#"{"detail": {"a": [[1]]}}"#, 18, "array within an array"),
            (r#"{"detail": {"a": [{"prefx": "x"}]}}"#, 19, "`prefix`"),
            (r#"{"detail": {"a": [{"prefix": "x", "suffix": "y"}]}}"#, 18, "one name"),
            (r#"{"detail": {"a": [{"prefix": 5}]}}"#, 29, "needs a text"),
            (r#"{"detail": {"a": [{"cidr": "10.1.0.0/8"}]}}"#, 27, "10.0.0.0/8"),
            (r#"{"detail": {"a": [{"wildcard": "a**"}]}}"#, 31, "two stars"),
            (r#"{"detail": {"a": [{"exists": "yes"}]}}"#, 29, "true or false"),
            (r#"{"detail": {"a": [{"numeric": [">", 5, "<", 1]}]}}"#, 30, "no number"),
            (r#"{"detail": {"a": [{"numeric": [">"]}]}}"#, 30, "list of comparisons"),
            (r#"{"detail": {"a": [{"numeric": [">", 1, ">", 2]}]}}"#, 39, "one lower"),
            (
                r#"{"detail": {"a": [{"anything-but": {"cidr": "x"}}]}}"#,
                36,
                "anything-but",
            ),
            (r#"{"detail": {"a": [{"anything-but": []}]}}"#, 35, "empty array"),
            (r#"{"detail": {"$or": [{"a": ["x"]}]}}"#, 19, "two objects"),
            (r#"{"detail": {"a": ["x"], "a": ["y"]}}"#, 24, "twice"),
            (r#"{"detail": {"a": ["x"]}} x"#, 25, "the end of the pattern"),
            (r#"{"detail" {}}"#, 10, "expected `:`"),
            (r#"{"detail": {"a": ["x" "y"]}}"#, 22, "`,` or `]`"),
            (r#"{detail: {}}"#, 1, "double quotes"),
        ] {
            let mistake = parse(pattern).expect_err(pattern);
            assert!(mistake.text.contains(part), "{pattern}: {}", mistake.text);
            assert_eq!(mistake.at, at, "{pattern}: {}", mistake.text);
        }
        let deep = format!("{}1{}", "{\"detail\":".repeat(5_000), "}".repeat(5_000));
        assert!(parse(deep.get(..LONGEST).unwrap_or_default()).is_err_and(|mistake| mistake.text.contains("deep")));
    }

    /// Whether a pattern matches a record with these fields.
    fn matches(pattern: &str, fields: &str) -> bool {
        let text = format!(r#"{{"eventSource": "s3.amazonaws.com", "eventName": "GetObject", {fields}}}"#);
        let json = Json::read(text.as_bytes()).expect("JSON");
        let events = recognise(&json);
        let event = events.first().and_then(|event| event.as_ref().ok()).expect("an event");
        let pattern = format!(r#"{{"source": ["aws.s3"], "detail": {pattern}}}"#);
        parse(&pattern)
            .unwrap_or_else(|mistake| panic!("{pattern}: {}", mistake.text))
            .holds(event)
    }

    /// Cases of AWS's own documentation ("Comparison operators for use in event patterns") and of its implementation's
    /// ("Event Ruler", README), and what these say of them.
    #[test]
    fn patterns_match_what_aws_says_they_match() {
        for (pattern, fields, expected) in [
            (r#"{"f": [5]}"#, r#""f": 5"#, true),
            (r#"{"f": [5]}"#, r#""f": 5.0"#, true),
            (r#"{"f": [5]}"#, r#""f": "5""#, false),
            (r#"{"f": ["5"]}"#, r#""f": 5"#, false),
            (r#"{"f": [true]}"#, r#""f": "true""#, false),
            (r#"{"f": [null]}"#, r#""f": null"#, true),
            (r#"{"f": [null]}"#, r#""g": 1"#, false),
            (r#"{"f": [""]}"#, r#""f": """#, true),
            (r#"{"f": ["b", "c"]}"#, r#""f": ["a", "b"]"#, true),
            (r#"{"f": [{"numeric": [">", 0, "<=", 5]}]}"#, r#""f": 5"#, true),
            (r#"{"f": [{"numeric": [">", 0, "<=", 5]}]}"#, r#""f": "5""#, false),
            (r#"{"f": [{"numeric": [">", 0, "<", 5]}]}"#, r#""f": [-1, 9]"#, false),
            (r#"{"f": [{"anything-but": "x"}]}"#, r#""f": "y""#, true),
            (r#"{"f": [{"anything-but": "x"}]}"#, r#""f": "x""#, false),
            (r#"{"f": [{"anything-but": "x"}]}"#, r#""g": 1"#, false),
            (r#"{"f": [{"anything-but": ["x", "y"]}]}"#, r#""f": ["x", "z"]"#, true),
            (r#"{"f": [{"anything-but": {"prefix": "x"}}]}"#, r#""f": "xy""#, false),
            (r#"{"f": [{"exists": true}]}"#, r#""f": null"#, true),
            (r#"{"f": [{"exists": true}]}"#, r#""f": {"g": 1}"#, false),
            (r#"{"f": [{"exists": true}]}"#, r#""f": []"#, false),
            (r#"{"f": [{"exists": false}]}"#, r#""f": []"#, true),
            (r#"{"f": [{"exists": false}]}"#, r#""g": 1"#, true),
            (r#"{"f": [{"cidr": "10.0.0.0/24"}]}"#, r#""f": "10.0.0.255""#, true),
            (r#"{"f": [{"wildcard": "*/dir/*"}]}"#, r#""f": "a/dir/b""#, true),
            (
                r#"{"f": {"a": ["x"], "b": ["y"]}}"#,
                r#""f": [{"a": "x"}, {"b": "y"}]"#,
                false,
            ),
            (
                r#"{"f": {"a": ["x"], "b": ["y"]}}"#,
                r#""f": [{"a": "x", "b": "y"}]"#,
                true,
            ),
            (
                r#"{"f": {"a": ["x"]}, "g": ["y"]}"#,
                r#""f": {"a": "x"}, "g": "y""#,
                true,
            ),
        ] {
            assert_eq!(matches(pattern, fields), expected, "{pattern} {fields}");
        }
    }
}
