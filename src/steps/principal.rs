//! A user or role as steps name it: by its canonical ARN and its unique id.

use serde::{Deserialize, Serialize};

use crate::arn::Arn;
use crate::aws::{Failure, Member, Reason};

/// Which of the two identities that policies can be attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// An IAM user.
    User,
    /// An IAM role.
    Role,
}

/// A user or role of IAM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// User or role.
    pub kind: PrincipalKind,
    /// The name, as IAM spells it.
    pub name: String,
    /// The canonical ARN, path included.
    pub arn: Arn,
    /// The unique id: a namesake made later has another.
    pub id: String,
}

impl Principal {
    /// For people: `the user alice`.
    pub fn label(&self) -> String {
        match self.kind {
            PrincipalKind::User => format!("the user {}", self.name),
            PrincipalKind::Role => format!("the role {}", self.name),
        }
    }

    /// Whether this very principal, and not a namesake made since, exists.
    pub async fn exists(&self, member: &Member) -> Result<bool, Failure> {
        let id = match self.kind {
            PrincipalKind::User => match member.iam.get_user().user_name(&self.name).send().await {
                Ok(answer) => answer.user.map(|user| user.user_id),
                Err(error) => absent(member.failure("iam:GetUser", &self.name, &error))?,
            },
            PrincipalKind::Role => match member.iam.get_role().role_name(&self.name).send().await {
                Ok(answer) => answer.role.map(|role| role.role_id),
                Err(error) => absent(member.failure("iam:GetRole", &self.name, &error))?,
            },
        };
        Ok(id.is_some_and(|id| id == self.id))
    }
}

/// Turns "does not exist" into nothing, and leaves every other failure as it is.
pub(crate) fn absent<T>(failure: Failure) -> Result<Option<T>, Failure> {
    if failure.reason == Reason::Absent {
        Ok(None)
    } else {
        Err(failure)
    }
}

/// Calls the user's or the role's form of an IAM operation, which differ in their names alone, and turns its error into a [`Failure`].
macro_rules! for_principal {
    ($member:expr, $principal:expr, $user:ident / $role:ident, $user_call:literal / $role_call:literal $(, $set:ident($value:expr))*) => {
        match $principal.kind {
            $crate::steps::principal::PrincipalKind::User => {
                let answer = $member.iam.$user().user_name(&$principal.name)$(.$set($value))*.send().await;
                answer.map(|answer| $crate::steps::Receipt::of(&answer)).map_err(|error| $member.failure($user_call, &$principal.name, &error))
            }
            $crate::steps::principal::PrincipalKind::Role => {
                let answer = $member.iam.$role().role_name(&$principal.name)$(.$set($value))*.send().await;
                answer.map(|answer| $crate::steps::Receipt::of(&answer)).map_err(|error| $member.failure($role_call, &$principal.name, &error))
            }
        }
    };
}
pub(crate) use for_principal;
