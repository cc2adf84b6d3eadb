//! Protects an instance against termination through the API. It stops neither Auto Scaling nor a shutdown from inside: other steps
//! do. Spot instances can't be protected; the plan leaves it out for them.
//!
//! Source: Amazon EC2 User Guide, "Change instance termination protection".

use std::time::Duration;

use aws_sdk_ec2::types::{AttributeBooleanValue, InstanceAttributeName};
use serde::{Deserialize, Serialize};

use super::instance::{self, PERMISSIONS};
use super::{Change, HOLDS_NOTHING_UP, Permission, Receipt};
use crate::arn::Arn;
use crate::aws::{Failure, Member};

/// The protection of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminationProtection {
    /// The instance.
    pub instance: Arn,
}

/// Whether it is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    /// Whether `TerminateInstances` is refused.
    pub protected: bool,
}

impl TerminationProtection {
    async fn set(&self, member: &Member, protected: bool) -> Result<Receipt, Failure> {
        let value = AttributeBooleanValue::builder().value(protected).build();
        instance::modify(member, &self.instance, |call| call.disable_api_termination(value)).await
    }
}

impl Change for TerminationProtection {
    const PERMISSIONS: &'static [Permission] = PERMISSIONS;
    const AT_MOST: Option<Duration> = HOLDS_NOTHING_UP;
    type State = Protection;

    fn resource(&self) -> String {
        self.instance.to_string()
    }

    fn target(&self) -> Option<Arn> {
        Some(self.instance.clone())
    }

    fn describe(&self) -> String {
        format!("protect {} against termination", instance::id(&self.instance))
    }

    fn describe_undo(&self, before: &Protection) -> String {
        let id = instance::id(&self.instance);
        if before.protected {
            format!("protect {id} against termination again")
        } else {
            format!("take {id}'s protection against termination off")
        }
    }

    fn holds(&self, now: &Protection) -> bool {
        now.protected
    }

    async fn exists(&self, member: &Member) -> Result<bool, Failure> {
        instance::exists(member, &self.instance).await
    }

    async fn read(&self, member: &Member) -> Result<Protection, Failure> {
        let name = InstanceAttributeName::DisableApiTermination;
        let answer = instance::attribute(member, &self.instance, name).await?;
        let protected = answer.disable_api_termination.and_then(|value| value.value);
        Ok(Protection {
            protected: protected.unwrap_or(false),
        })
    }

    async fn apply(&self, member: &Member, _before: &Protection) -> Result<Receipt, Failure> {
        self.set(member, true).await
    }

    async fn undo(&self, member: &Member, before: &Protection, _made: Option<&Protection>) -> Result<Receipt, Failure> {
        self.set(member, before.protected).await
    }
}
