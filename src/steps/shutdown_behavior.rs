//! Makes an instance that shuts itself down stop, not terminate: whoever holds it must not destroy it from inside.
//!
//! Source: Amazon EC2 User Guide, "Change instance initiated shutdown behavior".

use std::time::Duration;

use aws_sdk_ec2::types::{AttributeValue, InstanceAttributeName};
use serde::{Deserialize, Serialize};

use super::instance::{self, PERMISSIONS};
use super::{Change, HOLDS_NOTHING_UP, Permission, Receipt};
use crate::arn::Arn;
use crate::aws::{Failure, Member};

const STOP: &str = "stop";

/// What becomes of one instance that shuts itself down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutdownBehavior {
    /// The instance.
    pub instance: Arn,
}

/// The behaviour in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behavior {
    /// `stop` or `terminate`.
    pub behavior: String,
}

impl ShutdownBehavior {
    async fn set(&self, member: &Member, behavior: &str) -> Result<Receipt, Failure> {
        let value = AttributeValue::builder().value(behavior).build();
        instance::modify(member, &self.instance, |call| {
            call.instance_initiated_shutdown_behavior(value)
        })
        .await
    }
}

impl Change for ShutdownBehavior {
    const PERMISSIONS: &'static [Permission] = PERMISSIONS;
    const DISPENSABLE: bool = true;
    const AT_MOST: Option<Duration> = HOLDS_NOTHING_UP;
    type State = Behavior;

    fn resource(&self) -> String {
        self.instance.to_string()
    }

    fn target(&self) -> Option<Arn> {
        Some(self.instance.clone())
    }

    fn describe(&self) -> String {
        format!(
            "make {} stop, not terminate, when it shuts itself down",
            instance::id(&self.instance)
        )
    }

    fn describe_undo(&self, before: &Behavior) -> String {
        format!(
            "let {} {} again when it shuts itself down",
            instance::id(&self.instance),
            before.behavior
        )
    }

    fn holds(&self, now: &Behavior) -> bool {
        now.behavior == STOP
    }

    async fn exists(&self, member: &Member) -> Result<bool, Failure> {
        instance::exists(member, &self.instance).await
    }

    async fn read(&self, member: &Member) -> Result<Behavior, Failure> {
        let name = InstanceAttributeName::InstanceInitiatedShutdownBehavior;
        let answer = instance::attribute(member, &self.instance, name).await?;
        let behavior = answer
            .instance_initiated_shutdown_behavior
            .and_then(|value| value.value);
        Ok(Behavior {
            behavior: behavior.unwrap_or_else(|| STOP.to_owned()),
        })
    }

    async fn apply(&self, member: &Member, _before: &Behavior) -> Result<Receipt, Failure> {
        self.set(member, STOP).await
    }

    async fn undo(&self, member: &Member, before: &Behavior, _made: Option<&Behavior>) -> Result<Receipt, Failure> {
        self.set(member, &before.behavior).await
    }
}
