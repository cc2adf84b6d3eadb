//! Our security groups: those that nothing uses are deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_ec2::types::{Filter, IpPermission, NetworkInterface};
use entity_lockdown::aws::{Failure, Member, Reason};
use entity_lockdown::steps::security_group::{FoundGroup, find_all};

use super::open::Open;
use super::report::{GroupRow, Said};

/// The most values that one filter of EC2 takes (API Reference, "Filter").
const VALUES: usize = 200;

/// How often, a second apart, a group that was deleted is looked for until EC2 shows it no longer.
const LOOKS: usize = 5;

/// What uses each group, for people, by the group's id.
type Users = BTreeMap<String, Vec<String>>;

/// Deletes the groups that nothing uses, and says of each what became of it.
pub async fn clean(member: &Member, open: Option<&Open>, dry_run: bool) -> Vec<GroupRow> {
    let unknown = |failure| vec![GroupRow::unknown(member.region.clone(), Said::failed(&failure))];
    let groups = match find_all(member).await {
        Ok(groups) if groups.is_empty() => return vec![],
        Ok(groups) => groups,
        Err(failure) => return unknown(failure),
    };
    let ids: Vec<String> = groups.iter().map(|group| group.id.clone()).collect();
    let users = match users(member, &ids).await {
        Ok(users) => users,
        Err(failure) => return unknown(failure),
    };
    let mut rows = vec![];
    for group in groups {
        let used_by = users.get(&group.id).cloned().unwrap_or_default();
        let said = match keep(member, &group, &used_by, open) {
            Some(why) => Said::kept(why),
            None if dry_run => Said::would_delete("nothing uses it"),
            None => delete(member, &group.id).await,
        };
        rows.push(GroupRow::of(member.region.clone(), group, used_by, said));
    }
    read_back(member, &mut rows).await;
    rows
}

/// Why a group stays, if it does.
fn keep(member: &Member, group: &FoundGroup, used_by: &[String], open: Option<&Open>) -> Option<String> {
    if !used_by.is_empty() {
        return Some(format!("used by {}", several(used_by)));
    }
    open.and_then(|open| open.need(&member.region, &group.vpc))
}

/// The first of many names.
fn several(names: &[String]) -> String {
    let shown = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(3) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

async fn delete(member: &Member, id: &str) -> Said {
    let answer = member.ec2.delete_security_group().group_id(id).send().await;
    match answer.map_err(|error| member.failure("ec2:DeleteSecurityGroup", id, &error)) {
        Ok(_) => Said::deleted("nothing used it"),
        Err(failure) if failure.reason == Reason::Absent => Said::deleted("somebody else was faster"),
        Err(failure) if failure.code == "DependencyViolation" => Said::kept(format!(
            "AWS refuses (DependencyViolation: {}): something that can't be seen from here uses it, such as a rule of a group in a \
             peered VPC, or an interface made in this moment",
            failure.message
        )),
        Err(failure) => Said::failed(&failure),
    }
}

/// The interfaces that are in each group, and the groups whose rules name it: EC2 deletes none that has either.
async fn users(member: &Member, ids: &[String]) -> Result<Users, Failure> {
    let mut users = Users::new();
    for ids in ids.chunks(VALUES) {
        for interface in interfaces(member, ids).await? {
            let groups = interface.groups().iter().filter_map(|group| group.group_id());
            for id in groups.filter(|id| ids.iter().any(|one| one == id)) {
                users.entry(id.to_owned()).or_default().push(label(&interface));
            }
        }
        for direction in ["ip-permission.group-id", "egress.ip-permission.group-id"] {
            for (id, by) in referrers(member, direction, ids).await? {
                let users = users.entry(id).or_default();
                if !users.contains(&by) {
                    users.push(by);
                }
            }
        }
    }
    Ok(users)
}

async fn interfaces(member: &Member, groups: &[String]) -> Result<Vec<NetworkInterface>, Failure> {
    let filter = Filter::builder()
        .name("group-id")
        .set_values(Some(groups.to_vec()))
        .build();
    let pages = member
        .ec2
        .describe_network_interfaces()
        .filters(filter)
        .into_paginator();
    let found: Result<Vec<_>, _> = pages.items().send().collect().await;
    found.map_err(|error| member.failure("ec2:DescribeNetworkInterfaces", groups.join(", "), &error))
}

/// Which of these groups are named by rules of other groups in one direction, and by whose.
async fn referrers(member: &Member, direction: &str, ids: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let filter = Filter::builder().name(direction).set_values(Some(ids.to_vec())).build();
    let pages = member.ec2.describe_security_groups().filters(filter).into_paginator();
    let found: Result<Vec<_>, _> = pages.items().send().collect().await;
    let found = found.map_err(|error| member.failure("ec2:DescribeSecurityGroups", ids.join(", "), &error))?;
    let mut named = vec![];
    for group in &found {
        let by = group.group_id().unwrap_or_default();
        let rules = group.ip_permissions().iter().chain(group.ip_permissions_egress());
        let pairs = rules.flat_map(IpPermission::user_id_group_pairs);
        let ours = pairs.filter_map(|pair| pair.group_id().filter(|id| ids.iter().any(|one| one == id)));
        // Its own rules keep no group.
        for id in ours.filter(|id| *id != by) {
            named.push((id.to_owned(), format!("a rule of the group {by}")));
        }
    }
    Ok(named)
}

/// An interface with what it belongs to.
fn label(interface: &NetworkInterface) -> String {
    let id = interface.network_interface_id().unwrap_or_default();
    let instance = interface.attachment().and_then(|attachment| attachment.instance_id());
    let description = interface.description().filter(|text| !text.is_empty());
    match instance.or(description) {
        Some(of) => format!("{id} ({of})"),
        None => id.to_owned(),
    }
}

/// Deleted is said only of what EC2 does not show any more.
async fn read_back(member: &Member, rows: &mut [GroupRow]) {
    for look in (0..LOOKS).rev() {
        if !rows.iter().any(|row| row.said.is_deleted()) {
            return;
        }
        let left = match find_all(member).await {
            Ok(left) => left,
            Err(failure) => {
                let deleted = rows.iter_mut().filter(|row| row.said.is_deleted());
                deleted.for_each(|row| row.said = Said::failed(&failure));
                return;
            }
        };
        let still = |row: &GroupRow| left.iter().any(|group| Some(&group.id) == row.id.as_ref());
        let mut deleted = rows
            .iter_mut()
            .filter(|row| row.said.is_deleted() && still(row))
            .peekable();
        if deleted.peek().is_none() {
            return;
        }
        if look == 0 {
            deleted
                .for_each(|row| row.said = Said::undone("AWS said that it was deleted, and still shows it: try again"));
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::NetworkInterfaceAttachment;

    use super::*;

    #[test]
    fn what_uses_a_group_is_named_with_what_it_belongs_to() {
        let interface = NetworkInterface::builder().network_interface_id("eni-1");
        assert_eq!(label(&interface.clone().description("").build()), "eni-1");
        let balancer = interface.clone().description("ELB app/web/1");
        assert_eq!(label(&balancer.clone().build()), "eni-1 (ELB app/web/1)");
        let attached = NetworkInterfaceAttachment::builder().instance_id("i-1").build();
        assert_eq!(label(&balancer.attachment(attached).build()), "eni-1 (i-1)");
    }

    #[test]
    fn of_many_users_the_first_are_named_and_the_rest_counted() {
        let names = |n: usize| (1..=n).map(|n| format!("eni-{n}")).collect::<Vec<_>>();
        assert_eq!(several(&names(1)), "eni-1");
        assert_eq!(several(&names(3)), "eni-1, eni-2, eni-3");
        assert_eq!(several(&names(12)), "eni-1, eni-2, eni-3 and 9 more");
    }
}
