//! What the tests ask of the proxy itself, under `/_proxy/`.

use hyper::body::Bytes;
use serde_json::json;

use crate::answer;
use crate::form;
use crate::rules::Rule;
use crate::upstream::Answer;
use crate::way::Proxy;

/// Answers `GET calls` (with `?after=N&service=..&action=..&contains=..`: those after call N that match), `GET last` (the newest
/// call's number), `POST reset`, `GET rules`, `POST rules` (a rule as JSON) and `DELETE rules/ID`.
pub fn control(proxy: &Proxy, method: &str, path: &str, query: &str, body: &Bytes) -> Answer {
    let segments: Vec<&str> = path.trim_start_matches("/_proxy/").split('/').collect();
    match (method, segments.as_slice()) {
        ("GET", ["calls"]) => answer::json(&json!(proxy.record.matching(&form::decode(query)))),
        ("GET", ["last"]) => answer::json(&json!({"seq": proxy.record.last()})),
        ("POST", ["reset"]) => {
            proxy.record.clear();
            proxy.rules.clear();
            answer::json(&json!({}))
        }
        ("GET", ["rules"]) => answer::json(&json!(proxy.rules.all())),
        ("POST", ["rules"]) => match serde_json::from_slice::<Rule>(body) {
            Ok(rule) => answer::json(&json!({"id": proxy.rules.add(rule)})),
            Err(error) => answer::plain(400, format!("not a rule: {error}")),
        },
        ("DELETE", ["rules", id]) => {
            if let Ok(id) = id.parse() {
                proxy.rules.remove(id);
            }
            answer::json(&json!({}))
        }
        _ => answer::plain(404, "the proxy knows calls, reset and rules"),
    }
}
