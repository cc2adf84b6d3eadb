//! The entities that an event names.
//!
//! What an event leaves open is left open here: a user or role that is named without its path has none, and what only AWS can tell
//! (whose access key, which role of an instance profile) is handed on as it is named. Nothing is read and nothing is decided.

mod cloudtrail;
mod guardduty;
mod ocsf;
mod securityhub;

use std::fmt;

use serde::Serialize;

use super::{Event, EventType};
use crate::arn::{AccountId, Arn, Partition};
use crate::entity::Entity;

/// What part an entity has in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Who did it, or whose credentials did.
    Principal,
    /// What it was done to, or what a finding is about.
    Resource,
}

/// An entity, or what leads to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An entity of one of the four kinds. Its path is absent where the event gives the bare name.
    Entity(Entity),
    /// An access key whose user isn't named: `GetAccessKeyLastUsed` in this account tells it.
    AccessKey {
        /// The key's id.
        id: String,
        /// The account that the key is of, as the event says.
        account: Option<AccountId>,
        /// The partition that it happened in.
        partition: Partition,
    },
    /// An instance profile, whose role `GetInstanceProfile` tells.
    InstanceProfile(Arn),
    /// Something that is never contained, or that is not named well enough.
    Refused {
        /// What the event names, as an ARN where it could be made one.
        text: String,
        /// Why it is refused, for people.
        reason: String,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entity(entity) => entity.named.fmt(f),
            Self::AccessKey { id, .. } => f.write_str(id),
            Self::InstanceProfile(arn) => arn.fmt(f),
            Self::Refused { text, .. } => f.write_str(text),
        }
    }
}

/// One entity that an event names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Which.
    pub subject: Subject,
    /// Its part in the event.
    pub part: Part,
    /// Where the event names it, for people: "the role of the calling session".
    pub why: &'static str,
    /// It is of another account than the event: anybody may import findings that name anything, so this is no ground for acting
    /// on it automatically.
    pub foreign: bool,
}

/// Every entity that an event names, each once for each part that it has.
pub fn named(event: &Event<'_>) -> Vec<Named> {
    let mut found = Found {
        account: event.account(),
        partition: event.partition(),
        list: Vec::new(),
    };
    match event.kind {
        EventType::CloudTrail => cloudtrail::find(event, &mut found),
        EventType::GuardDuty => guardduty::find(event.root, &mut found),
        EventType::SecurityHub => securityhub::find(event.root, &mut found),
        EventType::Ocsf => ocsf::find(event.root, &mut found),
    }
    found.list
}

/// What has been found so far, and what the event says of all of it.
struct Found {
    account: Option<AccountId>,
    partition: Partition,
    list: Vec<Named>,
}

/// Where a region of an ARN is known only from the event.
struct Place<'a> {
    partition: &'a str,
    region: &'a str,
    account: &'a str,
}

impl Found {
    fn push(&mut self, subject: Subject, part: Part, why: &'static str) {
        let account = match &subject {
            Subject::Entity(entity) => Some(&entity.account),
            Subject::AccessKey { account, .. } => account.as_ref(),
            Subject::InstanceProfile(arn) => Some(&arn.account),
            Subject::Refused { .. } => None,
        };
        let foreign = account.is_some() && account != self.account.as_ref();
        let known = |named: &Named| named.part == part && same(&named.subject, &subject);
        if let Some(known) = self.list.iter_mut().find(|named| known(named)) {
            // The one with the path says more than the one without.
            if let (Subject::Entity(old), Subject::Entity(new)) = (&mut known.subject, subject)
                && old.path.is_none()
                && new.path.is_some()
            {
                *old = new;
            }
            return;
        }
        self.list.push(Named {
            subject,
            part,
            why,
            foreign,
        });
    }

    /// What an ARN names, if that is an entity at all; most ARNs of events are of something else.
    fn arn(&mut self, text: &str, part: Part, why: &'static str) {
        match text.parse::<Arn>() {
            Ok(arn) if arn.service == "iam" && arn.resource == "root" => self.root(text, part, why),
            Ok(arn) if arn.service == "iam" && arn.resource.starts_with("instance-profile/") => {
                self.push(Subject::InstanceProfile(arn), part, why);
            }
            Ok(arn) if !is_of_a_kind(&arn.service, &arn.resource) => {}
            Ok(_) => self.parsed(text, part, why),
            Err(_) => {
                let mut parts = text.splitn(6, ':').skip(2);
                let service = parts.next().unwrap_or_default();
                if is_of_a_kind(service, parts.nth(2).unwrap_or_default()) {
                    self.parsed(text, part, why);
                }
            }
        }
    }

    /// An ARN that should name an entity.
    fn parsed(&mut self, text: &str, part: Part, why: &'static str) {
        let subject = match text.parse::<Entity>() {
            Ok(entity) => Subject::Entity(entity),
            Err(refusal) => Subject::Refused {
                text: text.to_owned(),
                reason: refusal.reason,
            },
        };
        self.push(subject, part, why);
    }

    /// A user or role of which only the name is known.
    fn principal(&mut self, kind: &str, name: &str, account: &str, part: Part, why: &'static str) {
        let text = format!("arn:{}:iam::{account}:{kind}/{name}", self.partition);
        let subject = match text.parse::<Entity>() {
            Ok(entity) => Subject::Entity(Entity { path: None, ..entity }),
            Err(refusal) => Subject::Refused {
                text,
                reason: refusal.reason,
            },
        };
        self.push(subject, part, why);
    }

    fn instance(&mut self, id: &str, place: &Place<'_>, part: Part, why: &'static str) {
        let Place {
            partition,
            region,
            account,
        } = place;
        self.parsed(
            &format!("arn:{partition}:ec2:{region}:{account}:instance/{id}"),
            part,
            why,
        );
    }

    fn root(&mut self, text: &str, part: Part, why: &'static str) {
        let reason =
            "the root of an account can't be denied anything by IAM: secure it by hand (password, MFA, access keys)";
        let (text, reason) = (text.to_owned(), reason.to_owned());
        self.push(Subject::Refused { text, reason }, part, why);
    }

    fn access_key(&mut self, id: &str, account: &str, part: Part, why: &'static str) {
        let subject = Subject::AccessKey {
            id: id.to_owned(),
            account: account.parse().ok(),
            partition: self.partition,
        };
        self.push(subject, part, why);
    }

    /// The account of the event, for ARNs that are made of its parts.
    fn account_text(&self) -> String {
        self.account.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

/// Whether an ARN's parts are those of one of the four kinds, well formed or not.
fn is_of_a_kind(service: &str, resource: &str) -> bool {
    match service {
        "iam" => ["user/", "role/"].iter().any(|kind| resource.starts_with(kind)),
        "sts" => resource.starts_with("assumed-role/"),
        "lambda" => resource.starts_with("function:"),
        "ec2" => resource.starts_with("instance/"),
        _ => false,
    }
}

fn same(one: &Subject, other: &Subject) -> bool {
    match (one, other) {
        (Subject::Entity(one), Subject::Entity(other)) => {
            one.key() == other.key() && (one.path.is_none() || other.path.is_none() || one.path == other.path)
        }
        (one, other) => one == other,
    }
}

/// Whether a text is the id of an access key: GuardDuty and Security Hub write `null` where there is none.
fn is_key_id(text: &str) -> bool {
    (16..=128).contains(&text.len())
        && text.starts_with('A')
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::json::Json;
    use super::super::recognise::recognise;
    use super::*;

    /// What an event names, for people: its part, what it is, and whether it is of another account.
    pub fn line(named: Named) -> String {
        let part = match named.part {
            Part::Principal => "principal",
            Part::Resource => "resource",
        };
        let kind = match &named.subject {
            Subject::Entity(entity) if entity.path.is_none() && entity.region.is_none() => "entity without path",
            Subject::Entity(_) => "entity",
            Subject::AccessKey { .. } => "access key",
            Subject::InstanceProfile(_) => "instance profile",
            Subject::Refused { .. } => "refused",
        };
        let foreign = if named.foreign { ", foreign" } else { "" };
        format!("{part}: {} ({kind}{foreign})", named.subject)
    }

    /// What the first event in a text names, one line each.
    pub fn lines(text: &str) -> Vec<String> {
        let json = Json::read(text.as_bytes()).expect("JSON");
        let events = recognise(&json);
        let event = events.first().and_then(|event| event.as_ref().ok()).expect("an event");
        named(event).into_iter().map(line).collect()
    }

    #[test]
    fn what_an_arn_names_is_found_once_and_the_path_is_kept() {
        let mut found = Found {
            account: "222222222222".parse().ok(),
            partition: Partition::Aws,
            list: vec![],
        };
        found.principal("user", "Alice", "222222222222", Part::Principal, "by name");
        found.arn("arn:aws:iam::222222222222:user/div/alice", Part::Principal, "by ARN");
        found.arn("arn:aws:iam::222222222222:user/div/alice", Part::Resource, "by ARN");
        found.arn("arn:aws:s3:::bucket", Part::Resource, "no entity");
        found.arn("arn:aws:iam::222222222222:policy/p", Part::Resource, "no entity");
        found.arn("nonsense", Part::Resource, "no ARN");
        assert_eq!(found.list.len(), 2);
        let path = found.list.first().map(|named| match &named.subject {
            Subject::Entity(entity) => entity.path.clone(),
            _ => None,
        });
        assert_eq!(path, Some(Some("/div/".to_owned())));
    }

    #[test]
    fn what_should_name_an_entity_and_does_not_is_refused_with_the_reason() {
        let mut found = Found {
            account: None,
            partition: Partition::Aws,
            list: vec![],
        };
        for text in [
            "arn:aws:ec2:ap-isob-central-3r:222222222222:instance/i-0123456789abcdef0",
            "arn:aws:iam::03412312600:role/r",
            "arn:aws:iam::222222222222:root",
        ] {
            found.arn(text, Part::Resource, "x");
        }
        assert_eq!(found.list.len(), 3);
        assert!(
            found
                .list
                .iter()
                .all(|named| matches!(&named.subject, Subject::Refused { reason, .. } if !reason.is_empty()))
        );
    }

    #[test]
    fn a_key_id_is_told_from_what_is_written_where_there_is_none() {
        for (text, is) in [
            ("AKIAIOSFODNN7EXAMPLE", true),
            ("ASIAIOSFODNN7EXAMPLE", true),
            ("null", false),
            ("", false),
            ("GeneratedFindingAccessKeyId", false),
        ] {
            assert_eq!(is_key_id(text), is, "{text}");
        }
    }
}
