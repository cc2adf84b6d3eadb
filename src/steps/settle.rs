//! The pause in which tracked connections become untracked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Change, Permission, Receipt};
use crate::arn::Arn;
use crate::aws::{Failure, Member};

/// A pause of so many seconds. Whoever carries the plan out stores when it ends, and waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settle {
    /// The instance.
    pub instance: Arn,
    /// How long.
    pub seconds: u64,
}

/// A pause changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing {}

impl Change for Settle {
    const PERMISSIONS: &'static [Permission] = &[];
    const REVERSES: bool = false;
    type State = Nothing;

    fn resource(&self) -> String {
        self.instance.to_string()
    }

    fn target(&self) -> Option<Arn> {
        None
    }

    fn describe(&self) -> String {
        format!("wait {} s until tracked connections are untracked", self.seconds)
    }

    fn describe_undo(&self, _before: &Nothing) -> String {
        "nothing".to_owned()
    }

    fn pause(&self) -> Option<Duration> {
        Some(Duration::from_secs(self.seconds))
    }

    fn holds(&self, _now: &Nothing) -> bool {
        true
    }

    async fn exists(&self, _member: &Member) -> Result<bool, Failure> {
        Ok(true)
    }

    async fn read(&self, _member: &Member) -> Result<Nothing, Failure> {
        Ok(Nothing {})
    }

    async fn apply(&self, _member: &Member, _before: &Nothing) -> Result<Receipt, Failure> {
        Ok(Receipt::default())
    }

    async fn undo(&self, _member: &Member, _before: &Nothing, _made: Option<&Nothing>) -> Result<Receipt, Failure> {
        Ok(Receipt::default())
    }
}
