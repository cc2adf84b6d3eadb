//! Amazon Resource Names and their parts, each with `FromStr` as its only door.
//!
//! Source: AWS General Reference, "Amazon Resource Names (ARNs)".

use std::fmt;
use std::str::FromStr;

/// The longest ARN that is looked at: AWS's longest is 2,048 characters.
const LONGEST: usize = 2048;

/// Why a text is no ARN, or a part of one is malformed. Never repeats the text: callers decide whether it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArnError {
    /// Not `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`.
    #[error("not an ARN (arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE)")]
    Shape,
    /// Longer than any ARN of AWS.
    #[error("longer than the {LONGEST} characters of an ARN")]
    Long,
    /// Spaces, control characters or anything beyond ASCII.
    #[error("holds spaces, control or non-ASCII characters, which no ARN has")]
    Characters,
    /// A partition that this project does not know.
    #[error("of an unknown partition (known are aws, aws-cn, aws-us-gov and aws-eusc)")]
    Partition,
    /// An account that is not twelve digits.
    #[error("without a 12-digit account")]
    Account,
    /// A region that is not like `eu-central-1`.
    #[error("with a malformed region")]
    Region,
}

/// A separate AWS world: identities and endpoints of one never reach another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Partition {
    /// The commercial regions.
    Aws,
    /// China.
    AwsCn,
    /// GovCloud (US).
    AwsUsGov,
    /// The European Sovereign Cloud.
    AwsEusc,
}

impl Partition {
    /// The word that stands second in an ARN.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::AwsCn => "aws-cn",
            Self::AwsUsGov => "aws-us-gov",
            Self::AwsEusc => "aws-eusc",
        }
    }

    /// The region whose endpoints serve IAM and, by default, STS in this partition.
    pub fn home_region(self) -> Region {
        Region(
            match self {
                Self::Aws => "us-east-1",
                Self::AwsCn => "cn-north-1",
                Self::AwsUsGov => "us-gov-west-1",
                Self::AwsEusc => "eusc-de-east-1",
            }
            .to_owned(),
        )
    }
}

impl FromStr for Partition {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        match text {
            "aws" => Ok(Self::Aws),
            "aws-cn" => Ok(Self::AwsCn),
            "aws-us-gov" => Ok(Self::AwsUsGov),
            "aws-eusc" => Ok(Self::AwsEusc),
            _ => Err(ArnError::Partition),
        }
    }
}

/// Makes a type serialise as the text that it displays as, and parse through `FromStr`.
macro_rules! serde_as_text {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_text;

/// Makes a text newtype display and serialise as its text, and parse through `FromStr`.
macro_rules! text_type {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        serde_as_text!($name);
    };
}

text_type!(Partition);

/// An AWS account: twelve digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(String);

impl AccountId {
    /// The twelve digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountId {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let digits = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| Self(text.to_owned())).ok_or(ArnError::Account)
    }
}

text_type!(AccountId);

/// A region's name, such as `eu-central-1`. It becomes part of a host name, so nothing else passes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Region(String);

impl Region {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let plain = text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let parts: Vec<&str> = text.split('-').collect();
        let number = parts
            .last()
            .is_some_and(|n| (1..=2).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit()));
        let whole = parts.iter().all(|p| !p.is_empty());
        if plain && whole && number && parts.len() >= 3 && text.len() <= 25 {
            Ok(Self(text.to_owned()))
        } else {
            Err(ArnError::Region)
        }
    }
}

text_type!(Region);

/// An ARN with its six parts. The resource is kept as it stands; what it may be is each entity's own matter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Arn {
    /// Second part.
    pub partition: Partition,
    /// Third part, such as `iam`.
    pub service: String,
    /// Fourth part; absent for global services.
    pub region: Option<Region>,
    /// Fifth part.
    pub account: AccountId,
    /// All that follows, colons included.
    pub resource: String,
}

impl FromStr for Arn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        if text.len() > LONGEST {
            return Err(ArnError::Long);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ArnError::Characters);
        }
        let mut parts = text.splitn(6, ':');
        let mut part = || parts.next().ok_or(ArnError::Shape);
        if part()? != "arn" {
            return Err(ArnError::Shape);
        }
        let (partition, service, region, account, resource) = (part()?, part()?, part()?, part()?, part()?);
        if service.is_empty() || resource.is_empty() {
            return Err(ArnError::Shape);
        }
        Ok(Self {
            partition: partition.parse()?,
            service: service.to_owned(),
            region: if region.is_empty() { None } else { Some(region.parse()?) },
            account: account.parse()?,
            resource: resource.to_owned(),
        })
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let region = self.region.as_ref().map_or("", Region::as_str);
        write!(
            f,
            "arn:{}:{}:{region}:{}:{}",
            self.partition, self.service, self.account, self.resource
        )
    }
}

serde_as_text!(Arn);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_arn_reads_as_its_parts_and_writes_as_it_was() {
        for text in [
            "arn:aws:iam::222222222222:user/div/alice",
            "arn:aws-cn:lambda:cn-north-1:222222222222:function:f:live",
            "arn:aws-us-gov:ec2:us-gov-west-1:222222222222:instance/i-0123456789abcdef0",
            "arn:aws-eusc:iam::222222222222:role/r",
        ] {
            assert_eq!(text.parse::<Arn>().map(|a| a.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_arn_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", ArnError::Shape),
            ("alice", ArnError::Shape),
            ("arn:aws:iam::222222222222", ArnError::Shape),
            ("arn:aws:iam::222222222222:", ArnError::Shape),
            ("arn:aws::us-east-1:222222222222:x", ArnError::Shape),
            ("urn:aws:iam::222222222222:user/a", ArnError::Shape),
            ("arn:aws-iso:iam::222222222222:user/a", ArnError::Partition),
            ("arn:aws:iam::22222222222:user/a", ArnError::Account),
            ("arn:aws:iam::22222222222x:user/a", ArnError::Account),
            (
                "arn:aws:ec2:evil.example.com:222222222222:instance/i-1",
                ArnError::Region,
            ),
            ("arn:aws:iam::222222222222:user/a b", ArnError::Characters),
            ("arn:aws:iam::222222222222:user/a\n", ArnError::Characters),
            ("arn:aws:iam::222222222222:user/ä", ArnError::Characters),
        ] {
            assert_eq!(text.parse::<Arn>(), Err(reason), "{text:?}");
        }
        assert_eq!(
            format!("arn:aws:iam::222222222222:user/{}", "a".repeat(2048)).parse::<Arn>(),
            Err(ArnError::Long)
        );
    }

    #[test]
    fn a_region_is_a_name_and_nothing_that_could_leave_its_host() {
        for good in [
            "us-east-1",
            "ap-southeast-7",
            "us-gov-west-1",
            "eusc-de-east-1",
            "ap-isob-central-3",
        ] {
            assert!(good.parse::<Region>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "us",
            "us-east",
            "us-east-1.evil",
            "US-EAST-1",
            "us--1",
            "us-east-1/",
            "-a-1",
            "a-b-123",
        ] {
            assert!(bad.parse::<Region>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_fail_otherwise_than_by_an_error(text in ".{0,300}") {
            if let Ok(arn) = text.parse::<Arn>() {
                prop_assert_eq!(arn.to_string(), text);
            }
        }
    }
}
