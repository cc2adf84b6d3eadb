//! What a failed call means: whether a retry can help, and what a person has to do.

use std::fmt;

use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// The error of a call over HTTP.
pub type SdkError<E> =
    aws_smithy_runtime_api::client::result::SdkError<E, aws_smithy_runtime_api::client::orchestrator::HttpResponse>;

/// The longest message of AWS that is passed on.
const LONGEST_MESSAGE: usize = 300;

/// Why a call failed, as far as it decides what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Throttled, 5xx, timed out, or cut off: a retry can help.
    Passing,
    /// The thing named does not exist.
    Absent,
    /// The caller may not.
    Denied,
    /// A quota is full.
    Quota,
    /// Somebody else made the same thing in the same moment.
    Duplicate,
    /// The member role can't be assumed.
    NoMemberRole,
    /// Anything else: final.
    Final,
}

/// One failed call: what, on which resource, in which account, with which error of AWS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// The call, as IAM names its permission: `iam:AttachUserPolicy`.
    pub call: &'static str,
    /// What it was about.
    pub resource: String,
    /// The account that it was made in.
    pub account: String,
    /// AWS's error code, or a word for what happened on the way.
    pub code: String,
    /// AWS's message.
    pub message: String,
    /// What it means.
    pub reason: Reason,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} on {} in account {}: {}",
            self.call, self.resource, self.account, self.code
        )?;
        if !self.message.is_empty() {
            write!(f, " ({})", self.message)?;
        }
        match self.remedy() {
            Some(remedy) => write!(f, ". {remedy}"),
            None => Ok(()),
        }
    }
}

impl Failure {
    /// From the error of an SDK client.
    pub fn of<E: ProvideErrorMetadata>(
        call: &'static str,
        resource: impl Into<String>,
        account: &str,
        error: &SdkError<E>,
    ) -> Self {
        let (code, message, status) = match error {
            SdkError::ServiceError(service) => (
                service.err().code().unwrap_or("Unknown").to_owned(),
                service.err().message().unwrap_or_default().to_owned(),
                service.raw().status().as_u16(),
            ),
            SdkError::ResponseError(response) => (
                "UnreadableAnswer".to_owned(),
                String::new(),
                response.raw().status().as_u16(),
            ),
            SdkError::TimeoutError(_) => ("TimedOut".to_owned(), String::new(), 503),
            SdkError::DispatchFailure(failure) => (
                "NotReached".to_owned(),
                failure
                    .as_connector_error()
                    .map(|error| chain(error))
                    .unwrap_or_default(),
                503,
            ),
            SdkError::ConstructionFailure(_) => ("NotSent".to_owned(), String::new(), 400),
            _ => ("Unknown".to_owned(), String::new(), 500),
        };
        Self {
            call,
            resource: resource.into(),
            account: account.to_owned(),
            reason: reason(&code, status),
            message: printable(&message),
            code,
        }
    }

    /// A failure that AWS did not report: `code` is our own word for it.
    pub fn own(
        call: &'static str,
        resource: impl Into<String>,
        account: &str,
        code: &str,
        message: impl Into<String>,
    ) -> Self {
        let (resource, account, code) = (resource.into(), account.to_owned(), code.to_owned());
        Self {
            call,
            resource,
            account,
            code,
            message: message.into(),
            reason: Reason::Final,
        }
    }

    /// Whether a retry can help.
    pub fn passes(&self) -> bool {
        self.reason == Reason::Passing
    }

    /// Whether the call was made with the function's own role: the journal and the notices are the hub's.
    fn is_of_the_hub(&self) -> bool {
        ["dynamodb:", "sns:", "sqs:"]
            .iter()
            .any(|service| self.call.starts_with(service))
    }

    /// What to do about it.
    pub fn remedy(&self) -> Option<String> {
        match self.reason {
            Reason::NoMemberRole => Some(format!(
                "Deploy cloudformation/member-role.yaml in account {} with the FunctionRoleArn of this hub, and publish the message again",
                self.account
            )),
            Reason::Denied if self.is_of_the_hub() => Some(format!(
                "The function's own role lacks {} or a policy denies it: update cloudformation/entity-lockdown.yaml in the hub account {}, \
                 look for a service control policy, and publish the message again",
                self.call, self.account
            )),
            Reason::Denied => Some(format!(
                "The member role lacks {} or a policy denies it: update cloudformation/member-role.yaml in account {}, look for a service control policy, and publish the message again",
                self.call, self.account
            )),
            Reason::Quota => Some("Raise the quota or remove what fills it, and publish the message again".to_owned()),
            Reason::Passing | Reason::Absent | Reason::Duplicate | Reason::Final => None,
        }
    }
}

/// What an error says, and what lies below it: the last of it tells an unknown host from an untrusted certificate.
fn chain(error: &dyn std::error::Error) -> String {
    let texts = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    texts.collect::<Vec<_>>().join(": ")
}

/// Cuts a message to its limit and drops what no mail should hold.
fn printable(message: &str) -> String {
    message
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST_MESSAGE)
        .collect()
}

fn reason(code: &str, status: u16) -> Reason {
    match code {
        "NoSuchEntity" | "NoSuchEntityException" | "ResourceNotFoundException" => Reason::Absent,
        "InvalidGroup.Duplicate"
        | "InvalidPermission.Duplicate"
        | "InvalidPermission.NotFound"
        | "NetworkAclEntryAlreadyExists"
        | "EntityAlreadyExists" => Reason::Duplicate,
        _ if code.starts_with("Invalid") && code.contains(".NotFound") || code.starts_with("InvalidInstanceID") => {
            Reason::Absent
        }
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "AuthFailure" | "OptInRequired" => {
            Reason::Denied
        }
        "LimitExceeded"
        | "LimitExceededException"
        | "SecurityGroupLimitExceeded"
        | "RulesPerSecurityGroupLimitExceeded"
        | "NetworkAclEntryLimitExceeded"
        | "SnapshotLimitExceeded"
        | "ConcurrentSnapshotLimitExceeded" => Reason::Quota,
        // IAM's own word for two changes in one moment, Lambda's for one that is still under way, EC2's for a state that passes.
        "ConcurrentModification"
        | "ResourceConflictException"
        | "ResourceInUseException"
        | "IncorrectInstanceState"
        | "ResourceContention"
        | "IncorrectState"
        | "RequestTimeout"
        | "RequestTimeoutException"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired" => Reason::Passing,
        _ if code.contains("Throttl") || code.contains("TooManyRequests") || code.ends_with("LimitExceeded") => {
            Reason::Passing
        }
        _ if status >= 500 || status == 429 => Reason::Passing,
        _ => Reason::Final,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_decides_what_happens_next() {
        for (code, status, expected) in [
            ("NoSuchEntity", 404, Reason::Absent),
            ("InvalidInstanceID.NotFound", 400, Reason::Absent),
            ("InvalidGroup.NotFound", 400, Reason::Absent),
            ("AccessDenied", 403, Reason::Denied),
            ("UnauthorizedOperation", 403, Reason::Denied),
            ("LimitExceeded", 409, Reason::Quota),
            ("InvalidGroup.Duplicate", 400, Reason::Duplicate),
            ("InvalidPermission.NotFound", 400, Reason::Duplicate),
            ("Throttling", 400, Reason::Passing),
            ("RequestLimitExceeded", 503, Reason::Passing),
            ("TooManyRequestsException", 429, Reason::Passing),
            ("ServiceFailure", 500, Reason::Passing),
            ("ConcurrentModification", 409, Reason::Passing),
            ("UnmodifiableEntity", 400, Reason::Final),
            ("InvalidParameterValue", 400, Reason::Final),
        ] {
            assert_eq!(reason(code, status), expected, "{code}");
        }
    }

    #[test]
    fn the_text_says_what_failed_where_and_what_to_do() {
        let failure = Failure {
            call: "iam:AttachUserPolicy",
            resource: "user alice".to_owned(),
            account: "222222222222".to_owned(),
            code: "AccessDenied".to_owned(),
            message: "no".to_owned(),
            reason: Reason::Denied,
        };
        let text = failure.to_string();
        for part in [
            "iam:AttachUserPolicy",
            "user alice",
            "222222222222",
            "AccessDenied",
            "member-role.yaml",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn what_the_functions_own_role_may_not_is_mended_in_the_hub() {
        for (call, template) in [
            (
                "dynamodb:PutItem",
                "entity-lockdown.yaml in the hub account 111111111111",
            ),
            ("sns:Publish", "entity-lockdown.yaml in the hub account 111111111111"),
            ("iam:GetUser", "member-role.yaml in account 111111111111"),
        ] {
            let mut failure = Failure::own(call, "it", "111111111111", "AccessDenied", "");
            failure.reason = Reason::Denied;
            let remedy = failure.remedy().unwrap_or_default();
            assert!(remedy.contains(template), "{call}: {remedy}");
        }
    }
}
