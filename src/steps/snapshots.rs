//! Starts one crash-consistent set of snapshots of an instance's EBS volumes: evidence, kept on release and never waited for.
//!
//! Source: Amazon EC2 API Reference, "CreateSnapshots".

use std::time::Duration;

use aws_sdk_ec2::config::{Builder, retry::RetryConfig};
use aws_sdk_ec2::types::{Filter, InstanceSpecification, ResourceType, Tag, TagSpecification};
use serde::{Deserialize, Serialize};

use super::security_group::TAG;
use super::{Change, HOLDS_NOTHING_UP, Permission, Receipt, instance};
use crate::arn::Arn;
use crate::aws::{Failure, Member, Reason};

/// The value of our tag on evidence.
const EVIDENCE: &str = "evidence";
/// The tag that names the containment.
const CONTAINMENT_TAG: &str = "entity-lockdown-containment";
/// The tag that names the incident, as claimed.
const INCIDENT_TAG: &str = "entity-lockdown-incident";

/// How often, and how long each time, new snapshots are waited for to show: a second set must not be made for an answer's delay.
const LOOKS: usize = 15;
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The snapshots of one instance for one containment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshots {
    /// The instance.
    pub instance: Arn,
    /// The containment's id.
    pub containment: String,
    /// The incident's id, as the message claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
}

/// The snapshots that there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Their ids, sorted.
    pub ids: Vec<String>,
}

impl Snapshots {
    fn tags(&self) -> TagSpecification {
        let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
        let incident = self.incident.as_deref().map(safe).filter(|text| !text.is_empty());
        TagSpecification::builder()
            .resource_type(ResourceType::Snapshot)
            .set_tags(Some(
                [
                    Some(tag(TAG, EVIDENCE)),
                    Some(tag(CONTAINMENT_TAG, &self.containment)),
                    incident.map(|incident| tag(INCIDENT_TAG, &incident)),
                ]
                .into_iter()
                .flatten()
                .collect(),
            ))
            .build()
    }
}

/// What a tag's value may hold in every service (Tagging AWS Resources and Tag Editor, "Tag naming limits"): a claim may hold
/// anything.
fn safe(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_alphanumeric() || " +-=._:/@".contains(*c))
        .take(256)
        .collect()
}

impl Change for Snapshots {
    const PERMISSIONS: &'static [Permission] = &[
        Permission {
            action: "ec2:CreateSnapshots",
            used_for: "keep an instance's volumes as evidence",
        },
        Permission {
            action: "ec2:CreateTags",
            used_for: "tag snapshots as they are made",
        },
        Permission {
            action: "ec2:DescribeSnapshots",
            used_for: "find the snapshots of a containment",
        },
    ];
    // Evidence outlives the release.
    const REVERSES: bool = false;
    const REMEMBERS: bool = true;
    const AT_MOST: Option<Duration> = HOLDS_NOTHING_UP;
    type State = Taken;

    fn resource(&self) -> String {
        format!("{}/{}", self.instance, self.containment)
    }

    fn target(&self) -> Option<Arn> {
        Some(self.instance.clone())
    }

    fn describe(&self) -> String {
        format!(
            "start snapshots of all EBS volumes of {}, as one crash-consistent set",
            instance::id(&self.instance)
        )
    }

    fn describe_undo(&self, _before: &Taken) -> String {
        "keep the snapshots".to_owned()
    }

    fn holds(&self, now: &Taken) -> bool {
        !now.ids.is_empty()
    }

    fn describe_made(&self, made: &Taken) -> Option<String> {
        Some(made.ids.join(", "))
    }

    async fn exists(&self, member: &Member) -> Result<bool, Failure> {
        instance::exists(member, &self.instance).await
    }

    async fn read(&self, member: &Member) -> Result<Taken, Failure> {
        let filter = |tag: &str, value: &str| Filter::builder().name(format!("tag:{tag}")).values(value).build();
        let pages = member
            .ec2
            .describe_snapshots()
            .owner_ids("self")
            .filters(filter(TAG, EVIDENCE))
            .filters(filter(CONTAINMENT_TAG, &self.containment))
            .into_paginator()
            .items()
            .send();
        let found: Result<Vec<_>, _> = pages.collect().await;
        let found =
            found.map_err(|error| member.failure("ec2:DescribeSnapshots", instance::id(&self.instance), &error))?;
        let mut ids: Vec<String> = found.into_iter().filter_map(|snapshot| snapshot.snapshot_id).collect();
        ids.sort_unstable();
        Ok(Taken { ids })
    }

    async fn apply(&self, member: &Member, _before: &Taken) -> Result<Receipt, Failure> {
        let id = instance::id(&self.instance);
        let of = InstanceSpecification::builder().instance_id(id).build();
        let call = member.ec2.create_snapshots().instance_specification(of);
        let described = format!("evidence of {id} by entity-lockdown, containment {}", self.containment);
        let call = call.description(described).tag_specifications(self.tags());
        // The call has no token that tells a repetition from a second request: where an answer is lost, the SDK would have a second
        // set taken. Whoever tries again here looks first.
        let once = Builder::new().retry_config(RetryConfig::disabled());
        let answer = call.customize().config_override(once).send().await;
        let answer = answer.map_err(|error| member.failure("ec2:CreateSnapshots", id, &error))?;
        for _ in 0..LOOKS {
            if self.holds(&self.read(member).await?) {
                return Ok(Receipt::of(&answer));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(Failure {
            reason: Reason::Passing,
            ..Failure::own(
                "ec2:DescribeSnapshots",
                id,
                member.account.as_str(),
                "NotYetVisible",
                "the snapshots that were started do not show yet",
            )
        })
    }

    async fn undo(&self, _member: &Member, _before: &Taken, _made: Option<&Taken>) -> Result<Receipt, Failure> {
        Ok(Receipt::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_can_bring_nothing_into_a_tag_that_aws_refuses() {
        assert_eq!(safe("INC-7 \u{7}<script>\n"), "INC-7 script");
        assert_eq!(safe(&"x".repeat(300)).len(), 256);
        let step = Snapshots {
            instance: "arn:aws:ec2:us-east-1:222222222222:instance/i-0123456789abcdef0"
                .parse()
                .expect("an ARN"),
            containment: "0123456789abcdef".into(),
            incident: Some("<>".into()),
        };
        let keys: Vec<_> = step
            .tags()
            .tags()
            .iter()
            .filter_map(|tag| tag.key().map(str::to_owned))
            .collect();
        assert_eq!(keys, [TAG, CONTAINMENT_TAG]);
    }
}
