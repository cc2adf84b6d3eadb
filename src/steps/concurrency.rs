//! Reserves a concurrency of 0 for a function: no version and no alias of it can be invoked.
//!
//! Source: AWS Lambda Developer Guide, "Configuring reserved concurrency for a function".

use serde::{Deserialize, Serialize};

use super::principal::absent;
use super::{Change, Permission, Receipt, once_free};
use crate::arn::Arn;
use crate::aws::{Failure, Member};

/// No concurrency for one function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concurrency {
    /// The function, without a qualifier.
    pub function: Arn,
}

/// The concurrency that is reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// How many invocations at once; nothing if none are reserved, and the account's common pool is used.
    pub reserved: Option<i32>,
}

/// The name of a function by its unqualified ARN.
pub fn function_name(function: &Arn) -> &str {
    function
        .resource
        .strip_prefix("function:")
        .unwrap_or(&function.resource)
}

/// What is reserved for a function.
///
/// # Errors
/// What Lambda answers, `Absent` included.
pub async fn reserved(member: &Member, name: &str) -> Result<Reserved, Failure> {
    let answer = member
        .lambda
        .get_function_concurrency()
        .function_name(name)
        .send()
        .await;
    let answer = answer.map_err(|error| member.failure("lambda:GetFunctionConcurrency", name, &error))?;
    Ok(Reserved {
        reserved: answer.reserved_concurrent_executions,
    })
}

impl Concurrency {
    fn name(&self) -> &str {
        function_name(&self.function)
    }

    async fn put(&self, member: &Member, reserved: i32) -> Result<Receipt, Failure> {
        once_free(async || {
            let call = member.lambda.put_function_concurrency().function_name(self.name());
            let answer = call.reserved_concurrent_executions(reserved).send().await;
            answer
                .map(|answer| Receipt::of(&answer))
                .map_err(|error| member.failure("lambda:PutFunctionConcurrency", self.name(), &error))
        })
        .await
        .map_err(|failure| explained(failure, reserved))
    }
}

/// Adds to a refused number what a person can do about it: Lambda's own code says only that the number won't do.
fn explained(mut failure: Failure, reserved: i32) -> Failure {
    if failure.code == "InvalidParameterValueException" {
        let hint = if reserved == 0 {
            "If provisioned concurrency is configured for a version or alias of this function, note it, delete it (aws lambda \
             delete-provisioned-concurrency-config), and publish the message again"
        } else {
            "The account's unreserved concurrency in this region is too short for it now: free some or have the quota raised, \
             and publish the release again"
        };
        let ends = failure.message.trim_end_matches('.');
        failure.message = if ends.is_empty() {
            hint.to_owned()
        } else {
            format!("{ends}. {hint}")
        };
    }
    failure
}

impl Change for Concurrency {
    const PERMISSIONS: &'static [Permission] = &[
        Permission {
            action: "lambda:DeleteFunctionConcurrency",
            used_for: "release a function that had no concurrency reserved",
        },
        Permission {
            action: "lambda:GetFunctionConcurrency",
            used_for: "read a function's concurrency back",
        },
        Permission {
            action: "lambda:GetFunctionConfiguration",
            used_for: "see whether a function still exists",
        },
        Permission {
            action: "lambda:PutFunctionConcurrency",
            used_for: "stop a function, and put its concurrency back",
        },
    ];
    type State = Reserved;

    fn resource(&self) -> String {
        self.function.to_string()
    }

    fn target(&self) -> Option<Arn> {
        Some(self.function.clone())
    }

    fn describe(&self) -> String {
        format!(
            "set the reserved concurrency of the function {} to 0, for all its versions and aliases",
            self.name()
        )
    }

    fn describe_undo(&self, before: &Reserved) -> String {
        match before.reserved {
            None => format!("remove the reserved concurrency of the function {}", self.name()),
            Some(former) => format!(
                "put the reserved concurrency of the function {} back to {former}",
                self.name()
            ),
        }
    }

    fn holds(&self, now: &Reserved) -> bool {
        now.reserved == Some(0)
    }

    async fn exists(&self, member: &Member) -> Result<bool, Failure> {
        let name = self.name();
        match member
            .lambda
            .get_function_configuration()
            .function_name(name)
            .send()
            .await
        {
            Ok(_) => Ok(true),
            Err(error) => Ok(absent::<()>(member.failure("lambda:GetFunctionConfiguration", name, &error))?.is_some()),
        }
    }

    async fn read(&self, member: &Member) -> Result<Reserved, Failure> {
        reserved(member, self.name()).await
    }

    async fn apply(&self, member: &Member, _before: &Reserved) -> Result<Receipt, Failure> {
        self.put(member, 0).await
    }

    async fn undo(&self, member: &Member, before: &Reserved, _made: Option<&Reserved>) -> Result<Receipt, Failure> {
        if let Some(former) = before.reserved {
            return self.put(member, former).await;
        }
        once_free(async || {
            let call = member.lambda.delete_function_concurrency().function_name(self.name());
            let answer = call.send().await;
            answer
                .map(|answer| Receipt::of(&answer))
                .map_err(|error| member.failure("lambda:DeleteFunctionConcurrency", self.name(), &error))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step() -> Concurrency {
        let function = "arn:aws:lambda:us-east-1:222222222222:function:f"
            .parse()
            .expect("an ARN");
        Concurrency { function }
    }

    #[test]
    fn nothing_but_a_reserved_zero_stops_a_function() {
        for (reserved, holds) in [(None, false), (Some(0), true), (Some(1), false), (Some(100), false)] {
            let state = Reserved { reserved };
            assert_eq!(
                (step().holds(&state), step().is_ours(&state)),
                (holds, holds),
                "{state:?}"
            );
        }
    }

    #[test]
    fn undoing_says_what_comes_back() {
        let undo = |reserved| step().describe_undo(&Reserved { reserved });
        assert_eq!(undo(None), "remove the reserved concurrency of the function f");
        assert_eq!(
            undo(Some(7)),
            "put the reserved concurrency of the function f back to 7"
        );
    }

    #[test]
    fn a_refused_number_says_what_to_do() {
        let failure = |code| Failure::own("lambda:PutFunctionConcurrency", "f", "222222222222", code, "No.");
        let said = |code, reserved| explained(failure(code), reserved).message;
        assert!(said("InvalidParameterValueException", 0).starts_with("No. If provisioned concurrency"));
        assert!(said("InvalidParameterValueException", 7).contains("unreserved concurrency"));
        assert_eq!(said("ServiceException", 0), "No.");
    }
}
