//! Events that rules judge: CloudTrail records and findings, in whatever they are wrapped.
//!
//! - [`recognise`] finds the events in a JSON value: an envelope of EventBridge, CloudTrail's `{"Records": []}`, an array of
//!   either, a bare record, a bare finding. Each finding in an envelope of Security Hub is an event of its own.
//! - [`Event`] is one of them: its root is what the paths of a rule start from, and its type says how to read it.
//! - [`named`] are the entities that an event names, [`standing`] says which findings nobody acts on any more.
//! - [`split`] takes files of any size apart into single values, in constant memory; [`json`] reads those.
//!
//! All of it is pure, and total: an event of any shape leads to a result or to an error that says why, never to a panic.

pub mod json;
pub mod named;
pub mod number;
pub mod recognise;
pub mod split;
pub mod standing;

use std::borrow::Cow;
use std::fmt;

use json::Json;

use crate::arn::{AccountId, Partition, Region};
use crate::moment::Moment;

/// What kind of event it is: what `event_type` says in a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// A CloudTrail record; the root is the record.
    CloudTrail,
    /// A finding of GuardDuty; the root is the finding.
    GuardDuty,
    /// A finding of Security Hub in the AWS Security Finding Format; the root is the finding.
    SecurityHub,
    /// A finding of Security Hub in the Open Cybersecurity Schema Framework; the root is the finding.
    Ocsf,
}

impl EventType {
    /// All types.
    pub const ALL: [Self; 4] = [Self::CloudTrail, Self::GuardDuty, Self::SecurityHub, Self::Ocsf];

    /// The word for it in rules.
    pub fn name(self) -> &'static str {
        match self {
            Self::CloudTrail => "cloudtrail",
            Self::GuardDuty => "guardduty",
            Self::SecurityHub => "securityhub",
            Self::Ocsf => "ocsf",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One CloudTrail record or one finding.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// How to read it.
    pub kind: EventType,
    /// The record or finding itself.
    pub root: &'a Json<'a>,
    /// The envelope that EventBridge delivered it in.
    envelope: Option<&'a Json<'a>>,
}

impl<'a> Event<'a> {
    /// Whether a test holds for any value at a path into the envelope. Events from files have none: what EventBridge would have
    /// written is then made up from the event itself, so that one rule serves both.
    pub fn any_in_envelope(&self, path: &[String], test: &mut dyn FnMut(&Json<'_>) -> bool) -> bool {
        if let Some(envelope) = self.envelope {
            return envelope.any_at(path, test);
        }
        let Some((first, rest)) = path.split_first() else {
            return false;
        };
        match (first.as_str(), rest) {
            ("detail", rest) => self.root.any_at(rest, test),
            (name, []) => self
                .made_up(name)
                .is_some_and(|text| test(&Json::Text(Cow::Owned(text)))),
            _ => false,
        }
    }

    /// What EventBridge would have written into a field of the envelope.
    fn made_up(&self, name: &str) -> Option<String> {
        match (name, self.kind) {
            ("source", EventType::CloudTrail) => {
                let service = self.root.text_at(&["eventSource"])?;
                Some(format!(
                    "aws.{}",
                    service.strip_suffix(".amazonaws.com").unwrap_or(service)
                ))
            }
            ("source", EventType::GuardDuty) => Some("aws.guardduty".to_owned()),
            ("source", EventType::SecurityHub | EventType::Ocsf) => Some("aws.securityhub".to_owned()),
            ("detail-type", EventType::CloudTrail) => {
                let signed_in = self.root.text_at(&["eventType"]) == Some("AwsConsoleSignIn");
                Some(
                    if signed_in {
                        recognise::SIGN_IN
                    } else {
                        recognise::API_CALL
                    }
                    .to_owned(),
                )
            }
            ("detail-type", EventType::GuardDuty) => Some(recognise::GUARDDUTY.to_owned()),
            ("detail-type", EventType::SecurityHub) => Some(recognise::IMPORTED.to_owned()),
            ("detail-type", EventType::Ocsf) => Some(recognise::IMPORTED_V2.to_owned()),
            ("account", _) => self.account().map(|account| account.to_string()),
            ("region", _) => self.region_text().map(str::to_owned),
            ("time", _) => self.time().map(|time| time.to_string()),
            ("id", _) => self.id().map(str::to_owned),
            _ => None,
        }
    }

    /// The text at the first of these paths that has one, as each type has its own.
    fn text(&self, cloudtrail: &[&str], guardduty: &[&str], securityhub: &[&str], ocsf: &[&str]) -> Option<&'a str> {
        self.root.text_at(match self.kind {
            EventType::CloudTrail => cloudtrail,
            EventType::GuardDuty => guardduty,
            EventType::SecurityHub => securityhub,
            EventType::Ocsf => ocsf,
        })
    }

    /// A field of the envelope that is a text.
    fn envelope_text(&self, name: &str) -> Option<&'a str> {
        self.envelope?.text_at(&[name])
    }

    /// What stays the same when EventBridge delivers it again, and when a finding is updated.
    pub fn id(&self) -> Option<&'a str> {
        self.text(&["eventID"], &["id"], &["Id"], &["finding_info", "uid"])
    }

    /// The account that it is about: for a record the one that was called, for a finding its own, never the one that the envelope
    /// came by way of.
    pub fn account(&self) -> Option<AccountId> {
        let own = self.text(
            &["recipientAccountId"],
            &["accountId"],
            &["AwsAccountId"],
            &["cloud", "account", "uid"],
        );
        let caller = || self.root.text_at(&["userIdentity", "accountId"]);
        own.or_else(caller)?.parse().ok()
    }

    fn region_text(&self) -> Option<&'a str> {
        self.text(&["awsRegion"], &["region"], &["Region"], &["cloud", "region"])
            .or_else(|| self.envelope_text("region"))
    }

    /// The region that it happened in.
    pub fn region(&self) -> Option<Region> {
        self.region_text()?.parse().ok()
    }

    /// The partition that it happened in: as the finding says, else as the names of regions have it.
    pub fn partition(&self) -> Partition {
        let said = self.root.text_at(&["partition"]).and_then(|text| text.parse().ok());
        said.unwrap_or_else(|| match self.region_text() {
            Some(region) if region.starts_with("cn-") => Partition::AwsCn,
            Some(region) if region.starts_with("us-gov-") => Partition::AwsUsGov,
            Some(region) if region.starts_with("eusc-") => Partition::AwsEusc,
            _ => Partition::Aws,
        })
    }

    /// When it happened; for a finding, when it was last updated.
    pub fn time(&self) -> Option<Moment> {
        let written = self.text(
            &["eventTime"],
            &["updatedAt"],
            &["UpdatedAt"],
            &["finding_info", "modified_time_dt"],
        );
        let parsed = |text: &str| text.parse().ok();
        written
            .and_then(parsed)
            .or_else(|| match self.root.get("time") {
                // OCSF's `timestamp_t`: milliseconds since 1970.
                Some(Json::Number(number::Number::Whole(millis))) => Some(Moment::from_millis(*millis)),
                _ => None,
            })
            .or_else(|| self.envelope_text("time").and_then(parsed))
    }

    /// The id of the envelope that it came in.
    pub fn envelope_id(&self) -> Option<&'a str> {
        self.envelope_text("id")
    }

    /// When it was sent: by its envelope, else when it happened.
    pub fn sent(&self) -> Option<Moment> {
        let sent = self.envelope_text("time").and_then(|text| text.parse().ok());
        sent.or_else(|| self.time())
    }

    /// The id of the custom action of Security Hub by which a person has sent it on.
    pub fn custom_action(&self) -> Option<&'a str> {
        let envelope = self.envelope?;
        if envelope.text_at(&["detail-type"]) != Some(recognise::CUSTOM_ACTION) {
            return None;
        }
        let action = envelope.get("resources")?.elements().first()?.text()?;
        action.rsplit_once(":action/custom/").map(|(_, id)| id)
    }

    /// What it is, as its service has it: the type of a finding, the name of a call.
    pub fn what(&self) -> &'a str {
        let first = |names: &[&str]| self.root.at(names)?.elements().first()?.text();
        let found = match self.kind {
            EventType::CloudTrail => self.root.text_at(&["eventName"]),
            EventType::GuardDuty => self.root.text_at(&["type"]),
            EventType::SecurityHub => first(&["Types"]).or_else(|| self.root.text_at(&["GeneratorId"])),
            EventType::Ocsf => first(&["finding_info", "types"]),
        };
        found.or_else(|| self.title()).unwrap_or("?")
    }

    /// What it says for people, where it does.
    pub fn title(&self) -> Option<&'a str> {
        self.text(&["eventName"], &["title"], &["Title"], &["finding_info", "title"])
    }

    /// Who made a finding: the ARN of the product in Security Hub, its id in OCSF. `None` for what AWS itself wrote (CloudTrail
    /// records and GuardDuty's own envelopes).
    pub fn product(&self) -> Option<&'a str> {
        self.text(&[], &[], &["ProductArn"], &["metadata", "product", "uid"])
    }

    /// How severe a finding is. Comparable among versions of one finding only: each product has its own scale.
    pub fn severity(&self) -> Option<f64> {
        let number = |names: &[&str]| match self.root.at(names) {
            Some(Json::Number(number)) => Some(number.real()),
            _ => None,
        };
        match self.kind {
            EventType::CloudTrail => None,
            EventType::GuardDuty => number(&["severity"]),
            EventType::SecurityHub => number(&["Severity", "Normalized"]).or_else(|| {
                // AWS Security Finding Format, "Severity": the lowest number of each label.
                match self.root.text_at(&["Severity", "Label"])? {
                    "INFORMATIONAL" => Some(0.0),
                    "LOW" => Some(1.0),
                    "MEDIUM" => Some(40.0),
                    "HIGH" => Some(70.0),
                    "CRITICAL" => Some(90.0),
                    _ => None,
                }
            }),
            EventType::Ocsf => number(&["severity_id"]),
        }
    }
}
