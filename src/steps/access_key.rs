//! Makes an access key of a user inactive. It becomes active again only when a release asks for it.

use aws_sdk_iam::types::StatusType;
use serde::{Deserialize, Serialize};

use super::principal::Principal;
use super::{Change, Permission, Receipt};
use crate::arn::Arn;
use crate::aws::{Failure, Member};

/// One access key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// The user.
    pub principal: Principal,
    /// The key's id (`AKIA...`): no secret.
    pub key: String,
}

/// Whether the key works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// It does.
    Active,
    /// It doesn't.
    Inactive,
    /// It was deleted.
    Deleted,
}

impl AccessKey {
    async fn set(&self, member: &Member, status: StatusType) -> Result<Receipt, Failure> {
        let call = member
            .iam
            .update_access_key()
            .user_name(&self.principal.name)
            .access_key_id(&self.key)
            .status(status);
        let answer = call
            .send()
            .await
            .map_err(|error| member.failure("iam:UpdateAccessKey", &self.key, &error))?;
        Ok(Receipt::of(&answer))
    }
}

/// The ids of a user's access keys with their states.
///
/// # Errors
/// What IAM answers, `Absent` included.
pub async fn access_keys(member: &Member, user: &str) -> Result<Vec<(String, KeyState)>, Failure> {
    // A user has two keys at most, and a page holds a hundred.
    let answer = member.iam.list_access_keys().user_name(user).send().await;
    let answer = answer.map_err(|error| member.failure("iam:ListAccessKeys", user, &error))?;
    let state = |status| {
        if status == Some(StatusType::Active) {
            KeyState::Active
        } else {
            KeyState::Inactive
        }
    };
    Ok(answer
        .access_key_metadata
        .into_iter()
        .filter_map(|key| Some((key.access_key_id?, state(key.status))))
        .collect())
}

impl Change for AccessKey {
    const PERMISSIONS: &'static [Permission] = &[
        Permission {
            action: "iam:GetUser",
            used_for: "know a user from its namesakes",
        },
        Permission {
            action: "iam:ListAccessKeys",
            used_for: "find a user's keys",
        },
        Permission {
            action: "iam:UpdateAccessKey",
            used_for: "make a key inactive, and active again",
        },
    ];
    const ON_REQUEST: bool = true;
    type State = KeyState;

    fn resource(&self) -> String {
        format!("{}/{}", self.principal.id, self.key)
    }

    fn target(&self) -> Option<Arn> {
        Some(self.principal.arn.clone())
    }

    fn describe(&self) -> String {
        format!(
            "make the access key {} of {} inactive",
            self.key,
            self.principal.label()
        )
    }

    fn describe_undo(&self, _before: &KeyState) -> String {
        format!(
            "make the access key {} of {} active again",
            self.key,
            self.principal.label()
        )
    }

    fn holds(&self, now: &KeyState) -> bool {
        *now != KeyState::Active
    }

    async fn exists(&self, member: &Member) -> Result<bool, Failure> {
        self.principal.exists(member).await
    }

    async fn read(&self, member: &Member) -> Result<KeyState, Failure> {
        let keys = access_keys(member, &self.principal.name).await?;
        Ok(keys
            .into_iter()
            .find(|(key, _)| *key == self.key)
            .map_or(KeyState::Deleted, |(_, state)| state))
    }

    async fn apply(&self, member: &Member, _before: &KeyState) -> Result<Receipt, Failure> {
        self.set(member, StatusType::Inactive).await
    }

    async fn undo(&self, member: &Member, _before: &KeyState, _made: Option<&KeyState>) -> Result<Receipt, Failure> {
        self.set(member, StatusType::Active).await
    }
}
