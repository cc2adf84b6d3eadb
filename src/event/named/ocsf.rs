//! What a finding of Security Hub in OCSF names.
//!
//! Source: AWS Security Hub User Guide, "OCSF findings in Security Hub"; Open Cybersecurity Schema Framework, "Detection Finding".

use super::{Found, Part, Place, is_key_id};
use crate::event::json::Json;

pub(super) fn find(finding: &Json<'_>, found: &mut Found) {
    let own = found.account_text();
    for resource in finding.get("resources").map(Json::elements).unwrap_or_default() {
        let text = |names: &[&str]| resource.text_at(names);
        let id = text(&["uid"]).unwrap_or_default();
        let account = text(&["owner", "account", "uid"]).unwrap_or(&own).to_owned();
        let kind = text(&["type"]).unwrap_or_default();
        if kind.ends_with("AccessKey") {
            let key = id.rsplit(':').next().unwrap_or_default();
            match text(&["owner", "name"]).filter(|_| text(&["owner", "type"]) == Some("IAMUser")) {
                Some(name) => found.principal(
                    "user",
                    name,
                    &account,
                    Part::Principal,
                    "the user of the finding's access key",
                ),
                None if is_key_id(key) => {
                    found.access_key(key, &account, Part::Principal, "the access key of the finding")
                }
                None => {}
            }
        } else if id.starts_with("i-") {
            let partition = found.partition.as_str();
            let place = Place {
                partition: text(&["cloud_partition"]).unwrap_or(partition),
                region: text(&["region"])
                    .or_else(|| finding.text_at(&["cloud", "region"]))
                    .unwrap_or_default(),
                account: &account,
            };
            found.instance(id, &place, Part::Resource, "an instance of the finding");
        } else {
            let principal = ["IamUser", "IamRole", "IAM::User", "IAM::Role"]
                .iter()
                .any(|end| kind.ends_with(end));
            let part = if principal { Part::Principal } else { Part::Resource };
            found.arn(id, part, "a resource of the finding");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::lines;

    #[test]
    fn resources_are_named_by_arn_or_by_id_and_each_has_its_account() {
        let text = r#"{"source": "aws.securityhub", "detail-type": "Findings Imported V2", "region": "eu-west-1", "detail": {"findings": [{
            "cloud": {"account": {"uid": "222222222222"}, "region": "eu-west-1"}, "resources": [
            {"uid": "arn:aws:ec2:eu-west-1:222222222222:instance/i-0123456789abcdef0", "type": "AWS::EC2::Instance"},
            {"uid": "i-0123456789abcdef1", "type": "AwsEc2Instance", "region": "eu-west-2", "owner": {"account": {"uid": "333333333333"}}},
            {"uid": "arn:aws:iam::222222222222:role/r", "type": "AWS::IAM::Role"},
            {"uid": "AWS::IAM::AccessKey:AKIAIOSFODNN7EXAMPLE", "type": "AwsIamAccessKey"},
            {"uid": "arn:aws:s3:::bucket", "type": "AWS::S3::Bucket"}]}]}}"#;
        assert_eq!(
            lines(text),
            [
                "resource: arn:aws:ec2:eu-west-1:222222222222:instance/i-0123456789abcdef0 (entity)",
                "resource: arn:aws:ec2:eu-west-2:333333333333:instance/i-0123456789abcdef1 (entity, foreign)",
                "principal: arn:aws:iam::222222222222:role/r (entity)",
                "principal: AKIAIOSFODNN7EXAMPLE (access key)",
            ]
        );
    }
}
