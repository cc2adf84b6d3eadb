//! Where records are kept, and the rules by which they are written.
//!
//! Two kinds of items: a record for each entity, and an item for each change on each resource that keeps the first state before
//! and the containments that hold it. Beside them stand [`notes`], small items of the automation. Every write of a record is conditional on its version; whoever writes holds its lease.

pub mod dynamo;
pub mod import;
pub mod memory;
pub mod notes;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::aws::Failure;
use crate::moment::Moment;
use crate::record::Record;

/// How long the journal may take before the work goes on without it.
pub const OUT_OF_REACH: Duration = Duration::from_secs(2);

/// DynamoDB takes 100 writes in a transaction (Developer Guide, "Amazon DynamoDB Transactions"); one is the record's.
pub const CHANGES_A_WRITE: usize = 90;

/// Who works on a record, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// One invocation of one process.
    pub holder: String,
    /// When it lapses.
    pub until: Moment,
}

/// A record with what the journal keeps around it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The record.
    pub record: Record,
    /// Grows by one with every write.
    pub version: u64,
    /// Who works on it.
    pub lease: Option<Lease>,
    /// The release (by its message's id) that asks the holder to stop.
    pub asked: Option<String>,
}

impl Stored {
    /// Whether somebody else works on it at this moment.
    pub fn held_by_another(&self, holder: &str, now: Moment) -> bool {
        self.lease
            .as_ref()
            .is_some_and(|lease| lease.holder != holder && lease.until > now)
    }
}

/// The item of one change on one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeItem {
    /// The change's key, as [`crate::steps::Step::key`] gives it.
    pub key: String,
    /// Grows by one with every write.
    pub version: u64,
    /// The state before the first containment that holds the change.
    pub before: Value,
    /// The containments that hold it, by the keys of their records.
    pub holders: BTreeSet<String>,
}

/// How a containment is written down among the holders of a change: by its record's key, since an entity has one record.
pub fn holder_of(record: &Record) -> String {
    record.key.clone()
}

/// One write to the item of a change, conditional on what was seen of it.
#[derive(Debug, Clone, PartialEq)]
pub enum ChangeWrite {
    /// The first containment that makes this change.
    First {
        /// The change.
        key: String,
        /// The state before.
        before: Value,
        /// The containment.
        holder: String,
    },
    /// A further containment joins those that hold it.
    Join {
        /// The item as it was seen.
        seen: ChangeItem,
        /// The containment.
        holder: String,
    },
    /// A containment no longer holds it.
    Leave {
        /// The item as it was seen.
        seen: ChangeItem,
        /// The containment.
        holder: String,
    },
    /// The change was undone, and nobody holds it.
    Forget {
        /// The change.
        key: String,
    },
}

impl ChangeWrite {
    /// The key of the change.
    pub fn key(&self) -> &str {
        match self {
            Self::First { key, .. } | Self::Forget { key } => key,
            Self::Join { seen, .. } | Self::Leave { seen, .. } => &seen.key,
        }
    }
}

/// Why a write or a read of the journal failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum JournalError {
    /// Somebody else has written the record since it was read.
    #[error("the record was changed by somebody else")]
    Conflict,
    /// Somebody else has written these changes' items since they were read.
    #[error("the items of {} changes were changed by somebody else", .0.len())]
    Changed(Vec<String>),
    /// Another write met this one: the same one can be tried again.
    #[error("another write met this one")]
    Busy,
    /// The journal is out of reach, or does not take the record.
    #[error("the journal is out of reach: {0}")]
    Unreachable(Box<Failure>),
    /// An item can't be read.
    #[error("the journal's item {key} can't be read: {problem}")]
    Unreadable {
        /// Its key.
        key: String,
        /// What is wrong.
        problem: String,
    },
}

/// The journal: DynamoDB, or the memory of a test.
#[derive(Debug)]
pub enum Journal {
    /// The table of the hub.
    Dynamo(dynamo::Table),
    /// For tests.
    Memory(memory::Memory),
}

impl Journal {
    /// The record by this key.
    pub async fn load(&self, key: &str) -> Result<Option<Stored>, JournalError> {
        match self {
            Self::Dynamo(table) => table.load(key).await,
            Self::Memory(memory) => memory.load(key),
        }
    }

    /// The records of what is open, oldest first; one that can't be read hides no other.
    pub async fn open_records(&self) -> Result<Vec<Result<Stored, JournalError>>, JournalError> {
        match self {
            Self::Dynamo(table) => table.open_records().await,
            Self::Memory(memory) => Ok(memory.open_records()),
        }
    }

    /// The keys of the records of what is open, oldest first: all that a watch needs to begin.
    pub async fn open_keys(&self) -> Result<Vec<String>, JournalError> {
        match self {
            Self::Dynamo(table) => table.open_keys().await,
            Self::Memory(memory) => Ok(memory
                .open_records()
                .into_iter()
                .flatten()
                .map(|stored| stored.record.key)
                .collect()),
        }
    }

    /// The items of these changes; those that do not exist are left out.
    pub async fn changes(&self, keys: &[String]) -> Result<Vec<ChangeItem>, JournalError> {
        match self {
            Self::Dynamo(table) => table.changes(keys).await,
            Self::Memory(memory) => memory.changes(keys),
        }
    }

    /// Writes a record, if its version is still `expected` (`None`: if there is none), together with the items of changes.
    pub async fn write(
        &self,
        stored: &Stored,
        expected: Option<u64>,
        changes: &[ChangeWrite],
    ) -> Result<(), JournalError> {
        match self {
            Self::Dynamo(table) => table.write(stored, expected, changes).await,
            Self::Memory(memory) => memory.write(stored, expected, changes),
        }
    }

    /// Lets a lease last longer, if this holder still has it.
    pub async fn renew(&self, key: &str, lease: &Lease) -> Result<(), JournalError> {
        match self {
            Self::Dynamo(table) => table.renew(key, lease).await,
            Self::Memory(memory) => memory.renew(key, lease),
        }
    }

    /// Asks the holder of a record to stop, since the release of this message waits.
    pub async fn ask(&self, key: &str, message: &str) -> Result<(), JournalError> {
        match self {
            Self::Dynamo(table) => table.ask(key, message).await,
            Self::Memory(memory) => memory.ask(key, message),
        }
    }
}
