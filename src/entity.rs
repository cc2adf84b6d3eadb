//! What a message names: one user, role, function or instance.

use std::fmt;
use std::str::FromStr;

use crate::arn::{AccountId, Arn, Partition, Region};
use crate::entities::Kind;

/// One AWS entity, as an ARN named it. Whether it exists is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// Which of the four kinds.
    pub kind: Kind,
    /// The partition of its ARN.
    pub partition: Partition,
    /// The account that it lives in.
    pub account: AccountId,
    /// The region, for the kinds that have one.
    pub region: Option<Region>,
    /// The name or id, without path and qualifier.
    pub name: String,
    /// The IAM path with both slashes, where the ARN gave one: it must be the real one.
    pub path: Option<String>,
    /// The ARN as it was named.
    pub named: Arn,
}

/// A text that names none of the accepted entities; the text of the error says what is accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}. Accepted are: {}", Kind::shapes())]
pub struct NotAnEntity {
    /// What is wrong with the text, without repeating it.
    pub reason: String,
}

impl Entity {
    /// The key of its record: partition, account, region, kind and name. No path and no qualifier; IAM names in lower
    /// case, since IAM compares them without case.
    pub fn key(&self) -> String {
        let region = self.region.as_ref().map_or("-", Region::as_str);
        let name = if self.region.is_none() {
            self.name.to_ascii_lowercase()
        } else {
            self.name.clone()
        };
        format!(
            "{}/{}/{region}/{}/{name}",
            self.partition,
            self.account,
            self.kind.name()
        )
    }

    /// The region whose endpoints serve it.
    pub fn home(&self) -> Region {
        self.region.clone().unwrap_or_else(|| self.partition.home_region())
    }
}

impl FromStr for Entity {
    type Err = NotAnEntity;

    fn from_str(text: &str) -> Result<Self, NotAnEntity> {
        let arn: Arn = text.parse().map_err(|e| NotAnEntity {
            reason: format!("The Arn is {e}"),
        })?;
        Kind::parse(&arn).map_err(|reason| NotAnEntity { reason })
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.label(), self.name)
    }
}

/// Whether a text is a name as IAM allows it for users and roles (`[\w+=,.@-]`, 1 to 64 characters).
pub(crate) fn is_iam_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b))
}

/// Splits `user/div/sub/alice` behind its type: the path with both slashes, and the name.
pub(crate) fn path_and_name(resource: &str) -> Option<(String, String)> {
    let (path, name) = match resource.rsplit_once('/') {
        Some((path, name)) => (format!("/{path}/"), name),
        None => ("/".to_owned(), resource),
    };
    (is_iam_name(name) && path.len() <= 512 && !path.contains("//")).then(|| (path, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(text: &str) -> Entity {
        text.parse().expect("an entity")
    }

    #[test]
    fn every_partition_has_a_home_region_that_is_one() {
        for partition in [
            Partition::Aws,
            Partition::AwsCn,
            Partition::AwsUsGov,
            Partition::AwsEusc,
        ] {
            let user = entity(&format!("arn:{partition}:iam::222222222222:user/alice"));
            assert_eq!(user.home().as_str().parse(), Ok(partition.home_region()));
        }
    }

    #[test]
    fn the_key_knows_neither_path_nor_case_of_an_iam_name() {
        let key = entity("arn:aws:iam::222222222222:user/alice").key();
        assert_eq!(key, "aws/222222222222/-/iam-user/alice");
        assert_eq!(entity("arn:aws:iam::222222222222:user/a/b/ALICE").key(), key);
    }

    #[test]
    fn everything_else_is_refused_with_a_sentence_that_says_what_is_accepted() {
        for text in [
            "arn:aws:iam::222222222222:root",
            "arn:aws:iam::222222222222:group/admins",
            "arn:aws:iam::222222222222:policy/p",
            "arn:aws:iam::222222222222:instance-profile/p",
            "arn:aws:iam::222222222222:user/",
            "arn:aws:iam::222222222222:user/a//b",
            "arn:aws:iam::222222222222:user//b",
            "arn:aws:iam:us-east-1:222222222222:user/alice",
            "arn:aws:sts::222222222222:federated-user/alice",
            "arn:aws:sts::222222222222:assumed-role/r",
            "arn:aws:lambda:us-east-1:222222222222:layer:l:1",
            "arn:aws:lambda:us-east-1:222222222222:event-source-mapping:x",
            "arn:aws:lambda::222222222222:function:f",
            "arn:aws:ec2:us-east-1:222222222222:volume/vol-0123456789abcdef0",
            "arn:aws:ec2:us-east-1:222222222222:instance/i-xyz",
            "arn:aws:ec2:us-east-1:222222222222:instance/i-0123456789abcdef0/extra",
            "arn:aws:s3:::bucket",
            "i-0123456789abcdef0",
            "",
        ] {
            let refusal = text.parse::<Entity>().expect_err(text).to_string();
            assert!(refusal.contains("Accepted are: "), "{text}: {refusal}");
            assert!(refusal.contains(":user/"), "{text}: {refusal}");
        }
    }
}
