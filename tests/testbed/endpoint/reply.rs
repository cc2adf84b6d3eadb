//! Answers in each protocol's shape.

use serde_json::{Value, json};

use crate::http::Reply;
use crate::xml::escape;

/// A success or an error of AWS.
pub type Outcome = Result<Reply, Refused>;

/// An error code of AWS with its HTTP status.
pub struct Refused(pub u16, pub &'static str);

/// What this endpoint doesn't know.
pub const UNKNOWN: Refused = Refused(404, "BenchKnowsNoSuchCall");

/// The query protocol's answer: `result` stands in `ACTIONResult`.
pub fn query(action: &str, result: &str) -> Reply {
    xml(format!(
        "<{action}Response><{action}Result>{result}</{action}Result><ResponseMetadata><RequestId>bench</RequestId>\
         </ResponseMetadata></{action}Response>"
    ))
}

/// EC2's answer.
pub fn ec2(action: &str, result: &str) -> Reply {
    xml(format!(
        "<{action}Response><requestId>bench</requestId>{result}</{action}Response>"
    ))
}

fn xml(body: String) -> Reply {
    Reply {
        status: 200,
        content_type: "text/xml",
        body,
    }
}

/// The JSON protocols' answer.
pub fn json(value: &Value) -> Reply {
    Reply {
        status: 200,
        content_type: "application/x-amz-json-1.0",
        body: value.to_string(),
    }
}

/// An error as the service words it.
pub fn refused(service: &str, Refused(status, code): &Refused) -> Reply {
    let code = escape(code);
    let (content_type, body) = match service {
        "dynamodb" | "sqs" | "lambda" | "cloudtrail" => (
            "application/x-amz-json-1.0",
            json!({"__type": code, "message": "see the bench"}).to_string(),
        ),
        "ec2" => (
            "text/xml",
            format!("<Response><Errors><Error><Code>{code}</Code><Message>m</Message></Error></Errors></Response>"),
        ),
        _ => (
            "text/xml",
            format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>m</Message></Error></ErrorResponse>"
            ),
        ),
    };
    Reply {
        status: *status,
        content_type,
        body,
    }
}
