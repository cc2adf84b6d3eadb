"""The bed's own truths about queues that wake a function: the delay, the key, and the role that must be allowed to read."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testbed.accounts import HUB
from testbed.bed import Bed
from testbed.callers import refusal, session_through_proxy, through_proxy
from testbed.victims import ADMIN, Role, make_role, unique
from testbed.zip import write_package

READ = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
SLEEPER = f"""#!{sys.executable} -IS
import os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(api + "next") as event:
        request, body = event.headers["Lambda-Runtime-Aws-Request-Id"], event.read()
    with open(os.environ["EVENTS"], "ab") as events:
        events.write(body + b"\\n")
    urllib.request.urlopen(urllib.request.Request(api + request + "/response", b"null")).close()
"""


class Sleeper:
    """A function of the hub, and a queue with a key of the customer's that is to wake it."""

    def __init__(self, bed: Bed, folder: Path) -> None:
        self.bed, self.name, self.events_file = bed, unique("sleeper"), folder / "events"
        self.role = make_role(bed.endpoints, HUB)
        self.iam, self.client = bed.endpoints.client("iam", HUB), bed.endpoints.client("lambda", HUB)
        self.iam.detach_role_policy(RoleName=self.role.name, PolicyArn=ADMIN)
        script = folder / "script"
        script.write_text(SLEEPER)
        self.client.create_function(
            FunctionName=self.name, Runtime="provided.al2023", Handler="bootstrap", Role=self.role.arn, Timeout=10,
            Code={"ZipFile": write_package(script, folder / "sleeper.zip").read_bytes()},
            Environment={"Variables": {"EVENTS": str(self.events_file)}},
        )
        key = bed.endpoints.client("kms", HUB).create_key()["KeyMetadata"]["Arn"]
        self.sqs = bed.endpoints.client("sqs", HUB)
        self.url = self.sqs.create_queue(QueueName=self.name, Attributes={"KmsMasterKeyId": key})["QueueUrl"]
        self.arn = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def allow(self, *actions: str) -> Role:
        """The role may do this and nothing else."""
        document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}
        self.iam.put_role_policy(RoleName=self.role.name, PolicyName="all", PolicyDocument=json.dumps(document))
        return self.role

    def map(self) -> str:
        """Makes the mapping; returns AWS's reason if it is refused."""
        try:
            self.client.create_event_source_mapping(FunctionName=self.name, EventSourceArn=self.arn, BatchSize=1)
        except self.client.exceptions.InvalidParameterValueException as error:
            return str(error.response["Error"]["Message"])
        return ""

    def events(self) -> list[dict[str, Any]]:
        """What it was woken with."""
        return [json.loads(line) for line in self.events_file.read_text().splitlines()] if self.events_file.is_file() else []

    def waiting(self) -> int:
        """How many messages the queue holds, those delayed and those under way included."""
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])["Attributes"]
        return sum(int(attributes[f"ApproximateNumberOfMessages{kind}"]) for kind in ("", "Delayed", "NotVisible"))

    def wait(self, number: int, seconds: float = 15.0) -> float:
        """Seconds until it has been woken so often."""
        start = time.monotonic()
        while len(self.events()) < number:
            assert time.monotonic() - start < seconds, f"woken {len(self.events())} times, not {number}"
            time.sleep(0.02)
        return time.monotonic() - start

    def sender(self) -> Any:
        """SQS with the role's own session, through the proxy."""
        return through_proxy(self.bed, "sqs", session_through_proxy(self.bed, self.role))


@pytest.fixture
def sleeper(bed: Bed, tmp_path: Path) -> Callable[[], Sleeper]:
    """Makes one."""
    return lambda: Sleeper(bed, tmp_path)


def test_a_delayed_message_wakes_a_function_when_the_delay_is_over(sleeper: Callable[[], Sleeper]) -> None:
    one = sleeper()
    one.allow(*READ, "sqs:SendMessage", "kms:Decrypt", "kms:GenerateDataKey")
    assert one.map() == ""
    sent = one.sender().send_message(QueueUrl=one.url, MessageBody='{"wake": "up"}', DelaySeconds=2)
    assert 1.9 <= one.wait(1, 30) <= 20
    [record] = one.events()[0]["Records"]
    assert (record["eventSource"], record["eventSourceARN"], record["body"]) == ("aws:sqs", one.arn, '{"wake": "up"}')
    assert record["messageId"] == sent["MessageId"] and record["attributes"]["ApproximateReceiveCount"] == "1"
    deadline = time.monotonic() + 30
    while one.waiting():
        assert time.monotonic() < deadline, "what was handled well leaves the queue"


def test_a_mapping_needs_a_role_that_may_read_the_queue_and_use_its_key(sleeper: Callable[[], Sleeper]) -> None:
    one, reasons = sleeper(), []
    for actions in (["iam:GetRole"], READ[:1], READ[:2], READ, [*READ, "kms:Decrypt"]):
        one.allow(*actions)
        reasons.append(one.map())
    lacks = "The provided execution role does not have permissions to call"
    assert reasons == [
        f"{lacks} ReceiveMessage on SQS", f"{lacks} DeleteMessage on SQS", f"{lacks} GetQueueAttributes on SQS",
        f"{lacks} Decrypt on KMS", "",
    ]


def test_a_mapping_needs_a_visibility_timeout_not_shorter_than_the_functions_own(sleeper: Callable[[], Sleeper]) -> None:
    one = sleeper()
    one.allow(*READ, "kms:Decrypt")
    one.sqs.set_queue_attributes(QueueUrl=one.url, Attributes={"VisibilityTimeout": "9"})
    assert one.map() == "Queue visibility timeout: 9 seconds is less than Function timeout: 10 seconds"


def test_a_role_that_may_no_longer_read_gets_no_messages_until_it_may(sleeper: Callable[[], Sleeper]) -> None:
    one = sleeper()
    one.allow(*READ, "kms:Decrypt")
    one.map()
    one.allow("kms:Decrypt")
    one.sqs.send_message(QueueUrl=one.url, MessageBody="later")
    time.sleep(2)
    assert one.events() == []
    one.allow(*READ, "kms:Decrypt")
    one.wait(1)


def test_sending_to_an_encrypted_queue_needs_the_key(sleeper: Callable[[], Sleeper]) -> None:
    one, codes = sleeper(), []
    for actions in ([], ["kms:GenerateDataKey"], ["kms:GenerateDataKey", "kms:Decrypt"]):
        one.allow("sqs:SendMessage", *actions)
        codes.append(refusal(one.sender().send_message, QueueUrl=one.url, MessageBody="m"))
    assert codes == ["KmsAccessDenied", "KmsAccessDenied", ""]


@pytest.mark.parametrize(("rule", "code"), [
    ({"fault": "lose"}, ""),
    ({"fault": "refuse", "status": 403, "code": "AccessDenied"}, "AccessDenied"),
    ({"fault": "throttle"}, "Throttling"),
])
def test_a_wake_up_can_be_lost_refused_and_throttled(
    bed: Bed, sleeper: Callable[[], Sleeper], rule: dict[str, Any], code: str
) -> None:
    one = sleeper()
    one.allow("sqs:SendMessage", "kms:*")
    body = unique("wake")
    with bed.proxy.rule(service="sqs", action="SendMessage", contains=body, **rule):
        assert refusal(one.sender().send_message, QueueUrl=one.url, MessageBody=body, DelaySeconds=1) == code
    assert one.waiting() == 0


def test_a_wake_up_can_be_held_back(bed: Bed, sleeper: Callable[[], Sleeper]) -> None:
    one = sleeper()
    one.allow("sqs:SendMessage", "kms:*")
    with bed.proxy.rule(fault="delay", service="sqs", action="SendMessage", contains=one.name, ms=300):
        start = time.monotonic()
        one.sender().send_message(QueueUrl=one.url, MessageBody="m")
        assert time.monotonic() - start >= 0.3 and one.waiting() == 1
    with bed.proxy.rule(fault="lose", service="sqs", action="SendMessage", contains=one.name):
        assert one.sender().send_message(QueueUrl=one.url, MessageBody="m")["MessageId"], "a lost one looks like a sent one"
    assert one.waiting() == 1
