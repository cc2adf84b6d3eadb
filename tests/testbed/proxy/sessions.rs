//! Who is behind an access key: learned from the answers to `AssumeRole` that pass through, or asked of ministack.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::AnyError;
use crate::upstream::{Answer, Upstream};
use crate::xml;

/// A caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Twelve digits.
    pub account: String,
    /// `arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION`, a user, or the account's root.
    pub arn: String,
}

impl Caller {
    /// Whether it is an account's root, who may do everything.
    pub fn is_root(&self) -> bool {
        self.arn.ends_with(":root")
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
        self.remember(key, caller);
    }

    fn remember(&self, key: &str, caller: Caller) {
        self.by_key
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.to_owned(), caller);
    }

    /// The caller behind any key that can sign: a user's, or a session's that was made elsewhere.
    pub async fn ask(&self, key: &str, region: &str, iam: &Upstream) -> Result<Option<Caller>, AnyError> {
        let form = [
            ("Action", "DescribeCaller"),
            ("Version", "2010-05-08"),
            ("AccessKeyId", key),
        ];
        let form = form.map(|(name, value)| (name.to_owned(), value.to_owned()));
        // Any root may ask.
        let answer = iam.ask("000000000000", region, "iam", &form).await?;
        let (Some(account), Some(arn)) = (xml::text(&answer, "Account"), xml::text(&answer, "Arn")) else {
            return Ok(None);
        };
        let caller = Caller {
            account: account.to_owned(),
            arn: arn.to_owned(),
        };
        self.remember(key, caller.clone());
        Ok(Some(caller))
    }

    /// The caller behind a key, if it is known already or an account's number.
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
    fn an_accounts_number_is_its_root_and_nobody_else_is() {
        let sessions = Sessions::default();
        assert!(sessions.caller("222222222222").is_some_and(|caller| caller.is_root()));
        assert_eq!(sessions.caller("AKIA1"), None);
        let caller = Caller {
            account: "222222222222".into(),
            arn: "arn:aws:sts::222222222222:assumed-role/R/s".into(),
        };
        assert!(!caller.is_root());
    }
}
