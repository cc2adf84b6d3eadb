//! Writes an inline policy that denies into a user or role: everything, or what one instance's sessions do.
//!
//! Sources: IAM User Guide, "AWS global condition context keys" (`aws:userid`); Amazon EC2 User Guide, "Instance metadata and
//! user data" and the service authorization reference of EC2 (`ec2:SourceInstanceARN`).

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::principal::{Principal, PrincipalKind, absent, for_principal};
use super::{Change, Permission, Receipt};
use crate::arn::Arn;
use crate::aws::{Failure, Member};

/// What is denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "kebab-case")]
pub enum Denied {
    /// Everybody who acts as the principal.
    Everybody,
    /// The sessions of one instance alone; other users of the role go on.
    Instance {
        /// The instance.
        instance: Arn,
    },
}

/// An inline policy of ours in one principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InlinePolicy {
    /// Whose policy it is.
    pub principal: Principal,
    /// To whom it denies everything.
    pub denied: Denied,
}

/// The policy found under our name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Its text; nothing if there is none.
    pub document: Option<String>,
}

impl InlinePolicy {
    /// The policy's name: the same for every containment of the same thing.
    pub fn name(&self) -> String {
        match &self.denied {
            Denied::Everybody => "EntityLockdownDenyAll".to_owned(),
            Denied::Instance { instance } => format!("EntityLockdownDeny-{}", instance_id(instance)),
        }
    }

    /// The policy's document.
    pub fn document(&self) -> Value {
        match &self.denied {
            Denied::Everybody => {
                json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]})
            }
            // Two statements, not two conditions in one: either key alone must be enough, since the first may be missing from
            // the requests of some services.
            Denied::Instance { instance } => json!({"Version": "2012-10-17", "Statement": [
                {"Effect": "Deny", "Action": "*", "Resource": "*",
                 "Condition": {"ArnEquals": {"ec2:SourceInstanceARN": instance}}},
                {"Effect": "Deny", "Action": "*", "Resource": "*",
                 "Condition": {"StringLike": {"aws:userid": format!("*:{}", instance_id(instance))}}},
            ]}),
        }
    }
}

fn instance_id(instance: &Arn) -> &str {
    instance.resource.trim_start_matches("instance/")
}

impl Change for InlinePolicy {
    const PERMISSIONS: &'static [Permission] = &[
        Permission {
            action: "iam:DeleteRolePolicy",
            used_for: "release a role",
        },
        Permission {
            action: "iam:DeleteUserPolicy",
            used_for: "release a user",
        },
        Permission {
            action: "iam:GetRole",
            used_for: "know a role from its namesakes",
        },
        Permission {
            action: "iam:GetRolePolicy",
            used_for: "read a role's deny back",
        },
        Permission {
            action: "iam:GetUser",
            used_for: "know a user from its namesakes",
        },
        Permission {
            action: "iam:GetUserPolicy",
            used_for: "read a user's deny back",
        },
        Permission {
            action: "iam:PutRolePolicy",
            used_for: "deny a role whose managed policies are full, or one instance of it",
        },
        Permission {
            action: "iam:PutUserPolicy",
            used_for: "deny a user whose managed policies are full",
        },
    ];
    const DENIES: bool = true;
    type State = Document;

    fn resource(&self) -> String {
        format!("{}/{}", self.principal.id, self.name())
    }

    fn target(&self) -> Option<Arn> {
        Some(self.principal.arn.clone())
    }

    fn describe(&self) -> String {
        let whom = match &self.denied {
            Denied::Everybody => "everything".to_owned(),
            Denied::Instance { instance } => format!("everything to the sessions of {} alone", instance_id(instance)),
        };
        format!(
            "write the inline policy {} into {}: deny {whom}",
            self.name(),
            self.principal.label()
        )
    }

    fn describe_undo(&self, before: &Document) -> String {
        match before.document {
            None => format!("delete the inline policy {} of {}", self.name(), self.principal.label()),
            Some(_) => format!(
                "put the former inline policy {} of {} back",
                self.name(),
                self.principal.label()
            ),
        }
    }

    fn holds(&self, now: &Document) -> bool {
        let now = now
            .document
            .as_deref()
            .and_then(|text| serde_json::from_str::<Value>(text).ok());
        now == Some(self.document())
    }

    async fn exists(&self, member: &Member) -> Result<bool, Failure> {
        self.principal.exists(member).await
    }

    async fn read(&self, member: &Member) -> Result<Document, Failure> {
        let name = self.name();
        let document = match self.principal.kind {
            PrincipalKind::User => {
                match member
                    .iam
                    .get_user_policy()
                    .user_name(&self.principal.name)
                    .policy_name(&name)
                    .send()
                    .await
                {
                    Ok(answer) => Some(answer.policy_document),
                    Err(error) => absent(member.failure("iam:GetUserPolicy", &self.principal.name, &error))?,
                }
            }
            PrincipalKind::Role => {
                match member
                    .iam
                    .get_role_policy()
                    .role_name(&self.principal.name)
                    .policy_name(&name)
                    .send()
                    .await
                {
                    Ok(answer) => Some(answer.policy_document),
                    Err(error) => absent(member.failure("iam:GetRolePolicy", &self.principal.name, &error))?,
                }
            }
        };
        // IAM answers with the document percent-encoded (RFC 3986).
        Ok(Document {
            document: document.map(|text| percent_decode_str(&text).decode_utf8_lossy().into_owned()),
        })
    }

    async fn apply(&self, member: &Member, _before: &Document) -> Result<Receipt, Failure> {
        self.put(member, &self.document().to_string()).await
    }

    async fn undo(&self, member: &Member, before: &Document, _made: Option<&Document>) -> Result<Receipt, Failure> {
        if let Some(former) = &before.document {
            return self.put(member, former).await;
        }
        for_principal!(
            member,
            self.principal,
            delete_user_policy / delete_role_policy,
            "iam:DeleteUserPolicy" / "iam:DeleteRolePolicy",
            policy_name(self.name())
        )
    }
}

impl InlinePolicy {
    async fn put(&self, member: &Member, document: &str) -> Result<Receipt, Failure> {
        for_principal!(
            member,
            self.principal,
            put_user_policy / put_role_policy,
            "iam:PutUserPolicy" / "iam:PutRolePolicy",
            policy_name(self.name()),
            policy_document(document)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(denied: Denied) -> InlinePolicy {
        let arn = "arn:aws:iam::222222222222:role/r".parse().expect("an ARN");
        InlinePolicy {
            principal: Principal {
                kind: PrincipalKind::Role,
                name: "r".into(),
                arn,
                id: "AROA1".into(),
            },
            denied,
        }
    }

    #[test]
    fn the_deny_for_an_instance_fits_a_full_role_and_holds_by_either_key() {
        let instance = "arn:aws:ec2:us-east-1:222222222222:instance/i-0123456789abcdef0"
            .parse()
            .expect("an ARN");
        let policy = policy(Denied::Instance { instance });
        let text = policy.document().to_string();
        assert!(text.len() < 400, "{}", text.len());
        assert!(text.contains(r#""aws:userid":"*:i-0123456789abcdef0""#), "{text}");
        assert_eq!(policy.name(), "EntityLockdownDeny-i-0123456789abcdef0");
    }

    #[test]
    fn only_our_own_document_counts_however_it_is_spelled() {
        let policy = policy(Denied::Everybody);
        let state = |text: &str| Document {
            document: Some(text.to_owned()),
        };
        assert!(policy.holds(&state(&serde_json::to_string_pretty(&policy.document()).expect("text"))));
        assert!(!policy.holds(&state(r#"{"Version":"2012-10-17","Statement":[]}"#)));
        assert!(!policy.holds(&state("nonsense")));
        assert!(!policy.holds(&Document { document: None }));
    }
}
