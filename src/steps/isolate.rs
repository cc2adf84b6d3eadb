//! Moves an interface into the isolation group; a release gives it its own groups back, never through the untracking group.

use std::time::Duration;

use aws_sdk_ec2::types::Filter;
use serde::{Deserialize, Serialize};

use super::interface::{Groups, Interface, PERMISSIONS};
use super::security_group::{Purpose, ready};
use super::{Change, Permission, Receipt};
use crate::arn::Arn;
use crate::aws::{Failure, Member};

/// One interface in isolation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolate {
    /// The interface.
    pub interface: Interface,
}

impl Isolate {
    /// Those of these groups that still exist.
    async fn left(&self, member: &Member, groups: &[String]) -> Result<Vec<String>, Failure> {
        // A filter leaves out what is gone, where a list of ids would fail.
        let filter = Filter::builder()
            .name("group-id")
            .set_values(Some(groups.to_vec()))
            .build();
        let answer = member.ec2.describe_security_groups().filters(filter).send().await;
        let answer = answer.map_err(|error| member.failure("ec2:DescribeSecurityGroups", groups.join(", "), &error))?;
        Ok(answer
            .security_groups
            .unwrap_or_default()
            .into_iter()
            .filter_map(|group| group.group_id)
            .collect())
    }
}

impl Change for Isolate {
    const PERMISSIONS: &'static [Permission] = PERMISSIONS;
    /// Behind the untracking group an interface is open to everywhere: no other change is worth as much patience.
    const PATIENCE: Duration = Duration::from_secs(45);
    type State = Groups;

    fn resource(&self) -> String {
        self.interface.id.clone()
    }

    fn target(&self) -> Option<Arn> {
        Some(self.interface.instance.clone())
    }

    fn describe(&self) -> String {
        let beside = match self.interface.door.as_slice() {
            [] => String::new(),
            door => format!(", and beside it into your forensic group {}", door.join(", ")),
        };
        format!("move the {} into the isolation group{beside}", self.interface.label())
    }

    fn describe_undo(&self, before: &Groups) -> String {
        format!(
            "give the {} its own groups back ({})",
            self.interface.label(),
            before.groups.join(", ")
        )
    }

    fn holds(&self, now: &Groups) -> bool {
        let open = |id: &String| now.groups.contains(id);
        now.within == Some(Purpose::Isolation) && self.interface.door.iter().all(open)
    }

    fn is_ours(&self, now: &Groups) -> bool {
        now.within.is_some()
    }

    async fn exists(&self, member: &Member) -> Result<bool, Failure> {
        self.interface.exists(member).await
    }

    async fn read(&self, member: &Member) -> Result<Groups, Failure> {
        self.interface.groups(member).await
    }

    async fn apply(&self, member: &Member, _before: &Groups) -> Result<Receipt, Failure> {
        let group = ready(member, &self.interface.vpc, Purpose::Isolation).await?;
        let groups = [&[group], self.interface.door.as_slice()].concat();
        self.interface.set_groups(member, &groups).await
    }

    async fn undo(&self, member: &Member, before: &Groups, _made: Option<&Groups>) -> Result<Receipt, Failure> {
        let refused = match self.interface.set_groups(member, &before.groups).await {
            Ok(receipt) => return Ok(receipt),
            // Which of the two EC2 uses here, its reference does not say.
            Err(failure)
                if matches!(
                    failure.code.as_str(),
                    "InvalidGroup.NotFound" | "InvalidSecurityGroupID.NotFound"
                ) =>
            {
                failure
            }
            Err(failure) => return Err(failure),
        };
        let left = self.left(member, &before.groups).await?;
        if left.is_empty() {
            let message = format!(
                "none of its former groups ({}) exists any more: it stays isolated",
                before.groups.join(", ")
            );
            return Err(Failure::own(
                refused.call,
                &self.interface.id,
                member.account.as_str(),
                "FormerGroupsGone",
                message,
            ));
        }
        let gone: Vec<String> = before
            .groups
            .iter()
            .filter(|group| !left.contains(group))
            .cloned()
            .collect();
        let mut receipt = self.interface.set_groups(member, &left).await?;
        receipt.note = Some(format!("without {}, which no longer exist", gone.join(", ")));
        Ok(receipt)
    }

    /// Isolation failed: its own groups are better than the untracking group, which is open to everywhere.
    async fn give_up(&self, member: &Member, before: &Groups) -> Option<String> {
        match self.read(member).await {
            Ok(now) if now.within == Some(Purpose::Untracking) => {}
            Ok(_) => return None,
            Err(failure) => {
                return Some(format!(
                    "whether the interface is OPEN to everywhere could not be read: {failure}"
                ));
            }
        }
        Some(match self.undo(member, before, None).await {
            Ok(_) => "the interface was given its own groups back: it is as reachable as before".to_owned(),
            Err(failure) => format!(
                "the interface STAYS OPEN to everywhere, in the untracking group, since its own groups could not be given back either: {failure}"
            ),
        })
    }
}
