//! Lowers the minimum of an Auto Scaling group that is in the way of an instance's standby.
//!
//! It is one change for all contained instances of a group: the first of them keeps the minimum from before, and the last one that
//! is released puts it back, whatever the order. What an instance finds when others were put on standby before it is not the minimum
//! from before.
//!
//! Source: Amazon EC2 Auto Scaling API Reference, "UpdateAutoScalingGroup".

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::standby::{describe, set_sizes};
use super::{Change, HOLDS_NOTHING_UP, Permission, Receipt};
use crate::arn::Arn;
use crate::aws::{Failure, Member, Reason};

/// The minimum of one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMinimum {
    /// The group's name.
    pub group: String,
    /// The group's ARN.
    pub arn: Arn,
    /// The largest minimum that lets the instance go.
    pub most: i32,
}

/// How many instances the group has at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minimum {
    /// In instances.
    pub min: i32,
}

impl Change for GroupMinimum {
    const PERMISSIONS: &'static [Permission] = &[
        Permission {
            action: "autoscaling:DescribeAutoScalingGroups",
            used_for: "read a group's minimum back",
        },
        Permission {
            action: "autoscaling:UpdateAutoScalingGroup",
            used_for: "lower a group's minimum that is in the way, and put it back",
        },
    ];
    const AT_MOST: Option<Duration> = HOLDS_NOTHING_UP;
    type State = Minimum;

    fn resource(&self) -> String {
        self.arn.to_string()
    }

    fn target(&self) -> Option<Arn> {
        Some(self.arn.clone())
    }

    fn describe(&self) -> String {
        format!(
            "lower the minimum of the Auto Scaling group {} to {}, so that an instance can go on standby",
            self.group, self.most
        )
    }

    fn describe_undo(&self, before: &Minimum) -> String {
        format!(
            "set the minimum of the Auto Scaling group {} back to {}",
            self.group, before.min
        )
    }

    fn holds(&self, now: &Minimum) -> bool {
        now.min <= self.most
    }

    /// A release of one of several instances leaves a minimum in between.
    fn is_ours(&self, _now: &Minimum) -> bool {
        true
    }

    /// A higher one is somebody else's decision.
    fn is_undone(&self, now: &Minimum, before: &Minimum) -> bool {
        now.min >= before.min
    }

    async fn exists(&self, member: &Member) -> Result<bool, Failure> {
        match describe(member, &self.group).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.reason == Reason::Absent => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    async fn read(&self, member: &Member) -> Result<Minimum, Failure> {
        let min = describe(member, &self.group).await?.min_size.unwrap_or_default();
        Ok(Minimum { min })
    }

    async fn apply(&self, member: &Member, _before: &Minimum) -> Result<Receipt, Failure> {
        set_sizes(member, &self.group, self.most, None).await
    }

    async fn undo(&self, member: &Member, before: &Minimum, _made: Option<&Minimum>) -> Result<Receipt, Failure> {
        set_sizes(member, &self.group, before.min, None).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minimum_that_others_lowered_further_holds_and_one_that_was_raised_since_is_left() {
        let step = GroupMinimum {
            group: "web".into(),
            arn: "arn:aws:autoscaling:us-east-1:222222222222:autoScalingGroup:1:autoScalingGroupName/web"
                .parse()
                .expect("an ARN"),
            most: 1,
        };
        let of = |min| Minimum { min };
        assert!(step.holds(&of(0)) && step.holds(&of(1)) && !step.holds(&of(2)));
        assert!(!step.is_undone(&of(1), &of(2)) && step.is_undone(&of(2), &of(2)) && step.is_undone(&of(3), &of(2)));
    }
}
