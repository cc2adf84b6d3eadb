//! What a CloudTrail record names: who called, and what of the four kinds was acted upon.
//!
//! Source: AWS CloudTrail User Guide, "CloudTrail userIdentity element"; the API references of IAM, STS, Lambda, EC2, EC2 Instance
//! Connect and Systems Manager for the names of parameters.

use super::{Found, Part, Place, is_key_id};
use crate::event::Event;
use crate::event::json::Json;

pub(super) fn find(event: &Event<'_>, found: &mut Found) {
    if let Some(identity) = event.root.get("userIdentity") {
        caller(identity, found);
    }
    for resource in event.root.get("resources").map(Json::elements).unwrap_or_default() {
        if let Some(arn) = resource.text_at(&["ARN"]) {
            found.arn(arn, Part::Resource, "a resource of the record");
        }
    }
    acted_upon(event, found);
}

fn caller(identity: &Json<'_>, found: &mut Found) {
    let text = |name: &str| identity.text_at(&[name]);
    let arn = text("arn").unwrap_or_default();
    match text("type").unwrap_or_default() {
        "Root" => {
            let account = text("accountId").unwrap_or_default();
            let made_up = format!("arn:{}:iam::{account}:root", found.partition);
            found.root(
                if arn.is_empty() { &made_up } else { arn },
                Part::Principal,
                "the caller",
            );
        }
        "IAMUser" if arn.is_empty() => {
            let (name, account) = (
                text("userName").unwrap_or_default(),
                text("accountId").unwrap_or_default(),
            );
            if !name.is_empty() {
                found.principal("user", name, account, Part::Principal, "the caller");
            }
        }
        "IAMUser" | "Role" => found.arn(arn, Part::Principal, "the caller"),
        // The session's own ARN names the role without its path; its issuer's is whole. Of a federated user it is the user.
        "AssumedRole" | "FederatedUser" => match identity.text_at(&["sessionContext", "sessionIssuer", "arn"]) {
            Some(issuer) => found.arn(issuer, Part::Principal, "the issuer of the caller's session"),
            None => found.arn(arn, Part::Principal, "the caller's session"),
        },
        // A service of AWS, another account, an identity of Identity Center or a web identity: nothing that could be contained,
        // unless it is named by what could be.
        _ => {
            found.arn(arn, Part::Principal, "the caller");
            let key = text("accessKeyId").filter(|key| arn.is_empty() && key.starts_with("AKIA") && is_key_id(key));
            if let Some(key) = key {
                found.access_key(
                    key,
                    text("accountId").unwrap_or_default(),
                    Part::Principal,
                    "the caller's access key",
                );
            }
        }
    }
}

/// What the parameters name, by the service that was called.
fn acted_upon(event: &Event<'_>, found: &mut Found) {
    let source = event.root.text_at(&["eventSource"]).unwrap_or_default();
    let parameter = |name: &str| event.root.text_at(&["requestParameters", name]);
    let part = Part::Resource;
    match source {
        "iam.amazonaws.com" => {
            // What was made is answered with its path; what is changed is called by its name.
            for kind in ["user", "role"] {
                if let Some(arn) = event.root.text_at(&["responseElements", kind, "arn"]) {
                    found.arn(arn, part, "what the call made");
                }
                if let Some(name) = parameter(if kind == "user" { "userName" } else { "roleName" }) {
                    let account = found.account_text();
                    found.principal(kind, name, &account, part, "what the call was about");
                }
            }
        }
        "sts.amazonaws.com" => {
            if let Some(arn) = parameter("roleArn") {
                found.arn(arn, part, "the role that was assumed");
            }
        }
        "lambda.amazonaws.com" => {
            if let Some(name) = parameter("functionName") {
                function(name, event, found);
            }
        }
        "ec2.amazonaws.com" | "ec2-instance-connect.amazonaws.com" | "ssm.amazonaws.com" => instances(event, found),
        _ => {}
    }
}

/// A function by its name, its partial or its whole ARN, each with or without a qualifier.
fn function(name: &str, event: &Event<'_>, found: &mut Found) {
    const WHY: &str = "the function that the call was about";
    if name.starts_with("arn:") {
        return found.arn(name, Part::Resource, WHY);
    }
    let own = found.account_text();
    let (account, name) = name.split_once(":function:").unwrap_or((&own, name));
    let region = event.root.text_at(&["awsRegion"]).unwrap_or_default();
    let arn = format!("arn:{}:lambda:{region}:{account}:function:{name}", found.partition);
    found.parsed(&arn, Part::Resource, WHY);
}

/// Where calls name instances.
const INSTANCES: &[&[&str]] = &[
    &["requestParameters", "instanceId"],
    &["requestParameters", "InstanceId"],
    &["requestParameters", "target"],
    &["requestParameters", "instanceIds"],
    &["requestParameters", "instancesSet", "items", "instanceId"],
    &["responseElements", "instancesSet", "items", "instanceId"],
];

fn instances(event: &Event<'_>, found: &mut Found) {
    let region = event.root.text_at(&["awsRegion"]).unwrap_or_default();
    let (partition, account) = (found.partition.as_str(), found.account_text());
    let place = Place {
        partition,
        region,
        account: &account,
    };
    for path in INSTANCES {
        let path: Vec<String> = path.iter().map(|&name| name.to_owned()).collect();
        event.root.any_at(&path, &mut |value| {
            // Systems Manager also has targets that are no instances: `mi-...` of other machines, tasks of ECS.
            if let Some(id) = value.text().filter(|id| id.starts_with("i-")) {
                found.instance(id, &place, Part::Resource, "the instance that the call was about");
            }
            false
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::lines;

    fn record(source: &str, identity: &str, rest: &str) -> String {
        format!(
            r#"{{"eventVersion": "1.08", "eventSource": "{source}", "eventName": "E", "awsRegion": "eu-west-1",
                "recipientAccountId": "222222222222", "userIdentity": {identity}{rest}}}"#
        )
    }

    #[test]
    fn the_caller_is_the_user_or_the_role_behind_the_session() {
        let issuer =
            r#""sessionContext": {"sessionIssuer": {"type": "Role", "arn": "arn:aws:iam::222222222222:role/p/r"}}"#;
        for (identity, expected) in [
            (
                r#"{"type": "IAMUser", "arn": "arn:aws:iam::222222222222:user/div/alice", "accessKeyId": "AKIAIOSFODNN7EXAMPLE"}"#.to_owned(),
                vec!["principal: arn:aws:iam::222222222222:user/div/alice (entity)"],
            ),
            (
                r#"{"type": "IAMUser", "userName": "alice", "accountId": "222222222222"}"#.to_owned(),
                vec!["principal: arn:aws:iam::222222222222:user/alice (entity without path)"],
            ),
            (
                format!(r#"{{"type": "AssumedRole", "arn": "arn:aws:sts::222222222222:assumed-role/r/s", {issuer}}}"#),
                vec!["principal: arn:aws:iam::222222222222:role/p/r (entity)"],
            ),
            (
                r#"{"type": "AssumedRole", "arn": "arn:aws:sts::333333333333:assumed-role/r/s"}"#.to_owned(),
                vec!["principal: arn:aws:sts::333333333333:assumed-role/r/s (entity without path, foreign)"],
            ),
            (
                r#"{"type": "FederatedUser", "arn": "arn:aws:sts::222222222222:federated-user/f",
                    "sessionContext": {"sessionIssuer": {"type": "IAMUser", "arn": "arn:aws:iam::222222222222:user/u"}}}"#.to_owned(),
                vec!["principal: arn:aws:iam::222222222222:user/u (entity)"],
            ),
            (
                r#"{"type": "Root", "arn": "arn:aws:iam::222222222222:root"}"#.to_owned(),
                vec!["principal: arn:aws:iam::222222222222:root (refused)"],
            ),
            (r#"{"type": "AWSService", "invokedBy": "ec2.amazonaws.com"}"#.to_owned(), vec![]),
            (
                r#"{"type": "AWSAccount", "accountId": "333333333333", "accessKeyId": "AKIAIOSFODNN7EXAMPLE"}"#.to_owned(),
                vec!["principal: AKIAIOSFODNN7EXAMPLE (access key, foreign)"],
            ),
            ("7".to_owned(), vec![]),
        ] {
            assert_eq!(lines(&record("s3.amazonaws.com", &identity, "")), expected, "{identity}");
        }
    }

    #[test]
    fn what_is_acted_upon_is_found_where_each_service_names_it() {
        let instance = "resource: arn:aws:ec2:eu-west-1:222222222222:instance/i-0123456789abcdef0 (entity)";
        for (source, rest, line) in [
            (
                "iam",
                r#""requestParameters": {"userName": "bob"}"#,
                "resource: arn:aws:iam::222222222222:user/bob (entity without path)",
            ),
            (
                "iam",
                r#""requestParameters": {"roleName": "r"}"#,
                "resource: arn:aws:iam::222222222222:role/r (entity without path)",
            ),
            (
                "iam",
                r#""requestParameters": {"userName": "bob", "path": "/x/"}, "responseElements": {"user": {"arn": "arn:aws:iam::222222222222:user/x/bob"}}"#,
                "resource: arn:aws:iam::222222222222:user/x/bob (entity)",
            ),
            (
                "sts",
                r#""requestParameters": {"roleArn": "arn:aws:iam::222222222222:role/r"}"#,
                "resource: arn:aws:iam::222222222222:role/r (entity)",
            ),
            (
                "lambda",
                r#""requestParameters": {"functionName": "f:live"}"#,
                "resource: arn:aws:lambda:eu-west-1:222222222222:function:f:live (entity)",
            ),
            (
                "lambda",
                r#""requestParameters": {"functionName": "333333333333:function:f"}"#,
                "resource: arn:aws:lambda:eu-west-1:333333333333:function:f (entity, foreign)",
            ),
            (
                "lambda",
                r#""requestParameters": {"functionName": "arn:aws:lambda:eu-west-2:222222222222:function:f"}"#,
                "resource: arn:aws:lambda:eu-west-2:222222222222:function:f (entity)",
            ),
            (
                "ec2",
                r#""requestParameters": {"instancesSet": {"items": [{"instanceId": "i-0123456789abcdef0"}]}}"#,
                instance,
            ),
            (
                "ec2",
                r#""responseElements": {"instancesSet": {"items": [{"instanceId": "i-0123456789abcdef0"}]}}"#,
                instance,
            ),
            (
                "ec2-instance-connect",
                r#""requestParameters": {"instanceId": "i-0123456789abcdef0"}"#,
                instance,
            ),
            (
                "ssm",
                r#""requestParameters": {"target": "i-0123456789abcdef0"}"#,
                instance,
            ),
            (
                "ssm",
                r#""requestParameters": {"instanceIds": ["mi-0123456789abcdef0", "i-0123456789abcdef0"]}"#,
                instance,
            ),
            (
                "s3",
                r#""resources": [{"ARN": "arn:aws:s3:::b"}, {"ARN": "arn:aws:iam::222222222222:role/r"}]"#,
                "resource: arn:aws:iam::222222222222:role/r (entity)",
            ),
        ] {
            let text = record(&format!("{source}.amazonaws.com"), "{}", &format!(", {rest}"));
            assert_eq!(lines(&text), [line], "{rest}");
        }
    }
}
