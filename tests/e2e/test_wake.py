"""Nothing is opened without a way back: the wake-up is stored first, finishes what a dead invocation left, and says nothing twice."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from testbed.accounts import MEMBER
from testbed.bed import Bed
from testbed.instances import Instance, Vpc, make_instance, make_vpc
from testbed.product import EXTERNAL_ID, Product
from testbed.victims import make_user

SETTLE = 10
LEASE = 30
"""Seconds after which the record of a dead holder is free: a wake-up comes so long after the settle."""


@pytest.fixture
def vpc(bed: Bed) -> Vpc:
    """A VPC that nobody else uses."""
    return make_vpc(bed.endpoints)


@pytest.fixture
def settling(another: Callable[..., Product]) -> Product:
    """A product whose processes nobody else uses, with a settle that is long enough to die in."""
    return another(SettleSeconds=str(SETTLE))


def calls(product: Product, mark: int, **match: str) -> list[dict[str, Any]]:
    return product.bed.proxy.calls(mark, **match)


def swaps(product: Product, interface: str, mark: int) -> list[dict[str, Any]]:
    """The calls that gave an interface other groups."""
    found = calls(product, mark, service="ec2", action="ModifyNetworkInterfaceAttribute")
    return [call for call in found if interface in call["text"] and "SecurityGroupId.1" in call["params"]]


def stored_for_the_settle(product: Product, instance: Instance, mark: int) -> list[dict[str, Any]]:
    """The wake-ups that come after the settle; those of the work itself come earlier."""
    found = calls(product, mark, service="sqs", action="SendMessage")
    return [call for call in found if instance.id in call["text"] and call["params"]["DelaySeconds"] == str(2 + LEASE)]


def until(holds: Callable[[], bool], seconds: float, what: str) -> float:
    """Waits until something holds; how long that took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)
    return time.monotonic() - began


def isolated(bed: Bed, instance: Instance) -> bool:
    """Whether every interface is in a group of ours without any rule, and in no other."""
    ec2 = bed.endpoints.client("ec2", MEMBER)
    groups = {group for groups in instance.groups().values() for group in groups}
    found = ec2.describe_security_groups(GroupIds=sorted(groups))["SecurityGroups"]
    return all(
        not g["IpPermissions"] and not g["IpPermissionsEgress"]
        and {"Key": "entity-lockdown", "Value": "isolation"} in g.get("Tags", [])
        for g in found
    )


def contain_in_background(product: Product, instance: Instance) -> threading.Thread:
    """Publishes, and doesn't wait: the work may never end."""
    thread = threading.Thread(
        target=lambda: product.publish_raw(
            {
                "Arn": {"DataType": "String", "StringValue": instance.arn},
                "ExternalId": {"DataType": "String", "StringValue": "correct-horse-battery-staple"},
            },
            wait=False,
        )
    )
    thread.start()
    return thread


def test_a_wake_up_is_stored_before_any_interface_is_opened(product: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc, interfaces=2)
    mark = bed.proxy.mark()
    product.contain(instance.arn)
    [stored] = stored_for_the_settle(product, instance, mark)
    assert stored["status"] == 200
    opened = [call for interface in instance.interfaces for call in swaps(product, interface, mark)]
    assert opened and all(stored["end_ms"] <= call["start_ms"] for call in opened)
    assert "correct-horse" not in stored["text"]


def test_a_function_that_dies_in_the_settle_leaves_no_open_instance(settling: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc, interfaces=2)
    before, mark = instance.state(), bed.proxy.mark()
    contain_in_background(settling, instance).join()
    until(lambda: all(swaps(settling, interface, mark) for interface in instance.interfaces), 30, "opened")
    for process in settling.processes():
        os.kill(process, signal.SIGKILL)
    assert not isolated(bed, instance)
    took = until(lambda: isolated(bed, instance), SETTLE + 60, "isolated by another invocation")
    print(f"isolated {took:.0f} s after the process had died in a settle of {SETTLE} s")
    until(lambda: settling.mailbox.stages(instance.id)[-1:] == ["Contained"], 30, "the final notice")
    assert settling.mailbox.stages(instance.id) == ["Started", "Contained"]
    settling.release(instance.arn)
    assert instance.state() == before and instance.allowed()


def test_without_a_wake_up_nothing_is_opened_and_isolation_comes_at_once(product: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc, interfaces=2)
    before, mark = instance.state(), bed.proxy.mark()
    refused = {"status": 403, "code": "AccessDenied", "message": "no"}
    with bed.proxy.rule(fault="refuse", service="sqs", action="SendMessage", contains=instance.id, **refused):
        product.contain(instance.arn)
    notice = product.mailbox.notices(instance.id)[-1]
    assert notice.stage == "Partial" and "no wake-up could be stored" in notice.mail and "AccessDenied" in notice.mail
    assert isolated(bed, instance)
    assert all(len(swaps(product, interface, mark)) == 1 for interface in instance.interfaces)
    # Isolated as it is, it is never opened again: it stays partial, and says why.
    product.contain(instance.arn)
    assert product.mailbox.notices(instance.id)[-1].stage == "Partial"
    assert all(len(swaps(product, interface, mark)) == 1 for interface in instance.interfaces)
    product.release(instance.arn)
    assert instance.state() == before


def test_a_wake_up_for_what_was_carried_out_changes_and_says_nothing(product: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc)
    mark = bed.proxy.mark()
    product.contain(instance.arn)
    [stored] = stored_for_the_settle(product, instance, mark)
    wake = {"Records": [{"eventSource": "aws:sqs", "messageId": "m", "body": stored["params"]["MessageBody"]}]}
    mark = bed.proxy.mark()
    assert product.invoke(wake)["error"] is None
    assert {call["service"] for call in product.calls_about(instance.id, mark)} <= {"dynamodb"}
    assert product.mailbox.stages(instance.id) == ["Started", "Contained"]


def test_a_forged_wake_up_does_nothing(product: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc)
    before = instance.state()
    key = f"aws/{MEMBER}/us-east-1/ec2-instance/{instance.id}"
    for body in (
        json.dumps({"record": key, "containment": "0123456789abcdef", "message": "m1"}),
        json.dumps({"Arn": instance.arn}),
        "nonsense",
    ):
        wake = {"Records": [{"eventSource": "aws:sqs", "messageId": "m", "body": body}]}
        assert product.invoke(wake)["error"] is None
    assert instance.state() == before and product.mailbox.stages(instance.id) == []


def test_the_last_wake_up_is_delivered_again_until_its_record_can_be_read(product: Product) -> None:
    broken = {"status": 500, "code": "InternalServerError", "message": "no"}
    for after, ends in ((39, True), (40, False)):
        wake = {"record": f"aws/{MEMBER}/us-east-1/ec2-instance/i-{after}", "containment": "0123456789abcdef", "message": "m1", "after": after}
        event = {"Records": [{"eventSource": "aws:sqs", "messageId": "m", "body": json.dumps(wake)}]}
        with product.bed.proxy.rule(fault="refuse", service="dynamodb", action="GetItem", contains=wake["record"], **broken):
            error = product.invoke(event)["error"]
        assert (error is None) == ends, "a wake-up that stores no other must fail, or SQS takes it for done"
        # Nothing is left to do once the record can be read and isn't there.
        assert product.invoke(event)["error"] is None


@pytest.mark.parametrize(
    ("action", "call", "stage"), [("contain", "AttachUserPolicy", "Partial"), ("release", "DetachUserPolicy", "Partial")]
)
def test_wake_ups_that_fail_tell_what_is_not_done_when_no_delivery_is_left_to(
    product: Product, bed: Bed, action: str, call: str, stage: str
) -> None:
    user = make_user(bed.endpoints)
    if action == "release":
        product.contain(user.arn)
    mark = bed.proxy.mark()
    broken = {"status": 500, "code": "ServiceFailure", "message": "try again"}
    with bed.proxy.rule(fault="refuse", service="iam", action=call, contains=user.name, **broken):
        # The one delivery that there is: those after it found a wake-up at work, and left the message to it.
        event = product.event({"Arn": user.arn, "Action": action, "ExternalId": EXTERNAL_ID})
        assert product.invoke(event)["error"] == "RetryCanHelp"
        stored = product.calls_about(user.name, mark, service="sqs", action="SendMessage")
        assert len(stored) == 1
        wake = json.loads(stored[-1]["params"]["MessageBody"])
        for after, expected in ((7, []), (8, [stage]), (9, [])):
            told, mark = len(product.mailbox.stages(user.name)), bed.proxy.mark()
            body = json.dumps({**wake, "after": after})
            # Its own successor is stored, and comes for what is left: none of them is to fail.
            assert product.invoke({"Records": [{"eventSource": "aws:sqs", "messageId": "m", "body": body}]})["error"] is None
            stages = product.mailbox.stages(user.name)[told:]
            assert [said for said in stages if said != "Started"] == expected, after
            # One for one: if each began another row of them, they would be a flood within minutes. The delivery's own is on its way.
            stored = product.calls_about(user.name, mark, service="sqs", action="SendMessage")
            numbers = [json.loads(call["params"]["MessageBody"])["after"] for call in stored]
            assert numbers.count(after + 1) == 1 and 0 not in numbers
        if action == "contain":
            # An intruder who calls the same so often that nobody else comes through gains nothing.
            assert not user.allowed()
        # The last delivery of all has nothing to add, and leaves it to the wake-ups: nothing is mailed twice.
        told = len(product.mailbox.stages(user.name))
        for _ in range(2):
            assert product.invoke(event)["error"] == "RetryCanHelp"
        assert product.mailbox.stages(user.name)[told:] == []
    notice = product.mailbox.notices(user.name)[-1]
    assert call in notice.mail and "ServiceFailure" in notice.mail
    # Told is not given up: as soon as it can be done, it is.
    body = json.dumps({**wake, "after": 10})
    assert product.invoke({"Records": [{"eventSource": "aws:sqs", "messageId": "m", "body": body}]})["error"] is None
    assert product.mailbox.stages(user.name)[-1] == {"contain": "Contained", "release": "Released"}[action]
    assert user.allowed() == (action == "release")
    product.release(user.arn)
    assert user.allowed()


def test_a_wake_up_for_what_a_newer_request_has_overtaken_is_the_last(product: Product, bed: Bed) -> None:
    user, mark = make_user(bed.endpoints), bed.proxy.mark()
    broken = {"status": 500, "code": "ServiceFailure", "message": "try again"}
    with bed.proxy.rule(fault="refuse", service="iam", action="AttachUserPolicy", contains=user.name, **broken):
        event = product.event({"Arn": user.arn, "Action": "contain", "ExternalId": EXTERNAL_ID})
        assert product.invoke(event)["error"] == "RetryCanHelp"
    wake = product.calls_about(user.name, mark, service="sqs", action="SendMessage")[-1]["params"]["MessageBody"]
    product.release(user.arn)
    mark = bed.proxy.mark()
    for _ in range(2):
        assert product.invoke({"Records": [{"eventSource": "aws:sqs", "messageId": "m", "body": wake}]})["error"] is None
    assert product.mailbox.stages(user.name)[-2:] == ["Released", "Refused"] and user.allowed()
    assert not product.calls_about(user.name, mark, service="sqs", action="SendMessage")


def test_an_interface_that_is_attached_in_the_settle_is_isolated_too(settling: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc)
    own, mark = vpc.group(), bed.proxy.mark()
    contain_in_background(settling, instance).join()
    until(lambda: bool(swaps(settling, instance.interfaces[0], mark)), 30, "opened")
    ec2 = bed.endpoints.client("ec2", MEMBER)
    new = ec2.create_network_interface(SubnetId=vpc.subnet, Groups=[own])["NetworkInterface"]["NetworkInterfaceId"]
    ec2.attach_network_interface(DeviceIndex=1, InstanceId=instance.id, NetworkInterfaceId=new)
    until(lambda: settling.mailbox.stages(instance.id)[-1:] == ["Contained"], 60, "contained")
    notice = settling.mailbox.notices(instance.id)[-1]
    groups = lambda: [g["GroupId"] for g in ec2.describe_network_interfaces(NetworkInterfaceIds=[new])["NetworkInterfaces"][0]["Groups"]]  # noqa: E731
    assert groups() == instance.groups()[instance.interfaces[0]] and isolated(bed, instance)
    assert new in notice.mail
    settling.release(instance.arn)
    assert groups() == [own]


def test_an_interface_that_is_gone_in_the_middle_keeps_nothing_from_being_contained(
    settling: Product, bed: Bed, vpc: Vpc
) -> None:
    instance = make_instance(bed.endpoints, vpc, interfaces=2)
    lost, mark = instance.interfaces[1], bed.proxy.mark()
    contain_in_background(settling, instance).join()
    until(lambda: bool(swaps(settling, lost, mark)), 30, "opened")
    ec2 = bed.endpoints.client("ec2", MEMBER)
    found = ec2.describe_network_interfaces(NetworkInterfaceIds=[lost])["NetworkInterfaces"][0]
    ec2.detach_network_interface(AttachmentId=found["Attachment"]["AttachmentId"], Force=True)
    ec2.delete_network_interface(NetworkInterfaceId=lost)
    until(lambda: settling.mailbox.stages(instance.id)[-1:] == ["Contained"], 60, "contained")
    settling.release(instance.arn)
    released = settling.mailbox.notices(instance.id)[-1]
    assert released.stage == "Released" and "no longer exists" in released.mail
