//! The journal in the hub's DynamoDB table.
//!
//! The record itself is one JSON text, readable in the console; beside it stand the attributes that conditions and the index need.
//! Source: Amazon DynamoDB Developer Guide, "Condition expressions" and "Amazon DynamoDB Transactions".

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, KeysAndAttributes, Put, TransactWriteItem, Update};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::{ChangeItem, ChangeWrite, JournalError, Lease, OUT_OF_REACH, Stored};
use crate::aws::failure::SdkError;
use crate::aws::{Failure, Reason};
use crate::moment::Moment;
use crate::record::{FORMAT, Record};

/// Items as DynamoDB gives and takes them.
type Item = HashMap<String, AttributeValue>;

/// DynamoDB reads 100 items in a batch.
const ITEMS_A_BATCH: usize = 100;

/// The table, and the account that it is in.
#[derive(Debug)]
pub struct Table {
    pub(super) client: Client,
    pub(super) name: String,
    account: String,
    patience: Duration,
}

impl Table {
    /// The table by this name, in the account (for error texts) of the client's credentials.
    pub fn new(client: Client, name: impl Into<String>, account: impl Into<String>) -> Self {
        Self {
            client,
            name: name.into(),
            account: account.into(),
            patience: OUT_OF_REACH,
        }
    }

    /// Waits so long for an answer, instead of the little that the function can spare.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    pub(super) async fn load(&self, key: &str) -> Result<Option<Stored>, JournalError> {
        let call = self
            .client
            .get_item()
            .table_name(&self.name)
            .key("pk", record_key(key))
            .consistent_read(true);
        let answer = self.within("dynamodb:GetItem", call.send()).await?;
        answer.item.map(|item| stored(&item)).transpose()
    }

    pub(super) async fn changes(&self, keys: &[String]) -> Result<Vec<ChangeItem>, JournalError> {
        let mut found = Vec::new();
        for batch in keys.chunks(ITEMS_A_BATCH) {
            let mut wanted: Vec<Item> = batch
                .iter()
                .map(|key| HashMap::from([("pk".to_owned(), change_key(key))]))
                .collect();
            while !wanted.is_empty() {
                let mut asked = KeysAndAttributes::builder().consistent_read(true);
                for key in std::mem::take(&mut wanted) {
                    asked = asked.keys(key);
                }
                let asked = asked
                    .build()
                    .map_err(|error| unreadable("changes", &error.to_string()))?;
                let call = self.client.batch_get_item().request_items(&self.name, asked);
                let mut answer = self.within("dynamodb:BatchGetItem", call.send()).await?;
                for item in answer
                    .responses
                    .as_mut()
                    .and_then(|tables| tables.remove(&self.name))
                    .unwrap_or_default()
                {
                    found.push(change(&item)?);
                }
                wanted = answer
                    .unprocessed_keys
                    .and_then(|mut left| left.remove(&self.name))
                    .map(|left| left.keys)
                    .unwrap_or_default();
            }
        }
        Ok(found)
    }

    pub(super) async fn write(
        &self,
        stored: &Stored,
        expected: Option<u64>,
        changes: &[ChangeWrite],
    ) -> Result<(), JournalError> {
        let wrong = |error: aws_sdk_dynamodb::error::BuildError| unreadable(&stored.record.key, &error.to_string());
        let put = Put::builder().table_name(&self.name).set_item(Some(item(stored)?));
        let put = match expected {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(version) => put
                .condition_expression("#version = :version")
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":version", number(version)),
        };
        let mut items = vec![TransactWriteItem::builder().put(put.build().map_err(wrong)?).build()];
        for change in changes {
            items.push(self.change_write(change).map_err(wrong)?);
        }
        let call = self.client.transact_write_items().set_transact_items(Some(items));
        match tokio::time::timeout(self.patience, call.send()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.refused(&error, changes)),
            Err(_) => Err(self.too_slow("dynamodb:TransactWriteItems")),
        }
    }

    pub(super) async fn renew(&self, key: &str, lease: &Lease) -> Result<(), JournalError> {
        let call = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("pk", record_key(key))
            .update_expression("SET leaseUntil = :until")
            .condition_expression("holder = :holder")
            .expression_attribute_values(":until", millis(lease.until))
            .expression_attribute_values(":holder", text(&lease.holder));
        self.conditional("dynamodb:UpdateItem", call.send()).await.map(|_| ())
    }

    pub(super) async fn ask(&self, key: &str, message: &str) -> Result<(), JournalError> {
        let call = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("pk", record_key(key))
            .update_expression("SET asked = :message ADD #version :one")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":message", text(message))
            .expression_attribute_values(":one", number(1));
        self.conditional("dynamodb:UpdateItem", call.send()).await.map(|_| ())
    }

    pub(super) async fn open_records(&self) -> Result<Vec<Result<Stored, JournalError>>, JournalError> {
        Ok(self.open_items(None).await?.iter().map(stored).collect())
    }

    pub(super) async fn open_keys(&self) -> Result<Vec<String>, JournalError> {
        let items = self.open_items(Some("pk")).await?;
        let keys = items
            .iter()
            .filter_map(|item| item.get("pk").and_then(|pk| pk.as_s().ok()));
        Ok(keys
            .filter_map(|pk| pk.strip_prefix("record/").map(str::to_owned))
            .collect())
    }

    /// The items of all open records, or of each only the attributes of this projection.
    async fn open_items(&self, projection: Option<&str>) -> Result<Vec<Item>, JournalError> {
        let mut found = Vec::new();
        let mut from = None;
        loop {
            let call = self
                .client
                .query()
                .table_name(&self.name)
                .index_name("open")
                .key_condition_expression("#open = :yes")
                .set_projection_expression(projection.map(str::to_owned))
                .expression_attribute_names("#open", "open")
                .expression_attribute_values(":yes", text("yes"))
                .set_exclusive_start_key(from);
            let answer = self.within("dynamodb:Query", call.send()).await?;
            found.extend(answer.items.unwrap_or_default());
            from = answer.last_evaluated_key.filter(|key| !key.is_empty());
            if from.is_none() {
                return Ok(found);
            }
        }
    }

    fn change_write(&self, change: &ChangeWrite) -> Result<TransactWriteItem, aws_sdk_dynamodb::error::BuildError> {
        let update = |seen: &ChangeItem, verb: &str, holder: &str| {
            Update::builder()
                .table_name(&self.name)
                .key("pk", change_key(&seen.key))
                .update_expression(if verb == "ADD" {
                    "ADD holders :holder, #version :one".to_owned()
                } else {
                    "DELETE holders :holder ADD #version :one".to_owned()
                })
                .condition_expression("#version = :version")
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":version", number(seen.version))
                .expression_attribute_values(":one", number(1))
                .expression_attribute_values(":holder", AttributeValue::Ss(vec![holder.to_owned()]))
                .build()
        };
        let write = TransactWriteItem::builder();
        Ok(match change {
            ChangeWrite::First { key, before, holder } => {
                let put = Put::builder()
                    .table_name(&self.name)
                    .item("pk", change_key(key))
                    .item("format", number(u64::from(FORMAT)))
                    .item("version", number(1))
                    .item("before", text(&before.to_string()))
                    .item("holders", AttributeValue::Ss(vec![holder.clone()]))
                    .condition_expression("attribute_not_exists(pk)");
                write.put(put.build()?).build()
            }
            ChangeWrite::Join { seen, holder } => write.update(update(seen, "ADD", holder)?).build(),
            ChangeWrite::Leave { seen, holder } => write.update(update(seen, "DELETE", holder)?).build(),
            ChangeWrite::Forget { key } => {
                // DynamoDB removes a set with its last element.
                let delete = Delete::builder()
                    .table_name(&self.name)
                    .key("pk", change_key(key))
                    .condition_expression("attribute_not_exists(holders)");
                write.delete(delete.build()?).build()
            }
        })
    }

    /// What a refused transaction means: the first item is the record, the others are the changes.
    fn refused(&self, error: &SdkError<TransactWriteItemsError>, changes: &[ChangeWrite]) -> JournalError {
        let call = "dynamodb:TransactWriteItems";
        let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() else {
            return self.unreachable(call, error);
        };
        let codes: Vec<&str> = cancelled
            .cancellation_reasons()
            .iter()
            .filter_map(|reason| reason.code())
            .collect();
        let untrue = |code: &&str| *code == "ConditionalCheckFailed";
        if codes.first().is_some_and(untrue) {
            return JournalError::Conflict;
        }
        let lost = changes
            .iter()
            .zip(codes.iter().skip(1))
            .filter(|(_, code)| untrue(code));
        let keys: Vec<String> = lost.map(|(change, _)| change.key().to_owned()).collect();
        if !keys.is_empty() {
            return JournalError::Changed(keys);
        }
        let passing = [
            "TransactionConflict",
            "ThrottlingError",
            "ProvisionedThroughputExceeded",
        ];
        match codes.iter().find(|code| **code != "None") {
            Some(code) if !passing.contains(code) => {
                let message = format!("the journal does not take the record: {code}");
                JournalError::Unreachable(Box::new(Failure::own(call, &self.name, &self.account, code, message)))
            }
            _ => JournalError::Busy,
        }
    }

    pub(super) async fn within<T, E: ProvideErrorMetadata>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<T, JournalError> {
        match tokio::time::timeout(self.patience, work).await {
            Ok(answer) => answer.map_err(|error| self.unreachable(call, &error)),
            Err(_) => Err(self.too_slow(call)),
        }
    }

    pub(super) async fn conditional<T, E: ProvideErrorMetadata>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<T, JournalError> {
        self.within(call, work).await.map_err(|error| match error {
            JournalError::Unreachable(failure) if failure.code == "ConditionalCheckFailedException" => {
                JournalError::Conflict
            }
            other => other,
        })
    }

    fn unreachable<E: ProvideErrorMetadata>(&self, call: &'static str, error: &SdkError<E>) -> JournalError {
        JournalError::Unreachable(Box::new(Failure::of(call, &self.name, &self.account, error)))
    }

    fn too_slow(&self, call: &'static str) -> JournalError {
        let message = format!("no answer within {} s", self.patience.as_secs());
        let mut failure = Failure::own(call, &self.name, &self.account, "TimedOut", message);
        failure.reason = Reason::Passing;
        JournalError::Unreachable(Box::new(failure))
    }
}

fn record_key(key: &str) -> AttributeValue {
    text(&format!("record/{key}"))
}

fn change_key(key: &str) -> AttributeValue {
    text(&format!("change/{key}"))
}

pub(super) fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

pub(super) fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn millis(moment: Moment) -> AttributeValue {
    AttributeValue::N(moment.millis().to_string())
}

pub(super) fn unreadable(key: &str, problem: &str) -> JournalError {
    JournalError::Unreadable {
        key: key.to_owned(),
        problem: problem.to_owned(),
    }
}

fn item(stored: &Stored) -> Result<Item, JournalError> {
    let record = &stored.record;
    let json = serde_json::to_string(record).map_err(|error| unreadable(&record.key, &error.to_string()))?;
    let mut item = Item::from([
        ("pk".to_owned(), record_key(&record.key)),
        ("format".to_owned(), number(u64::from(record.format))),
        ("version".to_owned(), number(stored.version)),
        ("openedAt".to_owned(), text(&record.opened.to_string())),
        ("containment".to_owned(), text(record.containment.as_str())),
        ("status".to_owned(), text(&record.status.to_string())),
        ("record".to_owned(), text(&json)),
    ]);
    if record.is_open() {
        item.insert("open".to_owned(), text("yes"));
    }
    if let Some(lease) = &stored.lease {
        item.insert("holder".to_owned(), text(&lease.holder));
        item.insert("leaseUntil".to_owned(), millis(lease.until));
    }
    if let Some(asked) = &stored.asked {
        item.insert("asked".to_owned(), text(asked));
    }
    Ok(item)
}

fn stored(item: &Item) -> Result<Stored, JournalError> {
    let string = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
    let integer = |name: &str| {
        item.get(name)
            .and_then(|value| value.as_n().ok())
            .and_then(|digits| digits.parse::<i64>().ok())
    };
    let key = string("pk").map_or("?", String::as_str);
    let json = string("record").ok_or_else(|| unreadable(key, "it has no record"))?;
    let record: Record = serde_json::from_str(json).map_err(|error| unreadable(key, &error.to_string()))?;
    if record.format > FORMAT {
        return Err(unreadable(
            key,
            &format!(
                "its format {} is newer than this version knows ({FORMAT}): update the tool",
                record.format
            ),
        ));
    }
    let lease = string("holder").zip(integer("leaseUntil"));
    Ok(Stored {
        record,
        version: integer("version")
            .and_then(|version| u64::try_from(version).ok())
            .unwrap_or_default(),
        lease: lease.map(|(holder, until)| Lease {
            holder: holder.clone(),
            until: Moment::from_millis(until),
        }),
        asked: string("asked").cloned(),
    })
}

fn change(item: &Item) -> Result<ChangeItem, JournalError> {
    let key = item
        .get("pk")
        .and_then(|value| value.as_s().ok())
        .map_or("?", String::as_str);
    let before = item
        .get("before")
        .and_then(|value| value.as_s().ok())
        .ok_or_else(|| unreadable(key, "it has no state before"))?;
    let version = item
        .get("version")
        .and_then(|value| value.as_n().ok())
        .and_then(|digits| digits.parse().ok());
    let holders = item
        .get("holders")
        .and_then(|value| value.as_ss().ok())
        .cloned()
        .unwrap_or_default();
    Ok(ChangeItem {
        key: key.trim_start_matches("change/").to_owned(),
        version: version.ok_or_else(|| unreadable(key, "it has no version"))?,
        before: serde_json::from_str(before).map_err(|error| unreadable(key, &error.to_string()))?,
        holders: holders.into_iter().collect::<BTreeSet<_>>(),
    })
}
