//! Random rules and events ([`crate::fuzz`] says how many).

use super::{Condition, RuleSet, pattern, query};
use crate::event::json::Json;
use crate::event::named::named;
use crate::event::recognise::recognise;
use crate::event::split::Splitter;
use crate::fuzz::{Dice, each};
use crate::moment::Moment;

const QUERY_PARTS: &[&str] = &[
    "and",
    "or",
    "not",
    "(",
    ")",
    ",",
    ".",
    "=",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "in",
    "is",
    "has",
    "exists",
    "like",
    "cidr",
    "contains",
    "starts_with",
    "ends_with",
    "equals_ignore_case",
    "null",
    "true",
    "false",
    "this",
    "envelope.source",
    "event_type",
    "eventName",
    "eventSource",
    "userIdentity.type",
    "requestParameters",
    "tags",
    "type",
    "\"cloudtrail\"",
    "\"10.0.0.0/8\"",
    "\"a*b\"",
    "\"x\"",
    "\"\\\"\\u00e4\"",
    "5",
    "-1.5e3",
    "443",
    "text",
    "number",
    "object",
    "(1, 2)",
    "(\"x\", \"y\")",
    "==",
    "'",
    "*",
    "\\",
    "ä",
    "\u{0}",
    "\n",
];

const JSON_PARTS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "null",
    "true",
    "5",
    "-1e9",
    "\"x\"",
    "\"source\":",
    "\"detail\":",
    "\"detail-type\":",
    "\"findings\":",
    "\"$or\":",
    "\"prefix\":",
    "\"suffix\":",
    "\"anything-but\":",
    "\"numeric\":",
    "\"exists\":",
    "\"cidr\":",
    "\"wildcard\":",
    "\"equals-ignore-case\":",
    "[\"x\"]",
    "[{\"prefix\":\"x\"}]",
    "[\">\",1]",
    "\"10.0.0.0/8\"",
    "\"a*\"",
    "\n",
    "ä",
];

const EVENT_PARTS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"Records\":[",
    "\"eventSource\":\"ssm.amazonaws.com\",",
    "\"eventName\":\"SendCommand\",",
    "\"detail-type\":\"GuardDuty Finding\",",
    "\"source\":\"aws.guardduty\",",
    "\"detail\":{",
    "\"findings\":[{",
    "\"type\":\"t\",",
    "\"service\":{},",
    "\"resource\":{\"instanceDetails\":{\"instanceId\":\"i-0123456789abcdef0\"}},",
    "\"schemaVersion\":\"2.0\",",
    "\"userIdentity\":{\"type\":\"Root\",\"arn\":\"arn:aws:iam::222222222222:root\"},",
    "\"recipientAccountId\":\"222222222222\",",
    "\"requestParameters\":{\"userName\":\"ü\",\"instanceIds\":[\"i-1\",7]},",
    "\"ProductArn\":\"p\",",
    "\"AwsAccountId\":\"1\",",
    "\"Resources\":[{\"Id\":\"AWS::IAM::AccessKey:null\"}],",
    "\"x\":1",
    "\"y\":null",
    "\n",
    "\"",
    "\\",
    "\u{feff}",
    "5",
    "\"tags\":[{}]",
];

/// Whole texts that are changed a little.
const QUERIES: &[&str] = &[
    r#"event_type = "cloudtrail" and eventSource = "ecr.amazonaws.com" and responseElements.imageScanFindings.findingSeverityCounts.HIGH > 0"#,
    r#"eventSource = "ssm.amazonaws.com" and (eventName starts_with ("Describe", "List") or not readOnly = true)"#,
    r#"requestParameters.ipPermissions.items has (fromPort <= 22 and toPort >= 22 and ipRanges has (this cidr "10.0.0.0/8"))"#,
    r#"ProductFields."aws/securityhub/SeverityLabel" in ("HIGH", null) or envelope.detail.actionName like "*\\*x*""#,
];
const PATTERNS: &[&str] = &[
    r#"{"source": ["aws.guardduty"], "detail": {"type": [{"prefix": "X"}], "severity": [{"numeric": [">=", 7, "<", 9]}]}}"#,
    r#"{"detail": {"findings": {"Types": [{"anything-but": ["a", "b"]}], "$or": [{"A": [null]}, {"B": [{"exists": false}]}]}}}"#,
];
const EVENTS: &[&str] = &[
    r#"{"eventSource": "ssm.amazonaws.com", "eventName": "StartSession", "requestParameters": {"target": "i-0123456789abcdef0"}, "readOnly": true}"#,
    r#"{"source": "aws.securityhub", "detail-type": "Security Hub Findings - Imported", "detail": {"findings": [{"AwsAccountId": "222222222222", "Types": ["a"]}]}}"#,
    r#"{"Records": [{"eventSource": "iam.amazonaws.com", "eventName": "CreateUser", "responseElements": {"user": {"arn": "arn:aws:iam::1:user/x"}}}]}"#,
];
const FILES: &[&str] = &[
    "[[rule]]\nname = \"n\"\ntitle = \"t\"\nseverity = 1\nwhen = '''\na = 1'''\naction = \"contain\"\nentities = \"all\"\n",
    "[[suppress]]\nname = \"s\"\npattern = '{\"source\": [\"x\"]}'\nreason = \"r\"\nexpires = 2027-01-01\n",
];

/// What is read is written so that it reads as the same.
fn round_trip(condition: &Condition, source: &str) {
    let written = condition.to_string();
    if written.len() <= super::parser::LONGEST {
        assert_eq!(
            query(&written).as_ref(),
            Ok(condition),
            "{source} was written as {written}"
        );
    }
}

fn events(text: &str, conditions: &[Condition], set: &RuleSet) {
    let mut splitter = Splitter::new(text.as_bytes());
    while let Some(piece) = splitter.next() {
        let Ok(piece) = piece else { continue };
        let Ok(json) = Json::read(piece.bytes) else {
            splitter.reject();
            continue;
        };
        for event in recognise(&json).into_iter().flatten() {
            for condition in conditions {
                condition.holds(&event);
            }
            set.decide(&event, Moment::from_millis(0));
            named(&event);
            let _ = (event.never_acted_on(), event.severity(), event.time(), event.id());
            crate::automatic::told(&event);
        }
    }
}

#[test]
fn no_text_and_no_event_makes_anything_panic() {
    let set = RuleSet::load(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/rules"))).expect("rules");
    let files = [
        "\n",
        "[[rule]]",
        "[[suppress]]",
        "name",
        "=",
        "\"",
        "'",
        "when",
        "1",
        "expires",
        "ä",
    ];
    let make = |dice: &mut Dice| {
        [
            dice.text(QUERY_PARTS, QUERIES),
            dice.text(JSON_PARTS, PATTERNS),
            dice.text(EVENT_PARTS, EVENTS),
            dice.text(&files, FILES),
        ]
    };
    each(10, make, |[query_text, pattern_text, event_text, file]| {
        let (read, compiled) = (query(query_text), pattern(pattern_text));
        for (condition, source) in [(&read, query_text), (&compiled, pattern_text)] {
            match condition {
                Ok(condition) => round_trip(condition, source),
                Err(mistake) => assert!(mistake.at <= source.len(), "{source}"),
            }
        }
        let conditions: Vec<Condition> = [read, compiled].into_iter().flatten().collect();
        events(event_text, &conditions, &set);
        if let Err(problems) = RuleSet::of_files([("x.toml", file.as_str())]) {
            problems.0.iter().for_each(|problem| drop(problem.pointed()));
        }
        !conditions.is_empty()
    });
}
