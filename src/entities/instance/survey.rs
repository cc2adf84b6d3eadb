//! Reads an instance, its role, its interfaces, the network around them and its Auto Scaling group. Changes nothing.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{
    Filter, InstanceLifecycleType, InstanceStateName, NetworkInterface, NetworkInterfaceType, SecurityGroup,
};
use futures_util::future::{OptionFuture, join, join_all, join5};

use super::network::{Middle, Network, Passage, Place, Route, RouteTable, Via, single};
use super::{Door, GroupFacts, InstanceFacts, InterfaceFacts, VolumeFacts};
use crate::aws::{Failure, Member, Reason};
use crate::cidr::Cidr;
use crate::entity::Entity;
use crate::settings::{AutoScaling, Settings};
use crate::steps::instance::{describe, is_gone};
use crate::steps::interface::{Groups, Interface, group_ids};
use crate::steps::network_acl::Acl;
use crate::steps::principal::{Principal, PrincipalKind};
use crate::steps::security_group::{Purpose, find};
use crate::steps::tracking_timeouts::Timeouts;

/// All that the plan depends on. What can't be read of the network or the group is a fact of its own: it keeps nothing open.
pub(super) async fn survey(entity: &Entity, member: &Member, settings: &Settings) -> Result<InstanceFacts, Failure> {
    let (inside, outside, group) = tokio::join!(
        inside(entity, member),
        outside(entity, member, settings),
        OptionFuture::from((settings.auto_scaling != AutoScaling::Leave).then(|| group(entity, member))),
    );
    let (described, roles) = inside?;
    let Outside {
        interfaces,
        networks,
        doors,
    } = outside;
    Ok(InstanceFacts {
        profile: described.profile,
        roles,
        interfaces,
        networks,
        spot: described.spot,
        volumes: described.volumes,
        tagged_group: described.tagged_group,
        group: group.unwrap_or(Ok(None)),
        doors,
    })
}

/// The interfaces of an instance, and what is around them.
struct Outside {
    interfaces: Result<Vec<InterfaceFacts>, Failure>,
    networks: BTreeMap<String, Network>,
    doors: Result<Vec<Door>, Failure>,
}

async fn outside(entity: &Entity, member: &Member, settings: &Settings) -> Outside {
    let (found, doors) = join(interfaces(entity, member), doors(&settings.forensic_groups, member)).await;
    let (interfaces, networks) = match found {
        Ok(found) => {
            let with_subnets = !settings.forensic_cidrs.is_empty();
            let (facts, networks) = around(entity, member, &found, &doors, with_subnets).await;
            (Ok(facts), networks)
        }
        Err(failure) => (Err(failure), BTreeMap::new()),
    };
    Outside {
        interfaces,
        networks,
        doors,
    }
}

/// What `DescribeInstances` says of an instance.
struct Described {
    profile: Option<String>,
    spot: bool,
    volumes: Vec<VolumeFacts>,
    tagged_group: Option<String>,
}

/// Auto Scaling's own tag on its instances; nobody else can set one of this prefix.
const GROUP_TAG: &str = "aws:autoscaling:groupName";

async fn inside(entity: &Entity, member: &Member) -> Result<(Described, Result<Vec<Principal>, Failure>), Failure> {
    let described = instance(entity, member).await?;
    let roles = OptionFuture::from(described.profile.as_deref().map(|arn| roles(arn, member))).await;
    Ok((described, roles.unwrap_or_else(|| Ok(vec![]))))
}

/// An instance that is gone is an absent one; one that is on its way can be tried again.
async fn instance(entity: &Entity, member: &Member) -> Result<Described, Failure> {
    let instance = describe(member, &entity.name).await?;
    let wrong = |code: &str, message: &str, reason| Failure {
        reason,
        ..Failure::own(
            "ec2:DescribeInstances",
            &entity.name,
            member.account.as_str(),
            code,
            message,
        )
    };
    if is_gone(&instance) {
        let message = "it is terminated: nothing of it can act any more";
        return Err(wrong("Terminated", message, Reason::Absent));
    }
    let state = instance.state().and_then(|state| state.name());
    if let Some(state @ (InstanceStateName::Pending | InstanceStateName::Stopping)) = state {
        let message = format!("its interfaces can't be changed while it is {}", state.as_str());
        return Err(wrong("IncorrectInstanceState", &message, Reason::Passing));
    }
    let volumes = instance.block_device_mappings().iter().filter_map(|mapping| {
        let ebs = mapping.ebs()?;
        Some(VolumeFacts {
            volume: ebs.volume_id()?.to_owned(),
            device: mapping.device_name()?.to_owned(),
            deleted: ebs.delete_on_termination().unwrap_or(false),
        })
    });
    Ok(Described {
        spot: instance.instance_lifecycle() == Some(&InstanceLifecycleType::Spot),
        volumes: volumes.collect(),
        tagged_group: instance
            .tags()
            .iter()
            .find(|tag| tag.key() == Some(GROUP_TAG))
            .and_then(|tag| tag.value().map(str::to_owned)),
        profile: instance.iam_instance_profile.and_then(|profile| profile.arn),
    })
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

async fn interfaces(entity: &Entity, member: &Member) -> Result<Vec<NetworkInterface>, Failure> {
    let filter = Filter::builder()
        .name("attachment.instance-id")
        .values(&entity.name)
        .build();
    list_interfaces(member, &entity.name, vec![filter]).await
}

async fn list_interfaces(member: &Member, about: &str, filters: Vec<Filter>) -> Result<Vec<NetworkInterface>, Failure> {
    let pages = member
        .ec2
        .describe_network_interfaces()
        .set_filters(Some(filters))
        .into_paginator()
        .items()
        .send();
    let found: Result<Vec<_>, _> = pages.collect().await;
    found.map_err(|error| member.failure("ec2:DescribeNetworkInterfaces", about, &error))
}

/// The Auto Scaling group of an instance, if it is in one.
async fn group(entity: &Entity, member: &Member) -> Result<Option<GroupFacts>, Failure> {
    let call = "autoscaling:DescribeAutoScalingInstances";
    let asked = member
        .auto_scaling
        .describe_auto_scaling_instances()
        .instance_ids(&entity.name);
    let answer = asked.send().await;
    let answer = answer.map_err(|error| member.failure(call, &entity.name, &error))?;
    let found = answer.auto_scaling_instances.unwrap_or_default().into_iter().next();
    let Some(found) = found else { return Ok(None) };
    let in_service = found.lifecycle_state.as_deref() == Some("InService");
    let Some(name) = found.auto_scaling_group_name else {
        return Ok(None);
    };
    let call = "autoscaling:DescribeAutoScalingGroups";
    let asked = member
        .auto_scaling
        .describe_auto_scaling_groups()
        .auto_scaling_group_names(&name);
    let answer = asked.send().await;
    let answer = answer.map_err(|error| member.failure(call, &name, &error))?;
    let group = answer.auto_scaling_groups.unwrap_or_default().into_iter().next();
    Ok(group.and_then(|group| {
        let min = group.min_size.unwrap_or_default();
        let most = (group.desired_capacity.unwrap_or_default() - 1).max(0);
        Some(GroupFacts {
            name,
            arn: group.auto_scaling_group_arn?.parse().ok()?,
            in_the_way: (in_service && most < min).then_some((min, most)),
        })
    }))
}

/// The groups of the forensic door that exist, with what they let through.
async fn doors(groups: &[String], member: &Member) -> Result<Vec<Door>, Failure> {
    if groups.is_empty() {
        return Ok(vec![]);
    }
    // A filter leaves out what is not there (another region's groups), where a list of ids would fail.
    let filter = Filter::builder()
        .name("group-id")
        .set_values(Some(groups.to_vec()))
        .build();
    let answer = member.ec2.describe_security_groups().filters(filter).send().await;
    let answer = answer.map_err(|error| member.failure("ec2:DescribeSecurityGroups", groups.join(", "), &error))?;
    let found = answer.security_groups.unwrap_or_default();
    Ok(found.iter().filter_map(door).collect())
}

fn door(group: &SecurityGroup) -> Option<Door> {
    let everywhere = |rules: &[aws_sdk_ec2::types::IpPermission]| {
        rules.iter().any(|rule| {
            let v4 = rule.ip_ranges().iter().filter_map(|range| range.cidr_ip());
            let v6 = rule.ipv6_ranges().iter().filter_map(|range| range.cidr_ipv6());
            let mut ranges = v4.chain(v6).filter_map(|text| text.parse::<Cidr>().ok());
            ranges.any(|range| range.is_everything())
        })
    };
    Some(Door {
        group: group.group_id()?.to_owned(),
        vpc: group.vpc_id()?.to_owned(),
        in_from_everywhere: everywhere(group.ip_permissions()),
        out_to_everywhere: everywhere(group.ip_permissions_egress()),
    })
}

/// The facts about interfaces, with the network of each VPC that they are in.
async fn around(
    entity: &Entity,
    member: &Member,
    found: &[NetworkInterface],
    doors: &Result<Vec<Door>, Failure>,
    with_subnets: bool,
) -> (Vec<InterfaceFacts>, BTreeMap<String, Network>) {
    let mut vpcs: Vec<&str> = found.iter().filter_map(NetworkInterface::vpc_id).collect();
    vpcs.sort_unstable();
    vpcs.dedup();
    let read = vpcs.into_iter().map(|vpc| async move {
        let (ours, network) = join(our_groups(vpc, member), network(vpc, member, with_subnets)).await;
        (vpc.to_owned(), ours, network)
    });
    let (mut ours, mut networks) = (Vec::new(), BTreeMap::new());
    for (vpc, groups, network) in join_all(read).await {
        ours.extend(groups);
        networks.insert(vpc, network);
    }
    let doors = doors.as_deref().unwrap_or_default();
    let facts = found.iter().filter_map(|found| facts_of(entity, found, &ours, doors));
    (facts.collect(), networks)
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

fn facts_of(entity: &Entity, found: &NetworkInterface, ours: &[OurGroupId], doors: &[Door]) -> Option<InterfaceFacts> {
    let vpc = found.vpc_id.clone()?;
    let ours: Vec<_> = ours
        .iter()
        .filter(|(of, ..)| *of == vpc)
        .map(|(_, id, purpose)| (id.clone(), *purpose))
        .collect();
    let mut door: Vec<String> = doors
        .iter()
        .filter(|door| door.vpc == vpc)
        .map(|door| door.group.clone())
        .collect();
    door.sort_unstable();
    let operator = found.operator().filter(|operator| operator.managed() == Some(true));
    let requester = (found.requester_managed() == Some(true)).then(|| found.requester_id().unwrap_or("AWS"));
    let managed_by = operator
        .map(|operator| operator.principal().unwrap_or("AWS"))
        .or(requester);
    Some(InterfaceFacts {
        groups: Groups::of(group_ids(found), &ours, &door),
        interface: Interface {
            id: found.network_interface_id.clone()?,
            vpc,
            instance: entity.named.clone(),
            door,
        },
        place: place(found),
        timeouts: Timeouts::of(found.connection_tracking_configuration()),
        managed_by: managed_by.map(str::to_owned),
        trunk: found.interface_type() == Some(&NetworkInterfaceType::Trunk),
    })
}

/// Every private address and prefix of an interface, and whether it has a public one.
fn place(found: &NetworkInterface) -> Place {
    let v4 = found.private_ip_addresses();
    let first = found.private_ip_address().into_iter();
    let singles = v4
        .iter()
        .filter_map(|address| address.private_ip_address())
        .chain(first)
        .chain(
            found
                .ipv6_addresses()
                .iter()
                .filter_map(|address| address.ipv6_address()),
        )
        .filter_map(single);
    let prefixes4 = found.ipv4_prefixes().iter().filter_map(|prefix| prefix.ipv4_prefix());
    let prefixes6 = found.ipv6_prefixes().iter().filter_map(|prefix| prefix.ipv6_prefix());
    let prefixes = prefixes4
        .chain(prefixes6)
        .filter_map(|prefix| prefix.parse::<Cidr>().ok());
    let mut addresses: Vec<Cidr> = singles.chain(prefixes).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let with_public = |association: Option<&aws_sdk_ec2::types::NetworkInterfaceAssociation>| {
        association.is_some_and(|with| with.public_ip().is_some() || with.carrier_ip().is_some())
    };
    let public4 = with_public(found.association()) || v4.iter().any(|address| with_public(address.association()));
    Place {
        subnet: found.subnet_id().unwrap_or_default().to_owned(),
        // IPv6 addresses of a VPC are global: a route decides whether the internet reaches them.
        public: public4,
        addresses,
    }
}

/// The types of AWS's interfaces through which connections are always tracked (EC2 API Reference, "DescribeNetworkInterfaces",
/// the filter `interface-type`).
const MIDDLES: &[(&str, Passage)] = &[
    ("nat_gateway", Passage::NatGateway),
    // The same in the spelling of the API's model.
    ("natGateway", Passage::NatGateway),
    ("network_load_balancer", Passage::NetworkLoadBalancer),
    ("vpc_endpoint", Passage::PrivateLink),
    ("gateway_load_balancer_endpoint", Passage::Firewall),
    ("transit_gateway", Passage::TransitGateway),
    ("global_accelerator_managed", Passage::GlobalAccelerator),
    ("lambda", Passage::Lambda),
];

/// What is known of a VPC. Each part is read beside the others; what can't be read is noted.
async fn network(vpc: &str, member: &Member, with_subnets: bool) -> Network {
    let (tables, acls, middles, gateway_endpoints, subnets) = join5(
        tables(vpc, member),
        acls(vpc, member),
        middles(vpc, member),
        gateway_endpoints(vpc, member),
        OptionFuture::from(with_subnets.then(|| subnets(vpc, member))),
    )
    .await;
    let mut network = Network::default();
    let unread = &mut network.unread;
    network.tables = known(tables, "the route tables", unread);
    network.acls = known(acls, "the network ACLs", unread);
    network.middles = known(
        middles,
        "the interfaces of gateways, load balancers and endpoints",
        unread,
    );
    network.gateway_endpoints = known(gateway_endpoints, "the gateway endpoints", unread);
    network.subnets = known(
        subnets.unwrap_or_else(|| Ok(BTreeMap::new())),
        "the ranges of the subnets",
        unread,
    );
    network
}

fn known<T: Default>(read: Result<T, Failure>, what: &'static str, unread: &mut Vec<(&'static str, Failure)>) -> T {
    read.unwrap_or_else(|failure| {
        unread.push((what, failure));
        T::default()
    })
}

fn of_vpc(vpc: &str) -> Filter {
    Filter::builder().name("vpc-id").values(vpc).build()
}

async fn tables(vpc: &str, member: &Member) -> Result<Vec<RouteTable>, Failure> {
    let pages = member
        .ec2
        .describe_route_tables()
        .filters(of_vpc(vpc))
        .into_paginator()
        .items()
        .send();
    let found: Result<Vec<_>, _> = pages.collect().await;
    let found = found.map_err(|error| member.failure("ec2:DescribeRouteTables", vpc, &error))?;
    Ok(found.iter().map(table).collect())
}

fn table(described: &aws_sdk_ec2::types::RouteTable) -> RouteTable {
    let associations = described.associations();
    let subnets = associations.iter().filter_map(|with| with.subnet_id());
    RouteTable {
        main: associations.iter().any(|with| with.main() == Some(true)),
        subnets: subnets.map(str::to_owned).collect(),
        edge: associations.iter().any(|with| with.gateway_id().is_some()),
        routes: described.routes().iter().filter_map(route).collect(),
    }
}

fn route(described: &aws_sdk_ec2::types::Route) -> Option<Route> {
    if described.state() == Some(&aws_sdk_ec2::types::RouteState::Blackhole) {
        return None;
    }
    let to = described
        .destination_cidr_block()
        .or(described.destination_ipv6_cidr_block())
        .and_then(|text| text.parse().ok());
    let transit = described.transit_gateway_id().or(described.core_network_arn());
    let via = match (described.nat_gateway_id(), described.gateway_id()) {
        (Some(nat), _) => Via::Nat(nat.to_owned()),
        (None, Some("local")) => Via::Local,
        (None, Some(gateway)) if gateway.starts_with("vpce-") => Via::Endpoint(gateway.to_owned()),
        (None, Some(gateway)) if gateway.starts_with("igw-") => Via::Internet,
        (None, Some(_)) => Via::Other,
        (None, None) if described.egress_only_internet_gateway_id().is_some() => Via::EgressOnly,
        (None, None) if transit.is_some() => Via::Transit,
        (None, None) => Via::Other,
    };
    Some(Route { to, via })
}

async fn acls(vpc: &str, member: &Member) -> Result<Vec<Acl>, Failure> {
    let pages = member
        .ec2
        .describe_network_acls()
        .filters(of_vpc(vpc))
        .into_paginator()
        .items()
        .send();
    let found: Result<Vec<_>, _> = pages.collect().await;
    let found = found.map_err(|error| member.failure("ec2:DescribeNetworkAcls", vpc, &error))?;
    Ok(found.iter().map(Acl::of).collect())
}

async fn middles(vpc: &str, member: &Member) -> Result<Vec<Middle>, Failure> {
    let types = MIDDLES.iter().map(|(name, _)| (*name).to_owned()).collect();
    let types = Filter::builder().name("interface-type").set_values(Some(types)).build();
    let found = list_interfaces(member, vpc, vec![of_vpc(vpc), types]).await?;
    Ok(found.iter().filter_map(middle).collect())
}

fn middle(found: &NetworkInterface) -> Option<Middle> {
    let kind = found.interface_type()?.as_str();
    let (_, passage) = MIDDLES.iter().find(|(name, _)| *name == kind)?;
    Some(Middle {
        interface: found.network_interface_id()?.to_owned(),
        subnet: found.subnet_id()?.to_owned(),
        passage: *passage,
        description: found.description().unwrap_or_default().to_owned(),
    })
}

async fn gateway_endpoints(vpc: &str, member: &Member) -> Result<BTreeMap<String, String>, Failure> {
    let kind = Filter::builder().name("vpc-endpoint-type").values("Gateway").build();
    let asked = member.ec2.describe_vpc_endpoints().filters(of_vpc(vpc)).filters(kind);
    let found: Result<Vec<_>, _> = asked.into_paginator().items().send().collect().await;
    let found = found.map_err(|error| member.failure("ec2:DescribeVpcEndpoints", vpc, &error))?;
    let named = found
        .into_iter()
        .filter_map(|endpoint| Some((endpoint.vpc_endpoint_id?, endpoint.service_name?)));
    Ok(named.collect())
}

async fn subnets(vpc: &str, member: &Member) -> Result<BTreeMap<String, Vec<Cidr>>, Failure> {
    let asked = member.ec2.describe_subnets().filters(of_vpc(vpc));
    let found: Result<Vec<_>, _> = asked.into_paginator().items().send().collect().await;
    let found = found.map_err(|error| member.failure("ec2:DescribeSubnets", vpc, &error))?;
    let ranges = found.into_iter().filter_map(|subnet| {
        let v6 = subnet.ipv6_cidr_block_association_set();
        let v6 = v6.iter().filter_map(|with| with.ipv6_cidr_block());
        let all = subnet.cidr_block().into_iter().chain(v6);
        let ranges = all.filter_map(|text| text.parse().ok()).collect();
        Some((subnet.subnet_id.clone()?, ranges))
    });
    Ok(ranges.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity() -> Entity {
        "arn:aws:ec2:us-east-1:222222222222:instance/i-0123456789abcdef0"
            .parse()
            .expect("an instance")
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
        let within =
            |ours: &[OurGroupId]| facts_of(&entity(), &described, ours, &[]).and_then(|facts| facts.groups.within);
        assert_eq!(within(&ours("vpc-1")), Some(Purpose::Isolation));
        assert_eq!(within(&ours("vpc-2")), None);
        assert_eq!(within(&[]), None);
    }
}
