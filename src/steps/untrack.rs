//! Moves an interface into the untracking group, so that connections which would outlive isolation become untracked.

use serde::{Deserialize, Serialize};

use super::interface::{Groups, Interface, PERMISSIONS};
use super::security_group::{Purpose, ready};
use super::{Change, Permission, Receipt};
use crate::arn::Arn;
use crate::aws::{Failure, Member};

/// One interface on its way to isolation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untrack {
    /// The interface.
    pub interface: Interface,
}

impl Change for Untrack {
    const PERMISSIONS: &'static [Permission] = PERMISSIONS;
    // What was there before belongs to the isolation of the same interface, which puts it back.
    const REVERSES: bool = false;
    const EXPOSES: bool = true;
    type State = Groups;

    fn resource(&self) -> String {
        self.interface.id.clone()
    }

    fn target(&self) -> Option<Arn> {
        Some(self.interface.instance.clone())
    }

    fn describe(&self) -> String {
        format!("move the {} into the untracking group", self.interface.label())
    }

    fn describe_undo(&self, _before: &Groups) -> String {
        format!("take the {} out of the untracking group", self.interface.label())
    }

    /// An interface seen in isolation never goes back to untracking.
    fn holds(&self, now: &Groups) -> bool {
        now.within.is_some()
    }

    async fn exists(&self, member: &Member) -> Result<bool, Failure> {
        self.interface.exists(member).await
    }

    async fn read(&self, member: &Member) -> Result<Groups, Failure> {
        self.interface.groups(member).await
    }

    async fn apply(&self, member: &Member, _before: &Groups) -> Result<Receipt, Failure> {
        // Nothing is opened that can't be closed again: the isolation group must be there first, with its rules.
        let ready = |purpose| ready(member, &self.interface.vpc, purpose);
        let (_, group) = tokio::try_join!(ready(Purpose::Isolation), ready(Purpose::Untracking))?;
        self.interface.set_groups(member, &[group]).await
    }

    async fn undo(&self, _member: &Member, _before: &Groups, _made: Option<&Groups>) -> Result<Receipt, Failure> {
        Ok(Receipt::default())
    }
}
