//! The journal in memory, with the same conditions, for unit tests.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::Value;

use super::notes::Note;
use super::{ChangeItem, ChangeWrite, JournalError, Lease, Stored};

/// Records and changes by their keys.
#[derive(Debug, Default)]
pub struct Memory {
    records: RefCell<BTreeMap<String, Stored>>,
    changes: RefCell<BTreeMap<String, ChangeItem>>,
    notes: RefCell<BTreeMap<String, Note>>,
}

impl Memory {
    pub(super) fn load(&self, key: &str) -> Result<Option<Stored>, JournalError> {
        Ok(self.records.borrow().get(key).cloned())
    }

    pub(super) fn note(&self, key: &str) -> Option<Note> {
        self.notes.borrow().get(key).cloned()
    }

    pub(super) fn write_note(&self, key: &str, value: &Value, expected: Option<u64>) -> Result<(), JournalError> {
        let mut notes = self.notes.borrow_mut();
        if notes.get(key).map(|present| present.version) != expected {
            return Err(JournalError::Conflict);
        }
        let (version, value) = (expected.unwrap_or(0) + 1, value.clone());
        notes.insert(key.to_owned(), Note { version, value });
        Ok(())
    }

    pub(super) fn open_records(&self) -> Vec<Result<Stored, JournalError>> {
        let records = self.records.borrow();
        let mut open: Vec<Stored> = records
            .values()
            .filter(|stored| stored.record.is_open())
            .cloned()
            .collect();
        open.sort_by_key(|stored| stored.record.opened);
        open.into_iter().map(Ok).collect()
    }

    pub(super) fn changes(&self, keys: &[String]) -> Result<Vec<ChangeItem>, JournalError> {
        Ok(keys
            .iter()
            .filter_map(|key| self.changes.borrow().get(key).cloned())
            .collect())
    }

    pub(super) fn write(
        &self,
        stored: &Stored,
        expected: Option<u64>,
        changes: &[ChangeWrite],
    ) -> Result<(), JournalError> {
        let mut records = self.records.borrow_mut();
        if records.get(&stored.record.key).map(|present| present.version) != expected {
            return Err(JournalError::Conflict);
        }
        let mut items = self.changes.borrow_mut();
        let stale: Vec<String> = changes
            .iter()
            .filter(|change| !holds(change, items.get(change.key())))
            .map(|change| change.key().to_owned())
            .collect();
        if !stale.is_empty() {
            return Err(JournalError::Changed(stale));
        }
        for change in changes {
            match change.clone() {
                ChangeWrite::First { key, before, holder } => {
                    items.insert(
                        key.clone(),
                        ChangeItem {
                            key,
                            version: 1,
                            before,
                            holders: [holder].into(),
                        },
                    );
                }
                ChangeWrite::Join { mut seen, holder } => {
                    seen.holders.insert(holder);
                    seen.version += 1;
                    items.insert(seen.key.clone(), seen);
                }
                ChangeWrite::Leave { mut seen, holder } => {
                    seen.holders.remove(&holder);
                    seen.version += 1;
                    items.insert(seen.key.clone(), seen);
                }
                ChangeWrite::Forget { key } => {
                    items.remove(&key);
                }
            }
        }
        records.insert(stored.record.key.clone(), stored.clone());
        Ok(())
    }

    pub(super) fn renew(&self, key: &str, lease: &Lease) -> Result<(), JournalError> {
        let mut records = self.records.borrow_mut();
        let held = records
            .get_mut(key)
            .and_then(|stored| stored.lease.as_mut())
            .filter(|held| held.holder == lease.holder);
        held.map(|held| held.until = lease.until).ok_or(JournalError::Conflict)
    }

    pub(super) fn ask(&self, key: &str, message: &str) -> Result<(), JournalError> {
        let mut records = self.records.borrow_mut();
        let stored = records.get_mut(key).ok_or(JournalError::Conflict)?;
        stored.asked = Some(message.to_owned());
        stored.version += 1;
        Ok(())
    }
}

fn holds(change: &ChangeWrite, present: Option<&ChangeItem>) -> bool {
    match change {
        ChangeWrite::First { .. } => present.is_none(),
        ChangeWrite::Join { seen, .. } | ChangeWrite::Leave { seen, .. } => {
            present.is_some_and(|item| item.version == seen.version)
        }
        ChangeWrite::Forget { .. } => present.is_none_or(|item| item.holders.is_empty()),
    }
}
