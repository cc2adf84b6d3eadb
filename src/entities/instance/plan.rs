//! The plan for an instance: pure functions on its facts.

use std::collections::BTreeSet;

use super::cut::{Reach, cut};
use super::{InstanceFacts, InterfaceFacts};
use crate::aws::Reason;
use crate::entity::Entity;
use crate::plan::{Plan, Planned};
use crate::record::Record;
use crate::settings::{AutoScaling, Settings};
use crate::steps::group_minimum::{GroupMinimum, Minimum};
use crate::steps::inline_policy::{Denied, InlinePolicy};
use crate::steps::isolate::Isolate;
use crate::steps::keep_volume::{KeepVolume, OnTermination};
use crate::steps::security_group::{OurGroup, Purpose};
use crate::steps::settle::{Nothing, Settle};
use crate::steps::shutdown_behavior::ShutdownBehavior;
use crate::steps::snapshots::Snapshots;
use crate::steps::standby::Standby;
use crate::steps::termination_protection::TerminationProtection;
use crate::steps::tracking_timeouts::TrackingTimeouts;
use crate::steps::untrack::Untrack;
use crate::steps::written;

/// A group's minimum gives way to standby; a release puts it back after the instance has left standby.
const MAKE_ROOM: u8 = 5;
/// The deny, and the evidence kept from being destroyed.
const PREPARE: u8 = 10;
/// Snapshots are started, timeouts shortened, and the groups made that the swap needs: the cut needs none of these.
const EVIDENCE: u8 = 30;
/// Interfaces become open, so that their connections become untracked.
const OPEN: u8 = 40;
/// The pause.
const PAUSE: u8 = 50;
/// Interfaces become closed.
const CLOSE: u8 = 60;

/// The steps for these facts, with what stays open after them.
pub(super) fn plan(entity: &Entity, facts: &InstanceFacts, settings: &Settings, record: Option<&Record>) -> Plan {
    let mut plan = Plan::of(entity.named.clone());
    deny(&mut plan, entity, facts, settings);
    preserve(&mut plan, entity, facts, settings);
    let own = changeable(&mut plan, facts);
    let settles = settings.settle.as_secs() > 0 && !own.is_empty();
    groups(&mut plan, entity, &own, settles);
    let reach = cut(&mut plan, entity, facts, &own, settings, settles);
    evidence(&mut plan, entity, facts, settings, record);
    for facts in &own {
        let (interface, timeouts) = (facts.interface.clone(), Some(written(&facts.timeouts)));
        plan.steps
            .push(Planned::new(EVIDENCE, TrackingTimeouts { interface }, timeouts));
    }
    if settles {
        untrack(&mut plan, entity, &own, settings, &reach);
    } else if !own.is_empty() {
        plan.residue.push(
            "SettleSeconds is 0, so that tracked connections do not become untracked: those that no network ACL cuts off go on \
             for as long as they are active"
                .to_owned(),
        );
    }
    for facts in &own {
        let (interface, groups) = (facts.interface.clone(), Some(written(&facts.groups)));
        plan.steps.push(Planned::new(CLOSE, Isolate { interface }, groups));
    }
    door(&mut plan, facts, &own, settings);
    plan.remarks.extend([
        "Security groups and network ACLs filter neither DNS to the VPC's resolver nor the metadata service".to_owned(),
        "Sessions that were assumed with the instance's credentials in other roles go on: contain those roles too".to_owned(),
        "If the instance had another role earlier, credentials that it got of that one work until they expire: contain that role too"
            .to_owned(),
    ]);
    plan
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

/// Keeps the evidence from being destroyed, from inside, through the API, or by Auto Scaling.
fn preserve(plan: &mut Plan, entity: &Entity, facts: &InstanceFacts, settings: &Settings) {
    let instance = || entity.named.clone();
    let step = ShutdownBehavior { instance: instance() };
    plan.steps.push(Planned::new(PREPARE, step, None));
    if facts.spot {
        plan.remarks.push(
            "A Spot instance can't be protected against termination, and AWS may reclaim it at any time: take what you need of it soon"
                .to_owned(),
        );
    } else {
        let step = TerminationProtection { instance: instance() };
        plan.steps.push(Planned::new(PREPARE, step, None));
    }
    for facts in facts.volumes.iter().filter(|facts| facts.deleted) {
        let step = KeepVolume {
            instance: instance(),
            volume: facts.volume.clone(),
            device: facts.device.clone(),
        };
        let before = written(&OnTermination { deleted: true });
        plan.steps.push(Planned::new(PREPARE, step, Some(before)));
    }
    let shrink = match settings.auto_scaling {
        AutoScaling::Shrink => true,
        AutoScaling::Replace => false,
        AutoScaling::Leave => {
            plan.remarks.extend(facts.tagged_group.as_ref().map(|group| {
                format!(
                    "AutoScaling is `leave`: its Auto Scaling group {group} may terminate it when its health checks fail, and replace it"
                )
            }));
            return;
        }
    };
    match &facts.group {
        Ok(None) => {}
        Ok(Some(group)) => {
            if let (Some((min, most)), true) = (group.in_the_way, shrink) {
                let step = GroupMinimum {
                    group: group.name.clone(),
                    arn: group.arn.clone(),
                    most,
                };
                plan.steps
                    .push(Planned::new(MAKE_ROOM, step, Some(written(&Minimum { min }))));
            }
            let step = Standby {
                instance: instance(),
                group: group.name.clone(),
                arn: group.arn.clone(),
                shrink,
            };
            plan.steps.push(Planned::new(PREPARE, step, None));
        }
        Err(failure) => plan.leave_open(
            "Whether an Auto Scaling group may terminate it when its health checks fail, which could not be read",
            failure,
        ),
    }
}

/// The interfaces that can be changed; what is known of the others is said.
fn changeable<'a>(plan: &mut Plan, facts: &'a InstanceFacts) -> Vec<&'a InterfaceFacts> {
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
    plan.residue.extend(own.iter().filter(|facts| facts.trunk).map(|facts| {
        format!(
            "The {} is a trunk: branch interfaces on it (of containers and pods) have groups of their own and are not isolated",
            facts.interface.label()
        )
    }));
    own
}

/// The groups of each VPC.
fn groups(plan: &mut Plan, entity: &Entity, own: &[&InterfaceFacts], settles: bool) {
    let place = format!("{}/{}/{}", entity.partition, entity.account, entity.home());
    let vpcs: BTreeSet<&str> = own.iter().map(|facts| facts.interface.vpc.as_str()).collect();
    for vpc in vpcs {
        let group = |purpose| OurGroup {
            vpc: vpc.to_owned(),
            purpose,
            place: place.clone(),
        };
        if settles {
            plan.steps
                .push(Planned::new(EVIDENCE, group(Purpose::Untracking), None));
        }
        plan.steps.push(Planned::new(EVIDENCE, group(Purpose::Isolation), None));
    }
}

/// Starts the snapshots.
fn evidence(plan: &mut Plan, entity: &Entity, facts: &InstanceFacts, settings: &Settings, record: Option<&Record>) {
    if !settings.snapshots {
        return;
    }
    if facts.volumes.is_empty() {
        plan.remarks
            .push("No snapshots: the instance has no EBS volume, and instance store volumes can't be kept".to_owned());
        return;
    }
    let step = Snapshots {
        instance: entity.named.clone(),
        containment: record.map(|record| record.containment.to_string()).unwrap_or_default(),
        incident: record.and_then(|record| record.claims().incident),
    };
    plan.steps.push(Planned::new(EVIDENCE, step, None));
}

/// Opens the interfaces, and waits.
fn untrack(plan: &mut Plan, entity: &Entity, own: &[&InterfaceFacts], settings: &Settings, reach: &Reach) {
    for facts in own {
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
        "During the settle of {seconds} s the instance is OPEN to the network {}, so that tracked connections become untracked; then \
         it is isolated. A wake-up is stored before it is opened, so that it is isolated even if this work dies",
        reach.words()
    ));
}

/// Says who can still reach the instance, and through which groups.
fn door(plan: &mut Plan, facts: &InstanceFacts, own: &[&InterfaceFacts], settings: &Settings) {
    if settings.forensic_groups.is_empty() {
        return;
    }
    let doors = match &facts.doors {
        Ok(doors) => doors,
        Err(failure) => {
            plan.remarks.push(format!(
                "Your forensic groups could not be read and are not attached, so that nobody reaches the instance: {failure}"
            ));
            return;
        }
    };
    let attached = |group: &String| own.iter().any(|facts| facts.interface.door.contains(group));
    let (open, elsewhere): (Vec<_>, Vec<_>) = settings.forensic_groups.iter().partition(|group| attached(group));
    for group in open {
        plan.remarks.push(format!(
            "Your forensic group {group} stays beside the isolation group: whom its rules let in reaches the instance"
        ));
        let Some(door) = doors.iter().find(|door| door.group == **group) else {
            continue;
        };
        for (is_open, way) in [(door.in_from_everywhere, "in from"), (door.out_to_everywhere, "out to")] {
            if is_open {
                plan.residue.push(format!(
                    "Your forensic group {group} lets traffic {way} everywhere: with it the instance is not isolated. Narrow its rules"
                ));
            }
        }
    }
    if !elsewhere.is_empty() {
        let names: Vec<&str> = elsewhere.iter().map(|group| group.as_str()).collect();
        plan.remarks.push(format!(
            "Not attached, since no interface of the instance is in their VPC: your forensic groups {}",
            names.join(", ")
        ));
    }
}

#[cfg(test)]
mod tests;
