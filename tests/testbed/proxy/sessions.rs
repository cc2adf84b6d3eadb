//! Who is behind an access key: learned from the answers to `AssumeRole` that pass through.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::upstream::Answer;
use crate::xml;

/// A caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Twelve digits.
    pub account: String,
    /// `arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION`, or the account's root.
    pub arn: String,
}

impl Caller {
    /// The role behind a session; a root has none.
    pub fn role_arn(&self) -> Option<String> {
        let (prefix, rest) = self.arn.split_once(":assumed-role/")?;
        let name = rest.split('/').next()?;
        Some(format!("{}:role/{name}", prefix.replacen(":sts:", ":iam:", 1)))
    }
}

/// All sessions seen.
#[derive(Default)]
pub struct Sessions {
    by_key: RwLock<HashMap<String, Caller>>,
}

impl Sessions {
    /// Learns from the answer to an `AssumeRole`.
    pub fn learn(&self, answer: &Answer) {
        let body = String::from_utf8_lossy(answer.body());
        let (Some(key), Some(arn)) = (xml::text(&body, "AccessKeyId"), xml::text(&body, "Arn")) else {
            return;
        };
        let caller = Caller {
            account: arn.split(':').nth(4).unwrap_or_default().to_owned(),
            arn: arn.to_owned(),
        };
        self.by_key
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.to_owned(), caller);
    }

    /// The caller behind a key, if it is a session that was seen or an account's number.
    pub fn caller(&self, key: &str) -> Option<Caller> {
        if key.len() == 12 && key.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Caller {
                account: key.to_owned(),
                arn: format!("arn:aws:iam::{key}:root"),
            });
        }
        self.by_key
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_leads_to_its_role() {
        let caller = Caller {
            account: "222222222222".into(),
            arn: "arn:aws:sts::222222222222:assumed-role/R/s".into(),
        };
        assert_eq!(caller.role_arn().as_deref(), Some("arn:aws:iam::222222222222:role/R"));
    }
}
