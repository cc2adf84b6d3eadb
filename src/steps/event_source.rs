//! Disables an event source mapping: what feeds a function from a queue or stream.
//!
//! Source: AWS Lambda API Reference, "UpdateEventSourceMapping".

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::concurrency::function_name;
use super::principal::absent;
use super::{Change, Permission, Receipt, once_free};
use crate::arn::Arn;
use crate::aws::{Failure, Member, Reason};

/// One mapping of one function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventSource {
    /// The function, without a qualifier.
    pub function: Arn,
    /// The mapping's id, a UUID: never given to another one.
    pub mapping: String,
    /// The ARN of the queue or stream, for people; what runs outside AWS has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// Whether the mapping is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// It is, or is about to be.
    pub enabled: bool,
}

impl Mapping {
    /// From Lambda's word for its state. A state on the way counts as the one that it leads to: nothing but another update turns
    /// a mapping back that is `Disabling`, and meanwhile the concurrency of 0 lets nothing run. What is not known to be off is on:
    /// `Creating` and `Updating` too.
    pub fn of(state: Option<&str>) -> Self {
        Self {
            enabled: !matches!(state, Some("Disabling" | "Disabled" | "Deleting")),
        }
    }
}

impl EventSource {
    async fn set(&self, member: &Member, enabled: bool) -> Result<Receipt, Failure> {
        // While one change of a mapping is under way, Lambda refuses the next.
        once_free(async || {
            let call = member.lambda.update_event_source_mapping().uuid(&self.mapping);
            let answer = call.enabled(enabled).send().await;
            answer
                .map(|answer| Receipt::of(&answer))
                .map_err(|error| member.failure("lambda:UpdateEventSourceMapping", &self.mapping, &error))
        })
        .await
    }

    async fn find(&self, member: &Member) -> Result<Option<Mapping>, Failure> {
        let call = member.lambda.get_event_source_mapping().uuid(&self.mapping);
        match call.send().await {
            Ok(answer) => Ok(Some(Mapping::of(answer.state.as_deref()))),
            Err(error) => absent(member.failure("lambda:GetEventSourceMapping", &self.mapping, &error)),
        }
    }
}

impl Change for EventSource {
    const PERMISSIONS: &'static [Permission] = &[
        Permission {
            action: "lambda:GetEventSourceMapping",
            used_for: "read back whether an event source mapping is off",
        },
        Permission {
            action: "lambda:UpdateEventSourceMapping",
            used_for: "disable an event source mapping, and enable it again",
        },
    ];
    /// An update can wait for an earlier one before it is read back.
    const PATIENCE: Duration = Duration::from_secs(30);
    type State = Mapping;

    fn resource(&self) -> String {
        self.mapping.clone()
    }

    fn target(&self) -> Option<Arn> {
        Some(self.function.clone())
    }

    fn describe(&self) -> String {
        format!("disable {}", self.label())
    }

    fn describe_undo(&self, _before: &Mapping) -> String {
        format!("enable {}", self.label())
    }

    fn holds(&self, now: &Mapping) -> bool {
        !now.enabled
    }

    async fn exists(&self, member: &Member) -> Result<bool, Failure> {
        Ok(self.find(member).await?.is_some())
    }

    async fn read(&self, member: &Member) -> Result<Mapping, Failure> {
        // A mapping that was deleted feeds nothing.
        Ok(self.find(member).await?.unwrap_or(Mapping { enabled: false }))
    }

    async fn apply(&self, member: &Member, _before: &Mapping) -> Result<Receipt, Failure> {
        match self.set(member, false).await {
            Err(failure) if failure.reason == Reason::Absent => Ok(Receipt::default()),
            ended => ended,
        }
    }

    async fn undo(&self, member: &Member, before: &Mapping, _made: Option<&Mapping>) -> Result<Receipt, Failure> {
        self.set(member, before.enabled).await
    }
}

impl EventSource {
    fn label(&self) -> String {
        let source = self
            .source
            .as_ref()
            .map_or(String::new(), |source| format!(" ({source})"));
        format!(
            "the event source mapping {}{source} of the function {}",
            self.mapping,
            function_name(&self.function)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step() -> EventSource {
        EventSource {
            function: "arn:aws:lambda:us-east-1:222222222222:function:f"
                .parse()
                .expect("an ARN"),
            mapping: "6f1c".to_owned(),
            source: Some("arn:aws:sqs:us-east-1:222222222222:q".to_owned()),
        }
    }

    #[test]
    fn a_mapping_is_off_when_lambda_says_so_or_is_about_to() {
        for (state, off) in [
            (Some("Disabled"), true),
            (Some("Disabling"), true),
            (Some("Deleting"), true),
            (Some("Enabled"), false),
            (Some("Enabling"), false),
            (Some("Creating"), false),
            (Some("Updating"), false),
            (Some("SomethingNew"), false),
            (None, false),
        ] {
            let state_now = Mapping::of(state);
            assert_eq!(
                (step().holds(&state_now), step().is_ours(&state_now)),
                (off, off),
                "{state:?}"
            );
        }
    }

    #[test]
    fn a_mapping_is_named_with_what_it_reads() {
        assert_eq!(
            step().describe(),
            "disable the event source mapping 6f1c (arn:aws:sqs:us-east-1:222222222222:q) of the function f"
        );
    }
}
