//! What EC2 refuses and moto accepts, and the facts about groups and interfaces that this and the judge need.

use crate::AnyError;
use crate::answer::Refusal;
use crate::call::Call;
use crate::sessions::Caller;
use crate::upstream::Upstream;
use crate::xml;

/// The attributes of `ModifyNetworkInterfaceAttribute`; AWS takes one a call.
const INTERFACE_ATTRIBUTES: [&str; 9] = [
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

/// A security group or a network interface.
pub struct Resource {
    /// Its VPC.
    pub vpc: String,
    /// Its tags.
    pub tags: Vec<(String, String)>,
}

/// moto, asked as the caller's account.
pub struct Facts<'a> {
    /// Where moto is.
    pub upstream: &'a Upstream,
    /// Who asks.
    pub caller: &'a Caller,
    /// The call's region.
    pub region: &'a str,
}

impl Facts<'_> {
    async fn describe(&self, action: &str, name: &str, value: &str) -> Result<String, AnyError> {
        let pairs = [("Action", action), ("Version", "2016-11-15"), (name, value)];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.upstream
            .ask(&self.caller.account, self.region, "ec2", &pairs)
            .await
    }

    /// A group, if it exists.
    pub async fn group(&self, id: &str) -> Result<Option<Resource>, AnyError> {
        Ok(resource(
            &self.describe("DescribeSecurityGroups", "GroupId.1", id).await?,
        ))
    }

    /// An interface, if it exists.
    pub async fn interface(&self, id: &str) -> Result<Option<Resource>, AnyError> {
        Ok(resource(
            &self
                .describe("DescribeNetworkInterfaces", "NetworkInterfaceId.1", id)
                .await?,
        ))
    }

    /// How many interfaces an instance has.
    async fn interfaces_of(&self, instance: &str) -> Result<usize, AnyError> {
        let answer = self.describe("DescribeInstances", "InstanceId.1", instance).await?;
        Ok(xml::texts(&answer, "networkInterfaceId").count())
    }
}

/// The one resource of an answer to a Describe.
fn resource(answer: &str) -> Option<Resource> {
    let vpc = xml::text(answer, "vpcId")?.to_owned();
    let tags = xml::texts(answer, "tagSet").last().unwrap_or_default();
    let keys = xml::texts(tags, "key").map(str::to_owned);
    Some(Resource {
        vpc,
        tags: keys.zip(xml::texts(tags, "value").map(str::to_owned)).collect(),
    })
}

/// The refusal that AWS would give, if it would.
pub async fn check(call: &Call, facts: &Facts<'_>, requester_managed: &[String]) -> Result<Option<Refusal>, AnyError> {
    match call.action.as_str() {
        "ModifyNetworkInterfaceAttribute" => check_interface(call, facts, requester_managed).await,
        "ModifyInstanceAttribute" if call.has("GroupId") => {
            let id = call.param("InstanceId");
            let several = facts.interfaces_of(id).await? > 1;
            Ok(several.then(|| {
                Refusal::bad("InvalidInstanceID", format!(
                    "There are multiple interfaces attached to instance '{id}'. Please specify an interface ID for the operation instead."
                ))
            }))
        }
        _ => Ok(None),
    }
}

async fn check_interface(
    call: &Call,
    facts: &Facts<'_>,
    requester_managed: &[String],
) -> Result<Option<Refusal>, AnyError> {
    if INTERFACE_ATTRIBUTES
        .iter()
        .filter(|attribute| call.has(attribute))
        .count()
        != 1
    {
        let message = "Fields for multiple attribute types specified";
        return Ok(Some(Refusal::bad("InvalidParameterCombination", message)));
    }
    let id = call.param("NetworkInterfaceId");
    let Some(interface) = facts.interface(id).await? else {
        let message = format!("The networkInterface ID '{id}' does not exist");
        return Ok(Some(Refusal::bad("InvalidNetworkInterfaceID.NotFound", message)));
    };
    if requester_managed.iter().any(|managed| managed == id) {
        let message = "You do not have permission to access the specified resource.";
        return Ok(Some(Refusal::bad("OperationNotPermitted", message)));
    }
    for group in call.list("SecurityGroupId") {
        match facts.group(group).await? {
            None => {
                let message = format!("The security group '{group}' does not exist");
                return Ok(Some(Refusal::bad("InvalidGroup.NotFound", message)));
            }
            Some(found) if found.vpc != interface.vpc => {
                let message =
                    format!("You have specified two resources that belong to different networks: {group}, {id}");
                return Ok(Some(Refusal::bad("InvalidParameterValue", message)));
            }
            Some(_) => {}
        }
    }
    Ok(None)
}

/// Marks the interfaces in an answer to `DescribeNetworkInterfaces` as requester-managed.
pub fn mark_managed(xml: &str, requester_managed: &[String]) -> String {
    let mut out = xml.to_owned();
    for id in requester_managed {
        let at = format!("<networkInterfaceId>{id}</networkInterfaceId>");
        let Some((before, after)) = out.split_once(&at) else {
            continue;
        };
        let (own, others) = after
            .split_once("<networkInterfaceId>")
            .map_or((after, None), |(own, rest)| (own, Some(rest)));
        let own = own.replacen("<requesterManaged>false</requesterManaged>", "", 1);
        let others = others.map_or(String::new(), |rest| format!("<networkInterfaceId>{rest}"));
        out = format!("{before}{at}<requesterManaged>true</requesterManaged>{own}{others}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_interface_is_marked() {
        let item = |id: &str, managed: bool| {
            format!("<networkInterfaceId>{id}</networkInterfaceId><requesterManaged>{managed}</requesterManaged>")
        };
        let marked = mark_managed(
            &format!("{}{}", item("eni-1", false), item("eni-2", false)),
            &["eni-1".to_owned()],
        );
        assert_eq!(marked, format!("{}{}", item("eni-1", true), item("eni-2", false)));
    }
}
