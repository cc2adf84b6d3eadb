//! Notes: small items beside the records, each one JSON value that is written only if nobody has written it meanwhile.
//!
//! What the automation has to remember over all instances of the function is kept in them: which events it has seen, and how many
//! containments it has begun.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

use super::dynamo::{Table, number, text, unreadable};
use super::{Journal, JournalError};
use crate::moment::Moment;

/// One note as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// Grows by one with every write.
    pub version: u64,
    /// What it says.
    pub value: Value,
}

impl Journal {
    /// The note by this key.
    pub async fn note(&self, key: &str) -> Result<Option<Note>, JournalError> {
        match self {
            Self::Dynamo(table) => table.note(key).await,
            Self::Memory(memory) => Ok(memory.note(key)),
        }
    }

    /// Writes a note, if its version is still `expected` (`None`: if there is none). DynamoDB deletes it some time after `expires`.
    ///
    /// # Errors
    /// [`JournalError::Conflict`] where somebody else has written it.
    pub async fn write_note(
        &self,
        key: &str,
        value: &Value,
        expected: Option<u64>,
        expires: Moment,
    ) -> Result<(), JournalError> {
        match self {
            Self::Dynamo(table) => table.write_note(key, value, expected, expires).await,
            Self::Memory(memory) => memory.write_note(key, value, expected),
        }
    }
}

impl Table {
    async fn note(&self, key: &str) -> Result<Option<Note>, JournalError> {
        let call = self.client.get_item().table_name(&self.name);
        let call = call.key("pk", note_key(key)).consistent_read(true);
        let answer = self.within("dynamodb:GetItem", call.send()).await?;
        answer.item.map(|item| note(key, &item)).transpose()
    }

    async fn write_note(
        &self,
        key: &str,
        value: &Value,
        expected: Option<u64>,
        expires: Moment,
    ) -> Result<(), JournalError> {
        let seconds = u64::try_from(expires.millis() / 1000).unwrap_or_default();
        let call = self
            .client
            .put_item()
            .table_name(&self.name)
            .item("pk", note_key(key))
            .item("version", number(expected.unwrap_or(0) + 1))
            .item("note", text(&value.to_string()))
            .item("expires", number(seconds));
        let call = match expected {
            None => call.condition_expression("attribute_not_exists(pk)"),
            Some(version) => call
                .condition_expression("#version = :version")
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":version", number(version)),
        };
        self.conditional("dynamodb:PutItem", call.send()).await.map(drop)
    }
}

fn note_key(key: &str) -> AttributeValue {
    text(&format!("note/{key}"))
}

fn note(key: &str, item: &HashMap<String, AttributeValue>) -> Result<Note, JournalError> {
    let version = item
        .get("version")
        .and_then(|version| version.as_n().ok()?.parse().ok());
    let value = item
        .get("note")
        .and_then(|note| serde_json::from_str(note.as_s().ok()?).ok());
    match (version, value) {
        (Some(version), Some(value)) => Ok(Note { version, value }),
        _ => Err(unreadable(&format!("note/{key}"), "it lacks its version or its text")),
    }
}
