"""The product as deployed on the bed by its own templates, and what a responder does with it."""

import hashlib
import json
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .accounts import HUB, MEMBER, REGION
from .bed import REPOSITORY, Bed
from .mailbox import Mailbox
from .stacks import deploy_stack

TEMPLATES = REPOSITORY / "cloudformation"
EXTERNAL_ID = "correct-horse-battery-staple"


@dataclass(frozen=True)
class Product:
    """A deployed hub with its member role in the member account."""

    bed: Bed
    outputs: dict[str, str]
    member_role: str
    mailbox: Mailbox

    def publish(
        self, *arns: str, action: str | None = None, external_id: str | None = EXTERNAL_ID, body: str = "see attributes",
        **attributes: str,
    ) -> str:
        """Publishes one request, waits until the function has ended, and returns the message's id.

        Several ARNs go as String.Array. `external_id=None` leaves the attribute out; others by their names (`Force="true"`).
        """
        values = {"Action": action, "ExternalId": external_id, **attributes}
        message = {name: {"DataType": "String", "StringValue": value} for name, value in values.items() if value is not None}
        if len(arns) == 1:
            message["Arn"] = {"DataType": "String", "StringValue": arns[0]}
        elif arns:
            message["Arn"] = {"DataType": "String.Array", "StringValue": json.dumps(arns)}
        return self.publish_raw(message, body)

    def publish_raw(self, attributes: dict[str, Any], body: str = "see attributes", *, wait: bool = True) -> str:
        """Publishes attributes as they are, for what no sensible publisher would send; `wait=False` leaves it running."""
        sns = self.bed.endpoints.client("sns", HUB)
        answer = sns.publish(TopicArn=self.outputs["TopicArn"], Message=body, MessageAttributes=attributes)
        if wait:
            self.bed.wait_for_delivery(answer["MessageId"])
        return str(answer["MessageId"])

    def contain(self, *arns: str, **attributes: str) -> str:
        """`publish` with the action `contain`."""
        return self.publish(*arns, action="contain", **attributes)

    def release(self, *arns: str, **attributes: str) -> str:
        """`publish` with the action `release`."""
        return self.publish(*arns, action="release", **attributes)

    def event(self, attributes: dict[str, str], message_id: str | None = None, at: str = "") -> dict[str, Any]:
        """The event that SNS would hand over, for copies of a message and for times of one's choice (ISO 8601)."""
        return sns_event(self.outputs["TopicArn"], attributes, message_id, at)

    def invoke(self, event: Any, *, asynchronously: bool = False) -> dict[str, Any]:
        """Hands an event to the function: `error` is its error type, if it failed. Asynchronously AWS's retries apply."""
        answer = self.bed.endpoints.client("lambda", HUB).invoke(
            FunctionName=self.outputs["FunctionName"],
            InvocationType="Event" if asynchronously else "RequestResponse",
            Payload=json.dumps(event).encode(),
        )
        text = answer["Payload"].read()
        payload = json.loads(text) if text else None
        failed = "FunctionError" in answer
        return {"status": answer["StatusCode"], "payload": payload, "error": payload.get("errorType") if failed else None}

    def processes(self) -> list[int]:
        """The ids of the function's own processes, which run below the emulator that the bed started."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes().split(b"\0")
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            name = f"AWS_LAMBDA_FUNCTION_NAME={self.outputs['FunctionName']}".encode()
            if parent == self.bed.emulator and name in environment:
                found.append(int(folder.name))
        return found

    def journal(self) -> list[dict[str, Any]]:
        """All items of the journal table, as DynamoDB types them."""
        table = self.bed.endpoints.client("dynamodb", HUB)
        pages = table.get_paginator("scan").paginate(TableName=self.outputs["JournalTableName"])
        return [item for page in pages for item in page["Items"]]

    def lapse(self, about: str) -> None:
        """Lets the leases of a process that is dead run out, as they would in half a minute, on the records of a name."""
        table = self.bed.endpoints.client("dynamodb", HUB)
        for item in self.journal():
            if "leaseUntil" in item and about in item["pk"]["S"]:
                table.update_item(
                    TableName=self.outputs["JournalTableName"], Key={"pk": item["pk"]},
                    UpdateExpression="SET leaseUntil = :past", ExpressionAttributeValues={":past": {"N": "0"}},
                )

    def dead_letter(self, seconds: float = 30.0) -> str:
        """The next message of the dead-letter queue, waiting for it."""
        sqs = self.bed.endpoints.client("sqs", HUB)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for message in sqs.receive_message(QueueUrl=self.outputs["DeadLetterQueueUrl"]).get("Messages", []):
                return str(message["Body"])
            time.sleep(0.2)
        raise TimeoutError(f"nothing in the dead-letter queue within {seconds:.0f} s")

    def calls_about(self, text: str, after: int = 0, **match: Any) -> list[dict[str, Any]]:
        """The function's calls that hold `text` in path or body, after a `proxy.mark()`; `match` as in `Proxy.calls`."""
        return [call for call in self.bed.proxy.calls(after, contains=text, **match) if text in call["text"]]


def sns_event(topic: str, attributes: dict[str, str], message_id: str | None = None, at: str = "") -> dict[str, Any]:
    """The event that Lambda gets for a message to a topic."""
    sns = {
        "Type": "Notification",
        "MessageId": message_id or str(uuid.uuid4()),
        "TopicArn": topic,
        "Subject": None,
        "Message": "see attributes",
        "Timestamp": at or _now(),
        "SignatureVersion": "1",
        "MessageAttributes": {name: {"Type": "String", "Value": value} for name, value in attributes.items()},
    }
    return {"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": "", "Sns": sns}]}


def _now() -> str:
    """Whole seconds, as the emulator stamps what is published: times of both kinds must compare."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def deploy_product(bed: Bed, package: Path, name: str = "entity-lockdown", **parameters: str) -> Product:
    """Deploys both templates for real; `parameters` are the hub template's. Several products live beside each other."""
    code = package.read_bytes()
    s3 = bed.endpoints.client("s3", HUB)
    bucket, key = f"{name}-code", f"{hashlib.sha256(code).hexdigest()[:16]}.zip"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key=key, Body=code)
    s3.put_object(Bucket=bucket, Key="hub.yaml", Body=(TEMPLATES / "entity-lockdown.yaml").read_bytes())
    role = f"Member-{name}"
    chosen = {
        "ExternalId": EXTERNAL_ID, "AuditEmail": "audit@example.com", "FailureEmail": "failure@example.com",
        "CodeBucket": bucket, "CodeKey": key, "MemberRoleName": role, "SettleSeconds": "2", "NamePrefix": name,
        # A watch at its own time would repair what a test has just undone: tests ask for it.
        "WatchMinutes": "0",
        **parameters,
    }
    hub = bed.endpoints.client("cloudformation", HUB)
    outputs = deploy_stack(hub, name, f"https://s3.amazonaws.com/{bucket}/hub.yaml", chosen)
    shared = {key: chosen[key] for key in ("InlineDeny", "FormerBoundaries") if key in chosen}
    member = bed.endpoints.client("cloudformation", MEMBER)
    deploy_stack(
        member, f"{name}-member", (TEMPLATES / "member-role.yaml").read_text(),
        {"FunctionRoleArn": outputs["FunctionRoleArn"], "MemberRoleName": role, **shared},
    )
    lead_to_proxy(bed, outputs["FunctionName"])
    topics = [outputs["AuditTopicArn"], outputs["FailureTopicArn"]]
    return Product(bed, outputs, f"arn:aws:iam::{MEMBER}:role/{role}", Mailbox(bed, f"{name}-mail", topics))


def lead_to_proxy(bed: Bed, function: str, **more: str) -> None:
    """Adds to the function's environment what the bed needs, and leaves the template's as it is.

    Waits until the update has ended: a process begun before that would be taken down in its midst.
    """
    client = bed.endpoints.client("lambda", HUB, REGION)
    variables = client.get_function_configuration(FunctionName=function).get("Environment", {}).get("Variables", {})
    client.update_function_configuration(
        FunctionName=function, Environment={"Variables": {**variables, **bed.function_environment(), **more}}
    )
    deadline = time.monotonic() + 30
    while client.get_function_configuration(FunctionName=function).get("LastUpdateStatus") == "InProgress":
        if time.monotonic() > deadline:
            raise TimeoutError(f"the update of {function} does not end")
        time.sleep(0.05)
