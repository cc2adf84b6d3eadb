//! What is read of a function: side by side, and what fails of it keeps nothing else from being known.
//!
//! Sources: AWS Lambda API Reference; Amazon CloudFront Developer Guide, "Set up IAM permissions and roles for Lambda@Edge".

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::{OptionFuture, join, join_all, join4};

use super::name_and_qualifier;
use crate::arn::{Arn, Partition};
use crate::aws::{Failure, Member, Reason};
use crate::entities::principal::{self, PrincipalFacts};
use crate::entities::tags::Tags;
use crate::entity::Entity;
use crate::steps::concurrency::{Reserved, reserved};
use crate::steps::event_source::{EventSource, Mapping};
use crate::steps::principal::PrincipalKind;

/// How long the functions and the event source mappings of the region are listed: the deny waits no longer for them.
const LOOK_AROUND: Duration = Duration::from_secs(2);

/// What the trust policy of a Lambda@Edge function's role names.
pub(super) const EDGE: &str = "edgelambda.amazonaws.com";

/// The facts about a function.
#[derive(Debug)]
pub struct FunctionFacts {
    /// Its canonical ARN, without a qualifier.
    pub arn: Arn,
    /// How long one invocation can go on, in seconds.
    pub time_limit: Option<i32>,
    /// What is reserved for it; `None` if that could not be read.
    pub concurrency: Option<Reserved>,
    /// The event source mappings of the function and of all its versions and aliases, as many as could be listed.
    pub mappings: Vec<(EventSource, Mapping)>,
    /// Why some of them may be missing.
    pub unlisted_mappings: Option<Failure>,
    /// The execution roles: the unpublished version's, and that of the version or alias that was named, if it is another one.
    pub roles: Vec<ExecutionRole>,
    /// Why the version or alias that was named could not be read.
    pub unread_qualifier: Option<Failure>,
    /// Where its code runs in ways that a concurrency of 0 is not known to stop.
    pub beyond: Vec<Beyond>,
    /// The other functions of the region.
    pub others: Others,
}

/// What is known of an execution role.
#[derive(Debug)]
pub enum ExecutionRole {
    /// It is there.
    Found(PrincipalFacts),
    /// A role of AWS itself, which nobody can change.
    OfAws(Arn),
    /// There is none by this ARN any more.
    Gone(Arn),
    /// It could not be read.
    Unread(String, Failure),
}

/// A way in which code runs that a concurrency of 0 is not known to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beyond {
    /// Replicas at CloudFront.
    Edge,
    /// Instances of a capacity provider.
    ManagedInstances(String),
    /// Executions that are suspended, and go on later.
    Durable,
}

/// The other functions of the region that use the same roles.
#[derive(Debug, Default)]
pub struct Others {
    /// Name and role ARN of each.
    pub sharing: BTreeSet<(String, String)>,
    /// Why some may be missing.
    pub incomplete: Option<String>,
}

impl FunctionFacts {
    /// The execution roles that can be denied.
    pub(super) fn found_roles(&self) -> impl Iterator<Item = &PrincipalFacts> {
        self.roles.iter().filter_map(|role| match role {
            ExecutionRole::Found(found) => Some(found),
            ExecutionRole::OfAws(_) | ExecutionRole::Gone(_) | ExecutionRole::Unread(..) => None,
        })
    }
}

/// Its tags. `ListTags` takes the function's ARN, and no name.
pub(super) async fn tags(entity: &Entity, member: &Member) -> Result<Tags, Failure> {
    let (partition, region, account, name) = (entity.partition, entity.home(), &entity.account, &entity.name);
    let arn = format!("arn:{partition}:lambda:{region}:{account}:function:{name}");
    let asked = member.lambda.list_tags().resource(&arn).send().await;
    let answer = asked.map_err(|error| member.failure("lambda:ListTags", &arn, &error))?;
    Ok(answer.tags.unwrap_or_default().into_iter().collect())
}

/// Reads AWS; changes nothing.
pub(super) async fn survey(entity: &Entity, member: &Member) -> Result<FunctionFacts, Failure> {
    let name = entity.name.as_str();
    let (inside, concurrency, mappings, (others, incomplete)) = join4(
        survey_inside(entity, member),
        reserved(member, name),
        mappings(entity, member),
        all_functions(member),
    )
    .await;
    let mut facts = inside?;
    // Read again when it is recorded: where that fails too, its step alone fails.
    facts.concurrency = concurrency.ok();
    let (mappings, unlisted) = mappings;
    let step = |(mapping, source, state)| {
        let function = facts.arn.clone();
        (
            EventSource {
                function,
                mapping,
                source,
            },
            state,
        )
    };
    facts.mappings = mappings.into_iter().map(step).collect();
    facts.unlisted_mappings = unlisted;
    let roles: BTreeSet<String> = facts.found_roles().map(|role| role.principal.arn.to_string()).collect();
    facts.others = Others {
        sharing: others
            .into_iter()
            .filter(|(other, role)| other != name && roles.contains(role))
            .collect(),
        incomplete,
    };
    Ok(facts)
}

/// What one version of a function is configured with.
struct Configuration {
    arn: Arn,
    role: String,
    time_limit: Option<i32>,
    beyond: Vec<Beyond>,
}

async fn configuration(member: &Member, name: &str, qualifier: Option<&str>) -> Result<Configuration, Failure> {
    let call = member.lambda.get_function_configuration().function_name(name);
    let answer = call.set_qualifier(qualifier.map(str::to_owned)).send().await;
    let answer = answer.map_err(|error| member.failure("lambda:GetFunctionConfiguration", name, &error))?;
    let arn: Option<Arn> = answer.function_arn.and_then(|arn| arn.parse().ok());
    let Some((mut arn, role)) = arn.zip(answer.role) else {
        return Err(Failure::own(
            "lambda:GetFunctionConfiguration",
            name,
            member.account.as_str(),
            "UnreadableAnswer",
            "the answer lacks the ARN or the role",
        ));
    };
    arn.resource = arn.resource.split(':').take(2).collect::<Vec<_>>().join(":");
    let mut beyond = Vec::new();
    if answer.master_arn.is_some() {
        beyond.push(Beyond::Edge);
    }
    if let Some(instances) = answer
        .capacity_provider_config
        .and_then(|config| config.lambda_managed_instances_capacity_provider_config)
    {
        beyond.push(Beyond::ManagedInstances(instances.capacity_provider_arn));
    }
    if answer.durable_config.is_some() {
        beyond.push(Beyond::Durable);
    }
    Ok(Configuration {
        arn,
        role,
        time_limit: answer.timeout,
        beyond,
    })
}

/// The function and its roles; all else is filled in by what runs beside it.
async fn survey_inside(entity: &Entity, member: &Member) -> Result<FunctionFacts, Failure> {
    let name = entity.name.as_str();
    let qualifier = name_and_qualifier(&entity.named.resource).and_then(|(_, qualifier)| qualifier);
    let named = qualifier.map(|qualifier| configuration(member, name, Some(qualifier)));
    let (latest, named) = join(configuration(member, name, None), OptionFuture::from(named)).await;
    let Configuration {
        arn,
        role,
        time_limit,
        mut beyond,
    } = latest?;
    let mut arns = vec![role];
    let mut unread_qualifier = None;
    match named {
        Some(Ok(named)) => {
            arns.extend(Some(named.role).filter(|role| !arns.contains(role)));
            beyond.extend(
                named
                    .beyond
                    .into_iter()
                    .filter(|way| !beyond.contains(way))
                    .collect::<Vec<_>>(),
            );
        }
        Some(Err(failure)) => unread_qualifier = Some(failure),
        None => {}
    }
    let roles = join_all(arns.into_iter().map(|arn| execution_role(arn, member))).await;
    let mut facts = FunctionFacts {
        arn,
        time_limit,
        concurrency: None,
        mappings: vec![],
        unlisted_mappings: None,
        roles,
        unread_qualifier,
        beyond,
        others: Others::default(),
    };
    // Lambda@Edge functions live in us-east-1 alone; nothing else of the function itself tells that it has replicas.
    let home = entity.partition == Partition::Aws && entity.home() == entity.partition.home_region();
    let trusted = facts
        .found_roles()
        .any(|role| role.trust.as_ref().is_some_and(|trust| trust.contains(EDGE)));
    if home && trusted && !facts.beyond.contains(&Beyond::Edge) {
        facts.beyond.push(Beyond::Edge);
    }
    Ok(facts)
}

async fn execution_role(text: String, member: &Member) -> ExecutionRole {
    let arn: Option<Arn> = text.parse().ok();
    let own = arn.filter(|arn| arn.service == "iam" && arn.account == member.account);
    let Some((arn, path)) = own.and_then(|arn| Some((arn.clone(), arn.resource.strip_prefix("role/")?.to_owned())))
    else {
        let message = "it is no role of the function's own account";
        let failure = Failure::own("iam:GetRole", &text, member.account.as_str(), "UnexpectedRole", message);
        return ExecutionRole::Unread(text, failure);
    };
    if path.starts_with("aws-service-role/") || path.starts_with("aws-reserved/") {
        return ExecutionRole::OfAws(arn);
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    match principal::survey(PrincipalKind::Role, name, member).await {
        // A role by this name under another path is not the one that the function has.
        Ok(found) if !found.principal.arn.to_string().eq_ignore_ascii_case(&text) => ExecutionRole::Gone(arn),
        Ok(found) => ExecutionRole::Found(found),
        Err(failure) if failure.reason == Reason::Absent => ExecutionRole::Gone(arn),
        Err(failure) => ExecutionRole::Unread(text, failure),
    }
}

/// A mapping's id, its source, and whether it is on.
type FoundMapping = (String, Option<String>, Mapping);

/// The mappings of the function, as many as a short time allows, and why some may be missing. All of the region are listed, since a
/// question for one function's is not known to bring those of its aliases and versions. The function's own are asked for beside them:
/// those are few, so that the short time is enough for most.
async fn mappings(entity: &Entity, member: &Member) -> (Vec<FoundMapping>, Option<Failure>) {
    let (mut all, mut own) = (Vec::new(), Vec::new());
    let (listed, _) = join(
        tokio::time::timeout(LOOK_AROUND, list_mappings(entity, member, None, &mut all)),
        tokio::time::timeout(LOOK_AROUND, list_mappings(entity, member, Some(&entity.name), &mut own)),
    )
    .await;
    for mapping in own {
        if !all.iter().any(|(id, ..)| *id == mapping.0) {
            all.push(mapping);
        }
    }
    (
        all,
        listed.unwrap_or_else(|_| Err(too_many_mappings(entity, member))).err(),
    )
}

/// Adds the function's mappings, out of those of the region or those that Lambda finds by its name.
async fn list_mappings(
    entity: &Entity,
    member: &Member,
    by_name: Option<&str>,
    found: &mut Vec<FoundMapping>,
) -> Result<(), Failure> {
    let of_function = |arn: &str| {
        let parsed: Option<Arn> = arn.parse().ok();
        parsed.is_some_and(|arn| {
            arn.account == entity.account
                && name_and_qualifier(&arn.resource).is_some_and(|(name, _)| name == entity.name)
        })
    };
    let mut marker = None;
    loop {
        let call = member.lambda.list_event_source_mappings().set_marker(marker);
        let answer = call.set_function_name(by_name.map(str::to_owned)).send().await;
        let answer = answer.map_err(|error| member.failure("lambda:ListEventSourceMappings", &entity.name, &error))?;
        for mapping in answer.event_source_mappings.unwrap_or_default() {
            if mapping.function_arn.as_deref().is_some_and(of_function)
                && let Some(id) = mapping.uuid
            {
                found.push((id, mapping.event_source_arn, Mapping::of(mapping.state.as_deref())));
            }
        }
        match answer.next_marker.filter(|next| !next.is_empty()) {
            Some(next) => marker = Some(next),
            None => return Ok(()),
        }
    }
}

/// A retry can help: by then what is known is locked, and there is time to list the rest.
fn too_many_mappings(entity: &Entity, member: &Member) -> Failure {
    let message = format!(
        "they were listed for {} s, so that the deny did not wait",
        LOOK_AROUND.as_secs()
    );
    let call = "lambda:ListEventSourceMappings";
    Failure {
        reason: Reason::Passing,
        ..Failure::own(call, &entity.name, member.account.as_str(), "TimedOut", message)
    }
}
/// Name and role of the functions of the region, as many as a short time allows, and why some may be missing.
async fn all_functions(member: &Member) -> (Vec<(String, String)>, Option<String>) {
    let mut found = Vec::new();
    let listing = async {
        let mut marker = None;
        loop {
            let answer = member.lambda.list_functions().set_marker(marker).send().await;
            let answer = answer.map_err(|error| member.failure("lambda:ListFunctions", "the region", &error))?;
            let functions = answer.functions.unwrap_or_default();
            found.extend(
                functions
                    .into_iter()
                    .filter_map(|function| function.function_name.zip(function.role)),
            );
            match answer.next_marker.filter(|next| !next.is_empty()) {
                Some(next) => marker = Some(next),
                None => return Ok::<(), Failure>(()),
            }
        }
    };
    let incomplete = match tokio::time::timeout(LOOK_AROUND, listing).await {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure.to_string()),
        Err(_) => Some(format!(
            "they were listed for {} s, so that the deny did not wait",
            LOOK_AROUND.as_secs()
        )),
    };
    (found, incomplete)
}
