//! An EC2 instance: a deny on its role for this instance alone, then every network interface by way of the untracking group into
//! the isolation group.
//!
//! Source: Amazon EC2 User Guide, "Security group connection tracking" and "Elastic network interfaces".

use aws_sdk_ec2::types::{Filter, InstanceStateName, NetworkInterface};
use futures_util::future::{OptionFuture, join, join_all};

use super::{Kind, Surveyed};
use crate::arn::Arn;
use crate::aws::{Failure, Member, Reason};
use crate::entity::Entity;
use crate::guard::Refusal;
use crate::plan::{Plan, Planned};
use crate::record::Record;
use crate::settings::Settings;
use crate::steps::inline_policy::{Denied, InlinePolicy};
use crate::steps::interface::{Groups, Interface, group_ids};
use crate::steps::isolate::Isolate;
use crate::steps::principal::{Principal, PrincipalKind};
use crate::steps::security_group::{OurGroup, Purpose, find};
use crate::steps::settle::{Nothing, Settle};
use crate::steps::tracking_timeouts::{Timeouts, TrackingTimeouts};
use crate::steps::untrack::Untrack;
use crate::steps::{Permission, written};

/// The deny and all that makes the swap possible.
const PREPARE: u8 = 0;
/// Interfaces become open, so that their connections become untracked.
const OPEN: u8 = 1;
/// The pause.
const PAUSE: u8 = 2;
/// Interfaces become closed.
const CLOSE: u8 = 3;

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
}

/// The facts about one network interface.
#[derive(Debug, Clone)]
pub struct InterfaceFacts {
    /// Which one.
    pub interface: Interface,
    /// Where it stands.
    pub groups: Groups,
    /// Its timeouts.
    pub timeouts: Timeouts,
    /// Who manages it, where that is not the account: such an interface can't be changed.
    pub managed_by: Option<String>,
}

impl Surveyed for Instance {
    const NAME: &'static str = "ec2-instance";
    const LABEL: &'static str = "EC2 instance";
    const SHAPES: &'static [&'static str] = &["arn:aws:ec2:REGION:ACCOUNT:instance/ID"];
    const PERMISSIONS: &'static [Permission] = &[
        Permission {
            action: "ec2:DescribeInstances",
            used_for: "find an instance, its state and its profile",
        },
        Permission {
            action: "ec2:DescribeNetworkInterfaces",
            used_for: "find every interface of an instance",
        },
        Permission {
            action: "ec2:DescribeSecurityGroups",
            used_for: "see which interfaces are in our groups already",
        },
        Permission {
            action: "iam:GetInstanceProfile",
            used_for: "find the role of an instance",
        },
    ];
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

    async fn survey(entity: &Entity, member: &Member, _settings: &Settings) -> Result<InstanceFacts, Failure> {
        let (inside, interfaces) = join(
            async {
                let profile = profile(entity, member).await?;
                let roles = OptionFuture::from(profile.as_deref().map(|arn| roles(arn, member))).await;
                Ok((profile, roles.unwrap_or_else(|| Ok(vec![]))))
            },
            interfaces(entity, member),
        )
        .await;
        let (profile, roles) = inside?;
        Ok(InstanceFacts {
            profile,
            roles,
            interfaces,
        })
    }

    fn plan(
        entity: &Entity,
        facts: &InstanceFacts,
        settings: &Settings,
        _record: Option<&Record>,
    ) -> Result<Plan, Refusal> {
        let mut plan = Plan::of(entity.named.clone());
        deny(&mut plan, entity, facts, settings);
        let place = format!("{}/{}/{}", entity.partition, entity.account, entity.home());
        let interfaces = match &facts.interfaces {
            Ok(interfaces) => interfaces.as_slice(),
            Err(failure) => {
                plan.leave_open(
                    "Its network interfaces, which could not be listed and are not isolated",
                    failure,
                );
                &[]
            }
        };
        let (managed, own): (Vec<_>, Vec<_>) = interfaces.iter().partition(|facts| facts.managed_by.is_some());
        plan.residue.extend(managed.iter().map(|facts| {
            let by = facts.managed_by.as_deref().unwrap_or("AWS");
            format!(
                "The {} is managed by {by} and can't be changed: its traffic goes on",
                facts.interface.label()
            )
        }));
        let settles = settings.settle.as_secs() > 0 && !own.is_empty();
        let mut vpcs: Vec<&str> = own.iter().map(|facts| facts.interface.vpc.as_str()).collect();
        vpcs.sort_unstable();
        vpcs.dedup();
        for vpc in vpcs {
            let group = |purpose| OurGroup {
                vpc: vpc.to_owned(),
                purpose,
                place: place.clone(),
            };
            if settles {
                plan.steps.push(Planned::new(PREPARE, group(Purpose::Untracking), None));
            }
            plan.steps.push(Planned::new(PREPARE, group(Purpose::Isolation), None));
        }
        for facts in &own {
            let (interface, timeouts) = (facts.interface.clone(), Some(written(&facts.timeouts)));
            plan.steps
                .push(Planned::new(PREPARE, TrackingTimeouts { interface }, timeouts));
        }
        if settles {
            for facts in &own {
                let (interface, groups) = (facts.interface.clone(), Some(written(&facts.groups)));
                plan.steps.push(Planned::new(OPEN, Untrack { interface }, groups));
            }
            let seconds = settings.settle.as_secs();
            let settle = Settle {
                instance: entity.named.clone(),
                seconds,
            };
            plan.steps.push(Planned::new(PAUSE, settle, Some(written(&Nothing {}))));
            plan.remarks.push(format!(
                "During the settle of {seconds} s the instance is OPEN to the network from and to everywhere, so that tracked connections become \
                 untracked; then it is isolated"
            ));
        }
        for facts in &own {
            let (interface, groups) = (facts.interface.clone(), Some(written(&facts.groups)));
            plan.steps.push(Planned::new(CLOSE, Isolate { interface }, groups));
        }
        plan.remarks.extend([
            "Connections through NAT gateways, load balancers, PrivateLink and the like are always tracked: they go on for as \
             long as they are active"
                .to_owned(),
            "Security groups filter neither DNS to the VPC's resolver nor the metadata service".to_owned(),
            "Sessions that were assumed with the instance's credentials in other roles go on: contain those roles too".to_owned(),
            "If the instance had another role earlier, credentials that it got of that one work until they expire: contain that role too"
                .to_owned(),
        ]);
        Ok(plan)
    }
}

/// Denies the instance's role to this instance alone.
fn deny(plan: &mut Plan, entity: &Entity, facts: &InstanceFacts, settings: &Settings) {
    let Some(profile) = &facts.profile else { return };
    let roles = match &facts.roles {
        Ok(roles) => roles,
        Err(failure) if failure.reason == Reason::Absent => {
            plan.residue.push(format!(
                "The instance profile {profile} does not exist (any more), so the instance's role is not known: credentials that it \
                 got of that role work until they expire. Find the role (CloudTrail) and contain it"
            ));
            return;
        }
        Err(failure) => {
            plan.leave_open(
                &format!("The role of the instance profile {profile}, which could not be read and is not denied"),
                failure,
            );
            return;
        }
    };
    if roles.is_empty() {
        plan.residue.push(format!(
            "The instance profile {profile} holds no role (any more), so there was nothing to deny: credentials that the instance got \
             of a role that it held before work until they expire. Find that role (CloudTrail) and contain it"
        ));
    }
    for role in roles {
        if settings.inline_deny {
            let denied = Denied::Instance {
                instance: entity.named.clone(),
            };
            plan.steps.push(Planned::new(
                PREPARE,
                InlinePolicy {
                    principal: role.clone(),
                    denied,
                },
                None,
            ));
            plan.remarks.push(format!(
                "Other users of the role {} go on: its deny is for this instance's sessions alone",
                role.name
            ));
        } else {
            plan.residue.push(format!(
                "InlineDeny is `no`, so the credentials that the instance has of the role {} stay valid: it is isolated by network alone",
                role.name
            ));
        }
    }
}

/// The ARN of the instance's profile. An instance that is gone is an absent one; one that is on its way can be tried again.
async fn profile(entity: &Entity, member: &Member) -> Result<Option<String>, Failure> {
    let call = "ec2:DescribeInstances";
    let answer = member.ec2.describe_instances().instance_ids(&entity.name).send().await;
    let answer = answer.map_err(|error| member.failure(call, &entity.name, &error))?;
    let mut instances = answer
        .reservations
        .unwrap_or_default()
        .into_iter()
        .flat_map(|found| found.instances.unwrap_or_default());
    let wrong = |code: &str, message: &str, reason| Failure {
        reason,
        ..Failure::own(call, &entity.name, member.account.as_str(), code, message)
    };
    let instance = instances
        .next()
        .ok_or_else(|| wrong("InvalidInstanceID.NotFound", "there is none", Reason::Absent))?;
    match instance.state.and_then(|state| state.name) {
        Some(InstanceStateName::Terminated | InstanceStateName::ShuttingDown) => Err(wrong(
            "Terminated",
            "it is terminated: nothing of it can act any more",
            Reason::Absent,
        )),
        Some(state @ (InstanceStateName::Pending | InstanceStateName::Stopping)) => {
            let message = format!("its interfaces can't be changed while it is {}", state.as_str());
            Err(wrong("IncorrectInstanceState", &message, Reason::Passing))
        }
        _ => Ok(instance.iam_instance_profile.and_then(|profile| profile.arn)),
    }
}

/// The roles of an instance profile. Its ARN can carry a path: the name is the last segment.
async fn roles(profile: &str, member: &Member) -> Result<Vec<Principal>, Failure> {
    let call = "iam:GetInstanceProfile";
    let name = profile.rsplit('/').next().unwrap_or(profile);
    let asked = member.iam.get_instance_profile().instance_profile_name(name);
    let answer = asked.send().await;
    let answer = answer.map_err(|error| member.failure(call, name, &error))?;
    let roles = answer.instance_profile.map(|profile| profile.roles).unwrap_or_default();
    let principal = |role: aws_sdk_iam::types::Role| {
        let unreadable = || {
            Failure::own(
                call,
                name,
                member.account.as_str(),
                "UnreadableAnswer",
                "the role's ARN is malformed",
            )
        };
        let arn = role.arn.parse().map_err(|_| unreadable())?;
        Ok(Principal {
            kind: PrincipalKind::Role,
            name: role.role_name,
            arn,
            id: role.role_id,
        })
    };
    roles.into_iter().map(principal).collect()
}

async fn interfaces(entity: &Entity, member: &Member) -> Result<Vec<InterfaceFacts>, Failure> {
    let filter = Filter::builder()
        .name("attachment.instance-id")
        .values(&entity.name)
        .build();
    let pages = member
        .ec2
        .describe_network_interfaces()
        .filters(filter)
        .into_paginator()
        .items()
        .send();
    let found: Result<Vec<_>, _> = pages.collect().await;
    let found = found.map_err(|error| member.failure("ec2:DescribeNetworkInterfaces", &entity.name, &error))?;
    let mut vpcs: Vec<&str> = found.iter().filter_map(NetworkInterface::vpc_id).collect();
    vpcs.sort_unstable();
    vpcs.dedup();
    let ours = join_all(vpcs.into_iter().map(|vpc| our_groups(vpc, member))).await;
    let ours: Vec<OurGroupId> = ours.into_iter().flatten().collect();
    Ok(found
        .into_iter()
        .filter_map(|found| facts_of(entity, &found, &ours))
        .collect())
}

/// A VPC, the id of a group of ours in it, and what that is for.
type OurGroupId = (String, String, Purpose);

/// Our groups of one VPC, by the same rule by which the steps find them: a tag of ours on any other group means nothing. What can't
/// be read is left out: then no interface is taken for isolated already.
async fn our_groups(vpc: &str, member: &Member) -> Vec<OurGroupId> {
    let of = async |purpose| {
        let group = find(member, vpc, purpose).await.ok().flatten();
        group.and_then(|group| Some((vpc.to_owned(), group.group_id?, purpose)))
    };
    let (untracking, isolation) = join(of(Purpose::Untracking), of(Purpose::Isolation)).await;
    untracking.into_iter().chain(isolation).collect()
}

fn facts_of(entity: &Entity, found: &NetworkInterface, ours: &[OurGroupId]) -> Option<InterfaceFacts> {
    let vpc = found.vpc_id.clone()?;
    let ours: Vec<_> = ours
        .iter()
        .filter(|(of, ..)| *of == vpc)
        .map(|(_, id, purpose)| (id.clone(), *purpose))
        .collect();
    let operator = found.operator().filter(|operator| operator.managed() == Some(true));
    let requester = (found.requester_managed() == Some(true)).then(|| found.requester_id().unwrap_or("AWS"));
    let managed_by = operator
        .map(|operator| operator.principal().unwrap_or("AWS"))
        .or(requester);
    Some(InterfaceFacts {
        interface: Interface {
            id: found.network_interface_id.clone()?,
            vpc,
            instance: entity.named.clone(),
        },
        groups: Groups::of(group_ids(found), &ours),
        timeouts: Timeouts::of(found.connection_tracking_configuration()),
        managed_by: managed_by.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::settings;
    use std::time::Duration;

    const ARN: &str = "arn:aws:ec2:us-east-1:222222222222:instance/i-0123456789abcdef0";

    fn entity() -> Entity {
        ARN.parse().expect("an instance")
    }

    fn interface(id: &str, vpc: &str, managed_by: Option<&str>) -> InterfaceFacts {
        InterfaceFacts {
            interface: Interface {
                id: id.into(),
                vpc: vpc.into(),
                instance: entity().named,
            },
            groups: Groups {
                groups: vec!["sg-own".into()],
                within: None,
            },
            timeouts: Timeouts::of(None),
            managed_by: managed_by.map(str::to_owned),
        }
    }

    fn facts(interfaces: Vec<InterfaceFacts>) -> InstanceFacts {
        let arn: Arn = "arn:aws:iam::222222222222:role/app/r".parse().expect("an ARN");
        let role = Principal {
            kind: PrincipalKind::Role,
            name: "r".into(),
            arn,
            id: "AROA1".into(),
        };
        InstanceFacts {
            profile: Some("arn:aws:iam::222222222222:instance-profile/p".into()),
            roles: Ok(vec![role]),
            interfaces: Ok(interfaces),
        }
    }

    fn steps(plan: &Plan) -> Vec<String> {
        plan.steps
            .iter()
            .map(|planned| format!("{} {}", planned.phase, planned.step.describe()))
            .collect()
    }

    #[test]
    fn every_interface_goes_by_way_of_its_own_vpcs_groups() {
        let facts = facts(vec![
            interface("eni-1", "vpc-1", None),
            interface("eni-2", "vpc-2", None),
        ]);
        let plan = Instance::plan(&entity(), &facts, &settings(), None).expect("a plan");
        insta::assert_snapshot!(steps(&plan).join("\n"), @r"
        0 write the inline policy EntityLockdownDeny-i-0123456789abcdef0 into the role r: deny everything to the sessions of i-0123456789abcdef0 alone
        0 make sure of the untracking group in vpc-1: everything in and out
        0 make sure of the isolation group in vpc-1: nothing in, nothing out
        0 make sure of the untracking group in vpc-2: everything in and out
        0 make sure of the isolation group in vpc-2: nothing in, nothing out
        0 shorten the interface eni-1's connection tracking (TCP 60 s, UDP 30 s, UDP streams 60 s)
        0 shorten the interface eni-2's connection tracking (TCP 60 s, UDP 30 s, UDP streams 60 s)
        1 move the interface eni-1 into the untracking group
        1 move the interface eni-2 into the untracking group
        2 wait 60 s until tracked connections are untracked
        3 move the interface eni-1 into the isolation group
        3 move the interface eni-2 into the isolation group
        ");
        assert_eq!(plan.residue, Vec::<String>::new());
        assert!(plan.remarks.iter().any(|remark| remark.contains("OPEN to the network")));
    }

    #[test]
    fn without_a_settle_nothing_is_opened() {
        let settings = Settings {
            settle: Duration::ZERO,
            ..settings()
        };
        let plan = Instance::plan(
            &entity(),
            &facts(vec![interface("eni-1", "vpc-1", None)]),
            &settings,
            None,
        )
        .expect("a plan");
        assert!(!steps(&plan).join("\n").contains("untracking"), "{:?}", steps(&plan));
        assert!(!plan.remarks.iter().any(|remark| remark.contains("OPEN")));
    }

    #[test]
    fn what_can_not_be_closed_is_residue() {
        let with_managed = facts(vec![
            interface("eni-1", "vpc-1", None),
            interface("eni-2", "vpc-1", Some("amazon-elb")),
        ]);
        let settings = Settings {
            inline_deny: false,
            ..settings()
        };
        let plan = Instance::plan(&entity(), &with_managed, &settings, None).expect("a plan");
        assert_eq!(plan.residue.len(), 2, "{:?}", plan.residue);
        assert!(
            !steps(&plan)
                .iter()
                .any(|step| step.contains("eni-2") || step.contains("inline policy"))
        );
    }

    fn failure(reason: Reason) -> Failure {
        let mut failure = Failure::own("x:Read", "it", "222222222222", "Code", "");
        failure.reason = reason;
        failure
    }

    #[test]
    fn a_failed_read_keeps_nothing_else_open_and_is_tried_again_where_that_can_help() {
        for (reason, retry) in [(Reason::Denied, 0), (Reason::Passing, 1)] {
            let without_role = InstanceFacts {
                roles: Err(failure(reason)),
                ..facts(vec![interface("eni-1", "vpc-1", None)])
            };
            let plan = Instance::plan(&entity(), &without_role, &settings(), None).expect("a plan");
            assert!(
                steps(&plan)
                    .join("\n")
                    .contains("move the interface eni-1 into the isolation group")
            );
            assert_eq!((plan.residue.len(), plan.unread.len()), (1, retry), "{plan:?}");
            assert!(plan.residue.concat().contains("instance-profile/p"), "{plan:?}");

            let without_interfaces = InstanceFacts {
                interfaces: Err(failure(reason)),
                ..facts(vec![])
            };
            let plan = Instance::plan(&entity(), &without_interfaces, &settings(), None).expect("a plan");
            assert_eq!(steps(&plan).len(), 1, "the role is denied: {plan:?}");
            assert_eq!((plan.residue.len(), plan.unread.len()), (1, retry), "{plan:?}");
        }
    }

    #[test]
    fn credentials_of_a_role_that_is_not_known_any_more_are_residue() {
        for (roles, word) in [
            (Ok(vec![]), "holds no role"),
            (Err(failure(Reason::Absent)), "does not exist"),
        ] {
            let facts = InstanceFacts {
                roles,
                ..facts(vec![interface("eni-1", "vpc-1", None)])
            };
            let plan = Instance::plan(&entity(), &facts, &settings(), None).expect("a plan");
            let said = plan.residue.concat();
            assert!(said.contains(word) && said.contains("until they expire"), "{said}");
            assert!(plan.unread.is_empty(), "{plan:?}");
        }
        let without_profile = InstanceFacts {
            profile: None,
            roles: Ok(vec![]),
            ..facts(vec![interface("eni-1", "vpc-1", None)])
        };
        let plan = Instance::plan(&entity(), &without_profile, &settings(), None).expect("a plan");
        assert!(plan.residue.is_empty(), "{plan:?}");
        assert!(
            plan.remarks
                .iter()
                .any(|remark| remark.contains("another role earlier"))
        );
    }

    #[test]
    fn an_interface_is_isolated_only_by_our_group_of_its_own_vpc() {
        let ours = |vpc: &str| vec![(vpc.to_owned(), "sg-1".to_owned(), Purpose::Isolation)];
        let group = aws_sdk_ec2::types::GroupIdentifier::builder().group_id("sg-1").build();
        let described = NetworkInterface::builder()
            .network_interface_id("eni-1")
            .vpc_id("vpc-1")
            .groups(group)
            .build();
        let within = |ours: &[OurGroupId]| facts_of(&entity(), &described, ours).and_then(|facts| facts.groups.within);
        assert_eq!(within(&ours("vpc-1")), Some(Purpose::Isolation));
        assert_eq!(within(&ours("vpc-2")), None);
        assert_eq!(within(&[]), None);
    }

    #[test]
    fn the_role_is_judged_by_the_guard() {
        let plan = Instance::plan(&entity(), &facts(vec![]), &settings(), None).expect("a plan");
        assert!(plan.touches().any(|arn| arn.resource == "role/app/r"));
    }

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
