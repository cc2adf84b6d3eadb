//! The two security groups of a VPC that containment uses: found by name and tag, created if missing, repaired if changed.
//!
//! Source: Amazon EC2 User Guide, "Security group connection tracking": a flow is untracked when a rule permits it from and to
//! everywhere and the other direction permits every port; each address family on its own.

use aws_sdk_ec2::types::{
    Filter, IpPermission, IpRange, Ipv6Range, ResourceType, SecurityGroup, Tag, TagSpecification,
};
use futures_util::future::try_join;
use serde::{Deserialize, Serialize};

use super::{Change, Permission, Receipt};
use crate::arn::Arn;
use crate::aws::{Failure, Member, Reason};

/// The tag by which our groups are known; its value is the purpose.
pub const TAG: &str = "entity-lockdown";

/// How many names are tried where somebody else's group has ours already.
const NAMES: usize = 9;

const EVERYWHERE_4: &str = "0.0.0.0/0";
const EVERYWHERE_6: &str = "::/0";

/// What a group is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Everything in and out, so that connections become untracked.
    Untracking,
    /// Nothing in, nothing out.
    Isolation,
}

impl Purpose {
    /// The tag's value, and the last word of the group's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Untracking => "untracking",
            Self::Isolation => "isolation",
        }
    }

    /// How all names of the purpose begin but the first, which is this without the last hyphen.
    fn stem(self) -> String {
        format!("entity-lockdown-{}-", self.as_str())
    }

    /// The names to try, the first one first: a group of somebody else's under one of them is left alone.
    fn names(self) -> Vec<String> {
        let first = format!("entity-lockdown-{}", self.as_str());
        let further = (2..=NAMES).map(|n| format!("{}{n}", self.stem()));
        std::iter::once(first.clone()).chain(further).collect()
    }

    /// Where a group's name stands among ours; `None`: it is no name of ours.
    fn place(self, group: &SecurityGroup) -> Option<usize> {
        let name = group.group_name()?;
        let names = self.names();
        let known = names.iter().position(|known| known == name);
        known.or_else(|| name.starts_with(&self.stem()).then_some(names.len()))
    }

    /// Whether a group has our tag of this purpose.
    fn is_tagged(self, group: &SecurityGroup) -> bool {
        let is_ours = |tag: &Tag| tag.key() == Some(TAG) && tag.value() == Some(self.as_str());
        group.tags().iter().any(is_ours)
    }

    /// The rules of either direction.
    fn rules(self) -> Vec<IpPermission> {
        match self {
            Self::Isolation => vec![],
            Self::Untracking => vec![
                IpPermission::builder()
                    .ip_protocol("-1")
                    .ip_ranges(IpRange::builder().cidr_ip(EVERYWHERE_4).build())
                    .ipv6_ranges(Ipv6Range::builder().cidr_ipv6(EVERYWHERE_6).build())
                    .build(),
            ],
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Untracking => "entity-lockdown: makes connections untracked before isolation. Do not use.",
            Self::Isolation => "entity-lockdown: lets nothing in and nothing out. Do not use.",
        }
    }
}

/// One of our groups in one VPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OurGroup {
    /// The VPC.
    pub vpc: String,
    /// What it is for.
    pub purpose: Purpose,
    /// The region and account, for people and for the key.
    pub place: String,
}

/// The group as it is; rules as words, each for one source or destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupState {
    /// Its id; nothing if there is none.
    pub id: Option<String>,
    /// What may come in.
    pub ingress: Vec<String>,
    /// What may go out.
    pub egress: Vec<String>,
}

/// One of our groups as it was found in some VPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundGroup {
    /// Its id (`sg-...`).
    pub id: String,
    /// Its name, one of ours.
    pub name: String,
    /// Its VPC.
    pub vpc: String,
    /// What it is for, as its tag says.
    pub purpose: Purpose,
}

impl FoundGroup {
    /// A group as EC2 describes it, if it is ours: of the account itself (a VPC can be shared), with our tag, and with one of the
    /// names of the purpose that the tag says.
    fn of(group: &SecurityGroup, member: &Member) -> Option<Self> {
        let tag = group.tags().iter().find(|tag| tag.key() == Some(TAG))?;
        let mut purposes = [Purpose::Untracking, Purpose::Isolation].into_iter();
        let purpose = purposes.find(|purpose| tag.value() == Some(purpose.as_str()))?;
        purpose.place(group)?;
        let own = group.owner_id().is_none_or(|owner| owner == member.account.as_str());
        own.then_some(())?;
        Some(Self {
            id: group.group_id()?.to_owned(),
            name: group.group_name()?.to_owned(),
            vpc: group.vpc_id()?.to_owned(),
            purpose,
        })
    }
}

/// All our groups in the member's account and region, sorted by their VPCs and names.
///
/// # Errors
/// What EC2 answers.
pub async fn find_all(member: &Member) -> Result<Vec<FoundGroup>, Failure> {
    let purposes = [Purpose::Untracking, Purpose::Isolation].map(|purpose| purpose.as_str().to_owned());
    let tagged = look(member, None, &format!("tag:{TAG}"), purposes.to_vec()).await?;
    let mut found: Vec<FoundGroup> = tagged
        .iter()
        .filter_map(|group| FoundGroup::of(group, member))
        .collect();
    found.sort_unstable_by(|one, other| (&one.vpc, &one.name).cmp(&(&other.vpc, &other.name)));
    Ok(found)
}

/// The group of this purpose in a VPC, if it exists: our tag and one of our names, the first of them where there are several.
///
/// # Errors
/// What EC2 answers.
pub async fn find(member: &Member, vpc: &str, purpose: Purpose) -> Result<Option<SecurityGroup>, Failure> {
    let tag = format!("tag:{TAG}");
    let tagged = look(member, Some(vpc), &tag, vec![purpose.as_str().to_owned()]).await?;
    Ok(tagged
        .into_iter()
        .filter_map(|group| purpose.place(&group).map(|place| (place, group)))
        .min_by(order)
        .map(|(_, group)| group))
}

fn order(one: &(usize, SecurityGroup), other: &(usize, SecurityGroup)) -> std::cmp::Ordering {
    one.0
        .cmp(&other.0)
        .then_with(|| one.1.group_name().cmp(&other.1.group_name()))
}

/// The id of our group in a VPC, if it has exactly the rules that it should have.
///
/// # Errors
/// It is missing or has been changed, or what EC2 answers.
pub async fn ready(member: &Member, vpc: &str, purpose: Purpose) -> Result<String, Failure> {
    let wanted = words(&purpose.rules());
    let right = |group: &SecurityGroup| {
        words(group.ip_permissions()) == wanted && words(group.ip_permissions_egress()) == wanted
    };
    let group = find(member, vpc, purpose).await?.filter(right);
    group.and_then(|group| group.group_id).ok_or_else(|| {
        let what = format!("our {} group in {vpc}", purpose.as_str());
        let message = "it could not be made, or its rules are not ours";
        Failure::own(
            "ec2:DescribeSecurityGroups",
            what,
            member.account.as_str(),
            "NotReady",
            message,
        )
    })
}

/// The groups of one VPC, or of all, by a filter.
async fn look(
    member: &Member,
    vpc: Option<&str>,
    by: &str,
    values: Vec<String>,
) -> Result<Vec<SecurityGroup>, Failure> {
    let vpcs = vpc.map(|vpc| Filter::builder().name("vpc-id").values(vpc).build());
    let filter = Filter::builder().name(by).set_values(Some(values)).build();
    let filters = vpcs.into_iter().chain([filter]).collect();
    let pages = member.ec2.describe_security_groups().set_filters(Some(filters));
    let groups: Result<Vec<_>, _> = pages.into_paginator().items().send().collect().await;
    let place = vpc.unwrap_or(member.region.as_str());
    groups.map_err(|error| member.failure("ec2:DescribeSecurityGroups", place, &error))
}

/// The rules as sorted words, so that they can be compared and read.
fn words(rules: &[IpPermission]) -> Vec<String> {
    let mut words: Vec<String> = rules
        .iter()
        .flat_map(|rule| {
            let ports = match (rule.from_port, rule.to_port) {
                (Some(from), Some(to)) if rule.ip_protocol() != Some("-1") => format!(" {from}-{to}"),
                _ => String::new(),
            };
            let head = format!("{}{ports}", rule.ip_protocol().unwrap_or("-1"));
            let ranges = rule.ip_ranges().iter().filter_map(|range| range.cidr_ip());
            let ranges6 = rule.ipv6_ranges().iter().filter_map(|range| range.cidr_ipv6());
            let groups = rule.user_id_group_pairs().iter().filter_map(|pair| pair.group_id());
            let lists = rule.prefix_list_ids().iter().filter_map(|list| list.prefix_list_id());
            let all: Vec<String> = ranges
                .chain(ranges6)
                .chain(groups)
                .chain(lists)
                .map(|peer| format!("{head} {peer}"))
                .collect();
            all
        })
        .collect();
    words.sort_unstable();
    words
}

impl OurGroup {
    /// Creates the group under the first name that is free, and says its id.
    async fn create(&self, member: &Member) -> Result<SecurityGroup, Failure> {
        let taken = look(member, Some(&self.vpc), "group-name", self.purpose.names()).await?;
        // Made by another containment since it was looked for: one of a purpose is enough.
        if let Some(ours) = taken.iter().find(|group| self.purpose.is_tagged(group)) {
            return Ok(ours.clone());
        }
        let free = |name: &String| !taken.iter().any(|group| group.group_name() == Some(name.as_str()));
        // Whoever takes all names in advance must not keep an instance open: the last one can't be guessed.
        let unguessable = || format!("{}{}", self.purpose.stem(), crate::moment::Moment::now().millis());
        let name = self.purpose.names().into_iter().find(free).unwrap_or_else(unguessable);
        let tag = Tag::builder().key(TAG).value(self.purpose.as_str()).build();
        let tags = TagSpecification::builder()
            .resource_type(ResourceType::SecurityGroup)
            .tags(tag)
            .build();
        let call = member
            .ec2
            .create_security_group()
            .group_name(name)
            .description(self.purpose.description());
        let answer = call.vpc_id(&self.vpc).tag_specifications(tags).send().await;
        answer.map_err(|error| member.failure("ec2:CreateSecurityGroup", &self.vpc, &error))?;
        // What it begins with depends on the VPC (an IPv6 one adds ::/0 to the egress): it is read, not assumed.
        find(member, &self.vpc, self.purpose).await?.ok_or_else(|| {
            let mut failure = Failure::own(
                "ec2:DescribeSecurityGroups",
                &self.vpc,
                member.account.as_str(),
                "NotYetVisible",
                "the group that was created does not show yet",
            );
            failure.reason = Reason::Duplicate;
            failure
        })
    }

    /// Brings both directions to the rules that they should have.
    async fn repair(&self, member: &Member, group: &SecurityGroup) -> Result<(), Failure> {
        let id = group.group_id().unwrap_or_default();
        let wanted = self.purpose.rules();
        let wrong = |present: &[IpPermission]| words(present) != words(&wanted);
        let ingress = async {
            let present = group.ip_permissions();
            if wrong(present) && !present.is_empty() {
                let call = member.ec2.revoke_security_group_ingress().group_id(id);
                let answer = call.set_ip_permissions(Some(present.to_vec())).send().await;
                tolerate(
                    answer
                        .map(drop)
                        .map_err(|error| member.failure("ec2:RevokeSecurityGroupIngress", id, &error)),
                )?;
            }
            if wrong(present) && !wanted.is_empty() {
                let call = member.ec2.authorize_security_group_ingress().group_id(id);
                let answer = call.set_ip_permissions(Some(wanted.clone())).send().await;
                tolerate(
                    answer
                        .map(drop)
                        .map_err(|error| member.failure("ec2:AuthorizeSecurityGroupIngress", id, &error)),
                )?;
            }
            Ok(())
        };
        let egress = async {
            let present = group.ip_permissions_egress();
            if wrong(present) && !present.is_empty() {
                let call = member.ec2.revoke_security_group_egress().group_id(id);
                let answer = call.set_ip_permissions(Some(present.to_vec())).send().await;
                tolerate(
                    answer
                        .map(drop)
                        .map_err(|error| member.failure("ec2:RevokeSecurityGroupEgress", id, &error)),
                )?;
            }
            if wrong(present) && !wanted.is_empty() {
                let call = member.ec2.authorize_security_group_egress().group_id(id);
                let answer = call.set_ip_permissions(Some(wanted.clone())).send().await;
                tolerate(
                    answer
                        .map(drop)
                        .map_err(|error| member.failure("ec2:AuthorizeSecurityGroupEgress", id, &error)),
                )?;
            }
            Ok(())
        };
        try_join(ingress, egress).await.map(drop)
    }
}

/// Somebody else may repair the same group in the same moment: what counts is what is read afterwards.
fn tolerate(outcome: Result<(), Failure>) -> Result<(), Failure> {
    outcome.or_else(|failure| {
        if failure.reason == Reason::Duplicate {
            Ok(())
        } else {
            Err(failure)
        }
    })
}

impl Change for OurGroup {
    const PERMISSIONS: &'static [Permission] = &[
        Permission {
            action: "ec2:AuthorizeSecurityGroupEgress",
            used_for: "open the untracking group",
        },
        Permission {
            action: "ec2:AuthorizeSecurityGroupIngress",
            used_for: "open the untracking group",
        },
        Permission {
            action: "ec2:CreateSecurityGroup",
            used_for: "make the two groups of a VPC",
        },
        Permission {
            action: "ec2:CreateTags",
            used_for: "tag the two groups of a VPC as they are made",
        },
        Permission {
            action: "ec2:DescribeSecurityGroups",
            used_for: "find the two groups of a VPC and read them back",
        },
        Permission {
            action: "ec2:RevokeSecurityGroupEgress",
            used_for: "close the isolation group, and repair either",
        },
        Permission {
            action: "ec2:RevokeSecurityGroupIngress",
            used_for: "close the isolation group, and repair either",
        },
    ];
    // The two groups of a VPC stay: other containments may use them, and unused they do nothing.
    const REVERSES: bool = false;
    type State = GroupState;

    fn resource(&self) -> String {
        format!("{}/{}/{}", self.place, self.vpc, self.purpose.as_str())
    }

    fn target(&self) -> Option<Arn> {
        None
    }

    fn describe(&self) -> String {
        match self.purpose {
            Purpose::Untracking => format!(
                "make sure of the untracking group in {}: everything in and out",
                self.vpc
            ),
            Purpose::Isolation => format!(
                "make sure of the isolation group in {}: nothing in, nothing out",
                self.vpc
            ),
        }
    }

    fn describe_undo(&self, _before: &GroupState) -> String {
        format!(
            "leave the {} group in {}: it is unused",
            self.purpose.as_str(),
            self.vpc
        )
    }

    fn holds(&self, now: &GroupState) -> bool {
        let wanted = words(&self.purpose.rules());
        now.id.is_some() && now.ingress == wanted && now.egress == wanted
    }

    async fn exists(&self, _member: &Member) -> Result<bool, Failure> {
        Ok(true)
    }

    async fn read(&self, member: &Member) -> Result<GroupState, Failure> {
        let group = find(member, &self.vpc, self.purpose).await?;
        Ok(match group {
            Some(group) => GroupState {
                ingress: words(group.ip_permissions()),
                egress: words(group.ip_permissions_egress()),
                id: group.group_id,
            },
            None => GroupState {
                id: None,
                ingress: vec![],
                egress: vec![],
            },
        })
    }

    async fn apply(&self, member: &Member, _before: &GroupState) -> Result<Receipt, Failure> {
        let group = match find(member, &self.vpc, self.purpose).await? {
            Some(group) => group,
            None => self.create(member).await?,
        };
        self.repair(member, &group).await?;
        Ok(Receipt::default())
    }

    async fn undo(
        &self,
        _member: &Member,
        _before: &GroupState,
        _made: Option<&GroupState>,
    ) -> Result<Receipt, Failure> {
        Ok(Receipt::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(purpose: Purpose) -> OurGroup {
        OurGroup {
            vpc: "vpc-1".into(),
            purpose,
            place: "aws/222222222222/us-east-1".into(),
        }
    }

    fn state(rules: &[&str]) -> GroupState {
        let rules: Vec<String> = rules.iter().map(|rule| (*rule).to_owned()).collect();
        GroupState {
            id: Some("sg-1".into()),
            ingress: rules.clone(),
            egress: rules,
        }
    }

    #[test]
    fn a_group_counts_only_with_exactly_its_rules_for_both_families() {
        assert!(group(Purpose::Isolation).holds(&state(&[])));
        assert!(!group(Purpose::Isolation).holds(&state(&["tcp 22-22 0.0.0.0/0"])));
        assert!(!group(Purpose::Isolation).holds(&GroupState { id: None, ..state(&[]) }));
        assert!(group(Purpose::Untracking).holds(&state(&["-1 0.0.0.0/0", "-1 ::/0"])));
        assert!(!group(Purpose::Untracking).holds(&state(&["-1 0.0.0.0/0"])));
        assert!(!group(Purpose::Untracking).holds(&state(&["-1 0.0.0.0/0", "-1 ::/0", "tcp 1-2 sg-2"])));
    }

    #[test]
    fn rules_read_the_same_however_they_are_grouped() {
        let range = |cidr: &str| IpRange::builder().cidr_ip(cidr).build();
        let together = IpPermission::builder().ip_protocol("tcp").from_port(1).to_port(2);
        let together = together
            .ip_ranges(range("10.0.0.0/8"))
            .ip_ranges(range("10.1.0.0/16"))
            .build();
        assert_eq!(words(&[together]), ["tcp 1-2 10.0.0.0/8", "tcp 1-2 10.1.0.0/16"]);
    }
}
