//! An EC2 instance: a deny on its role for this instance alone, its evidence kept, its addresses cut off at the edges of other
//! subnets, then every network interface by way of the untracking group into the isolation group.
//!
//! Source: Amazon EC2 User Guide, "Security group connection tracking" and "Elastic network interfaces".

mod cut;
pub mod network;
mod plan;
mod survey;

use std::collections::BTreeMap;

use super::tags::Tags;
use super::{Kind, Surveyed};
use crate::arn::Arn;
use crate::aws::{Failure, Member};
use crate::entity::Entity;
use crate::guard::Refusal;
use crate::plan::Plan;
use crate::record::Record;
use crate::settings::Settings;
use crate::steps::Permission;
use crate::steps::instance::describe;
use crate::steps::interface::{Groups, Interface};
use crate::steps::principal::Principal;
use crate::steps::tracking_timeouts::Timeouts;
use network::{Network, Place};

/// See the module.
pub(crate) struct Instance;

/// The facts about an instance.
#[derive(Debug, Clone)]
pub struct InstanceFacts {
    /// The ARN of its instance profile, where it has one.
    pub profile: Option<String>,
    /// The roles of that profile: one, as AWS has it.
    pub roles: Result<Vec<Principal>, Failure>,
    /// Its network interfaces.
    pub interfaces: Result<Vec<InterfaceFacts>, Failure>,
    /// The networks of its interfaces, by VPC.
    pub networks: BTreeMap<String, Network>,
    /// Whether it is a Spot instance.
    pub spot: bool,
    /// Its EBS volumes.
    pub volumes: Vec<VolumeFacts>,
    /// The Auto Scaling group that its tags name.
    pub tagged_group: Option<String>,
    /// The Auto Scaling group that it is in, where that was asked for.
    pub group: Result<Option<GroupFacts>, Failure>,
    /// The groups of the forensic door that exist in its account and region.
    pub doors: Result<Vec<Door>, Failure>,
}

/// The facts about one network interface.
#[derive(Debug, Clone)]
pub struct InterfaceFacts {
    /// Which one.
    pub interface: Interface,
    /// Where it stands by its groups.
    pub groups: Groups,
    /// Where it is in its network.
    pub place: Place,
    /// Its timeouts.
    pub timeouts: Timeouts,
    /// Who manages it, where that is not the account: such an interface can't be changed.
    pub managed_by: Option<String>,
    /// Whether it is a trunk, which can carry branch interfaces with groups of their own.
    pub trunk: bool,
}

/// One EBS volume of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeFacts {
    /// Its id.
    pub volume: String,
    /// Under which name it is attached.
    pub device: String,
    /// Whether it is deleted when the instance is terminated.
    pub deleted: bool,
}

/// The Auto Scaling group of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFacts {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: Arn,
    /// Its minimum, where that keeps the instance from going on standby in a group that gets smaller, and the largest one that does not.
    pub in_the_way: Option<(i32, i32)>,
}

/// A security group of the forensic door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// Its id.
    pub group: String,
    /// Its VPC.
    pub vpc: String,
    /// Whether it lets something in from everywhere.
    pub in_from_everywhere: bool,
    /// Whether it lets something out to everywhere.
    pub out_to_everywhere: bool,
}

impl Surveyed for Instance {
    const NAME: &'static str = "ec2-instance";
    const LABEL: &'static str = "EC2 instance";
    const SHAPES: &'static [&'static str] = &["arn:aws:ec2:REGION:ACCOUNT:instance/ID"];
    const PERMISSIONS: &'static [Permission] = &[
        Permission {
            action: "autoscaling:DescribeAutoScalingGroups",
            used_for: "name the Auto Scaling group of an instance",
        },
        Permission {
            action: "autoscaling:DescribeAutoScalingInstances",
            used_for: "find the Auto Scaling group of an instance",
        },
        Permission {
            action: "ec2:DescribeInstances",
            used_for: "find an instance, its state, its profile and its volumes",
        },
        Permission {
            action: "ec2:DescribeNetworkAcls",
            used_for: "find the network ACLs at the edges of a VPC's subnets",
        },
        Permission {
            action: "ec2:DescribeNetworkInterfaces",
            used_for: "find every interface of an instance, and those of gateways and endpoints beside it",
        },
        Permission {
            action: "ec2:DescribeRouteTables",
            used_for: "see which connections of an instance are always tracked",
        },
        Permission {
            action: "ec2:DescribeSecurityGroups",
            used_for: "see which interfaces are in our groups already",
        },
        Permission {
            action: "ec2:DescribeSubnets",
            used_for: "see what stands between an instance and the forensic team",
        },
        Permission {
            action: "ec2:DescribeVpcEndpoints",
            used_for: "tell the gateway endpoints of DynamoDB from those of S3",
        },
        Permission {
            action: "iam:GetInstanceProfile",
            used_for: "find the role of an instance",
        },
    ];
    const CHANGES_MEANWHILE: bool = true;
    type Facts = InstanceFacts;

    fn parse(arn: &Arn) -> Option<Result<Entity, String>> {
        let id = arn
            .resource
            .strip_prefix("instance/")
            .filter(|_| arn.service == "ec2")?;
        let Some(region) = arn.region.clone() else {
            return Some(Err("The Arn is an instance's without a region".to_owned()));
        };
        let digits = id.strip_prefix("i-").unwrap_or_default();
        let hexadecimal = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !hexadecimal || !matches!(digits.len(), 8 | 17) {
            return Some(Err(
                "The Arn is an instance's without a well-formed id (i- and 8 or 17 hexadecimal digits)".to_owned(),
            ));
        }
        Some(Ok(Entity {
            kind: Kind::Instance,
            partition: arn.partition,
            account: arn.account.clone(),
            region: Some(region),
            name: id.to_owned(),
            path: None,
            named: arn.clone(),
        }))
    }

    async fn survey(entity: &Entity, member: &Member, settings: &Settings) -> Result<InstanceFacts, Failure> {
        survey::survey(entity, member, settings).await
    }

    async fn tags(entity: &Entity, member: &Member) -> Result<Tags, Failure> {
        let instance = describe(member, &entity.name).await?;
        let tags = instance.tags.unwrap_or_default();
        Ok(tags.into_iter().filter_map(|tag| tag.key.zip(tag.value)).collect())
    }

    fn plan(
        entity: &Entity,
        facts: &InstanceFacts,
        settings: &Settings,
        record: Option<&Record>,
    ) -> Result<Plan, Refusal> {
        Ok(plan::plan(entity, facts, settings, record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_id_is_refused() {
        for id in [
            "i-",
            "i-0123",
            "i-0123456789abcdefg",
            "0123456789abcdef0",
            "i-0123456789ABCDEF0",
            "i-0123456789abcdef01",
        ] {
            let arn = format!("arn:aws:ec2:us-east-1:222222222222:instance/{id}");
            assert!(arn.parse::<Entity>().is_err(), "{id}");
        }
        assert!(
            "arn:aws:ec2:us-east-1:222222222222:instance/i-01234567"
                .parse::<Entity>()
                .is_ok()
        );
    }
}
