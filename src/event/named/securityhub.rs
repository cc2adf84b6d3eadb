//! What a finding in the AWS Security Finding Format names.
//!
//! Source: AWS Security Hub User Guide, "Resources" and "Resource details" of the AWS Security Finding Format.

use super::{Found, Part, Place, is_key_id};
use crate::event::json::Json;

/// What stands before the id of an access key.
const KEY_PREFIX: &str = "AWS::IAM::AccessKey:";

pub(super) fn find(finding: &Json<'_>, found: &mut Found) {
    for resource in finding.get("Resources").map(Json::elements).unwrap_or_default() {
        let id = resource.text_at(&["Id"]).unwrap_or_default();
        if let Some(key) = id.strip_prefix(KEY_PREFIX) {
            access_key(key, resource, found);
        } else if resource.text_at(&["Type"]) == Some("AwsIamAccessKey") {
            access_key(id, resource, found);
        } else if id.starts_with("i-") {
            let account = found.account_text();
            let partition = found.partition.as_str();
            let place = Place {
                partition: resource.text_at(&["Partition"]).unwrap_or(partition),
                region: resource
                    .text_at(&["Region"])
                    .or_else(|| finding.text_at(&["Region"]))
                    .unwrap_or_default(),
                account: &account,
            };
            found.instance(id, &place, Part::Resource, "an instance of the finding");
        } else {
            let part = match resource.text_at(&["Type"]) {
                Some("AwsIamUser" | "AwsIamRole") => Part::Principal,
                _ => Part::Resource,
            };
            found.arn(id, part, "a resource of the finding");
        }
        if let Some(arn) = resource.text_at(&["Details", "AwsEc2Instance", "IamInstanceProfileArn"]) {
            found.arn(
                arn,
                Part::Resource,
                "the instance profile of an instance of the finding",
            );
        }
    }
}

/// An access key by what its details say of its owner, else by its id.
fn access_key(key: &str, resource: &Json<'_>, found: &mut Found) {
    let own = found.account_text();
    let details = |name: &str| resource.text_at(&["Details", "AwsIamAccessKey", name]);
    let account = details("AccountId").unwrap_or(&own);
    if let Some(arn) = resource.text_at(&["Details", "AwsIamAccessKey", "SessionContext", "SessionIssuer", "Arn"]) {
        return found.arn(arn, Part::Principal, "the issuer of the finding's session");
    }
    // `UserName` is the older field; `PrincipalName` is a role's where the type says so.
    let name = details("PrincipalName").or_else(|| details("UserName"));
    match (details("PrincipalType"), name) {
        (Some("Root"), _) => {
            let arn = format!("arn:{}:iam::{account}:root", found.partition);
            found.root(&arn, Part::Principal, "the account root of the finding's access key");
        }
        (Some("AssumedRole" | "Role"), Some(name)) => {
            found.principal(
                "role",
                name,
                account,
                Part::Principal,
                "the role of the finding's session",
            );
        }
        (Some("IAMUser") | None, Some(name)) => {
            found.principal(
                "user",
                name,
                account,
                Part::Principal,
                "the user of the finding's access key",
            );
        }
        _ if is_key_id(key) => found.access_key(key, account, Part::Principal, "the access key of the finding"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::lines;

    fn finding(resources: &str) -> String {
        format!(
            r#"{{"ProductArn": "arn:aws:securityhub:eu-west-1::product/aws/guardduty", "AwsAccountId": "222222222222",
                "Region": "eu-west-1", "Resources": {resources}}}"#
        )
    }

    #[test]
    fn every_way_to_name_a_resource_leads_to_its_entity() {
        for (resource, line) in [
            (
                r#"{"Type": "AwsEc2Instance", "Id": "arn:aws:ec2:eu-west-1:222222222222:instance/i-0123456789abcdef0"}"#,
                "resource: arn:aws:ec2:eu-west-1:222222222222:instance/i-0123456789abcdef0 (entity)",
            ),
            (
                r#"{"Type": "AwsEc2Instance", "Id": "i-0123456789abcdef0", "Region": "eu-west-2", "Partition": "aws"}"#,
                "resource: arn:aws:ec2:eu-west-2:222222222222:instance/i-0123456789abcdef0 (entity)",
            ),
            (
                r#"{"Type": "AwsEc2Instance", "Id": "i-0123456789abcdef0"}"#,
                "resource: arn:aws:ec2:eu-west-1:222222222222:instance/i-0123456789abcdef0 (entity)",
            ),
            (
                r#"{"Type": "AwsIamAccessKey", "Id": "AWS::IAM::AccessKey:AKIAIOSFODNN7EXAMPLE"}"#,
                "principal: AKIAIOSFODNN7EXAMPLE (access key)",
            ),
            (
                r#"{"Type": "AwsIamAccessKey", "Id": "AWS::IAM::AccessKey:null", "Details": {"AwsIamAccessKey": {"UserName": "kapil"}}}"#,
                "principal: arn:aws:iam::222222222222:user/kapil (entity without path)",
            ),
            (
                r#"{"Type": "AwsIamAccessKey", "Id": "AWS::IAM::AccessKey:ASIAIOSFODNN7EXAMPLE",
                    "Details": {"AwsIamAccessKey": {"PrincipalName": "r", "PrincipalType": "AssumedRole"}}}"#,
                "principal: arn:aws:iam::222222222222:role/r (entity without path)",
            ),
            (
                r#"{"Type": "AwsIamAccessKey", "Id": "AWS::IAM::AccessKey:ASIAIOSFODNN7EXAMPLE",
                    "Details": {"AwsIamAccessKey": {"PrincipalType": "Root", "PrincipalName": "Root"}}}"#,
                "principal: arn:aws:iam::222222222222:root (refused)",
            ),
            (
                r#"{"Type": "AwsIamAccessKey", "Id": "x", "Details": {"AwsIamAccessKey": {"SessionContext": {"SessionIssuer":
                    {"Arn": "arn:aws:iam::222222222222:role/p/r"}}}}}"#,
                "principal: arn:aws:iam::222222222222:role/p/r (entity)",
            ),
            (
                r#"{"Type": "AwsIamRole", "Id": "arn:aws:iam::333333333333:role/r"}"#,
                "principal: arn:aws:iam::333333333333:role/r (entity, foreign)",
            ),
            (
                r#"{"Type": "Other", "Id": "arn:aws:lambda:eu-west-1:222222222222:function:f"}"#,
                "resource: arn:aws:lambda:eu-west-1:222222222222:function:f (entity)",
            ),
        ] {
            assert_eq!(lines(&finding(&format!("[{resource}]"))), [line], "{resource}");
        }
    }

    #[test]
    fn what_is_no_entity_is_left_out() {
        for resources in [
            r#"[{"Type": "AwsAccount", "Id": "AWS::::Account:222222222222"}]"#,
            r#"[{"Type": "AwsS3Bucket", "Id": "arn:aws:s3:::bucket"}]"#,
            r#"[{"Type": "AwsIamAccessKey", "Id": "AWS::IAM::AccessKey:null"}]"#,
            r#"[7, null, {}]"#,
            r#""x""#,
        ] {
            assert_eq!(lines(&finding(resources)), [""; 0], "{resources}");
        }
    }
}
