//! Sets AWSDenyAll as the permissions boundary of a user or role: the last fall-back, where no policy can be added.
//!
//! Source: IAM User Guide, "Permissions boundaries for IAM entities". The deny in a boundary is an explicit one.

use serde::{Deserialize, Serialize};

use super::principal::{Principal, PrincipalKind, for_principal};
use super::{Change, Permission, Receipt};
use crate::arn::Arn;
use crate::aws::{Failure, Member};

/// AWSDenyAll as one principal's boundary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boundary {
    /// Whose boundary it is.
    pub principal: Principal,
}

/// The boundary that is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundaryState {
    /// Its policy's ARN; nothing if there is none.
    pub boundary: Option<String>,
}

impl Boundary {
    fn deny_all(&self) -> String {
        format!("arn:{}:iam::aws:policy/AWSDenyAll", self.principal.arn.partition)
    }

    async fn put(&self, member: &Member, policy: &str) -> Result<Receipt, Failure> {
        for_principal!(
            member,
            self.principal,
            put_user_permissions_boundary / put_role_permissions_boundary,
            "iam:PutUserPermissionsBoundary" / "iam:PutRolePermissionsBoundary",
            permissions_boundary(policy)
        )
    }
}

impl Change for Boundary {
    const PERMISSIONS: &'static [Permission] = &[
        Permission {
            action: "iam:DeleteRolePermissionsBoundary",
            used_for: "release a role",
        },
        Permission {
            action: "iam:DeleteUserPermissionsBoundary",
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
            action: "iam:PutRolePermissionsBoundary",
            used_for: "deny a role to which no policy can be added",
        },
        Permission {
            action: "iam:PutUserPermissionsBoundary",
            used_for: "deny a user to which no policy can be added",
        },
    ];
    const DENIES: bool = true;
    type State = BoundaryState;

    fn resource(&self) -> String {
        self.principal.id.clone()
    }

    fn target(&self) -> Option<Arn> {
        Some(self.principal.arn.clone())
    }

    fn describe(&self) -> String {
        format!(
            "set AWSDenyAll as the permissions boundary of {}",
            self.principal.label()
        )
    }

    fn describe_undo(&self, before: &BoundaryState) -> String {
        match &before.boundary {
            None => format!("remove the permissions boundary of {}", self.principal.label()),
            Some(former) => format!(
                "put the permissions boundary {former} of {} back",
                self.principal.label()
            ),
        }
    }

    fn holds(&self, now: &BoundaryState) -> bool {
        now.boundary.as_deref() == Some(self.deny_all().as_str())
    }

    async fn exists(&self, member: &Member) -> Result<bool, Failure> {
        self.principal.exists(member).await
    }

    async fn read(&self, member: &Member) -> Result<BoundaryState, Failure> {
        let name = &self.principal.name;
        let boundary = match self.principal.kind {
            PrincipalKind::User => {
                let answer = member.iam.get_user().user_name(name).send().await;
                answer
                    .map_err(|error| member.failure("iam:GetUser", name, &error))?
                    .user
                    .and_then(|user| user.permissions_boundary)
            }
            PrincipalKind::Role => {
                let answer = member.iam.get_role().role_name(name).send().await;
                answer
                    .map_err(|error| member.failure("iam:GetRole", name, &error))?
                    .role
                    .and_then(|role| role.permissions_boundary)
            }
        };
        Ok(BoundaryState {
            boundary: boundary.and_then(|boundary| boundary.permissions_boundary_arn),
        })
    }

    async fn apply(&self, member: &Member, _before: &BoundaryState) -> Result<Receipt, Failure> {
        self.put(member, &self.deny_all()).await
    }

    async fn undo(
        &self,
        member: &Member,
        before: &BoundaryState,
        _made: Option<&BoundaryState>,
    ) -> Result<Receipt, Failure> {
        if let Some(former) = &before.boundary {
            return self.put(member, former).await;
        }
        for_principal!(
            member,
            self.principal,
            delete_user_permissions_boundary / delete_role_permissions_boundary,
            "iam:DeleteUserPermissionsBoundary" / "iam:DeleteRolePermissionsBoundary"
        )
    }
}
