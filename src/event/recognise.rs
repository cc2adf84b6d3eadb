//! Which events a JSON value holds.
//!
//! Sources: Amazon EventBridge User Guide, "AWS service events delivered via AWS CloudTrail"; Amazon GuardDuty User Guide, "Processing
//! GuardDuty findings with Amazon EventBridge"; AWS Security Hub User Guide, "EventBridge event formats"; AWS CloudTrail User
//! Guide, "CloudTrail record contents".

use super::json::Json;
use super::{Event, EventType};

/// The envelope of a CloudTrail record.
pub const API_CALL: &str = "AWS API Call via CloudTrail";
/// The envelope of a CloudTrail record about signing in.
pub const SIGN_IN: &str = "AWS Console Sign In via CloudTrail";
/// The envelope of GuardDuty.
pub const GUARDDUTY: &str = "GuardDuty Finding";
/// The envelope of what Security Hub imported.
pub const IMPORTED: &str = "Security Hub Findings - Imported";
/// The envelope of what a person sent on from Security Hub.
pub const CUSTOM_ACTION: &str = "Security Hub Findings - Custom Action";
/// The envelope of Security Hub's second version, with findings in OCSF.
pub const IMPORTED_V2: &str = "Findings Imported V2";

/// Something that rules can't judge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEvent {
    /// It is sound, and about something else.
    #[error("{0}")]
    Other(String),
    /// It lacks what makes an event.
    #[error("{0}")]
    Broken(String),
}

/// The events in a JSON value, in their order; in the place of each part that is none, why. Never empty.
pub fn recognise<'a>(json: &'a Json<'a>) -> Vec<Result<Event<'a>, NotAnEvent>> {
    match json {
        Json::Array(elements) => all(elements, "an array without elements"),
        Json::Object(_) => object(json),
        _ => vec![Err(broken("neither an object nor an array of JSON"))],
    }
}

fn all<'a>(parts: &'a [Json<'a>], empty: &str) -> Vec<Result<Event<'a>, NotAnEvent>> {
    if parts.is_empty() {
        return vec![Err(NotAnEvent::Other(empty.to_owned()))];
    }
    let one = |part: &'a Json<'a>| match part {
        Json::Object(_) => object(part),
        _ => vec![Err(broken("not an object"))],
    };
    parts.iter().flat_map(one).collect()
}

fn object<'a>(json: &'a Json<'a>) -> Vec<Result<Event<'a>, NotAnEvent>> {
    if let Some(Json::Array(records)) = json.get("Records") {
        return all(records, "no record in `Records`");
    }
    match (json.text_at(&["detail-type"]), json.get("detail")) {
        (Some(detail_type), Some(detail)) => enveloped(json, detail_type, detail),
        _ => vec![bare(json)],
    }
}

fn enveloped<'a>(
    envelope: &'a Json<'a>,
    detail_type: &str,
    detail: &'a Json<'a>,
) -> Vec<Result<Event<'a>, NotAnEvent>> {
    let event = |kind, root| Event {
        kind,
        root,
        envelope: Some(envelope),
    };
    let source = envelope.text_at(&["source"]).unwrap_or_default();
    let kind = match detail_type {
        GUARDDUTY => EventType::GuardDuty,
        IMPORTED | CUSTOM_ACTION => EventType::SecurityHub,
        IMPORTED_V2 => EventType::Ocsf,
        other if other.ends_with(" via CloudTrail") => EventType::CloudTrail,
        other => {
            return vec![Err(NotAnEvent::Other(format!(
                "an event of EventBridge of the type `{other}`, which no rule is about"
            )))];
        }
    };
    // Anybody with events:PutEvents can send any detail-type; a source of AWS is AWS's alone.
    let genuine = match kind {
        EventType::CloudTrail => source.starts_with("aws."),
        EventType::GuardDuty => source == "aws.guardduty",
        EventType::SecurityHub | EventType::Ocsf => source == "aws.securityhub",
    };
    if !genuine {
        return vec![Err(NotAnEvent::Other(format!(
            "an event of the type `{detail_type}` from the source `{source}`, which is not AWS's"
        )))];
    }
    match kind {
        EventType::CloudTrail if is_record(detail) => vec![Ok(event(kind, detail))],
        EventType::GuardDuty if is_guardduty(detail) => vec![Ok(event(kind, detail))],
        EventType::CloudTrail | EventType::GuardDuty => vec![Err(broken(&format!(
            "an event of the type `{detail_type}` without what makes one in its `detail`"
        )))],
        EventType::SecurityHub | EventType::Ocsf => {
            let findings = detail.get("findings").map(Json::elements).unwrap_or_default();
            if findings.is_empty() {
                return vec![Err(broken("an event of Security Hub without findings"))];
            }
            let one = |finding: &'a Json<'a>| match finding {
                Json::Object(_) => Ok(event(kind, finding)),
                _ => Err(broken("a finding that is no object")),
            };
            findings.iter().map(one).collect()
        }
    }
}

/// An event without an envelope, as CloudTrail stores records and GuardDuty exports findings.
fn bare<'a>(json: &'a Json<'a>) -> Result<Event<'a>, NotAnEvent> {
    let kind = if is_record(json) {
        EventType::CloudTrail
    } else if is_guardduty(json) && json.get("schemaVersion").is_some() {
        EventType::GuardDuty
    } else if json.text_at(&["ProductArn"]).is_some() && json.text_at(&["AwsAccountId"]).is_some() {
        EventType::SecurityHub
    } else {
        return Err(unknown(json));
    };
    Ok(Event {
        kind,
        root: json,
        envelope: None,
    })
}

/// What it seems to be instead.
fn unknown(json: &Json<'_>) -> NotAnEvent {
    if json.get("digestS3Object").is_some() {
        return NotAnEvent::Other("a digest of CloudTrail, which holds no event".to_owned());
    }
    let lacks: Vec<&str> = ["eventSource", "eventName"]
        .into_iter()
        .filter(|name| json.text_at(&[name]).is_none())
        .collect();
    if json.get("eventVersion").is_some() && json.get("userIdentity").is_some() && !lacks.is_empty() {
        return broken(&format!("a CloudTrail record without {}", lacks.join(" and ")));
    }
    broken("no event that is known: neither an envelope of EventBridge, nor a CloudTrail record, nor a finding")
}

/// A record has a source and a name; the notifications of S3 and SQS have both as well, from a source like `aws:s3`.
fn is_record(json: &Json<'_>) -> bool {
    json.text_at(&["eventSource"])
        .is_some_and(|source| !source.starts_with("aws:"))
        && json.text_at(&["eventName"]).is_some()
}

fn is_guardduty(json: &Json<'_>) -> bool {
    json.text_at(&["type"]).is_some() && json.get("service").is_some() && json.get("resource").is_some()
}

fn broken(text: &str) -> NotAnEvent {
    NotAnEvent::Broken(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in a text: the type of each event, or a part of why it is none.
    fn found(text: &str) -> Vec<String> {
        let json = Json::read(text.as_bytes()).expect("JSON");
        let said = |result: Result<Event<'_>, NotAnEvent>| match result {
            Ok(event) => event.kind.name().to_owned(),
            Err(NotAnEvent::Other(text)) => format!("other: {text}"),
            Err(NotAnEvent::Broken(text)) => format!("broken: {text}"),
        };
        recognise(&json).into_iter().map(said).collect()
    }

    const RECORD: &str = r#"{"eventVersion": "1.08", "eventSource": "s3.amazonaws.com", "eventName": "GetObject"}"#;

    #[test]
    fn every_wrapping_of_every_type_is_known() {
        let finding = r#"{"type": "t", "service": {}, "resource": {}, "schemaVersion": "2.0"}"#;
        let asff = r#"{"ProductArn": "p", "AwsAccountId": "222222222222"}"#;
        for (text, kinds) in [
            (RECORD.to_owned(), vec!["cloudtrail"]),
            (format!("[{RECORD}, {RECORD}]"), vec!["cloudtrail"; 2]),
            (format!(r#"{{"Records": [{RECORD}]}}"#), vec!["cloudtrail"]),
            (
                format!(r#"[{{"Records": [{RECORD}, {RECORD}]}}]"#),
                vec!["cloudtrail"; 2],
            ),
            (envelope("aws.s3", API_CALL, RECORD), vec!["cloudtrail"]),
            (envelope("aws.signin", SIGN_IN, RECORD), vec!["cloudtrail"]),
            (envelope("aws.guardduty", GUARDDUTY, finding), vec!["guardduty"]),
            (finding.to_owned(), vec!["guardduty"]),
            (
                envelope(
                    "aws.securityhub",
                    CUSTOM_ACTION,
                    &format!(r#"{{"findings": [{asff}, {asff}]}}"#),
                ),
                vec!["securityhub"; 2],
            ),
            (
                envelope("aws.securityhub", IMPORTED, &format!(r#"{{"findings": [{asff}]}}"#)),
                vec!["securityhub"],
            ),
            (asff.to_owned(), vec!["securityhub"]),
            (
                envelope("aws.securityhub", IMPORTED_V2, r#"{"findings": [{"class_uid": 2004}]}"#),
                vec!["ocsf"],
            ),
        ] {
            assert_eq!(found(&text), kinds, "{text}");
        }
    }

    fn envelope(source: &str, detail_type: &str, detail: &str) -> String {
        format!(r#"{{"source": "{source}", "detail-type": "{detail_type}", "detail": {detail}}}"#)
    }

    #[test]
    fn what_is_about_something_else_is_told_from_what_is_broken() {
        for (text, said) in [
            (
                envelope("aws.ec2", "EC2 Instance State-change Notification", "{}"),
                "other: an event of EventBridge of the type `EC2",
            ),
            (
                envelope("aws.securityhub", "Security Hub Insight Results", "{}"),
                "other: ",
            ),
            (
                envelope("my.app", GUARDDUTY, "{}"),
                "other: an event of the type `GuardDuty Finding` from the source `my.app`",
            ),
            (r#"{"Records": []}"#.to_owned(), "other: no record"),
            (r#"{"digestS3Object": "x"}"#.to_owned(), "other: a digest"),
            (
                envelope("aws.guardduty", GUARDDUTY, "7"),
                "broken: an event of the type `GuardDuty Finding` without",
            ),
            (
                envelope("aws.securityhub", IMPORTED, "{}"),
                "broken: an event of Security Hub without findings",
            ),
            (
                envelope("aws.securityhub", IMPORTED, r#"{"findings": [3]}"#),
                "broken: a finding that is no object",
            ),
            (
                r#"{"eventVersion": "1.08", "userIdentity": {}, "eventSource": "x"}"#.to_owned(),
                "broken: a CloudTrail record without eventName",
            ),
            (
                r#"{"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}]}"#.to_owned(),
                "broken: no event that is known",
            ),
            (r#"{"Records": 7}"#.to_owned(), "broken: no event"),
            ("{}".to_owned(), "broken: no event"),
            ("[[]]".to_owned(), "broken: not an object"),
            ("7".to_owned(), "broken: neither"),
        ] {
            let found = found(&text);
            assert!(
                found.len() == 1 && found.iter().all(|one| one.starts_with(said)),
                "{text}: {found:?}"
            );
        }
    }

    #[test]
    fn one_bad_record_hides_no_other() {
        assert_eq!(
            found(&format!(r#"{{"Records": [{RECORD}, 7, {RECORD}]}}"#)),
            ["cloudtrail", "broken: not an object", "cloudtrail"]
        );
    }
}
