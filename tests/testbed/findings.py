"""Events as EventBridge delivers them, about entities of the bed, and packages with rules of a test's own."""

import uuid
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .accounts import HUB, MEMBER, REGION
from .zip import write_package

GUARDDUTY_PRODUCT = f"arn:aws:securityhub:{REGION}::product/aws/guardduty"


def now() -> str:
    """The time, as AWS writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def envelope(source: str, kind: str, detail: dict[str, Any], resources: tuple[str, ...] = ()) -> dict[str, Any]:
    """What EventBridge puts around an event."""
    return {
        "version": "0", "id": str(uuid.uuid4()), "detail-type": kind, "source": source, "account": HUB, "time": now(),
        "region": REGION, "resources": list(resources), "detail": detail,
    }


def guardduty(kind: str, resource: dict[str, Any], *, severity: float = 8, account: str = MEMBER, **service: Any) -> dict[str, Any]:
    """A finding of GuardDuty of a type."""
    finding = str(uuid.uuid4())
    return envelope("aws.guardduty", "GuardDuty Finding", {
        "schemaVersion": "2.0", "accountId": account, "region": REGION, "partition": "aws", "id": finding, "type": kind,
        "resource": resource, "service": {"archived": False, "count": 1, **service}, "severity": severity,
        "createdAt": now(), "updatedAt": now(), "title": f"A finding of the type {kind}",
    })


def of_instance(instance: str, profile: str = "") -> dict[str, Any]:
    """The resource of a finding about an instance."""
    details: dict[str, Any] = {"instanceId": instance}
    if profile:
        details["iamInstanceProfile"] = {"arn": profile, "id": "AIPAEXAMPLEEXAMPLE0"}
    return {"resourceType": "Instance", "instanceDetails": details}


def of_user(name: str) -> dict[str, Any]:
    """The resource of a finding about a user, who is named without a path."""
    return {"resourceType": "AccessKey", "accessKeyDetails": {
        "accessKeyId": "AKIAIOSFODNN7EXAMPLE", "principalId": "AIDAEXAMPLE", "userType": "IAMUser", "userName": name}}


def security_hub(
    *resources: dict[str, str], product: str = GUARDDUTY_PRODUCT, custom_action: str = "", **more: Any
) -> dict[str, Any]:
    """A finding of Security Hub about these resources, imported, or sent on by a person."""
    finding = {
        "SchemaVersion": "2018-10-08", "Id": f"finding/{uuid.uuid4()}", "ProductArn": product, "GeneratorId": "test",
        "AwsAccountId": MEMBER, "Region": REGION, "Types": ["TTPs/Test"], "CreatedAt": now(), "UpdatedAt": now(),
        "Severity": {"Label": "HIGH", "Normalized": 70}, "Title": "A finding of Security Hub", "RecordState": "ACTIVE",
        "Workflow": {"Status": "NEW"}, "Resources": [{"Partition": "aws", "Region": REGION, **one} for one in resources],
        **more,
    }
    if custom_action:
        action = f"arn:aws:securityhub:{REGION}:{HUB}:action/custom/{custom_action}"
        kind, detail = "Security Hub Findings - Custom Action", {"actionName": "Lock entity down", "findings": [finding]}
        return envelope("aws.securityhub", kind, detail, (action,))
    return envelope("aws.securityhub", "Security Hub Findings - Imported", {"findings": [finding]})


def ocsf(resource_type: str, arn: str) -> dict[str, Any]:
    """A finding of Security Hub in the newer format (OCSF), about this resource."""
    return envelope("aws.securityhub", "Findings Imported V2", {"findings": [{
        "activity_id": 1, "class_uid": 2004, "category_uid": 2, "cloud": {"account": {"uid": MEMBER}, "provider": "AWS", "region": REGION},
        "finding_info": {"uid": f"finding/{uuid.uuid4()}", "title": "A finding in OCSF", "types": ["TTPs/Test"]},
        "metadata": {"uid": str(uuid.uuid4()), "version": "1.6.0",
                     "product": {"name": "GuardDuty", "uid": f"arn:aws:securityhub:{REGION}::productv2/aws/guardduty"}},
        "resources": [{"cloud_partition": "aws", "region": REGION, "type": resource_type, "uid": arn, "owner": {"account": {"uid": MEMBER}}}],
        "severity": "High", "severity_id": 4, "status": "New", "status_id": 1,
    }]})


def call(source: str, name: str, role: str = "", user: str = "", **more: Any) -> dict[str, Any]:
    """A call that CloudTrail recorded, by a session of a role or by a user."""
    if role:
        session = f"arn:aws:sts::{MEMBER}:assumed-role/{role.rsplit('/', 1)[-1]}/session"
        issuer = {"type": "Role", "arn": role, "accountId": MEMBER, "userName": role.rsplit("/", 1)[-1]}
        identity = {"type": "AssumedRole", "arn": session, "accountId": MEMBER, "accessKeyId": "ASIAIOSFODNN7EXAMPLE",
                    "sessionContext": {"sessionIssuer": issuer}}
    else:
        identity = {"type": "IAMUser", "arn": user, "accountId": MEMBER, "userName": user.rsplit("/", 1)[-1]}
    return envelope(f"aws.{source}", "AWS API Call via CloudTrail", {
        "eventVersion": "1.11", "userIdentity": identity, "eventTime": now(), "eventSource": f"{source}.amazonaws.com",
        "eventName": name, "awsRegion": REGION, "sourceIPAddress": "198.51.100.7", "eventID": str(uuid.uuid4()),
        "eventType": "AwsApiCall", "recipientAccountId": MEMBER, "requestParameters": {}, **more,
    })


def with_rules(package: Path, out: Path, rules: str) -> Path:
    """The same package with these rules alone."""
    out.mkdir(parents=True, exist_ok=True)
    binary, folder = out / "bootstrap", out / "rules"
    with zipfile.ZipFile(package) as archive:
        binary.write_bytes(archive.read("bootstrap"))
    folder.mkdir()
    (folder / "test.toml").write_text(rules)
    return write_package(binary, out / "package.zip", folder)
