//! What must be allowed for a call to go on: actions, resources and context keys as the Service Authorization Reference lists
//! them for "Amazon EC2" and "Amazon EC2 Auto Scaling".
//!
//! Left out, so that a condition on it never holds: `ec2:Attribute` of ModifyInstanceAttribute. The reference lists it, public
//! reports contradict each other about its values.

use crate::AnyError;
use crate::call::Call;
use crate::facts::{Facts, Resource};

/// Context keys and their values.
type Context = Vec<(String, Vec<String>)>;

/// One thing that must be allowed for a call to go on.
pub struct Demand {
    /// `ec2:CreateTags`, ...
    pub action: String,
    /// An ARN, or `*`.
    pub resource: String,
    /// Keys of the call and of the resource.
    pub context: Context,
}

/// All that must be allowed.
pub async fn demands(call: &Call, facts: &Facts<'_>) -> Result<Vec<Demand>, AnyError> {
    match call.service.as_str() {
        "autoscaling" => scaling_demands(call, facts).await,
        _ => ec2_demands(call, facts).await,
    }
}

async fn ec2_demands(call: &Call, facts: &Facts<'_>) -> Result<Vec<Demand>, AnyError> {
    let demand = |resource: String, context| Demand {
        action: format!("ec2:{}", call.action),
        resource,
        context,
    };
    let all = match call.action.as_str() {
        "CreateSecurityGroup" => {
            let any = arn(facts, "security-group/*");
            let mut all = vec![
                demand(any.clone(), request_tags(call)),
                demand(arn(facts, &format!("vpc/{}", call.param("VpcId"))), Vec::new()),
            ];
            all.extend(tagging(call, any));
            all
        }
        "CreateSnapshots" => snapshot_demands(call, facts).await?,
        "CreateTags" | "DeleteTags" => {
            let mut all = Vec::new();
            for id in call.list("ResourceId") {
                // Of other resources than groups the tags are not asked for: no statement of ours depends on them.
                let mut context = if id.starts_with("sg-") {
                    resource_context(facts, facts.group(id).await?.as_ref())
                } else {
                    Vec::new()
                };
                context.extend(tags_of_request(call, "Tag"));
                all.push(demand(arn(facts, &path_of(id)), context));
            }
            all
        }
        "AuthorizeSecurityGroupIngress"
        | "AuthorizeSecurityGroupEgress"
        | "ModifySecurityGroupRules"
        | "RevokeSecurityGroupIngress"
        | "RevokeSecurityGroupEgress"
        | "DeleteSecurityGroup" => {
            let id = call.param("GroupId");
            let context = resource_context(facts, facts.group(id).await?.as_ref());
            vec![demand(arn(facts, &path_of(id)), context)]
        }
        "CreateNetworkAclEntry" | "DeleteNetworkAclEntry" | "ReplaceNetworkAclEntry" => {
            let id = call.param("NetworkAclId");
            let mut context = resource_context(facts, facts.network_acl(id).await?.as_ref());
            context.push(("ec2:NetworkAclID".to_owned(), vec![id.to_owned()]));
            vec![demand(arn(facts, &path_of(id)), context)]
        }
        "ModifyNetworkInterfaceAttribute" => {
            let id = call.param("NetworkInterfaceId");
            let interface = facts.interface(id).await?.map(|interface| interface.resource);
            let mut all = vec![demand(
                arn(facts, &path_of(id)),
                resource_context(facts, interface.as_ref()),
            )];
            for id in call.list("SecurityGroupId") {
                let context = resource_context(facts, facts.group(id).await?.as_ref());
                all.push(demand(arn(facts, &path_of(id)), context));
            }
            all
        }
        "ModifyInstanceAttribute" => {
            let (id, instance) = (
                call.param("InstanceId"),
                facts.instance(call.param("InstanceId")).await?,
            );
            let (tags, devices) = instance.map(|found| (found.tags, found.devices)).unwrap_or_default();
            let mut all = vec![demand(arn(facts, &path_of(id)), instance_context(id, &tags))];
            let named = |device: &str| {
                let mut mappings = (1..).map_while(|n| call.params.get(&format!("BlockDeviceMapping.{n}.DeviceName")));
                mappings.any(|name| name == device)
            };
            for (_, volume) in devices.iter().filter(|(device, _)| named(device)) {
                let context = tag_context("ec2", &facts.volume_tags(volume).await?);
                all.push(demand(arn(facts, &path_of(volume)), context));
            }
            all
        }
        // The Describe calls know no resource.
        _ => vec![demand("*".to_owned(), Vec::new())],
    };
    Ok(all)
}

/// The instance, each of its volumes, and the snapshots to come, whose ARNs have no account.
async fn snapshot_demands(call: &Call, facts: &Facts<'_>) -> Result<Vec<Demand>, AnyError> {
    let demand = |resource: String, context| Demand {
        action: "ec2:CreateSnapshots".to_owned(),
        resource,
        context,
    };
    let id = call.param("InstanceSpecification.InstanceId");
    let (tags, devices) = facts
        .instance(id)
        .await?
        .map(|found| (found.tags, found.devices))
        .unwrap_or_default();
    let mut all = vec![demand(arn(facts, &path_of(id)), instance_context(id, &tags))];
    for (_, volume) in &devices {
        let context = tag_context("ec2", &facts.volume_tags(volume).await?);
        all.push(demand(arn(facts, &path_of(volume)), context));
    }
    let snapshots = format!("arn:{}:ec2:{}::snapshot/*", partition(facts), facts.region);
    all.push(demand(snapshots.clone(), request_tags(call)));
    all.extend(tagging(call, snapshots));
    Ok(all)
}

/// Tags that are made with a resource must be allowed as such.
fn tagging(call: &Call, resource: String) -> Option<Demand> {
    let mut context = request_tags(call);
    if context.is_empty() {
        return None;
    }
    context.push(("ec2:CreateAction".to_owned(), vec![call.action.clone()]));
    Some(Demand {
        action: "ec2:CreateTags".to_owned(),
        resource,
        context,
    })
}

async fn scaling_demands(call: &Call, facts: &Facts<'_>) -> Result<Vec<Demand>, AnyError> {
    let action = format!("autoscaling:{}", call.action);
    if call.action.starts_with("Describe") {
        return Ok(vec![Demand {
            action,
            resource: "*".to_owned(),
            context: Vec::new(),
        }]);
    }
    let name = call.param("AutoScalingGroupName");
    let group = facts.scaling_group(name).await?;
    let tags = group.as_ref().map(|group| group.tags.clone()).unwrap_or_default();
    // Without the group its id is unknown, and only a statement for any id can allow the call.
    let resource = group.map_or_else(
        || {
            let (region, account) = (facts.region, &facts.caller.account);
            let prefix = format!("arn:{}:autoscaling:{region}:{account}", partition(facts));
            format!("{prefix}:autoScalingGroup:*:autoScalingGroupName/{name}")
        },
        |group| group.arn,
    );
    let mut context = tag_context("autoscaling", &tags);
    for parameter in ["MinSize", "MaxSize", "LaunchConfigurationName"] {
        if call.has(parameter) {
            context.push((
                format!("autoscaling:{parameter}"),
                vec![call.param(parameter).to_owned()],
            ));
        }
    }
    if call.has("LaunchTemplate") {
        let specified = call.has("LaunchTemplate.Version").to_string();
        context.push(("autoscaling:LaunchTemplateVersionSpecified".to_owned(), vec![specified]));
    }
    if call.has("VPCZoneIdentifier") {
        let zones = call.param("VPCZoneIdentifier").split(',').map(str::to_owned);
        context.push(("autoscaling:VPCZoneIdentifiers".to_owned(), zones.collect()));
    }
    Ok(vec![Demand {
        action,
        resource,
        context,
    }])
}

fn partition<'a>(facts: &Facts<'a>) -> &'a str {
    facts.caller.arn.split(':').nth(1).unwrap_or("aws")
}

fn arn(facts: &Facts<'_>, path: &str) -> String {
    format!(
        "arn:{}:ec2:{}:{}:{path}",
        partition(facts),
        facts.region,
        facts.caller.account
    )
}

fn path_of(id: &str) -> String {
    let kind = match id.split('-').next() {
        Some("sg") => "security-group",
        Some("eni") => "network-interface",
        Some("i") => "instance",
        Some("vpc") => "vpc",
        Some("acl") => "network-acl",
        Some("vol") => "volume",
        _ => "unknown",
    };
    format!("{kind}/{id}")
}

/// The keys of a resource that exists: its tags and its VPC.
fn resource_context(facts: &Facts<'_>, resource: Option<&Resource>) -> Context {
    let Some(resource) = resource else { return Vec::new() };
    let mut context = vec![("ec2:Vpc".to_owned(), vec![arn(facts, &format!("vpc/{}", resource.vpc))])];
    context.extend(tag_context("ec2", &resource.tags));
    context
}

/// The keys of an instance; its VPC is none of them.
fn instance_context(id: &str, tags: &[(String, String)]) -> Context {
    let mut context = tag_context("ec2", tags);
    context.push(("ec2:InstanceID".to_owned(), vec![id.to_owned()]));
    context
}

/// The tags of a resource, under the general name and the service's own.
fn tag_context(service: &str, tags: &[(String, String)]) -> Context {
    let keys = tags.iter().flat_map(|(key, value)| {
        ["aws", service].map(|prefix| (format!("{prefix}:ResourceTag/{key}"), vec![value.clone()]))
    });
    keys.collect()
}

/// `aws:RequestTag/KEY` and `aws:TagKeys` of the tags that a call makes with a resource.
fn request_tags(call: &Call) -> Context {
    tags_of_request(call, "TagSpecification.1.Tag")
}

/// The same of the tags that it lists under a parameter; of tags that it deletes the keys alone count.
fn tags_of_request(call: &Call, parameter: &str) -> Context {
    let keys = (1..).map_while(|number| {
        let tag = format!("{parameter}.{number}");
        let key = call.params.get(&format!("{tag}.Key"))?;
        Some((key.clone(), call.param(&format!("{tag}.Value")).to_owned()))
    });
    let tags: Vec<_> = keys.collect();
    if tags.is_empty() {
        return Vec::new();
    }
    let names = tags.iter().map(|(key, _)| key.clone()).collect();
    let mut context: Vec<_> = tags
        .into_iter()
        .filter(|_| call.action != "DeleteTags")
        .map(|(key, value)| (format!("aws:RequestTag/{key}"), vec![value]))
        .collect();
    context.push(("aws:TagKeys".to_owned(), names));
    context
}
