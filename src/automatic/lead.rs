//! Where a notice about an event leads on: the console, and commands ready to paste. Whatever an event says is quoted for a shell: the
//! one who wrote it may be the intruder.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::arn::Partition;
use crate::event::json::Json;
use crate::event::{Event, EventType};
use crate::notice::report::quoted;

/// What may stand in a link as it is (RFC 3986, "Unreserved Characters").
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// How far around an event its neighbours are asked for, in seconds.
const AROUND_SECONDS: i64 = 900;

/// What to look at next, one sentence with its command or link each.
pub(super) fn lead(event: &Event<'_>) -> Vec<String> {
    let mut next: Vec<String> = console(event).into_iter().collect();
    next.extend(scan(event));
    next.extend(around(event));
    next
}

fn console(event: &Event<'_>) -> Option<String> {
    let (id, region) = (event.id()?, event.region()?);
    let id = utf8_percent_encode(id, RESERVED).to_string();
    let path = match event.kind {
        EventType::CloudTrail => format!("cloudtrailv2/home?region={region}#/events/{id}"),
        EventType::GuardDuty => format!("guardduty/home?region={region}#/findings?search=id%3D{id}"),
        // The console encodes the parts of a search, and then the whole search.
        EventType::SecurityHub => {
            let id = utf8_percent_encode(&id, RESERVED).to_string();
            format!(
                "securityhub/home?region={region}#/findings?search=Id%3D%255Coperator%255C%253AEQUALS%255C%253A{id}"
            )
        }
        EventType::Ocsf => return None,
    };
    let domain = match event.partition() {
        Partition::Aws => "console.aws.amazon.com",
        Partition::AwsCn => "console.amazonaws.cn",
        Partition::AwsUsGov => "console.amazonaws-us-gov.com",
        Partition::AwsEusc => "console.amazonaws-eusc.eu",
    };
    let account = event.account().map(|account| format!(" (in account {account})"));
    Some(format!(
        "See it in the console{}: https://{region}.{domain}/{path}",
        account.unwrap_or_default()
    ))
}

/// An event about a scan has the number of findings alone.
fn scan(event: &Event<'_>) -> Option<String> {
    let called = |name: &str| event.root.text_at(&["eventName"]) == Some(name);
    let of_ecr = event.root.text_at(&["eventSource"]) == Some("ecr.amazonaws.com");
    if event.kind != EventType::CloudTrail || !of_ecr || !called("DescribeImageScanFindings") {
        return None;
    }
    let text = |part: &str, names: &[&str]| event.root.get(part)?.text_at(names).map(quoted);
    let asked = |names: &[&str]| text("requestParameters", names).or_else(|| text("responseElements", names));
    let repository = asked(&["repositoryName"])?;
    let image = match (asked(&["imageId", "imageDigest"]), asked(&["imageId", "imageTag"])) {
        (Some(digest), _) => format!("imageDigest={digest}"),
        (None, Some(tag)) => format!("imageTag={tag}"),
        (None, None) => return None,
    };
    let registry = asked(&["registryId"]).map(|registry| format!(" --registry-id {registry}"));
    let region = event.region().map(|region| format!(" --region {region}"));
    Some(format!(
        "Get all findings of the scan: aws ecr describe-image-scan-findings --repository-name {repository} --image-id {image}{}{}",
        registry.unwrap_or_default(),
        region.unwrap_or_default()
    ))
}

/// What the same identity did around it.
fn around(event: &Event<'_>) -> Option<String> {
    let text = |names: &[&str]| event.root.text_at(names).filter(|text| !text.is_empty());
    let key = match event.kind {
        EventType::CloudTrail => text(&["userIdentity", "accessKeyId"]),
        EventType::GuardDuty => text(&["resource", "accessKeyDetails", "accessKeyId"]),
        EventType::SecurityHub | EventType::Ocsf => None,
    };
    let first_resource = || {
        let resource = event.root.get("Resources").map(Json::elements)?.first()?;
        let name = resource.text_at(&["Id"])?.rsplit(['/', ':']).next()?;
        Some(("ResourceName", name))
    };
    let (attribute, value) = match (key, text(&["resource", "instanceDetails", "instanceId"])) {
        (Some(key), _) => ("AccessKeyId", key),
        (None, Some(instance)) => ("ResourceName", instance),
        (None, None) => first_resource()?,
    };
    let at = event.time()?.millis() / 1000;
    let region = event.region().map(|region| format!(" --region {region}"));
    Some(format!(
        "See what happened around it: aws cloudtrail lookup-events --lookup-attributes AttributeKey={attribute},AttributeValue={} \
         --start-time {} --end-time {}{}",
        quoted(value),
        at - AROUND_SECONDS,
        at + AROUND_SECONDS,
        region.unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::recognise::recognise;

    fn leads(text: &str) -> Vec<String> {
        let json = Json::read(text.as_bytes()).expect("JSON");
        let events = recognise(&json);
        lead(events.first().and_then(|event| event.as_ref().ok()).expect("an event"))
    }

    #[test]
    fn a_scan_leads_to_all_its_findings_and_what_an_intruder_wrote_is_quoted() {
        let said = leads(
            r#"{"eventVersion": "1.08", "eventSource": "ecr.amazonaws.com", "eventName": "DescribeImageScanFindings",
                "eventID": "e-1", "eventTime": "2026-11-22T00:15:00Z", "awsRegion": "eu-west-1", "recipientAccountId": "222222222222",
                "userIdentity": {"accessKeyId": "AKIA1"},
                "requestParameters": {"repositoryName": "a$(id)", "registryId": "222222222222", "imageId": {"imageTag": "'x'"}}}"#,
        );
        assert_eq!(
            said,
            [
                "See it in the console (in account 222222222222): \
                 https://eu-west-1.console.aws.amazon.com/cloudtrailv2/home?region=eu-west-1#/events/e-1",
                r"Get all findings of the scan: aws ecr describe-image-scan-findings --repository-name 'a$(id)' --image-id imageTag=''\''x'\''' --registry-id '222222222222' --region eu-west-1",
                "See what happened around it: aws cloudtrail lookup-events --lookup-attributes \
                 AttributeKey=AccessKeyId,AttributeValue='AKIA1' --start-time 1795305600 --end-time 1795307400 --region eu-west-1",
            ]
        );
    }

    #[test]
    fn a_finding_leads_to_itself_in_each_console() {
        let said = leads(
            r#"{"schemaVersion": "2.0", "type": "t", "id": "a/b", "region": "cn-north-1", "accountId": "222222222222",
                "service": {}, "resource": {"instanceDetails": {"instanceId": "i-1"}}, "updatedAt": "2026-11-22T00:15:00Z"}"#,
        );
        assert!(
            said[0].contains(
                "https://cn-north-1.console.amazonaws.cn/guardduty/home?region=cn-north-1#/findings?search=id%3Da%2Fb"
            ),
            "{}",
            said[0]
        );
        assert!(
            said[1].contains("AttributeKey=ResourceName,AttributeValue='i-1'"),
            "{}",
            said[1]
        );
        let said = leads(
            r#"{"ProductArn": "p", "AwsAccountId": "222222222222", "Id": "arn:x/1", "Region": "eu-west-1",
                "Resources": [{"Id": "arn:aws:iam::222222222222:user/d/alice"}], "UpdatedAt": "2026-11-22T00:15:00Z"}"#,
        );
        assert!(said[0].ends_with("EQUALS%255C%253Aarn%253Ax%252F1"), "{}", said[0]);
        assert!(said[1].contains("AttributeValue='alice'"), "{}", said[1]);
    }
}
