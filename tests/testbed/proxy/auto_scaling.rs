//! Auto Scaling members that a test wants to see in another state, and what AWS refuses of them. All that depends on the sizes
//! of a group is refused by moto itself (launch/auto_scaling.py).

use crate::answer::Refusal;
use crate::call::Call;
use crate::rules::Appearances;
use crate::xml;

/// The refusal of a member that is on its way from one state to another, in AWS's words as seen in public reports.
pub fn check(call: &Call, seen: &Appearances) -> Option<Refusal> {
    let needed = match call.action.as_str() {
        "EnterStandby" => "InService",
        "ExitStandby" => "Standby",
        _ => return None,
    };
    call.list("InstanceIds.member").into_iter().find_map(|instance| {
        let state = seen.lifecycle_state(instance)?;
        let message = format!("The instance {instance} is not in {needed}.");
        (state != needed).then(|| Refusal::bad("ValidationError", message))
    })
}

/// An answer to `DescribeAutoScalingInstances` or `DescribeAutoScalingGroups` with the states that a test wants to see.
pub fn with_states(answer: &str, seen: &Appearances) -> String {
    let member = |member: &str| {
        let id = xml::text(member, "InstanceId").unwrap_or_default();
        Some(match seen.lifecycle_state(id) {
            Some(state) => xml::with_text(member, "LifecycleState", &xml::escape(&state)),
            None => member.to_owned(),
        })
    };
    let answer = xml::map_items(answer, "AutoScalingInstances", "member", member);
    xml::map_items(&answer, "AutoScalingGroups", "member", |group| {
        Some(xml::map_items(group, "Instances", "member", member))
    })
}
