//! Answers of the proxy's own, in each protocol's shape.

use hyper::body::Bytes;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use crate::call::Call;
use crate::upstream::Answer;
use crate::xml::escape;

/// An error as AWS words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// AWS's error code.
    pub code: String,
    /// Words for people.
    pub message: String,
}

impl Refusal {
    /// A refusal with the status of a bad request.
    pub fn bad(code: &str, message: impl Into<String>) -> Self {
        Self {
            status: 400,
            code: code.to_owned(),
            message: message.into(),
        }
    }
}

const REQUEST_ID: &str = "00000000-0000-4000-8000-000000000000";

fn answer(status: u16, content_type: &str, headers: &[(&str, &str)], body: String) -> Answer {
    let mut answer = Response::new(Bytes::from(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let all = [("content-type", content_type), ("x-amzn-requestid", REQUEST_ID)];
    for (name, value) in all.iter().chain(headers) {
        let name = hyper::header::HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value.parse()) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

/// `refusal` as the call's service would answer it.
pub fn refuse(call: &Call, refusal: &Refusal) -> Answer {
    let (code, message) = (escape(&refusal.code), escape(&refusal.message));
    match call.service.as_str() {
        "ec2" => answer(
            refusal.status,
            "text/xml",
            &[],
            format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>\
             <RequestID>{REQUEST_ID}</RequestID></Response>"
            ),
        ),
        "dynamodb" if refusal.code == "TransactionCanceledException" => answer(
            refusal.status,
            "application/json",
            &[("x-amzn-errortype", &refusal.code)],
            json!({"__type": refusal.code, "Message": refusal.message, "CancellationReasons": reasons(refusal)})
                .to_string(),
        ),
        "lambda" | "dynamodb" | "sqs" => answer(
            refusal.status,
            "application/json",
            &[("x-amzn-errortype", &refusal.code)],
            json!({"__type": refusal.code, "Type": "User", "message": refusal.message, "Message": refusal.message})
                .to_string(),
        ),
        _ => answer(
            refusal.status,
            "text/xml",
            &[],
            format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
             <RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
            ),
        ),
    }
}

/// Why a transaction was cancelled, item by item: AWS repeats in brackets in the message what it lists beside it.
fn reasons(refusal: &Refusal) -> Vec<Value> {
    let listed = refusal
        .message
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    let codes = listed.map_or("", |(codes, _)| codes).split(", ");
    codes
        .filter(|code| !code.is_empty())
        .map(|code| json!({"Code": code}))
        .collect()
}

/// The answer of a success that didn't happen; `body` replaces what is made up here.
pub fn pretend(call: &Call, body: Option<&str>) -> Answer {
    if let Some(body) = body {
        let json = body.trim_start().starts_with('{');
        return answer(
            200,
            if json { "application/json" } else { "text/xml" },
            &[],
            body.to_owned(),
        );
    }
    let action = &call.action;
    match (call.service.as_str(), action.as_str()) {
        ("lambda", "DeleteFunctionConcurrency") => answer(204, "application/json", &[], String::new()),
        ("lambda", "PutFunctionConcurrency") => {
            let number: u32 = call.param("ReservedConcurrentExecutions").parse().unwrap_or_default();
            answer(
                200,
                "application/json",
                &[],
                json!({"ReservedConcurrentExecutions": number}).to_string(),
            )
        }
        ("lambda", "UpdateEventSourceMapping") => {
            let state = if call.param("Enabled") == "false" {
                "Disabling"
            } else {
                "Enabling"
            };
            answer(
                202,
                "application/json",
                &[],
                json!({"UUID": call.param("UUID"), "State": state}).to_string(),
            )
        }
        ("sqs", "SendMessage") => answer(
            200,
            "application/json",
            &[],
            json!({"MessageId": REQUEST_ID}).to_string(),
        ),
        ("lambda" | "dynamodb" | "sqs", _) => answer(200, "application/json", &[], "{}".to_owned()),
        ("ec2", _) => answer(
            200,
            "text/xml",
            &[],
            format!(
                "<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>{REQUEST_ID}</requestId>\
             <return>true</return><groupId>sg-0105e000000000000</groupId></{action}Response>"
            ),
        ),
        _ => answer(
            200,
            "text/xml",
            &[],
            format!(
                "<{action}Response><{action}Result><MessageId>{REQUEST_ID}</MessageId></{action}Result>\
             <ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata></{action}Response>"
            ),
        ),
    }
}

/// How the call's service says that it doesn't know who signed.
pub fn unknown_caller(call: &Call) -> Refusal {
    let (status, code, message) = match call.service.as_str() {
        "ec2" => (
            401,
            "AuthFailure",
            "AWS was not able to validate the provided access credentials",
        ),
        _ => (
            403,
            "InvalidClientTokenId",
            "The security token included in the request is invalid.",
        ),
    };
    Refusal {
        status,
        code: code.to_owned(),
        message: message.to_owned(),
    }
}

/// How the call's service says that there were too many.
pub fn throttled(call: &Call) -> Refusal {
    let (status, code) = match call.service.as_str() {
        "ec2" => (503, "RequestLimitExceeded"),
        "lambda" => (429, "TooManyRequestsException"),
        "dynamodb" => (400, "ThrottlingException"),
        "sns" => (429, "Throttled"),
        _ => (400, "Throttling"),
    };
    Refusal {
        status,
        code: code.to_owned(),
        message: "Rate exceeded".to_owned(),
    }
}

/// The error code of an answer, if it is one.
pub fn error_code(answer: &Answer) -> Option<String> {
    if answer.status().is_success() {
        return None;
    }
    if let Some(code) = answer.headers().get("x-amzn-errortype") {
        return Some(
            code.to_str()
                .unwrap_or_default()
                .split(':')
                .next()
                .unwrap_or_default()
                .to_owned(),
        );
    }
    let body = String::from_utf8_lossy(answer.body());
    if let Some(code) = crate::xml::text(&body, "Code") {
        return Some(code.to_owned());
    }
    let json: Value = serde_json::from_str(&body).unwrap_or_default();
    let code = json
        .get("__type")
        .or_else(|| json.get("code"))
        .and_then(Value::as_str)?;
    Some(code.rsplit('#').next().unwrap_or(code).to_owned())
}

/// A JSON answer of the control endpoint.
pub fn json(value: &Value) -> Answer {
    answer(200, "application/json", &[], value.to_string())
}

/// A plain error of the control endpoint.
pub fn plain(status: u16, text: impl Into<String>) -> Answer {
    answer(status, "text/plain", &[], text.into())
}
