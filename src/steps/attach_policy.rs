//! Attaches AWS's managed policy AWSDenyAll to a user or role.
//!
//! Source: IAM User Guide, "Policy evaluation logic": an explicit deny wins over everything.

use serde::{Deserialize, Serialize};

use super::principal::{Principal, PrincipalKind, for_principal};
use super::{Change, Permission, Receipt};
use crate::arn::Arn;
use crate::aws::{Failure, Member};

/// AWSDenyAll on one principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachPolicy {
    /// To whom it is attached.
    pub principal: Principal,
}

/// Whether AWSDenyAll is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// It is.
    pub attached: bool,
}

/// The ARNs of the managed policies attached to a user or role.
///
/// # Errors
/// What IAM answers, `Absent` included.
pub async fn attached_policies(member: &Member, kind: PrincipalKind, name: &str) -> Result<Vec<String>, Failure> {
    let mut arns = Vec::new();
    let mut marker = None;
    loop {
        let (policies, next) = match kind {
            PrincipalKind::User => {
                let call = member
                    .iam
                    .list_attached_user_policies()
                    .user_name(name)
                    .set_marker(marker);
                let answer = call
                    .send()
                    .await
                    .map_err(|error| member.failure("iam:ListAttachedUserPolicies", name, &error))?;
                (answer.attached_policies, answer.marker)
            }
            PrincipalKind::Role => {
                let call = member
                    .iam
                    .list_attached_role_policies()
                    .role_name(name)
                    .set_marker(marker);
                let answer = call
                    .send()
                    .await
                    .map_err(|error| member.failure("iam:ListAttachedRolePolicies", name, &error))?;
                (answer.attached_policies, answer.marker)
            }
        };
        arns.extend(
            policies
                .unwrap_or_default()
                .into_iter()
                .filter_map(|policy| policy.policy_arn),
        );
        match next {
            Some(next) => marker = Some(next),
            None => return Ok(arns),
        }
    }
}

impl Change for AttachPolicy {
    const PERMISSIONS: &'static [Permission] = &[
        Permission {
            action: "iam:AttachRolePolicy",
            used_for: "deny a role everything",
        },
        Permission {
            action: "iam:AttachUserPolicy",
            used_for: "deny a user everything",
        },
        Permission {
            action: "iam:DetachRolePolicy",
            used_for: "release a role",
        },
        Permission {
            action: "iam:DetachUserPolicy",
            used_for: "release a user",
        },
        Permission {
            action: "iam:GetRole",
            used_for: "know a role from its namesakes",
        },
        Permission {
            action: "iam:GetUser",
            used_for: "know a user from its namesakes",
        },
        Permission {
            action: "iam:ListAttachedRolePolicies",
            used_for: "read a role's deny back",
        },
        Permission {
            action: "iam:ListAttachedUserPolicies",
            used_for: "read a user's deny back",
        },
    ];
    const DENIES: bool = true;
    type State = Attached;

    fn resource(&self) -> String {
        self.principal.id.clone()
    }

    fn target(&self) -> Option<Arn> {
        Some(self.principal.arn.clone())
    }

    fn describe(&self) -> String {
        format!("attach AWSDenyAll to {}", self.principal.label())
    }

    fn describe_undo(&self, _before: &Attached) -> String {
        format!("detach AWSDenyAll from {}", self.principal.label())
    }

    fn holds(&self, now: &Attached) -> bool {
        now.attached
    }

    async fn exists(&self, member: &Member) -> Result<bool, Failure> {
        self.principal.exists(member).await
    }

    async fn read(&self, member: &Member) -> Result<Attached, Failure> {
        let policies = attached_policies(member, self.principal.kind, &self.principal.name).await?;
        Ok(Attached {
            attached: policies.contains(&member.deny_all()),
        })
    }

    async fn apply(&self, member: &Member, _before: &Attached) -> Result<Receipt, Failure> {
        let policy = member.deny_all();
        for_principal!(
            member,
            self.principal,
            attach_user_policy / attach_role_policy,
            "iam:AttachUserPolicy" / "iam:AttachRolePolicy",
            policy_arn(&policy)
        )
    }

    async fn undo(&self, member: &Member, _before: &Attached, _made: Option<&Attached>) -> Result<Receipt, Failure> {
        let policy = member.deny_all();
        for_principal!(
            member,
            self.principal,
            detach_user_policy / detach_role_policy,
            "iam:DetachUserPolicy" / "iam:DetachRolePolicy",
            policy_arn(&policy)
        )
    }
}
