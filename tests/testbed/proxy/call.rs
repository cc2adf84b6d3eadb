//! What a request asks for, in the terms of AWS: service, action, caller, parameters.

use std::collections::BTreeMap;

use hyper::HeaderMap;
use hyper::body::Bytes;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use serde_json::Value;

use crate::form;

/// One call of an AWS API.
#[derive(Clone)]
pub struct Call {
    /// The signing name: `iam`, `ec2`, `lambda`, ...
    pub service: String,
    /// The operation's name: `AttachUserPolicy`, ...
    pub action: String,
    /// From the signature's scope.
    pub region: String,
    /// Who signed.
    pub access_key: String,
    /// Parameters by name: the query protocol's all of them, of JSON the top level.
    pub params: BTreeMap<String, String>,
    /// Path and decoded body, which rules search.
    pub text: String,
}

impl Call {
    /// Reads a request; what can't be read is empty, and the emulator refuses it.
    pub fn read(parts: &Parts, body: &Bytes) -> Self {
        let (access_key, region, service) = scope(&parts.headers);
        let raw = String::from_utf8_lossy(body);
        let path = parts.uri.path();
        let is_form = raw.contains("Action=") && !raw.starts_with('{');
        let mut params: BTreeMap<String, String> = if is_form {
            form::decode(&raw).into_iter().collect()
        } else {
            json_params(&raw)
        };
        params.extend(form::decode(parts.uri.query().unwrap_or_default()));
        let action = match (params.get("Action"), parts.headers.get("x-amz-target")) {
            (Some(action), _) => action.clone(),
            (None, Some(target)) => target
                .to_str()
                .unwrap_or_default()
                .rsplit('.')
                .next()
                .unwrap_or_default()
                .to_owned(),
            (None, None) => rest_action(parts.method.as_str(), path, &mut params),
        };
        params.remove("Action");
        params.remove("Version");
        let text = if is_form {
            form::unescape(&raw)
        } else {
            raw.into_owned()
        };
        Self {
            service,
            action,
            region,
            access_key,
            params,
            text: format!("{}\n{text}", form::unescape(path)),
        }
    }

    /// A parameter, empty if it is missing.
    pub fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    /// The members of a list: `NAME.1`, `NAME.2`, ...
    pub fn list(&self, name: &str) -> Vec<&str> {
        (1..)
            .map_while(|number| self.params.get(&format!("{name}.{number}")))
            .map(String::as_str)
            .collect()
    }

    /// Whether any parameter is `name` or lies under it.
    pub fn has(&self, name: &str) -> bool {
        let below = format!("{name}.");
        self.params.keys().any(|key| key == name || key.starts_with(&below))
    }
}

/// Access key, region and service of `Credential=KEY/DATE/REGION/SERVICE/aws4_request`.
fn scope(headers: &HeaderMap) -> (String, String, String) {
    let authorization = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let credential = authorization.split_once("Credential=").map_or("", |(_, rest)| rest);
    let mut fields = credential
        .split([',', ' '])
        .next()
        .unwrap_or_default()
        .split('/')
        .map(str::to_owned);
    let key = fields.next().unwrap_or_default();
    let region = fields.nth(1).unwrap_or_default();
    (key, region, fields.next().unwrap_or_default())
}

fn json_params(raw: &str) -> BTreeMap<String, String> {
    let Ok(Value::Object(fields)) = serde_json::from_str(raw) else {
        return BTreeMap::new();
    };
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    fields.into_iter().map(|(name, value)| (name, text(value))).collect()
}

/// The operation of a REST call of Lambda or Security Hub, the path's own parameters added; of others the method and path.
fn rest_action(method: &str, path: &str, params: &mut BTreeMap<String, String>) -> String {
    let segments: Vec<String> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(form::unescape)
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (action, subject) = match (method, segments.as_slice()) {
        ("GET", [_, "functions"]) => ("ListFunctions", None),
        ("GET", [_, "functions", name]) => ("GetFunction", Some(("FunctionName", *name))),
        ("GET", [_, "functions", name, "configuration"]) => ("GetFunctionConfiguration", Some(("FunctionName", *name))),
        ("GET", [_, "functions", name, "concurrency"]) => ("GetFunctionConcurrency", Some(("FunctionName", *name))),
        ("PUT", [_, "functions", name, "concurrency"]) => ("PutFunctionConcurrency", Some(("FunctionName", *name))),
        ("DELETE", [_, "functions", name, "concurrency"]) => {
            ("DeleteFunctionConcurrency", Some(("FunctionName", *name)))
        }
        ("POST", [_, "functions", name, "invocations"]) => ("Invoke", Some(("FunctionName", *name))),
        ("GET", [_, "event-source-mappings"]) => ("ListEventSourceMappings", None),
        ("GET", [_, "event-source-mappings", id]) => ("GetEventSourceMapping", Some(("UUID", *id))),
        ("PUT", [_, "event-source-mappings", id]) => ("UpdateEventSourceMapping", Some(("UUID", *id))),
        ("GET", [_, "tags", arn]) => ("ListTags", Some(("Resource", *arn))),
        ("PATCH", ["findings", "batchupdate"]) => ("BatchUpdateFindings", None),
        ("PATCH", ["findingsv2", "batchupdatev2"]) => ("BatchUpdateFindingsV2", None),
        _ => return format!("{method} {path}"),
    };
    if let Some((name, value)) = subject {
        params.insert(name.to_owned(), value.to_owned());
    }
    action.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, path: &str, body: &str) -> Option<Call> {
        let authorization =
            "AWS4-HMAC-SHA256 Credential=AKIA1/20260101/eu-west-1/lambda/aws4_request, SignedHeaders=host";
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header(AUTHORIZATION, authorization)
            .body(())
            .ok()?;
        Some(Call::read(&request.into_parts().0, &Bytes::from(body.to_owned())))
    }

    #[test]
    fn a_lambda_call_is_named_by_method_and_path() {
        let call = read(
            "PUT",
            "/2017-10-31/functions/f%3A1/concurrency",
            r#"{"ReservedConcurrentExecutions":0}"#,
        );
        let found = call.map(|call| (call.action.clone(), call.param("FunctionName").to_owned(), call.region));
        assert_eq!(
            found,
            Some(("PutFunctionConcurrency".into(), "f:1".into(), "eu-west-1".into()))
        );
    }

    #[test]
    fn a_query_call_has_its_lists() {
        let call = read(
            "POST",
            "/",
            "Action=ModifyX&Version=1&SecurityGroupId.1=a&SecurityGroupId.2=b%2Fc",
        );
        let found = call.map(|call| call.list("SecurityGroupId").join(" "));
        assert_eq!(found.as_deref(), Some("a b/c"));
    }
}
