//! What EC2 refuses and moto accepts.

use crate::AnyError;
use crate::answer::Refusal;
use crate::call::Call;
use crate::facts::Facts;
use crate::rules::Appearances;
use crate::{instance_attribute, network_acl, network_interface};

/// The refusal that AWS would give, if it would.
pub async fn check(call: &Call, facts: &Facts<'_>, seen: &Appearances) -> Result<Option<Refusal>, AnyError> {
    match call.action.as_str() {
        "ModifyNetworkInterfaceAttribute" => network_interface::check(call, facts, seen).await,
        "ModifyInstanceAttribute" => instance_attribute::check(call, facts, seen).await,
        "CreateNetworkAclEntry" | "DeleteNetworkAclEntry" => Ok(network_acl::check_form(call)),
        _ => Ok(None),
    }
}

/// What AWS refuses for an instance on its way from one state to another (Amazon EC2 API Reference, "Error codes",
/// IncorrectInstanceState).
pub fn check_state(instance: &str, seen: &Appearances) -> Option<Refusal> {
    let state = seen.instance_state(instance)?;
    let settled = ["running", "stopped"].contains(&state.as_str());
    (!settled).then(|| {
        Refusal::bad(
            "IncorrectInstanceState",
            format!("The instance '{instance}' is in state '{state}', which is not valid for this operation."),
        )
    })
}
