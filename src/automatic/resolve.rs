//! Finds the entity where an event names only what leads to it.

use super::case::Case;
use crate::aws::{Accounts, Failure};
use crate::entity::Entity;
use crate::event::named::{Named, Subject};
use crate::steps::Permission;

/// What finding takes in a member account.
pub(super) const PERMISSIONS: &[Permission] = &[
    Permission {
        action: "iam:GetAccessKeyLastUsed",
        used_for: "find the user of an access key that a finding names",
    },
    Permission {
        action: "iam:GetInstanceProfile",
        used_for: "find the role of an instance profile that a finding names",
    },
];

/// The case of each entity that this one leads to; itself, where it names an entity already or none can be found.
///
/// # Errors
/// A call that a retry can help.
pub(super) async fn resolve(case: Case, accounts: &Accounts) -> Result<Vec<Case>, Failure> {
    let found = match &case.named.subject {
        Subject::Entity(_) | Subject::Refused { .. } => return Ok(vec![case]),
        Subject::AccessKey { .. } => user_of_key(&case.named, accounts).await,
        Subject::InstanceProfile(_) => roles_of_profile(&case.named, accounts).await,
    };
    match found {
        Ok(entities) if entities.is_empty() => {
            let mut case = case;
            case.hold_back(format!("{} leads to no user or role", case.named.subject));
            Ok(vec![case])
        }
        Ok(entities) => {
            let with = |entity| Case {
                entity: Some(entity),
                ..case.clone()
            };
            Ok(entities.into_iter().map(with).collect())
        }
        Err(failure) if failure.passes() => Err(failure),
        Err(failure) => {
            let mut case = case;
            case.hold_back(format!("it could not be found whose it is: {failure}"));
            Ok(vec![case])
        }
    }
}

async fn user_of_key(named: &Named, accounts: &Accounts) -> Result<Vec<Entity>, Failure> {
    let Subject::AccessKey { id, account, partition } = &named.subject else {
        return Ok(vec![]);
    };
    let Some(account) = account else { return Ok(vec![]) };
    let member = accounts.member(*partition, account, &partition.home_region()).await?;
    let asked = member.iam.get_access_key_last_used().access_key_id(id).send().await;
    let answer = asked.map_err(|error| member.failure("iam:GetAccessKeyLastUsed", id, &error))?;
    // A key of the account root has no name of a user, or one in brackets: that names no entity.
    let named = answer.user_name.unwrap_or_default();
    let user = format!("arn:{partition}:iam::{account}:user/{named}").parse::<Entity>();
    Ok(user
        .ok()
        .map(|user| Entity { path: None, ..user })
        .into_iter()
        .collect())
}

async fn roles_of_profile(named: &Named, accounts: &Accounts) -> Result<Vec<Entity>, Failure> {
    let Subject::InstanceProfile(arn) = &named.subject else {
        return Ok(vec![]);
    };
    let home = arn.partition.home_region();
    let member = accounts.member(arn.partition, &arn.account, &home).await?;
    let name = arn.resource.rsplit('/').next().unwrap_or_default();
    let asked = member
        .iam
        .get_instance_profile()
        .instance_profile_name(name)
        .send()
        .await;
    let answer = asked.map_err(|error| member.failure("iam:GetInstanceProfile", name, &error))?;
    let roles = answer.instance_profile.map(|profile| profile.roles).unwrap_or_default();
    Ok(roles.into_iter().filter_map(|role| role.arn.parse().ok()).collect())
}
