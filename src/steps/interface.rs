//! A network interface as steps name it, and what they read of it.

use aws_sdk_ec2::types::NetworkInterface;
use serde::{Deserialize, Serialize};

use super::security_group::{Purpose, find};
use super::{Permission, Receipt};
use crate::arn::Arn;
use crate::aws::{Failure, Member, Reason};

/// What reading an interface and setting its groups takes.
pub(crate) const PERMISSIONS: &[Permission] = &[
    Permission {
        action: "ec2:DescribeNetworkInterfaces",
        used_for: "read an interface's groups and timeouts back",
    },
    Permission {
        action: "ec2:DescribeSecurityGroups",
        used_for: "find the two groups of a VPC and read them back",
    },
    Permission {
        action: "ec2:ModifyNetworkInterfaceAttribute",
        used_for: "change an interface's groups and timeouts",
    },
];

/// One network interface of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its id (`eni-...`).
    pub id: String,
    /// Its own VPC, which decides the groups that it can have.
    pub vpc: String,
    /// The instance.
    pub instance: Arn,
    /// The team's own groups of this VPC that stay beside the isolation group, sorted: the forensic door.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub door: Vec<String>,
}

/// Where an interface stands, by its security groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// The ids of its groups, sorted.
    pub groups: Vec<String>,
    /// Which of our groups it is in, and in no other but those of the forensic door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Purpose>,
}

/// The sorted group ids of an interface as EC2 describes it.
pub fn group_ids(interface: &NetworkInterface) -> Vec<String> {
    let mut ids: Vec<String> = interface
        .groups()
        .iter()
        .filter_map(|group| group.group_id().map(str::to_owned))
        .collect();
    ids.sort_unstable();
    ids
}

impl Interface {
    /// For people.
    pub fn label(&self) -> String {
        format!("interface {}", self.id)
    }

    /// The interface as EC2 describes it.
    pub async fn describe(&self, member: &Member) -> Result<NetworkInterface, Failure> {
        let answer = member
            .ec2
            .describe_network_interfaces()
            .network_interface_ids(&self.id)
            .send()
            .await;
        let answer = answer.map_err(|error| member.failure("ec2:DescribeNetworkInterfaces", &self.id, &error))?;
        answer
            .network_interfaces
            .and_then(|found| found.into_iter().next())
            .ok_or_else(|| {
                let mut failure = Failure::own(
                    "ec2:DescribeNetworkInterfaces",
                    &self.id,
                    member.account.as_str(),
                    "Missing",
                    "it is gone",
                );
                failure.reason = Reason::Absent;
                failure
            })
    }

    /// Whether it exists.
    pub async fn exists(&self, member: &Member) -> Result<bool, Failure> {
        match self.describe(member).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.reason == Reason::Absent => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Where it stands now.
    pub async fn groups(&self, member: &Member) -> Result<Groups, Failure> {
        let ours = |purpose| find(member, &self.vpc, purpose);
        let (now, untracking, isolation) = tokio::try_join!(
            self.describe(member),
            ours(Purpose::Untracking),
            ours(Purpose::Isolation)
        )?;
        let ours = [(untracking, Purpose::Untracking), (isolation, Purpose::Isolation)];
        let ours = ours
            .into_iter()
            .filter_map(|(group, purpose)| Some((group?.group_id?, purpose)));
        Ok(Groups::of(group_ids(&now), &ours.collect::<Vec<_>>(), &self.door))
    }

    /// Gives it these groups and no others.
    pub async fn set_groups(&self, member: &Member, groups: &[String]) -> Result<Receipt, Failure> {
        let call = member
            .ec2
            .modify_network_interface_attribute()
            .network_interface_id(&self.id);
        let answer = call.set_groups(Some(groups.to_vec())).send().await;
        let answer = answer.map_err(|error| member.failure("ec2:ModifyNetworkInterfaceAttribute", &self.id, &error))?;
        Ok(Receipt::of(&answer))
    }
}

impl Groups {
    /// From sorted group ids, the ids of our groups in the interface's VPC, and the groups of the forensic door.
    pub fn of(groups: Vec<String>, ours: &[(String, Purpose)], door: &[String]) -> Self {
        let mut others = groups.iter().filter(|id| !door.contains(id));
        let within = match (others.next(), others.next()) {
            (Some(only), None) => ours.iter().find(|(id, _)| id == only).map(|(_, purpose)| *purpose),
            _ => None,
        };
        Self { groups, within }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_within_a_group_of_ours_only_if_it_has_no_other() {
        let ours = [
            ("sg-u".to_owned(), Purpose::Untracking),
            ("sg-i".to_owned(), Purpose::Isolation),
        ];
        let with_door = |groups: &[&str], door: &[&str]| {
            let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
            Groups::of(owned(groups), &ours, &owned(door)).within
        };
        let within = |groups: &[&str]| with_door(groups, &[]);
        assert_eq!(within(&["sg-i"]), Some(Purpose::Isolation));
        assert_eq!(within(&["sg-u"]), Some(Purpose::Untracking));
        assert_eq!(within(&["sg-i", "sg-x"]), None);
        assert_eq!(within(&["sg-x"]), None);
        assert_eq!(within(&[]), None);
        assert_eq!(with_door(&["sg-door", "sg-i"], &["sg-door"]), Some(Purpose::Isolation));
        assert_eq!(with_door(&["sg-door"], &["sg-door"]), None);
        assert_eq!(with_door(&["sg-door", "sg-i", "sg-x"], &["sg-door"]), None);
    }
}
