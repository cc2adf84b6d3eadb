//! Golden plans, and a sentence for everything that stays open.

mod picture;

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::network::tests::{acl, behind_nat, cidr, middle, place, table};
use super::super::network::{Network, Passage, Place, Via};
use super::super::{Door, GroupFacts, VolumeFacts};
use super::*;
use crate::arn::Arn;
use crate::aws::Failure;
use crate::record::{RecordedStep, Status, StepState};
use crate::settings::CutBy;
use crate::settings::tests::settings;
use crate::steps::interface::{Groups, Interface};
use crate::steps::network_acl::Entry;
use crate::steps::principal::{Principal, PrincipalKind};
use crate::steps::tracking_timeouts::Timeouts;

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
            door: vec![],
        },
        groups: Groups {
            groups: vec!["sg-own".into()],
            within: None,
        },
        place: place(&["10.0.0.5/32"]),
        timeouts: Timeouts::of(None),
        managed_by: managed_by.map(str::to_owned),
        trunk: false,
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
        networks: BTreeMap::new(),
        spot: false,
        volumes: vec![],
        tagged_group: None,
        group: Ok(None),
        doors: Ok(vec![]),
    }
}

/// One interface in this network.
fn within(network: Network) -> InstanceFacts {
    InstanceFacts {
        networks: [("vpc-1".to_owned(), network)].into(),
        ..facts(vec![interface("eni-1", "vpc-1", None)])
    }
}

fn planned(facts: &InstanceFacts, settings: &Settings) -> Plan {
    plan(&entity(), facts, settings, None)
}

fn steps(plan: &Plan) -> Vec<String> {
    plan.steps
        .iter()
        .map(|planned| format!("{} {}", planned.phase, planned.step.describe()))
        .collect()
}

/// What the record amounts to when every step of the plan holds.
fn amounts_to(plan: Plan) -> Status {
    let request = crate::admit::tests::request(crate::request::Action::Contain, "m1", 0);
    let mut record = Record::begin(&request, request.message.sent);
    record.residue = plan.residue;
    record.steps = plan
        .steps
        .into_iter()
        .map(|planned| {
            let mut step = RecordedStep::planned(planned, serde_json::Value::Null, request.message.sent);
            step.becomes(StepState::Applied, None, request.message.sent);
            step
        })
        .collect();
    record.amounts_to()
}

#[test]
fn every_interface_goes_by_way_of_its_own_vpcs_groups() {
    let facts = facts(vec![
        interface("eni-1", "vpc-1", None),
        interface("eni-2", "vpc-2", None),
    ]);
    let plan = planned(&facts, &settings());
    insta::assert_snapshot!(steps(&plan).join("\n"));
    assert_eq!(plan.residue, Vec::<String>::new());
    assert!(plan.remarks.iter().any(|remark| remark.contains("OPEN to the network")));
    assert_eq!(amounts_to(plan), Status::Contained);
}

#[test]
fn an_instance_behind_a_nat_gateway_is_kept_cut_off_and_isolated_in_this_order() {
    let mut eni = interface("eni-1", "vpc-1", None);
    eni.interface.door = vec!["sg-door".into()];
    eni.place = place(&["10.0.0.5/32", "10.0.0.6/32", "2001:db8::5/128"]);
    let arn = "arn:aws:autoscaling:us-east-1:222222222222:autoScalingGroup:1:autoScalingGroupName/web";
    let facts = InstanceFacts {
        interfaces: Ok(vec![eni]),
        volumes: vec![
            VolumeFacts {
                volume: "vol-1".into(),
                device: "/dev/xvda".into(),
                deleted: true,
            },
            VolumeFacts {
                volume: "vol-2".into(),
                device: "/dev/sdf".into(),
                deleted: false,
            },
        ],
        group: Ok(Some(GroupFacts {
            name: "web".into(),
            arn: arn.parse().expect("an ARN"),
            in_the_way: Some((2, 1)),
        })),
        doors: Ok(vec![Door {
            group: "sg-door".into(),
            vpc: "vpc-1".into(),
            in_from_everywhere: false,
            out_to_everywhere: false,
        }]),
        ..within(behind_nat())
    };
    let settings = Settings {
        snapshots: true,
        forensic_groups: vec!["sg-door".into(), "sg-elsewhere".into()],
        forensic_cidrs: vec![cidr("10.0.0.64/32")],
        ..settings()
    };
    let plan = planned(&facts, &settings);
    insta::assert_snapshot!(steps(&plan).join("\n"));
    insta::assert_snapshot!(plan.remarks.join("\n"));
    assert_eq!(plan.residue, Vec::<String>::new());
    assert_eq!(amounts_to(plan), Status::Contained);
}

#[test]
fn what_an_address_is_denied_in_depends_on_the_parameter_and_on_the_network() {
    let closed = || Network {
        tables: vec![table(&[("10.0.0.0/16", Via::Local)])],
        ..behind_nat()
    };
    let cut = |network: Network, network_acl: CutBy, seconds: u64| {
        let settings = Settings {
            network_acl,
            settle: Duration::from_secs(seconds),
            ..settings()
        };
        let facts = within(Network {
            middles: vec![],
            ..network
        });
        steps(&planned(&facts, &settings))
            .iter()
            .filter(|step| step.contains("network ACL"))
            .count()
    };
    for (network, network_acl, seconds, entries) in [
        (behind_nat(), CutBy::Auto, 60, 2),
        (behind_nat(), CutBy::Auto, 0, 2),
        (behind_nat(), CutBy::Always, 60, 2),
        (behind_nat(), CutBy::Never, 60, 0),
        (closed(), CutBy::Auto, 60, 0),
        (closed(), CutBy::Always, 60, 2),
        (closed(), CutBy::Always, 0, 2),
    ] {
        let what = format!("{network_acl:?}, settle {seconds} s, {:?}", network.tables);
        assert_eq!(cut(network, network_acl, seconds), entries, "{what}");
    }
    let public = Network {
        tables: vec![table(&[("0.0.0.0/0", Via::Internet)])],
        ..behind_nat()
    };
    assert_eq!(cut(public.clone(), CutBy::Auto, 60), 2, "the settle would expose it");
    assert_eq!(cut(public, CutBy::Auto, 0), 0, "nothing is opened");
}

#[test]
fn addresses_get_different_numbers_of_one_acl() {
    let mut network = behind_nat();
    let open = |egress| Entry {
        number: 3,
        egress,
        verdict: crate::steps::network_acl::Verdict::Allow,
        all_protocols: true,
        cidr: cidr("0.0.0.0/0"),
    };
    network.acls = vec![acl("acl-1", &["subnet-own", "subnet-public"])];
    for shared in &mut network.acls {
        shared.entries = [false, true].map(open).to_vec();
    }
    let mut facts = within(network);
    if let Ok(interfaces) = &mut facts.interfaces {
        for eni in interfaces {
            eni.place = place(&["10.0.0.5/32", "10.0.0.6/32", "10.0.0.7/32"]);
        }
    }
    let numbers: Vec<_> = planned(&facts, &settings())
        .steps
        .into_iter()
        .filter_map(|planned| match planned.step {
            crate::steps::Step::NetworkAcl(step) => Some(step.number),
            _ => None,
        })
        .collect();
    assert_eq!(
        numbers,
        [Some(1), Some(2), None],
        "before the allow there is room for two"
    );
}

fn failure(reason: Reason) -> Failure {
    let mut failure = Failure::own("x:Read", "it", "222222222222", "Code", "");
    failure.reason = reason;
    failure
}

/// Every kind of thing that can stay open, by its name.
fn open_ends() -> Vec<(&'static str, InstanceFacts, Settings)> {
    let route = |via: Via| Network {
        tables: vec![table(&[("0.0.0.0/0", via)])],
        gateway_endpoints: [("vpce-db".to_owned(), "com.amazonaws.us-east-1.dynamodb".to_owned())].into(),
        ..behind_nat()
    };
    let beside = |passage| Network {
        tables: vec![table(&[])],
        middles: vec![middle(passage, "subnet-own", "")],
        ..behind_nat()
    };
    let with = |change: fn(&mut InterfaceFacts)| {
        let mut eni = interface("eni-1", "vpc-1", None);
        change(&mut eni);
        InstanceFacts {
            interfaces: Ok(vec![eni]),
            ..within(behind_nat())
        }
    };
    let dual = |eni: &mut InterfaceFacts| eni.place = place(&["10.0.0.5/32", "2001:db8::5/128"]);
    let egress_only = InstanceFacts {
        networks: [(
            "vpc-1".to_owned(),
            Network {
                tables: vec![table(&[("::/0", Via::EgressOnly)])],
                ..behind_nat()
            },
        )]
        .into(),
        ..with(dual)
    };
    let unread = Network {
        unread: vec![("the route tables", failure(Reason::Denied))],
        ..Network::default()
    };
    let team = || Settings {
        forensic_groups: vec!["sg-door".into()],
        forensic_cidrs: vec![cidr("10.0.1.7/32")],
        ..settings()
    };
    let spared = InstanceFacts {
        networks: [(
            "vpc-1".to_owned(),
            Network {
                subnets: [("subnet-public".to_owned(), vec![cidr("10.0.1.0/24")])].into(),
                ..behind_nat()
            },
        )]
        .into(),
        ..with(|eni| eni.interface.door = vec!["sg-door".into()])
    };
    let door = |everywhere: bool| Door {
        group: "sg-door".into(),
        vpc: "vpc-1".into(),
        in_from_everywhere: everywhere,
        out_to_everywhere: everywhere,
    };
    let open_door = InstanceFacts {
        doors: Ok(vec![door(true)]),
        ..with(|eni| eni.interface.door = vec!["sg-door".into()])
    };
    let never = Settings {
        network_acl: CutBy::Never,
        ..settings()
    };
    let at_once = Settings {
        settle: Duration::ZERO,
        ..settings()
    };
    let only_groups = Settings {
        forensic_groups: vec!["sg-door".into()],
        ..settings()
    };
    let no_inline = Settings {
        inline_deny: false,
        ..settings()
    };
    let unknown_group = InstanceFacts {
        group: Err(failure(Reason::Denied)),
        ..within(behind_nat())
    };
    vec![
        ("NAT gateway, uncut", within(behind_nat()), never),
        (
            "NAT gateway in no subnet",
            within(route(Via::Nat("nat-9".into()))),
            settings(),
        ),
        (
            "NAT gateway in its own subnet",
            within(Network {
                middles: vec![middle(Passage::NatGateway, "subnet-own", "nat-1")],
                ..behind_nat()
            }),
            settings(),
        ),
        ("egress-only gateway", egress_only, settings()),
        (
            "transit gateway without an interface",
            within(route(Via::Transit)),
            settings(),
        ),
        (
            "gateway endpoint",
            within(route(Via::Endpoint("vpce-db".into()))),
            settings(),
        ),
        (
            "firewall without an interface",
            within(route(Via::Endpoint("vpce-fw".into()))),
            settings(),
        ),
        (
            "load balancer in its own subnet",
            within(beside(Passage::NetworkLoadBalancer)),
            settings(),
        ),
        (
            "PrivateLink in its own subnet",
            within(beside(Passage::PrivateLink)),
            settings(),
        ),
        (
            "Global Accelerator in its own subnet",
            within(beside(Passage::GlobalAccelerator)),
            settings(),
        ),
        ("Lambda in its own subnet", within(beside(Passage::Lambda)), settings()),
        ("ACL spared for the team", spared, team()),
        ("forensic group that is open", open_door, only_groups),
        ("unread network", within(unread), settings()),
        ("no settle", within(behind_nat()), at_once),
        ("trunk", with(|eni| eni.trunk = true), settings()),
        (
            "managed interface",
            with(|eni| eni.managed_by = Some("amazon-elb".into())),
            settings(),
        ),
        ("no inline deny", within(behind_nat()), no_inline),
        ("unread Auto Scaling group", unknown_group, settings()),
    ]
}

#[test]
fn contained_is_never_said_of_what_is_known_to_stay_open() {
    let mut said = String::new();
    for (what, facts, settings) in open_ends() {
        let plan = planned(&facts, &settings);
        assert!(!plan.residue.is_empty(), "{what}");
        said.push_str(&format!("{what}:\n  {}\n", plan.residue.join("\n  ")));
        assert_ne!(amounts_to(plan), Status::Contained, "{what}");
    }
    insta::assert_snapshot!(said);
}

#[test]
fn without_a_settle_nothing_is_opened() {
    let settings = Settings {
        settle: Duration::ZERO,
        ..settings()
    };
    let plan = planned(&facts(vec![interface("eni-1", "vpc-1", None)]), &settings);
    assert!(!steps(&plan).join("\n").contains("untracking"), "{:?}", steps(&plan));
    assert!(!plan.remarks.iter().any(|remark| remark.contains("OPEN")));
}

#[test]
fn a_managed_interface_is_not_touched() {
    let facts = facts(vec![
        interface("eni-1", "vpc-1", None),
        interface("eni-2", "vpc-1", Some("amazon-elb")),
    ]);
    let plan = planned(&facts, &settings());
    assert!(!steps(&plan).iter().any(|step| step.contains("eni-2")));
}

#[test]
fn a_spot_instance_is_not_protected_and_that_is_said() {
    let facts = InstanceFacts {
        spot: true,
        ..within(behind_nat())
    };
    let plan = planned(&facts, &settings());
    assert!(!steps(&plan).iter().any(|step| step.contains("against termination")));
    assert!(plan.remarks.iter().any(|remark| remark.contains("Spot")));
}

#[test]
fn a_group_left_in_service_is_named_as_the_danger_that_it_is() {
    let facts = InstanceFacts {
        tagged_group: Some("web".into()),
        ..within(behind_nat())
    };
    let settings = Settings {
        auto_scaling: AutoScaling::Leave,
        ..settings()
    };
    let plan = planned(&facts, &settings);
    assert!(!steps(&plan).iter().any(|step| step.contains("standby")));
    assert!(
        plan.remarks
            .iter()
            .any(|remark| remark.contains("web may terminate it"))
    );
}

#[test]
fn what_the_settle_opens_is_said_as_it_is() {
    let remark = |facts: &InstanceFacts, settings: &Settings| {
        let plan = planned(facts, settings);
        let found = plan.remarks.into_iter().find(|remark| remark.contains("OPEN"));
        found.unwrap_or_default()
    };
    assert!(remark(&within(behind_nat()), &settings()).contains("its own subnets alone"));
    let public = Network {
        tables: vec![table(&[("0.0.0.0/0", Via::Internet)])],
        ..behind_nat()
    };
    let mut facts = within(public);
    if let Ok(interfaces) = &mut facts.interfaces {
        interfaces.iter_mut().for_each(|eni| {
            eni.place = Place {
                public: true,
                ..eni.place.clone()
            };
        });
    }
    assert!(remark(&facts, &settings()).contains("by way of the internet gateway"));
    let uncut = Settings {
        network_acl: CutBy::Never,
        ..settings()
    };
    assert!(remark(&within(behind_nat()), &uncut).contains("to everywhere"));
}

#[test]
fn a_failed_read_keeps_nothing_else_open_and_is_tried_again_where_that_can_help() {
    for (reason, retry) in [(Reason::Denied, 0), (Reason::Passing, 1)] {
        let without_role = InstanceFacts {
            roles: Err(failure(reason)),
            ..facts(vec![interface("eni-1", "vpc-1", None)])
        };
        let plan = planned(&without_role, &settings());
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
        let plan = planned(&without_interfaces, &settings());
        assert!(
            steps(&plan).join("\n").contains("inline policy"),
            "the role is denied: {plan:?}"
        );
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
        let plan = planned(&facts, &settings());
        let said = plan.residue.concat();
        assert!(said.contains(word) && said.contains("until they expire"), "{said}");
        assert!(plan.unread.is_empty(), "{plan:?}");
    }
    let without_profile = InstanceFacts {
        profile: None,
        roles: Ok(vec![]),
        ..facts(vec![interface("eni-1", "vpc-1", None)])
    };
    let plan = planned(&without_profile, &settings());
    assert!(plan.residue.is_empty(), "{plan:?}");
    assert!(
        plan.remarks
            .iter()
            .any(|remark| remark.contains("another role earlier"))
    );
}

#[test]
fn the_role_and_the_network_acls_are_judged_by_the_guard() {
    let plan = planned(&within(behind_nat()), &settings());
    let touched: Vec<String> = plan.touches().map(|arn| arn.resource).collect();
    for resource in ["role/app/r", "network-acl/acl-own", "network-acl/acl-public"] {
        assert!(touched.iter().any(|touched| touched == resource), "{touched:?}");
    }
}
