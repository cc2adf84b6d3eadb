//! What a finding of GuardDuty names.
//!
//! Source: Amazon GuardDuty API Reference, `Finding`, `Resource`, `Sequence`.

use super::{Found, Part, Place, is_key_id};
use crate::event::json::Json;

pub(super) fn find(finding: &Json<'_>, found: &mut Found) {
    if let Some(resource) = finding.get("resource") {
        instance(finding, resource, found);
        access_key(resource, found);
        if let Some(arn) = resource.text_at(&["lambdaDetails", "functionArn"]) {
            found.arn(arn, Part::Resource, "the function of the finding");
        }
    }
    if let Some(sequence) = finding.at(&["service", "detection", "sequence"]) {
        self::sequence(finding, sequence, found);
    }
}

/// The instance has no ARN: it is made of the finding's partition, region and account.
fn instance(finding: &Json<'_>, resource: &Json<'_>, found: &mut Found) {
    let Some(details) = resource.get("instanceDetails") else {
        return;
    };
    if let Some(id) = details.text_at(&["instanceId"]) {
        let (partition, account) = (found.partition.as_str(), found.account_text());
        let region = finding.text_at(&["region"]).unwrap_or_default();
        let place = Place {
            partition,
            region,
            account: &account,
        };
        found.instance(id, &place, Part::Resource, "the instance of the finding");
    }
    if let Some(arn) = details.text_at(&["iamInstanceProfile", "arn"]) {
        found.arn(arn, Part::Resource, "the instance profile of the finding's instance");
    }
}

fn access_key(resource: &Json<'_>, found: &mut Found) {
    let Some(details) = resource.get("accessKeyDetails") else {
        return;
    };
    let account = found.account_text();
    let text = |name: &str| details.text_at(&[name]).unwrap_or_default();
    user(text("userType"), text("userName"), text("accessKeyId"), &account, found);
}

/// A user by its type. `userName` of a session is the name of its ROLE.
fn user(kind: &str, name: &str, key: &str, account: &str, found: &mut Found) {
    match kind {
        "IAMUser" => found.principal(
            "user",
            name,
            account,
            Part::Principal,
            "the user of the finding's access key",
        ),
        "AssumedRole" | "Role" => {
            found.principal(
                "role",
                name,
                account,
                Part::Principal,
                "the role of the finding's session",
            );
        }
        "Root" => {
            let arn = format!("arn:{}:iam::{account}:root", found.partition);
            found.root(&arn, Part::Principal, "the account root of the finding's access key");
        }
        // A federated user, an AWS account, a service of AWS, or a type that is not known yet.
        _ if is_key_id(key) => found.access_key(key, account, Part::Principal, "the access key of the finding"),
        _ => {}
    }
}

/// An attack sequence names actors and resources of its own.
fn sequence(finding: &Json<'_>, sequence: &Json<'_>, found: &mut Found) {
    let own = found.account_text();
    for actor in sequence.get("actors").map(Json::elements).unwrap_or_default() {
        let Some(details) = actor.get("user") else {
            continue;
        };
        let text = |name: &str| details.text_at(&[name]).unwrap_or_default();
        let account = details.text_at(&["account", "uid"]).unwrap_or(&own);
        user(text("type"), text("name"), text("credentialUid"), account, found);
    }
    for resource in sequence.get("resources").map(Json::elements).unwrap_or_default() {
        let text = |name: &str| resource.text_at(&[name]).unwrap_or_default();
        let account = resource.text_at(&["accountId"]).unwrap_or(&own);
        match text("resourceType") {
            "ACCESS_KEY" => {
                let details = |name: &str| resource.text_at(&["data", "accessKey", name]).unwrap_or_default();
                user(details("userType"), details("userName"), text("uid"), account, found);
            }
            "EC2_INSTANCE" if !text("uid").starts_with("arn:") => {
                let place = Place {
                    partition: resource
                        .text_at(&["cloudPartition"])
                        .unwrap_or(found.partition.as_str()),
                    region: resource
                        .text_at(&["region"])
                        .or_else(|| finding.text_at(&["region"]))
                        .unwrap_or_default(),
                    account,
                };
                found.instance(
                    text("uid"),
                    &place,
                    Part::Resource,
                    "an instance of the attack sequence",
                );
            }
            _ => found.arn(text("uid"), Part::Resource, "a resource of the attack sequence"),
        }
        let profile = ["iamInstanceProfile", "IamInstanceProfile"]
            .iter()
            .find_map(|name| resource.text_at(&["data", "ec2Instance", name, "arn"]));
        if let Some(arn) = profile {
            found.arn(
                arn,
                Part::Resource,
                "the instance profile of an instance of the attack sequence",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::lines;

    fn finding(resource: &str, service: &str) -> String {
        format!(
            r#"{{"schemaVersion": "2.0", "accountId": "222222222222", "region": "eu-west-1", "partition": "aws", "type": "t",
                "resource": {resource}, "service": {service}}}"#
        )
    }

    fn key(kind: &str, name: &str) -> String {
        finding(
            &format!(
                r#"{{"resourceType": "AccessKey", "accessKeyDetails": {{"userType": "{kind}", "userName": "{name}", "accessKeyId": "ASIAIOSFODNN7EXAMPLE"}}}}"#
            ),
            "{}",
        )
    }

    #[test]
    fn an_instance_gets_its_arn_and_its_profile_is_named() {
        let resource = r#"{"resourceType": "Instance", "instanceDetails": {"instanceId": "i-0123456789abcdef0",
            "iamInstanceProfile": {"arn": "arn:aws:iam::222222222222:instance-profile/web", "id": "AIPA1"}}}"#;
        assert_eq!(
            lines(&finding(resource, "{}")),
            [
                "resource: arn:aws:ec2:eu-west-1:222222222222:instance/i-0123456789abcdef0 (entity)",
                "resource: arn:aws:iam::222222222222:instance-profile/web (instance profile)",
            ]
        );
    }

    #[test]
    fn an_access_key_leads_to_its_user_its_role_or_nowhere() {
        for (kind, line) in [
            (
                "IAMUser",
                "principal: arn:aws:iam::222222222222:user/n (entity without path)",
            ),
            (
                "AssumedRole",
                "principal: arn:aws:iam::222222222222:role/n (entity without path)",
            ),
            (
                "Role",
                "principal: arn:aws:iam::222222222222:role/n (entity without path)",
            ),
            ("Root", "principal: arn:aws:iam::222222222222:root (refused)"),
            ("FederatedUser", "principal: ASIAIOSFODNN7EXAMPLE (access key)"),
        ] {
            assert_eq!(lines(&key(kind, "n")), [line], "{kind}");
        }
    }

    #[test]
    fn a_function_is_named_by_its_arn_and_its_role_is_not_the_findings_subject() {
        let resource = r#"{"resourceType": "Lambda", "lambdaDetails": {"functionArn": "arn:aws:lambda:eu-west-1:222222222222:function:f",
            "role": "arn:aws:iam::222222222222:role/r"}}"#;
        assert_eq!(
            lines(&finding(resource, "{}")),
            ["resource: arn:aws:lambda:eu-west-1:222222222222:function:f (entity)"]
        );
    }

    #[test]
    fn an_attack_sequence_names_several_of_several_accounts() {
        let sequence = r#"{"detection": {"sequence": {
            "actors": [{"id": "1", "user": {"name": "alice", "type": "IAMUser", "uid": "AIDA1", "credentialUid": "AKIAIOSFODNN7EXAMPLE",
                        "account": {"uid": "222222222222"}}}, {"id": "2", "process": {"name": "sh"}}],
            "resources": [
                {"uid": "arn:aws:ec2:eu-west-1:222222222222:instance/i-0123456789abcdef0", "resourceType": "EC2_INSTANCE"},
                {"uid": "i-0123456789abcdef1", "resourceType": "EC2_INSTANCE", "accountId": "333333333333", "region": "eu-west-2",
                 "data": {"ec2Instance": {"IamInstanceProfile": {"arn": "arn:aws:iam::333333333333:instance-profile/p", "id": "x"}}}},
                {"uid": "AKIAIOSFODNN7EXAMPLE", "resourceType": "ACCESS_KEY", "accountId": "222222222222",
                 "data": {"accessKey": {"principalId": "AROA1", "userName": "r", "userType": "AssumedRole"}}},
                {"uid": "arn:aws:s3:::bucket", "resourceType": "S3_BUCKET"}]}}}"#;
        assert_eq!(
            lines(&finding(r#"{"resourceType": "AttackSequence"}"#, sequence)),
            [
                "principal: arn:aws:iam::222222222222:user/alice (entity without path)",
                "resource: arn:aws:ec2:eu-west-1:222222222222:instance/i-0123456789abcdef0 (entity)",
                "resource: arn:aws:ec2:eu-west-2:333333333333:instance/i-0123456789abcdef1 (entity, foreign)",
                "resource: arn:aws:iam::333333333333:instance-profile/p (instance profile, foreign)",
                "principal: arn:aws:iam::222222222222:role/r (entity without path)",
            ]
        );
    }
}
