//! Keeps a volume when its instance is terminated all the same.
//!
//! Source: Amazon EC2 User Guide, "Preserve data when an instance is terminated".

use std::time::Duration;

use aws_sdk_ec2::types::{
    EbsInstanceBlockDeviceSpecification, InstanceAttributeName, InstanceBlockDeviceMapping,
    InstanceBlockDeviceMappingSpecification,
};
use serde::{Deserialize, Serialize};

use super::instance::{self, PERMISSIONS};
use super::{Change, HOLDS_NOTHING_UP, Permission, Receipt};
use crate::arn::Arn;
use crate::aws::{Failure, Member, Reason};

/// One volume of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepVolume {
    /// The instance.
    pub instance: Arn,
    /// The volume's id (`vol-...`).
    pub volume: String,
    /// The device name under which it is attached.
    pub device: String,
}

/// What becomes of the volume with its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnTermination {
    /// Whether it is deleted.
    pub deleted: bool,
}

impl KeepVolume {
    /// The volume as it is attached now; absent, when it is no longer the one at its device.
    async fn attached(&self, member: &Member) -> Result<InstanceBlockDeviceMapping, Failure> {
        let answer = instance::attribute(member, &self.instance, InstanceAttributeName::BlockDeviceMapping).await?;
        let is_it = |mapping: &InstanceBlockDeviceMapping| {
            mapping.device_name() == Some(self.device.as_str())
                && mapping.ebs().and_then(|ebs| ebs.volume_id()) == Some(self.volume.as_str())
        };
        let mappings = answer.block_device_mappings.unwrap_or_default();
        mappings.into_iter().find(is_it).ok_or_else(|| Failure {
            reason: Reason::Absent,
            ..Failure::own(
                "ec2:DescribeInstanceAttribute",
                &self.volume,
                member.account.as_str(),
                "InvalidVolume.NotFound",
                format!("it is no longer attached at {}", self.device),
            )
        })
    }

    async fn set(&self, member: &Member, deleted: bool) -> Result<Receipt, Failure> {
        let ebs = EbsInstanceBlockDeviceSpecification::builder()
            .volume_id(&self.volume)
            .delete_on_termination(deleted)
            .build();
        let mapping = InstanceBlockDeviceMappingSpecification::builder()
            .device_name(&self.device)
            .ebs(ebs)
            .build();
        instance::modify(member, &self.instance, |call| call.block_device_mappings(mapping)).await
    }
}

impl Change for KeepVolume {
    const PERMISSIONS: &'static [Permission] = PERMISSIONS;
    const AT_MOST: Option<Duration> = HOLDS_NOTHING_UP;
    type State = OnTermination;

    fn resource(&self) -> String {
        format!("{}/{}", self.instance, self.volume)
    }

    fn target(&self) -> Option<Arn> {
        Some(self.instance.clone())
    }

    fn describe(&self) -> String {
        format!(
            "keep the volume {} ({}) when {} is terminated",
            self.volume,
            self.device,
            instance::id(&self.instance)
        )
    }

    fn describe_undo(&self, before: &OnTermination) -> String {
        let id = instance::id(&self.instance);
        if before.deleted {
            format!("let the volume {} be deleted with {id} again", self.volume)
        } else {
            format!("keep the volume {} when {id} is terminated", self.volume)
        }
    }

    fn holds(&self, now: &OnTermination) -> bool {
        !now.deleted
    }

    async fn exists(&self, member: &Member) -> Result<bool, Failure> {
        if !instance::exists(member, &self.instance).await? {
            return Ok(false);
        }
        match self.attached(member).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.reason == Reason::Absent => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    async fn read(&self, member: &Member) -> Result<OnTermination, Failure> {
        let mapping = self.attached(member).await?;
        let deleted = mapping.ebs.and_then(|ebs| ebs.delete_on_termination);
        Ok(OnTermination {
            deleted: deleted.unwrap_or(false),
        })
    }

    async fn apply(&self, member: &Member, _before: &OnTermination) -> Result<Receipt, Failure> {
        self.set(member, false).await
    }

    async fn undo(
        &self,
        member: &Member,
        before: &OnTermination,
        _made: Option<&OnTermination>,
    ) -> Result<Receipt, Failure> {
        self.set(member, before.deleted).await
    }
}
