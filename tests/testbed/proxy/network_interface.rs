//! Network interfaces: what AWS refuses and moto accepts, the types that a test wants to see, and the filter by type.

use std::collections::BTreeMap;

use crate::AnyError;
use crate::answer::Refusal;
use crate::call::Call;
use crate::ec2::check_state;
use crate::facts::Facts;
use crate::form;
use crate::rules::Appearances;
use crate::xml;

/// The attributes of `ModifyNetworkInterfaceAttribute`; AWS takes one a call.
const ATTRIBUTES: [&str; 9] = [
    "AssociatePublicIpAddress",
    "AssociatedSubnetId",
    "Attachment",
    "ConnectionTrackingSpecification",
    "Description",
    "EnaSrdSpecification",
    "EnablePrimaryIpv6",
    "SecurityGroupId",
    "SourceDestCheck",
];

/// Parameter under `ConnectionTrackingSpecification` and its bounds in seconds (Amazon EC2 API Reference,
/// ConnectionTrackingSpecificationRequest).
const TIMEOUTS: [(&str, std::ops::RangeInclusive<u32>); 3] = [
    ("TcpEstablishedTimeout", 60..=432_000),
    ("UdpStreamTimeout", 60..=180),
    ("UdpTimeout", 30..=60),
];

/// The types of interfaces that customers make; all others are AWS's own and requester-managed.
const CUSTOMERS_TYPES: [&str; 5] = ["interface", "efa", "efa-only", "branch", "trunk"];

/// The refusal that AWS would give, if it would.
pub async fn check(call: &Call, facts: &Facts<'_>, seen: &Appearances) -> Result<Option<Refusal>, AnyError> {
    if ATTRIBUTES.iter().filter(|attribute| call.has(attribute)).count() != 1 {
        let message = "Fields for multiple attribute types specified";
        return Ok(Some(Refusal::bad("InvalidParameterCombination", message)));
    }
    let id = call.param("NetworkInterfaceId");
    let Some(interface) = facts.interface(id).await? else {
        let message = format!("The networkInterface ID '{id}' does not exist");
        return Ok(Some(Refusal::bad("InvalidNetworkInterfaceID.NotFound", message)));
    };
    if interface.requester_managed || managed(id, seen) {
        let message = "You do not have permission to access the specified resource.";
        return Ok(Some(Refusal::bad("OperationNotPermitted", message)));
    }
    let state = interface.instance.and_then(|instance| check_state(&instance, seen));
    if let Some(refusal) = state.or_else(|| check_timeouts(call)) {
        return Ok(Some(refusal));
    }
    for group in call.list("SecurityGroupId") {
        match facts.group(group).await? {
            None => {
                let message = format!("The security group '{group}' does not exist");
                return Ok(Some(Refusal::bad("InvalidGroup.NotFound", message)));
            }
            Some(found) if found.vpc != interface.resource.vpc => {
                let message =
                    format!("You have specified two resources that belong to different networks: {group}, {id}");
                return Ok(Some(Refusal::bad("InvalidParameterValue", message)));
            }
            Some(_) => {}
        }
    }
    Ok(None)
}

fn check_timeouts(call: &Call) -> Option<Refusal> {
    TIMEOUTS.iter().find_map(|(parameter, bounds)| {
        let text = call
            .params
            .get(&format!("ConnectionTrackingSpecification.{parameter}"))?;
        let within = text.parse().is_ok_and(|value| bounds.contains(&value));
        let message = format!("Value ({text}) for parameter {parameter} is invalid.");
        (!within).then(|| Refusal::bad("InvalidParameterValue", message))
    })
}

/// Whether a test wants the interface to be one of AWS's own.
fn managed(id: &str, seen: &Appearances) -> bool {
    let of_aws = |kind: String| !CUSTOMERS_TYPES.contains(&kind.as_str());
    seen.requester_managed(id) || seen.interface_type(id).is_some_and(of_aws)
}

/// The types that a `DescribeNetworkInterfaces` asks for, and its form without that filter, which moto doesn't know.
pub fn without_type_filter(call: &Call) -> Option<(Vec<String>, String)> {
    let name_of = |key: &str| {
        let number = key.strip_prefix("Filter.")?.split('.').next()?;
        call.params.get(&format!("Filter.{number}.Name"))
    };
    let by_type = |key: &str| name_of(key).is_some_and(|name| name == "interface-type");
    let types: Vec<String> = call
        .params
        .iter()
        .filter(|(key, _)| by_type(key) && key.contains(".Value."))
        .map(|(_, value)| value.clone())
        .collect();
    if call.action != "DescribeNetworkInterfaces" || types.is_empty() {
        return None;
    }
    // The filters that are left, counted anew: moto stops at a gap.
    let mut numbers = BTreeMap::new();
    let mut pairs = vec![
        ("Action".to_owned(), call.action.clone()),
        ("Version".to_owned(), "2016-11-15".to_owned()),
    ];
    for (key, value) in call.params.iter().filter(|(key, _)| !by_type(key)) {
        let key = match key.strip_prefix("Filter.").and_then(|rest| rest.split_once('.')) {
            Some((number, rest)) => {
                let next = numbers.len() + 1;
                format!("Filter.{}.{rest}", numbers.entry(number.to_owned()).or_insert(next))
            }
            None => key.clone(),
        };
        pairs.push((key, value.clone()));
    }
    Some((types, form::encode(&pairs)))
}

/// An answer to `DescribeNetworkInterfaces` as a test wants to see it, of these types alone, if any are named.
pub fn described(answer: &str, seen: &Appearances, types: &[String]) -> String {
    xml::map_items(answer, "networkInterfaceSet", "item", |item| {
        let item = with_type(item, seen);
        let kind = xml::text(&item, "interfaceType").unwrap_or("interface");
        (types.is_empty() || types.iter().any(|wanted| wanted == kind)).then(|| item.clone())
    })
}

/// An answer to `DescribeInstances` with the types that a test wants to see.
pub fn with_types(answer: &str, seen: &Appearances) -> String {
    xml::map_items(answer, "reservationSet", "item", |reservation| {
        Some(xml::map_items(reservation, "instancesSet", "item", |instance| {
            Some(xml::map_items(instance, "networkInterfaceSet", "item", |item| {
                Some(with_type(item, seen))
            }))
        }))
    })
}

fn with_type(item: &str, seen: &Appearances) -> String {
    let id = xml::text(item, "networkInterfaceId").unwrap_or_default();
    let mut item = item.to_owned();
    if let Some(kind) = seen.interface_type(id) {
        item = xml::with_text(&item, "interfaceType", &xml::escape(&kind));
    }
    if managed(id, seen) {
        item = xml::with_text(&item, "requesterManaged", "true");
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(pairs: &[(&str, &str)]) -> Call {
        let params = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Call {
            service: "ec2".to_owned(),
            action: "DescribeNetworkInterfaces".to_owned(),
            region: String::new(),
            access_key: String::new(),
            params: params.collect(),
            text: String::new(),
        }
    }

    #[test]
    fn the_filter_by_type_is_taken_out_and_the_others_are_counted_anew() {
        let stripped = without_type_filter(&call(&[
            ("Filter.1.Name", "interface-type"),
            ("Filter.1.Value.1", "nat_gateway"),
            ("Filter.1.Value.2", "lambda"),
            ("Filter.2.Name", "vpc-id"),
            ("Filter.2.Value.1", "vpc-1"),
        ]));
        let (types, form) = stripped.unwrap_or_default();
        assert_eq!(types, ["nat_gateway", "lambda"]);
        assert!(form.ends_with("Filter.1.Name=vpc-id&Filter.1.Value.1=vpc-1"), "{form}");
    }

    #[test]
    fn without_a_filter_by_type_the_call_stays_as_it_is() {
        assert!(without_type_filter(&call(&[("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", "vpc-1")])).is_none());
    }
}
