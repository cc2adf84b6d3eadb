//! Two functions with one role, as Lambda's REST API answers about them.

use serde_json::{Value, json};

use super::State;

/// The name of the functions' role.
pub(super) const ROLE_NAME: &str = "worker";

/// Its ARN.
pub(super) const ROLE: &str = "arn:aws:iam::222222222222:role/worker";

/// The functions' names.
pub(super) const FUNCTIONS: [&str; 2] = ["first", "second"];

/// The ARN of a function.
pub(super) fn arn(name: &str) -> String {
    format!("arn:aws:lambda:us-east-1:222222222222:function:{name}")
}

/// The role as IAM describes it.
pub(super) fn role() -> String {
    format!(
        "<Role><Path>/</Path><RoleName>{ROLE_NAME}</RoleName><RoleId>AROA1</RoleId><Arn>{ROLE}</Arn>\
         <CreateDate>2020-01-01T00:00:00Z</CreateDate></Role>"
    )
}

/// What a request asks of Lambda: its method and its path without the version, `GET functions/first/concurrency`; `None` if it asks
/// another service.
pub(super) fn call(method: &str, path: &str) -> Option<String> {
    let path = path.split('?').next()?;
    let (_, path) = path.split_once('/')?;
    let path = path.trim_end_matches('/');
    (path.starts_with("functions") || path == "event-source-mappings").then(|| format!("{method} {path}"))
}

/// Lambda's answer, as JSON.
pub(super) fn answer(state: &mut State, call: &str, body: &str) -> Result<String, &'static str> {
    let answer = match call.split(['/', ' ']).collect::<Vec<_>>().as_slice() {
        ["GET", "functions"] => json!({"Functions": FUNCTIONS.map(configuration)}),
        ["GET", "event-source-mappings"] => json!({"EventSourceMappings": []}),
        ["GET", "functions", name, "configuration"] => configuration(name),
        ["GET", "functions", name, "concurrency"] => reserved(state.reserved.get(*name)),
        ["PUT", "functions", name, "concurrency"] => {
            let wanted: Value = serde_json::from_str(body).unwrap_or_default();
            let wanted = wanted["ReservedConcurrentExecutions"]
                .as_i64()
                .ok_or("InvalidParameterValue")?;
            state.reserved.insert((*name).to_owned(), wanted);
            reserved(Some(&wanted))
        }
        ["DELETE", "functions", name, "concurrency"] => {
            state.reserved.remove(*name);
            json!({})
        }
        _ => return Err("NotInThisWorld"),
    };
    Ok(answer.to_string())
}

fn configuration(name: &str) -> Value {
    json!({"FunctionName": name, "FunctionArn": arn(name), "Role": ROLE, "Timeout": 3})
}

fn reserved(number: Option<&i64>) -> Value {
    number.map_or(json!({}), |number| json!({"ReservedConcurrentExecutions": number}))
}
