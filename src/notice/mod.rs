//! Tells people by mail, and programs by JSON, what was done and what was not.

mod fit;
pub mod mail;
pub mod publisher;
pub mod report;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use publisher::Publisher;
pub use report::Report;

/// What a notice says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// Work has begun; nothing is certain yet.
    Started,
    /// Every step was read back, and nothing known stays open.
    Contained,
    /// Some of it holds, and the notice says what doesn't.
    Partial,
    /// Nothing of it holds.
    Failed,
    /// It was not even tried.
    Refused,
    /// Everything was put back.
    Released,
    /// These steps would be made.
    Planned,
    /// Nothing was to do.
    Unchanged,
    /// News: an event that rules are about, or what a contained identity had made.
    Notified,
    /// What was contained had been changed by somebody since, and was locked again as far as that was possible.
    Drifted,
}

impl Stage {
    /// Whether somebody must act: such notices go to the failure topic as well.
    pub fn is_trouble(self) -> bool {
        match self {
            Self::Partial | Self::Failed | Self::Refused | Self::Drifted => true,
            Self::Started | Self::Contained | Self::Released | Self::Planned | Self::Unchanged | Self::Notified => {
                false
            }
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
