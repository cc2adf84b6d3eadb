//! What AWS refuses of a network ACL's entries and moto accepts.

use crate::AnyError;
use crate::answer::Refusal;
use crate::call::Call;
use crate::facts::Facts;
use crate::rules::Appearances;
use crate::xml;

/// Rules of one direction and one address family, the closing deny (shown as `*`) among them (Amazon VPC User Guide, "Amazon VPC
/// quotas": enforced separately for IPv4 and IPv6, and includes the default deny rules).
const QUOTA: usize = 20;

/// The numbers that a caller may use; those above are AWS's (Amazon EC2 API Reference, CreateNetworkAclEntry).
const NUMBERS: std::ops::RangeInclusive<u32> = 1..=32766;

/// The refusal of a call that can't be right whatever the ACL holds.
pub fn check_form(call: &Call) -> Option<Refusal> {
    let create = call.action == "CreateNetworkAclEntry";
    let needed: &[&str] = if create {
        &["NetworkAclId", "RuleNumber", "Egress", "Protocol", "RuleAction"]
    } else {
        &["NetworkAclId", "RuleNumber", "Egress"]
    };
    if let Some(missing) = needed.iter().find(|name| !call.has(name)) {
        let message = format!("The request must contain the parameter {missing}");
        return Some(Refusal::bad("MissingParameter", message));
    }
    let number = call.param("RuleNumber");
    if !number.parse().is_ok_and(|number: u32| NUMBERS.contains(&number)) {
        return Some(invalid("ruleNumber", number));
    }
    if !create {
        return None;
    }
    let action = call.param("RuleAction");
    if !["allow", "deny"].contains(&action) {
        return Some(invalid("ruleAction", action));
    }
    match (call.has("CidrBlock"), call.has("Ipv6CidrBlock")) {
        (false, false) => Some(Refusal::bad(
            "MissingParameter",
            "Either 'cidrBlock' or 'ipv6CidrBlock' should be provided.",
        )),
        (true, true) => Some(Refusal::bad(
            "InvalidParameterCombination",
            "The parameters 'cidrBlock' and 'ipv6CidrBlock' can't be used together.",
        )),
        _ => None,
    }
}

fn invalid(parameter: &str, value: &str) -> Refusal {
    let message = format!("Value ({value}) for parameter {parameter} is invalid.");
    Refusal::bad("InvalidParameterValue", message)
}

/// The refusal of an entry that is one too many. A number that is used already is left to moto.
pub async fn check_quota(call: &Call, facts: &Facts<'_>, seen: &Appearances) -> Result<Option<Refusal>, AnyError> {
    let id = call.param("NetworkAclId");
    let acl = facts.network_acl_xml(id).await?;
    let same_way = xml::items(&acl, "entrySet", "item")
        .into_iter()
        .filter(|entry| xml::text(entry, "egress") == Some(call.param("Egress")));
    let entries: Vec<&str> = same_way.collect();
    let used = |entry: &&str| xml::text(entry, "ruleNumber") == Some(call.param("RuleNumber"));
    let ipv6 = call.has("Ipv6CidrBlock");
    let of_family = |entry: &&&str| xml::text(entry, "ipv6CidrBlock").is_some() == ipv6;
    let full = entries.iter().filter(of_family).count() >= seen.acl_quota(id).unwrap_or(QUOTA);
    Ok((full && !entries.iter().any(used)).then(|| {
        let message = "The maximum number of network acl entries has been reached.";
        Refusal::bad("NetworkAclEntryLimitExceeded", message)
    }))
}
