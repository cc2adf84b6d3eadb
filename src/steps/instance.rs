//! An instance as steps name it, and how its attributes are read and set.

use aws_sdk_ec2::operation::describe_instance_attribute::DescribeInstanceAttributeOutput;
use aws_sdk_ec2::operation::modify_instance_attribute::builders::ModifyInstanceAttributeFluentBuilder;
use aws_sdk_ec2::types::{Instance, InstanceAttributeName, InstanceStateName};

use super::{Permission, Receipt};
use crate::arn::Arn;
use crate::aws::{Failure, Member, Reason};

/// What reading and setting an attribute of an instance takes.
pub(crate) const PERMISSIONS: &[Permission] = &[
    Permission {
        action: "ec2:DescribeInstanceAttribute",
        used_for: "read back what would destroy an instance's evidence",
    },
    Permission {
        action: "ec2:DescribeInstances",
        used_for: "know whether an instance still exists",
    },
    Permission {
        action: "ec2:ModifyInstanceAttribute",
        used_for: "keep an instance and its volumes from being destroyed",
    },
];

/// The id of an instance, as in `i-0123456789abcdef0`.
pub(crate) fn id(instance: &Arn) -> &str {
    instance.resource.trim_start_matches("instance/")
}

/// An instance as EC2 describes it, terminated ones too; one that it knows nothing of is an absent one.
pub(crate) async fn describe(member: &Member, id: &str) -> Result<Instance, Failure> {
    let call = "ec2:DescribeInstances";
    let answer = member.ec2.describe_instances().instance_ids(id).send().await;
    let answer = answer.map_err(|error| member.failure(call, id, &error))?;
    let mut instances = answer
        .reservations
        .unwrap_or_default()
        .into_iter()
        .flat_map(|found| found.instances.unwrap_or_default());
    instances.next().ok_or_else(|| Failure {
        reason: Reason::Absent,
        ..Failure::own(
            call,
            id,
            member.account.as_str(),
            "InvalidInstanceID.NotFound",
            "there is none",
        )
    })
}

/// Whether an instance still exists: one that is terminated, or about to be, has nothing left to put back.
///
/// # Errors
/// What EC2 answers, other than that it knows of no such instance.
pub async fn exists(member: &Member, instance: &Arn) -> Result<bool, Failure> {
    match describe(member, id(instance)).await {
        Ok(found) => Ok(!is_gone(&found)),
        Err(failure) if failure.reason == Reason::Absent => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Whether an instance is terminated, or about to be.
pub(crate) fn is_gone(instance: &Instance) -> bool {
    let state = instance.state().and_then(|state| state.name());
    matches!(
        state,
        Some(InstanceStateName::Terminated | InstanceStateName::ShuttingDown)
    )
}

/// One attribute of an instance.
pub(crate) async fn attribute(
    member: &Member,
    instance: &Arn,
    name: InstanceAttributeName,
) -> Result<DescribeInstanceAttributeOutput, Failure> {
    let call = member.ec2.describe_instance_attribute().instance_id(id(instance));
    let answer = call.attribute(name).send().await;
    answer.map_err(|error| member.failure("ec2:DescribeInstanceAttribute", id(instance), &error))
}

/// Sets one attribute of an instance: EC2 takes one a call.
pub(crate) async fn modify(
    member: &Member,
    instance: &Arn,
    set: impl FnOnce(ModifyInstanceAttributeFluentBuilder) -> ModifyInstanceAttributeFluentBuilder,
) -> Result<Receipt, Failure> {
    let call = member.ec2.modify_instance_attribute().instance_id(id(instance));
    let answer = set(call).send().await;
    let answer = answer.map_err(|error| member.failure("ec2:ModifyInstanceAttribute", id(instance), &error))?;
    Ok(Receipt::of(&answer))
}
