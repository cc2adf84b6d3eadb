//! What the hub's template configures, read once from the function's environment.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::arn::{AccountId, Arn, Partition, Region};
use crate::cidr::Cidr;
use crate::guard::matches;
use crate::journal::OUT_OF_REACH;

/// IAM's changes were seen to take about 4 s to hold everywhere. Tests shorten it; the template does not.
const CONFIRM: Duration = Duration::from_secs(5);

/// How long a lease lasts without being renewed. Tests shorten it; the template does not.
const LEASE: Duration = Duration::from_secs(30);

/// How long a message waits for another one that works on the same entity. Tests shorten it; the template does not.
const WAIT: Duration = Duration::from_secs(60);

/// How long an invocation tries again what failed for a reason that passes. Tests shorten it; the template does not.
const PERSIST: Duration = Duration::from_secs(60);

/// How long one attempt of a call may take, so that there is time for another one. Tests shorten it; the template does not.
const ATTEMPT: Duration = Duration::from_secs(10);

/// CloudTrail shows an event within about 15 minutes, and the last call before the deny held is to be among them. Tests shorten it; the
/// template does not.
const TRACE_AFTER: Duration = Duration::from_secs(20 * 60);

/// The products of AWS itself, as Security Hub names them in its two formats: their ARNs have no account (AWS Security Hub User Guide,
/// "AWS service integrations").
const PRODUCTS_OF_AWS: [&str; 2] = [
    "arn:*:securityhub:*::product/aws/*",
    "arn:*:securityhub:*::productv2/aws/*",
];

/// How many containments may begin automatically within an hour when nobody says otherwise.
const MOST_AUTOMATIC: usize = 20;

/// A shared secret: it can be compared, and never shown.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes the secret's text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Compares in a time that doesn't depend on where the texts differ (their lengths may show).
    pub fn matches(&self, other: &str) -> bool {
        !self.0.is_empty() && bool::from(self.0.as_bytes().ct_eq(other.as_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What to do with the active access keys of a contained user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessKeys {
    /// Leave them: the deny covers them.
    Keep,
    /// Make them Inactive; they become active again only when a release asks for it.
    Deactivate,
}

/// When an interface's addresses are cut off by network ACLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutBy {
    /// Where connections can be always tracked, or the settle would open the interface to beyond its VPC.
    Auto,
    /// Wherever there is an interface.
    Always,
    /// Nowhere.
    Never,
}

/// What becomes of an instance in an Auto Scaling group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoScaling {
    /// It is put on standby, and the group gets smaller by one.
    Shrink,
    /// It is put on standby, and the group launches a replacement.
    Replace,
    /// It is left in service, where the group may terminate it.
    Leave,
}

/// What is done about a finding that a person has sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CustomAction {
    /// Its entities are contained: that is what the person has decided.
    Contain,
    /// A notice says what it names.
    Notify,
}

/// What the function was configured with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The secret that a message must carry.
    pub external_id: Secret,
    /// The secret that a release must carry, where it is another one.
    pub release_external_id: Option<Secret>,
    /// The name of the role to assume in the entity's account.
    pub member_role: String,
    /// The function's own role: it names the hub's partition and account too.
    pub function_role: Arn,
    /// The function's own name.
    pub function_name: String,
    /// The function's log group, as Lambda names it.
    pub log_group: String,
    /// The region that the function runs in, where that is known.
    pub region: Option<Region>,
    /// Where notices of the work go.
    pub audit_topic: String,
    /// Where notices of failure go as well.
    pub failure_topic: String,
    /// The topic that takes requests: where a release of what was contained automatically can be published.
    pub request_topic: String,
    /// What a person means who sends a finding on by our custom action of Security Hub.
    pub custom_action: CustomAction,
    /// Patterns of the products whose findings can contain automatically.
    pub trusted_products: Vec<String>,
    /// How many containments may begin automatically within an hour.
    pub most_automatic: usize,
    /// The tag of an entity that names its owner.
    pub owner_tag: String,
    /// Whether it is written into a finding of Security Hub what was done about it.
    pub write_back: bool,
    /// The journal's table.
    pub journal_table: String,
    /// How long tracked connections get to become untracked; zero leaves the untracking group out.
    pub settle: Duration,
    /// How long after the last change everything is looked at once more.
    pub confirm: Duration,
    /// How long a lease on a record lasts without being renewed.
    pub lease: Duration,
    /// How long a message waits for another one that works on the same entity.
    pub wait: Duration,
    /// How long an invocation tries again what failed for a reason that passes.
    pub persist: Duration,
    /// How long the journal may take before the work goes on without it.
    pub out_of_reach: Duration,
    /// How long one attempt of a call may take.
    pub attempt: Duration,
    /// How long after its opening a containment's traces are looked for in CloudTrail.
    pub trace_after: Duration,
    /// What happens to a user's access keys.
    pub access_keys: AccessKeys,
    /// Patterns of ARNs that are never touched; `*` stands for any characters.
    pub protected: Vec<String>,
    /// The URL of the queue that holds wake-ups.
    pub wake_queue: String,
    /// When network ACLs cut an instance off.
    pub network_acl: CutBy,
    /// What becomes of an instance in an Auto Scaling group.
    pub auto_scaling: AutoScaling,
    /// Whether snapshots of an instance's volumes are started.
    pub snapshots: bool,
    /// The team's own security groups that stay beside the isolation group, each in its own VPC.
    pub forensic_groups: Vec<String>,
    /// From where the team comes through those groups, where network ACLs are to let it pass.
    pub forensic_cidrs: Vec<Cidr>,
    /// Whether inline policies may be written.
    pub inline_deny: bool,
    /// Patterns of the permissions boundaries that the member role may put back: only such a boundary is ever replaced.
    pub former_boundaries: Vec<String>,
}

/// A variable of the environment that is missing or malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {name} {problem}: deploy cloudformation/entity-lockdown.yaml again")]
pub struct SettingsError {
    name: &'static str,
    problem: &'static str,
}

impl Settings {
    /// Reads the settings from variables, by the names that the hub template sets.
    pub fn read(variables: &HashMap<String, String>) -> Result<Self, SettingsError> {
        let optional = |name: &str| variables.get(name).map(String::as_str).unwrap_or_default();
        let required = |name: &'static str| match optional(name) {
            "" => Err(SettingsError {
                name,
                problem: "is missing",
            }),
            value => Ok(value.to_owned()),
        };
        let milliseconds = |name, default| optional(name).parse().map_or(default, Duration::from_millis);
        let wrong = |name, problem| SettingsError { name, problem };
        let seconds: u64 = required("SETTLE_SECONDS")?
            .parse()
            .ok()
            .filter(|seconds| *seconds <= 600)
            .ok_or_else(|| wrong("SETTLE_SECONDS", "is not a number of seconds from 0 to 600"))?;
        Ok(Self {
            external_id: Secret::new(required("EXTERNAL_ID")?),
            release_external_id: Some(optional("RELEASE_EXTERNAL_ID"))
                .filter(|id| !id.is_empty())
                .map(Secret::new),
            member_role: required("MEMBER_ROLE_NAME")?,
            function_role: required("FUNCTION_ROLE_ARN")?
                .parse()
                .map_err(|_| wrong("FUNCTION_ROLE_ARN", "is not an ARN"))?,
            function_name: required("AWS_LAMBDA_FUNCTION_NAME")?,
            // Lambda sets it; this is where a function logs that was given no group of its own.
            log_group: match optional("AWS_LAMBDA_LOG_GROUP_NAME") {
                "" => format!("/aws/lambda/{}", optional("AWS_LAMBDA_FUNCTION_NAME")),
                group => group.to_owned(),
            },
            region: optional("AWS_REGION").parse().ok(),
            audit_topic: required("AUDIT_TOPIC_ARN")?,
            failure_topic: required("FAILURE_TOPIC_ARN")?,
            request_topic: required("REQUEST_TOPIC_ARN")?,
            custom_action: match optional("CUSTOM_ACTION") {
                "" | "contain" => CustomAction::Contain,
                "notify" => CustomAction::Notify,
                _ => return Err(wrong("CUSTOM_ACTION", "is neither `contain` nor `notify`")),
            },
            trusted_products: match list(optional("TRUSTED_PRODUCTS")) {
                products if products.is_empty() => PRODUCTS_OF_AWS.map(str::to_owned).to_vec(),
                products => products,
            },
            most_automatic: match optional("MAX_AUTOMATIC_PER_HOUR") {
                "" => MOST_AUTOMATIC,
                most => most
                    .parse()
                    .map_err(|_| wrong("MAX_AUTOMATIC_PER_HOUR", "is not a number of containments"))?,
            },
            owner_tag: match optional("OWNER_TAG") {
                "" => "owner".to_owned(),
                name => name.to_owned(),
            },
            write_back: match optional("WRITE_BACK") {
                "" | "yes" => true,
                "no" => false,
                _ => return Err(wrong("WRITE_BACK", "is neither `yes` nor `no`")),
            },
            journal_table: required("JOURNAL_TABLE")?,
            settle: Duration::from_secs(seconds),
            confirm: milliseconds("CONFIRM_MILLISECONDS", CONFIRM),
            lease: milliseconds("LEASE_MILLISECONDS", LEASE),
            wait: milliseconds("WAIT_MILLISECONDS", WAIT),
            persist: milliseconds("PERSIST_MILLISECONDS", PERSIST),
            out_of_reach: milliseconds("JOURNAL_MILLISECONDS", OUT_OF_REACH),
            attempt: milliseconds("ATTEMPT_MILLISECONDS", ATTEMPT),
            trace_after: milliseconds("TRACE_MILLISECONDS", TRACE_AFTER),
            access_keys: match optional("ACCESS_KEYS") {
                "" | "keep" => AccessKeys::Keep,
                "deactivate" => AccessKeys::Deactivate,
                _ => return Err(wrong("ACCESS_KEYS", "is neither `keep` nor `deactivate`")),
            },
            protected: list(optional("PROTECTED_ARNS")),
            wake_queue: required("WAKE_QUEUE_URL")?,
            network_acl: match optional("NETWORK_ACL") {
                "" | "auto" => CutBy::Auto,
                "always" => CutBy::Always,
                "never" => CutBy::Never,
                _ => return Err(wrong("NETWORK_ACL", "is neither `auto` nor `always` nor `never`")),
            },
            auto_scaling: match optional("AUTO_SCALING") {
                "" | "shrink" => AutoScaling::Shrink,
                "replace" => AutoScaling::Replace,
                "leave" => AutoScaling::Leave,
                _ => return Err(wrong("AUTO_SCALING", "is neither `shrink` nor `replace` nor `leave`")),
            },
            snapshots: match optional("SNAPSHOTS") {
                "" | "no" => false,
                "yes" => true,
                _ => return Err(wrong("SNAPSHOTS", "is neither `yes` nor `no`")),
            },
            forensic_groups: list(optional("FORENSIC_SECURITY_GROUP_IDS")),
            forensic_cidrs: list(optional("FORENSIC_CIDRS"))
                .iter()
                .map(|cidr| cidr.parse())
                .collect::<Result<_, _>>()
                .map_err(|_| wrong("FORENSIC_CIDRS", "is not a list of ranges like 10.0.0.0/24"))?,
            former_boundaries: list(optional("FORMER_BOUNDARIES")),
            inline_deny: match optional("INLINE_DENY") {
                "" | "yes" => true,
                "no" => false,
                _ => return Err(wrong("INLINE_DENY", "is neither `yes` nor `no`")),
            },
        })
    }

    /// Whether a permissions boundary can be put back once it was replaced.
    pub fn restores_boundary(&self, boundary: &str) -> bool {
        self.former_boundaries
            .iter()
            .any(|pattern| matches(pattern, boundary, false))
    }

    /// The hub's partition.
    pub fn partition(&self) -> Partition {
        self.function_role.partition
    }

    /// The hub's account.
    pub fn hub(&self) -> &AccountId {
        &self.function_role.account
    }
}

/// The items of a comma-separated list.
fn list(text: &str) -> Vec<String> {
    text.split(',')
        .map(|item| item.trim().to_owned())
        .filter(|item| !item.is_empty())
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The settings of a hub in 111111111111, as tests use them.
    pub(crate) fn settings() -> Settings {
        Settings::read(&variables()).expect("settings")
    }

    fn variables() -> HashMap<String, String> {
        [
            ("EXTERNAL_ID", "correct-horse"),
            ("MEMBER_ROLE_NAME", "EntityLockdownMemberRole"),
            (
                "FUNCTION_ROLE_ARN",
                "arn:aws:iam::111111111111:role/entity-lockdown-function",
            ),
            ("AWS_LAMBDA_FUNCTION_NAME", "entity-lockdown"),
            ("AUDIT_TOPIC_ARN", "arn:aws:sns:us-east-1:111111111111:audit"),
            ("FAILURE_TOPIC_ARN", "arn:aws:sns:us-east-1:111111111111:failure"),
            ("REQUEST_TOPIC_ARN", "arn:aws:sns:us-east-1:111111111111:requests"),
            ("JOURNAL_TABLE", "journal"),
            (
                "WAKE_QUEUE_URL",
                "https://sqs.us-east-1.amazonaws.com/111111111111/wake",
            ),
            ("SETTLE_SECONDS", "60"),
            ("CONFIRM_MILLISECONDS", "1"),
            ("PERSIST_MILLISECONDS", "0"),
            (
                "PROTECTED_ARNS",
                "arn:aws:iam::*:role/break-glass-*, arn:aws:iam::222222222222:user/responder",
            ),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
    }

    #[test]
    fn a_secret_matches_itself_alone_and_never_shows() {
        let secret = Secret::new("correct-horse");
        assert!(secret.matches("correct-horse"));
        assert!(!secret.matches("correct-hors"));
        assert!(!secret.matches("Correct-horse"));
        assert!(!Secret::new("").matches(""));
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert!(!format!("{:?}", settings()).contains("correct-horse"));
    }

    #[test]
    fn a_missing_or_malformed_variable_is_named() {
        for (name, value) in [
            ("EXTERNAL_ID", ""),
            ("SETTLE_SECONDS", "soon"),
            ("SETTLE_SECONDS", "601"),
            ("ACCESS_KEYS", "delete"),
            ("INLINE_DENY", "maybe"),
            ("WAKE_QUEUE_URL", ""),
            ("NETWORK_ACL", "sometimes"),
            ("AUTO_SCALING", "grow"),
            ("SNAPSHOTS", "2"),
            ("REQUEST_TOPIC_ARN", ""),
            ("CUSTOM_ACTION", "ignore"),
            ("WRITE_BACK", "maybe"),
            ("MAX_AUTOMATIC_PER_HOUR", "many"),
            ("FORENSIC_CIDRS", "10.0.0.0/24, everywhere"),
            ("FUNCTION_ROLE_ARN", "role"),
        ] {
            let mut variables = variables();
            variables.insert(name.to_owned(), value.to_owned());
            let error = Settings::read(&variables).expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn the_log_group_is_the_one_that_lambda_names() {
        assert_eq!(settings().log_group, "/aws/lambda/entity-lockdown");
        let mut variables = variables();
        variables.insert("AWS_LAMBDA_LOG_GROUP_NAME".to_owned(), "hub-FunctionLog-1".to_owned());
        let settings = Settings::read(&variables).expect("settings");
        assert_eq!(settings.log_group, "hub-FunctionLog-1");
    }
}
