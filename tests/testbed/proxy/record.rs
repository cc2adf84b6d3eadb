//! The record of all calls.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::call::Call;

/// One call and what became of it.
#[derive(Clone, Serialize)]
pub struct Entry {
    /// In the order of arrival, from 1.
    pub seq: u64,
    /// The signing name.
    pub service: String,
    /// The operation.
    pub action: String,
    /// From the signature's scope.
    pub region: String,
    /// Who signed.
    pub access_key: String,
    /// The account of the caller, if the proxy saw the session being made.
    pub account: Option<String>,
    /// The caller's ARN, under the same condition.
    pub principal: Option<String>,
    /// Parameters by name.
    pub params: BTreeMap<String, String>,
    /// Path and decoded body.
    pub text: String,
    /// HTTP status of the answer; absent while under way, or cut.
    pub status: Option<u16>,
    /// AWS's error code, of an error.
    pub code: Option<String>,
    /// Who answered: `aws`, or which part of the proxy (`rule`, `judge`, `check`).
    pub by: Option<&'static str>,
    /// Milliseconds since 1970.
    pub start_ms: u128,
    /// Milliseconds since 1970; absent while under way.
    pub end_ms: Option<u128>,
}

/// Milliseconds since 1970.
fn now_ms() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis())
}

/// All calls since the last reset; numbers go on over a reset.
#[derive(Default)]
pub struct Record {
    inner: Mutex<(u64, Vec<Entry>)>,
}

impl Record {
    /// Notes that a call has come; returns its number.
    pub fn open(&self, call: &Call, account: Option<String>, principal: Option<String>) -> u64 {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, entries) = &mut *inner;
        *last += 1;
        entries.push(Entry {
            seq: *last,
            service: call.service.clone(),
            action: call.action.clone(),
            region: call.region.clone(),
            access_key: call.access_key.clone(),
            account,
            principal,
            params: call.params.clone(),
            text: call.text.clone(),
            status: None,
            code: None,
            by: None,
            start_ms: now_ms(),
            end_ms: None,
        });
        *last
    }

    /// Notes how a call ended.
    pub fn close(&self, seq: u64, by: &'static str, status: Option<u16>, code: Option<String>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = inner.1.iter_mut().rev().find(|entry| entry.seq == seq) {
            entry.status = status;
            entry.code = code;
            entry.by = Some(by);
            entry.end_ms = Some(now_ms());
        }
    }

    /// The calls that a query asks for, oldest first: after a number, of a service, of an action, with a text in the caller's
    /// ARN, in path or body.
    pub fn matching(&self, query: &[(String, String)]) -> Vec<Entry> {
        let wanted = |name: &str| {
            query
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
        };
        let after = wanted("after").and_then(|seq| seq.parse().ok()).unwrap_or(0);
        let holds = |entry: &Entry, text: &str| {
            let principal = entry.principal.as_deref().unwrap_or_default();
            principal.contains(text) || entry.text.contains(text)
        };
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let first = inner.1.partition_point(|entry| entry.seq <= after);
        let later = inner.1.get(first..).unwrap_or_default().iter();
        later
            .filter(|entry| wanted("service").is_none_or(|service| entry.service == service))
            .filter(|entry| wanted("action").is_none_or(|action| entry.action == action))
            .filter(|entry| wanted("contains").is_none_or(|text| holds(entry, text)))
            .cloned()
            .collect()
    }

    /// The number of the newest call.
    pub fn last(&self) -> u64 {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// Forgets all calls.
    pub fn clear(&self) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).1.clear();
    }
}
