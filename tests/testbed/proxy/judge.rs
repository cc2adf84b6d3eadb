//! Whether the caller's policies allow an EC2 call, which moto doesn't ask: ministack's `SimulatePrincipalPolicy` answers, on
//! the resources and context keys that the Service Authorization Reference lists for the action.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::AnyError;
use crate::answer::Refusal;
use crate::call::Call;
use crate::ec2::{Facts, Resource};
use crate::upstream::Upstream;
use crate::xml;

/// Long enough to spare the questions of one containment, short enough for a test that changes a policy.
const CACHE: Duration = Duration::from_millis(500);

/// One thing that must be allowed for a call to go on.
struct Demand {
    action: String,
    resource: String,
    context: Vec<(String, Vec<String>)>,
}

/// Judges, and remembers for a moment.
#[derive(Default)]
pub struct Judge {
    cache: Mutex<HashMap<String, (Instant, String)>>,
}

impl Judge {
    /// The refusal that AWS would give, if it would. A root may do everything.
    pub async fn judge(&self, call: &Call, facts: &Facts<'_>, iam: &Upstream) -> Result<Option<Refusal>, AnyError> {
        let Some(role) = facts.caller.role_arn() else {
            return Ok(None);
        };
        for demand in demands(call, facts).await? {
            let decision = self.decision(&role, &demand, facts, iam).await?;
            if decision != "allowed" {
                let because = if decision == "explicitDeny" {
                    "with an explicit deny"
                } else {
                    "because no policy allows it"
                };
                return Ok(Some(Refusal {
                    status: 403,
                    code: "UnauthorizedOperation".to_owned(),
                    message: format!(
                        "You are not authorized to perform this operation. User: {} is not authorized to perform: {} on resource: {} {because}",
                        facts.caller.arn, demand.action, demand.resource
                    ),
                }));
            }
        }
        Ok(None)
    }

    async fn decision(
        &self,
        role: &str,
        demand: &Demand,
        facts: &Facts<'_>,
        iam: &Upstream,
    ) -> Result<String, AnyError> {
        let form = question(role, demand);
        let key = format!("{} {}", facts.region, crate::form::encode(&form));
        let known = self
            .cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned();
        if let Some((_, decision)) = known.filter(|(at, _)| at.elapsed() < CACHE) {
            return Ok(decision);
        }
        let answer = iam.ask(&facts.caller.account, facts.region, "iam", &form).await?;
        let decision = xml::text(&answer, "EvalDecision")
            .ok_or_else(|| format!("no decision in: {answer}"))?
            .to_owned();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.insert(key, (Instant::now(), decision.clone()));
        Ok(decision)
    }
}

fn question(role: &str, demand: &Demand) -> Vec<(String, String)> {
    let mut form = vec![
        ("Action".to_owned(), "SimulatePrincipalPolicy".to_owned()),
        ("Version".to_owned(), "2010-05-08".to_owned()),
        ("PolicySourceArn".to_owned(), role.to_owned()),
        ("ActionNames.member.1".to_owned(), demand.action.clone()),
        ("ResourceArns.member.1".to_owned(), demand.resource.clone()),
    ];
    for (number, (name, values)) in (1..).zip(&demand.context) {
        let entry = format!("ContextEntries.member.{number}");
        let kind = if name == "aws:TagKeys" { "stringList" } else { "string" };
        form.push((format!("{entry}.ContextKeyName"), name.clone()));
        form.push((format!("{entry}.ContextKeyType"), kind.to_owned()));
        for (number, value) in (1..).zip(values) {
            form.push((format!("{entry}.ContextKeyValues.member.{number}"), value.clone()));
        }
    }
    form
}

async fn demands(call: &Call, facts: &Facts<'_>) -> Result<Vec<Demand>, AnyError> {
    let action = format!("ec2:{}", call.action);
    let demand = |resource: String, context| Demand {
        action: action.clone(),
        resource,
        context,
    };
    let all = match call.action.as_str() {
        "CreateSecurityGroup" => {
            let (any, tags) = (arn(facts, "security-group/*"), request_tags(call));
            let vpc = arn(facts, &format!("vpc/{}", call.param("VpcId")));
            let mut all = vec![demand(any.clone(), tags.clone()), demand(vpc, Vec::new())];
            if !tags.is_empty() {
                let mut context = tags;
                context.push(("ec2:CreateAction".to_owned(), vec![call.action.clone()]));
                all.push(Demand {
                    action: "ec2:CreateTags".to_owned(),
                    resource: any,
                    context,
                });
            }
            all
        }
        "CreateTags" | "DeleteTags" => call
            .list("ResourceId")
            .into_iter()
            .map(|id| demand(arn(facts, &path_of(id)), Vec::new()))
            .collect(),
        "AuthorizeSecurityGroupIngress"
        | "AuthorizeSecurityGroupEgress"
        | "RevokeSecurityGroupIngress"
        | "RevokeSecurityGroupEgress"
        | "DeleteSecurityGroup" => {
            let id = call.param("GroupId");
            vec![demand(
                arn(facts, &path_of(id)),
                resource_context(facts, facts.group(id).await?.as_ref()),
            )]
        }
        "ModifyNetworkInterfaceAttribute" => {
            let id = call.param("NetworkInterfaceId");
            let context = resource_context(facts, facts.interface(id).await?.as_ref());
            let mut all = vec![demand(arn(facts, &path_of(id)), context)];
            for id in call.list("SecurityGroupId") {
                let context = resource_context(facts, facts.group(id).await?.as_ref());
                all.push(demand(arn(facts, &path_of(id)), context));
            }
            all
        }
        "ModifyInstanceAttribute" => vec![demand(arn(facts, &path_of(call.param("InstanceId"))), Vec::new())],
        // The Describe calls know no resource.
        _ => vec![demand("*".to_owned(), Vec::new())],
    };
    Ok(all)
}

fn arn(facts: &Facts<'_>, path: &str) -> String {
    let partition = facts.caller.arn.split(':').nth(1).unwrap_or("aws");
    format!("arn:{partition}:ec2:{}:{}:{path}", facts.region, facts.caller.account)
}

fn path_of(id: &str) -> String {
    let kind = match id.split('-').next() {
        Some("sg") => "security-group",
        Some("eni") => "network-interface",
        Some("i") => "instance",
        Some("vpc") => "vpc",
        _ => "unknown",
    };
    format!("{kind}/{id}")
}

/// The keys of a resource that exists: its tags and its VPC.
fn resource_context(facts: &Facts<'_>, resource: Option<&Resource>) -> Vec<(String, Vec<String>)> {
    let Some(resource) = resource else { return Vec::new() };
    let mut context = vec![("ec2:Vpc".to_owned(), vec![arn(facts, &format!("vpc/{}", resource.vpc))])];
    for (key, value) in &resource.tags {
        context.push((format!("aws:ResourceTag/{key}"), vec![value.clone()]));
        context.push((format!("ec2:ResourceTag/{key}"), vec![value.clone()]));
    }
    context
}

/// `aws:RequestTag/KEY` and `aws:TagKeys` of the tags that a call makes.
fn request_tags(call: &Call) -> Vec<(String, Vec<String>)> {
    let keys = (1..).map_while(|number| {
        let tag = format!("TagSpecification.1.Tag.{number}");
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
        .map(|(key, value)| (format!("aws:RequestTag/{key}"), vec![value]))
        .collect();
    context.push(("aws:TagKeys".to_owned(), names));
    context
}
