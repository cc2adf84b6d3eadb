//! Puts an instance on standby in its Auto Scaling group, so that failing health checks don't have it terminated.
//!
//! `shrink` lowers the group's desired capacity by one, and its minimum with it where that is in the way (see [`super::group_minimum`]
//! for several instances of one group); `replace` lets the group launch another instance. A release takes the instance back and leaves
//! the group as large as it was.
//!
//! Source: Amazon EC2 Auto Scaling User Guide, "Temporarily remove instances from your Auto Scaling group"; API Reference,
//! "EnterStandby", "ExitStandby" (which raises the desired capacity by one) and "UpdateAutoScalingGroup".

use std::time::Duration;

use aws_sdk_autoscaling::types::AutoScalingGroup;
use serde::{Deserialize, Serialize};

use super::{Change, HOLDS_NOTHING_UP, Permission, Receipt, instance};
use crate::arn::Arn;
use crate::aws::{Failure, Member, Reason};

/// Our own word for the lifecycle state of an instance that left its group.
const DETACHED: &str = "Detached";

/// Auto Scaling's word for a call that the sizes of a group, or an instance's place in it, don't allow.
const REFUSED: &str = "ValidationError";

/// How often entering standby is tried while others change the group's sizes.
const TRIES: usize = 5;

/// One instance in its group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standby {
    /// The instance.
    pub instance: Arn,
    /// The group's name.
    pub group: String,
    /// The group's ARN.
    pub arn: Arn,
    /// Whether the group gets smaller, and launches no replacement.
    pub shrink: bool,
}

/// Where an instance and its group stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InGroup {
    /// The instance's lifecycle state, as in `InService`.
    pub lifecycle: String,
    /// The group's minimum.
    pub min: i32,
    /// Its desired capacity.
    pub desired: i32,
}

impl InGroup {
    fn on_standby(&self) -> bool {
        is_standby(&self.lifecycle)
    }

    /// The minimum to put back, so many other instances of the group being on standby: each of them may have lowered it by one, and
    /// a minimum that those left can't meet would have the group launch others in their place.
    fn min_with(&self, others_on_standby: i32) -> i32 {
        self.min.saturating_sub(others_on_standby)
    }
}

fn is_standby(lifecycle: &str) -> bool {
    lifecycle == "Standby" || lifecycle == "EnteringStandby"
}

/// A group as Auto Scaling describes it; one that is deleted, or about to be, is absent.
pub(crate) async fn describe(member: &Member, name: &str) -> Result<AutoScalingGroup, Failure> {
    let call = "autoscaling:DescribeAutoScalingGroups";
    let asked = member.auto_scaling.describe_auto_scaling_groups();
    let answer = asked.auto_scaling_group_names(name).send().await;
    let answer = answer.map_err(|error| member.failure(call, name, &error))?;
    let group = answer.auto_scaling_groups.unwrap_or_default().into_iter().next();
    group.filter(|group| group.status.is_none()).ok_or_else(|| Failure {
        reason: Reason::Absent,
        ..Failure::own(
            call,
            name,
            member.account.as_str(),
            "AutoScalingGroupNotFound",
            "the group is deleted, or about to be",
        )
    })
}

/// Sets a group's minimum, and its desired capacity where that is given.
pub(crate) async fn set_sizes(member: &Member, name: &str, min: i32, desired: Option<i32>) -> Result<Receipt, Failure> {
    let call = member.auto_scaling.update_auto_scaling_group();
    let call = call.auto_scaling_group_name(name).min_size(min);
    let answer = call.set_desired_capacity(desired).send().await;
    let answer = answer.map_err(|error| member.failure("autoscaling:UpdateAutoScalingGroup", name, &error))?;
    Ok(Receipt::of(&answer))
}

impl Standby {
    fn failure(&self, member: &Member, call: &'static str, code: &str, message: &str, reason: Reason) -> Failure {
        Failure {
            reason,
            ..Failure::own(call, &self.group, member.account.as_str(), code, message)
        }
    }

    /// The group as it is; absent if it is gone.
    async fn group(&self, member: &Member) -> Result<InGroup, Failure> {
        Ok(self.look(member).await?.0)
    }

    /// The group as it is, and how many of its other instances are on standby.
    async fn look(&self, member: &Member) -> Result<(InGroup, i32), Failure> {
        let group = describe(member, &self.group).await?;
        let id = instance::id(&self.instance);
        let (own, others): (Vec<_>, Vec<_>) = group
            .instances()
            .iter()
            .partition(|member| member.instance_id() == Some(id));
        let lifecycle = own.first().and_then(|found| found.lifecycle_state());
        let now = InGroup {
            lifecycle: lifecycle.map_or(DETACHED, |state| state.as_str()).to_owned(),
            min: group.min_size.unwrap_or_default(),
            desired: group.desired_capacity.unwrap_or_default(),
        };
        let on_standby = others
            .iter()
            .filter_map(|other| other.lifecycle_state())
            .filter(|state| is_standby(state.as_str()));
        Ok((now, i32::try_from(on_standby.count()).unwrap_or(i32::MAX)))
    }

    /// One try to enter standby.
    async fn enter(&self, member: &Member) -> Result<Receipt, Failure> {
        let call = member
            .auto_scaling
            .enter_standby()
            .auto_scaling_group_name(&self.group)
            .instance_ids(instance::id(&self.instance));
        let answer = call.should_decrement_desired_capacity(self.shrink).send().await;
        let answer = answer.map_err(|error| member.failure("autoscaling:EnterStandby", &self.group, &error))?;
        Ok(Receipt::of(&answer))
    }

    /// Leaves standby. Where an answer was lost, the SDK's second call is refused, since the first one has done it.
    async fn exit(&self, member: &Member) -> Result<Receipt, Failure> {
        let call = member.auto_scaling.exit_standby().auto_scaling_group_name(&self.group);
        let answer = call.instance_ids(instance::id(&self.instance)).send().await;
        let failure = match answer.map_err(|error| member.failure("autoscaling:ExitStandby", &self.group, &error)) {
            Ok(answer) => return Ok(Receipt::of(&answer)),
            Err(failure) => failure,
        };
        match self.group(member).await {
            Ok(now) if !now.on_standby() => Ok(Receipt::default()),
            Ok(_) | Err(_) => Err(failure),
        }
    }
}

impl Change for Standby {
    const PERMISSIONS: &'static [Permission] = &[
        Permission {
            action: "autoscaling:DescribeAutoScalingGroups",
            used_for: "read an instance's place in its group back",
        },
        Permission {
            action: "autoscaling:EnterStandby",
            used_for: "keep a group from terminating an instance",
        },
        Permission {
            action: "autoscaling:ExitStandby",
            used_for: "give an instance back to its group",
        },
        Permission {
            action: "autoscaling:UpdateAutoScalingGroup",
            used_for: "lower a group's minimum that is in the way, and put it back",
        },
    ];
    const REMEMBERS: bool = true;
    const AT_MOST: Option<Duration> = HOLDS_NOTHING_UP;
    type State = InGroup;

    fn resource(&self) -> String {
        format!("{}/{}", self.arn, instance::id(&self.instance))
    }

    fn target(&self) -> Option<Arn> {
        Some(self.arn.clone())
    }

    fn describe(&self) -> String {
        let how = if self.shrink {
            "which gets smaller by one"
        } else {
            "which launches a replacement"
        };
        format!(
            "put {} on standby in its Auto Scaling group {}, {how}",
            instance::id(&self.instance),
            self.group
        )
    }

    fn describe_undo(&self, before: &InGroup) -> String {
        format!(
            "return {} to service in its Auto Scaling group {} (minimum {})",
            instance::id(&self.instance),
            self.group,
            before.min
        )
    }

    /// An instance that left its group is out of its reach as well.
    fn holds(&self, now: &InGroup) -> bool {
        now.on_standby() || now.lifecycle == DETACHED
    }

    fn is_ours(&self, _now: &InGroup) -> bool {
        true
    }

    /// The desired capacity is not looked at: groups change it themselves all the time.
    fn is_undone(&self, now: &InGroup, before: &InGroup) -> bool {
        !now.on_standby() && now.min == before.min
    }

    fn describe_made(&self, made: &InGroup) -> Option<String> {
        Some(format!(
            "the group has minimum {} and desired capacity {}",
            made.min, made.desired
        ))
    }

    async fn exists(&self, member: &Member) -> Result<bool, Failure> {
        match self.group(member).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.reason == Reason::Absent => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    async fn read(&self, member: &Member) -> Result<InGroup, Failure> {
        self.group(member).await
    }

    async fn apply(&self, member: &Member, _before: &InGroup) -> Result<Receipt, Failure> {
        let mut tries = TRIES;
        loop {
            let now = self.group(member).await?;
            // Where an answer was lost, an earlier call has done it.
            if self.holds(&now) {
                return Ok(Receipt::default());
            }
            let smaller = (now.desired - 1).max(0);
            if self.shrink && smaller < now.min {
                set_sizes(member, &self.group, smaller, None).await?;
            }
            tries -= 1;
            match self.enter(member).await {
                // Others of the group may go the same way at this moment, and be where this one looked in between.
                Err(failure) if failure.code == REFUSED && tries > 0 => {}
                outcome => return outcome,
            }
        }
    }

    async fn undo(&self, member: &Member, before: &InGroup, _made: Option<&InGroup>) -> Result<Receipt, Failure> {
        let (mut now, mut others) = self.look(member).await?;
        if now.lifecycle == "EnteringStandby" {
            let message = "the instance is still on its way to standby";
            return Err(self.failure(
                member,
                "autoscaling:ExitStandby",
                "EnteringStandby",
                message,
                Reason::Passing,
            ));
        }
        let mut receipt = Receipt::default();
        if now.on_standby() {
            // Leaving standby raises the desired capacity by one. Where it was not lowered before, it is lowered now, while the
            // instance on standby can't be the one that the group terminates for it.
            if !self.shrink && now.desired == before.desired && now.desired > 0 {
                let smaller = now.desired - 1;
                set_sizes(member, &self.group, now.min.min(smaller), Some(smaller)).await?;
            }
            receipt = self.exit(member).await?;
            (now, others) = self.look(member).await?;
        }
        if now.lifecycle == DETACHED {
            receipt.note = Some("the instance has left the group meanwhile, and was not put back into it".to_owned());
        }
        if now.min < before.min {
            let min = before.min_with(others).max(now.min);
            if min > now.min {
                set_sizes(member, &self.group, min, None).await?;
            }
            if min != before.min {
                receipt.note = Some(format!(
                    "the group's minimum is {min} now, and was {} before: {others} other instances of the group are on standby",
                    before.min
                ));
            }
        } else if now.min > before.min {
            receipt.note = Some(format!(
                "the group's minimum was left at {}, which somebody has set since ({} before)",
                now.min, before.min
            ));
        }
        Ok(receipt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standby() -> Standby {
        Standby {
            instance: "arn:aws:ec2:us-east-1:222222222222:instance/i-0123456789abcdef0"
                .parse()
                .expect("an ARN"),
            group: "web".into(),
            arn: "arn:aws:autoscaling:us-east-1:222222222222:autoScalingGroup:1:autoScalingGroupName/web"
                .parse()
                .expect("an ARN"),
            shrink: true,
        }
    }

    fn state(lifecycle: &str, min: i32, desired: i32) -> InGroup {
        InGroup {
            lifecycle: lifecycle.into(),
            min,
            desired,
        }
    }

    #[test]
    fn an_instance_is_out_of_reach_on_standby_on_its_way_there_or_outside_of_the_group() {
        for (lifecycle, holds) in [
            ("Standby", true),
            ("EnteringStandby", true),
            ("Detached", true),
            ("InService", false),
            ("Pending", false),
            ("Terminating", false),
        ] {
            assert_eq!(standby().holds(&state(lifecycle, 1, 1)), holds, "{lifecycle}");
        }
    }

    #[test]
    fn the_minimum_that_is_put_back_can_be_met_by_those_that_are_not_on_standby() {
        let before = state("InService", 2, 2);
        for (others_on_standby, min) in [(0, 2), (1, 1), (2, 0)] {
            assert_eq!(before.min_with(others_on_standby), min, "{others_on_standby}");
        }
    }

    #[test]
    fn a_group_that_scales_meanwhile_is_put_back_all_the_same() {
        let before = state("InService", 2, 2);
        assert!(standby().is_undone(&state("InService", 2, 5), &before));
        assert!(standby().is_undone(&state("Pending", 2, 2), &before));
        assert!(!standby().is_undone(&state("InService", 1, 2), &before));
        assert!(!standby().is_undone(&state("Standby", 2, 1), &before));
    }
}
