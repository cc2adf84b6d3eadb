//! What `ModifyInstanceAttribute` refuses and moto accepts, and instances that a test wants to look `stopping` and the like.

use crate::AnyError;
use crate::answer::Refusal;
use crate::call::Call;
use crate::ec2::check_state;
use crate::facts::Facts;
use crate::rules::Appearances;
use crate::xml;

/// The attributes as the call names them; AWS takes one a call (Amazon EC2 API Reference, ModifyInstanceAttribute).
const ATTRIBUTES: [&str; 15] = [
    "Attribute",
    "BlockDeviceMapping",
    "DisableApiStop",
    "DisableApiTermination",
    "EbsOptimized",
    "EnaSupport",
    "EnclaveOptions",
    "GroupId",
    "InstanceInitiatedShutdownBehavior",
    "InstanceType",
    "Kernel",
    "Ramdisk",
    "SourceDestCheck",
    "SriovNetSupport",
    "UserData",
];

/// The codes of an instance's states (Amazon EC2 API Reference, InstanceState).
const STATES: [(&str, &str); 6] = [
    ("pending", "0"),
    ("running", "16"),
    ("shutting-down", "32"),
    ("terminated", "48"),
    ("stopping", "64"),
    ("stopped", "80"),
];

/// The refusal that AWS would give, if it would.
pub async fn check(call: &Call, facts: &Facts<'_>, seen: &Appearances) -> Result<Option<Refusal>, AnyError> {
    let id = call.param("InstanceId");
    let number = ATTRIBUTES.iter().filter(|attribute| call.has(attribute)).count();
    if number != 1 {
        let message = [
            "No attributes specified.",
            "Fields for multiple attribute types specified",
        ];
        let message = message.get(number.min(1)).copied().unwrap_or_default();
        return Ok(Some(Refusal::bad("InvalidParameterCombination", message)));
    }
    if let Some(refusal) = check_state(id, seen) {
        return Ok(Some(refusal));
    }
    let Some(instance) = facts.instance(id).await? else {
        let message = format!("The instance ID '{id}' does not exist");
        return Ok(Some(Refusal::bad("InvalidInstanceID.NotFound", message)));
    };
    let protection = call.has("DisableApiTermination") || call.param("Attribute") == "disableApiTermination";
    if protection && instance.spot {
        // The words as seen in public reports, on either value; the API reference says only that it can't be enabled.
        let message = "Modifying 'disableApiTermination' is not supported for spot instances.";
        return Ok(Some(Refusal::bad("UnsupportedOperation", message)));
    }
    let several = call.has("GroupId") && instance.interfaces > 1;
    Ok(several.then(|| {
        Refusal::bad("InvalidInstanceID", format!(
            "There are multiple interfaces attached to instance '{id}'. Please specify an interface ID for the operation instead."
        ))
    }))
}

/// An answer to `DescribeInstances` with the states that a test wants to see.
pub fn with_states(answer: &str, seen: &Appearances) -> String {
    xml::map_items(answer, "reservationSet", "item", |reservation| {
        Some(xml::map_items(reservation, "instancesSet", "item", |instance| {
            let id = xml::text(instance, "instanceId").unwrap_or_default();
            Some(match seen.instance_state(id) {
                Some(state) => xml::with_text(instance, "instanceState", &state_element(&state)),
                None => instance.to_owned(),
            })
        }))
    })
}

fn state_element(state: &str) -> String {
    let code = STATES
        .iter()
        .find(|(name, _)| *name == state)
        .map_or("0", |(_, code)| code);
    format!("<code>{code}</code><name>{}</name>", xml::escape(state))
}
