//! Cutting an instance's interfaces off at the edges of its VPC's subnets: which entries of which network ACLs, and what goes on
//! all the same. Pure.

use std::collections::BTreeSet;

use super::network::{Network, Place, Way};
use super::{InstanceFacts, InterfaceFacts};
use crate::arn::Arn;
use crate::cidr::Cidr;
use crate::entity::Entity;
use crate::plan::{Plan, Planned};
use crate::settings::{CutBy, Settings};
use crate::steps::interface::Interface;
use crate::steps::network_acl::{Acl, AclEntry, Verdict};
use crate::steps::written;

/// Interfaces are cut off after the evidence was kept, and before anything is opened.
pub(super) const CUT: u8 = 20;

/// Where a settle opens the interfaces to.
#[derive(Default)]
pub(super) struct Reach {
    /// Some interface is not cut off.
    everywhere: bool,
    /// Some interface has a public address, or a route to an internet gateway.
    internet: bool,
    /// Some interface has a route to other networks that leads through no subnet of the VPC.
    others: bool,
}

impl Reach {
    pub(super) fn words(&self) -> &'static str {
        match (self.everywhere, self.internet, self.others) {
            (true, _, _) => "from and to everywhere",
            (false, false, false) => "within its own subnets alone (network ACLs close the rest)",
            (false, true, false) => {
                "within its own subnets and by way of the internet gateway (network ACLs close the rest)"
            }
            (false, false, true) => {
                "within its own subnets and by way of peering, VPN and the like (network ACLs close the rest)"
            }
            (false, true, true) => {
                "within its own subnets and by way of the internet gateway, peering, VPN and the like (network ACLs close the rest)"
            }
        }
    }
}

/// Denies each interface's addresses in the network ACLs of its VPC, where that is asked for, and says which always tracked
/// connections stay open all the same.
pub(super) fn cut(
    plan: &mut Plan,
    entity: &Entity,
    facts: &InstanceFacts,
    own: &[&InterfaceFacts],
    settings: &Settings,
    settles: bool,
) -> Reach {
    for (vpc, network) in &facts.networks {
        for (what, failure) in &network.unread {
            let what = format!(
                "Connections of its interfaces in {vpc} that are always tracked, since {what} could not be read: which there are, and \
                 whether they go on, is not known"
            );
            plan.leave_open(&what, failure);
        }
    }
    let unknown = Network::default();
    let (mut reach, mut entries) = (Reach::default(), Entries::new(entity));
    for facts_of in own {
        let (interface, place) = (&facts_of.interface, &facts_of.place);
        let network = facts.networks.get(&interface.vpc).unwrap_or(&unknown);
        let ways = network.ways(place);
        let wanted = match settings.network_acl {
            CutBy::Never => false,
            CutBy::Always => true,
            CutBy::Auto => !ways.is_empty() || !network.unread.is_empty() || (settles && network.leads_out(place)),
        };
        let team: &[Cidr] = if interface.door.is_empty() {
            &[]
        } else {
            &settings.forensic_cidrs
        };
        let acls: Vec<&Acl> = match wanted {
            true => network.acls_to_cut(place, team).collect(),
            false => vec![],
        };
        for (acl, address) in acls
            .iter()
            .flat_map(|acl| place.addresses.iter().map(move |address| (acl, address)))
        {
            entries.add(plan, acl, Verdict::Deny, *address);
        }
        if let Some(acl) = network.acl_of(&place.subnet) {
            let passes = |from: &&Cidr| [false, true].iter().all(|egress| acl.lets_through(*egress, from));
            for from in team.iter().filter(|from| !passes(from)) {
                entries.add(plan, acl, Verdict::Allow, *from);
            }
        }
        for way in network.open_after_cut(&ways, place, &acls) {
            plan.residue.push(stays_open(interface, place, way, settings, wanted));
        }
        reach.everywhere |= acls.is_empty();
        reach.internet |= network.by_internet(place);
        reach.others |= network.by_others(place);
    }
    reach
}

/// Why always tracked connections of an interface go on.
fn stays_open(interface: &Interface, place: &Place, way: &Way, settings: &Settings, wanted: bool) -> String {
    let why = match &way.subnet {
        _ if settings.network_acl == CutBy::Never => "NetworkAcl is `never`".to_owned(),
        None => "no subnet's edge stands in between, where a network ACL could cut them off".to_owned(),
        Some(subnet) if *subnet == place.subnet => {
            format!("within its own subnet {subnet} network ACLs filter nothing")
        }
        Some(subnet) if wanted => {
            format!(
                "the network ACL of {subnet} is left as it is, since it stands between the instance and ForensicCidrs too"
            )
        }
        Some(subnet) => format!("nothing cuts them off at the edge of {subnet}"),
    };
    format!(
        "Connections of the {} through {} are always tracked and go on for as long as they are active: {why}",
        interface.label(),
        way.passage
    )
}

/// The entries that are planned, so that no two of them want the same number of one ACL.
struct Entries<'a> {
    entity: &'a Entity,
    taken: BTreeSet<(String, i32)>,
    planned: BTreeSet<String>,
}

impl<'a> Entries<'a> {
    fn new(entity: &'a Entity) -> Self {
        Self {
            entity,
            taken: BTreeSet::new(),
            planned: BTreeSet::new(),
        }
    }

    fn add(&mut self, plan: &mut Plan, acl: &Acl, verdict: Verdict, cidr: Cidr) {
        let mut step = AclEntry {
            arn: Arn {
                resource: format!("network-acl/{}", acl.id),
                ..self.entity.named.clone()
            },
            acl: acl.id.clone(),
            verdict,
            cidr,
            number: None,
        };
        let free = step.free(acl, &[false, true]);
        step.number = free
            .into_iter()
            .find(|number| !self.taken.contains(&(acl.id.clone(), *number)));
        if let Some(number) = step.number {
            self.taken.insert((acl.id.clone(), number));
        }
        let before = written(&step.state_in(acl));
        let planned = Planned::new(CUT, step, Some(before));
        // Two interfaces can want the same of one ACL: the team's way in.
        if self.planned.insert(planned.step.key()) {
            plan.steps.push(planned);
        }
    }
}
