"""The watch: what somebody undoes after a containment is made again and said once; what belongs to the gone is cleared."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testbed.accounts import MEMBER
from testbed.bed import Bed
from testbed.instances import make_instance, make_vpc
from testbed.networks import make_fragile_instance, make_network
from testbed.product import EXTERNAL_ID, Product, deploy_product, lead_to_proxy
from testbed.self_check import DENY_ALL
from testbed.victims import make_function, make_role, make_user, unique
from testbed.watching import denials, until

WATCH = {"watch": True}


@pytest.fixture(scope="module")
def watching(bed: Bed, package: Path) -> Product:
    """A product whose open containments are these tests' own. Its schedule is off: the tests say when it looks."""
    return deploy_product(bed, package, unique("lockdown"), AccessKeys="deactivate")


def watch(product: Product) -> None:
    assert product.invoke(WATCH)["error"] is None


def undo(bed: Bed, user: str) -> None:
    """What an intruder with other credentials does first."""
    bed.endpoints.client("iam", MEMBER).detach_user_policy(UserName=user, PolicyArn=DENY_ALL)


def drifts(product: Product, about: str) -> list[Any]:
    return [notice for notice in product.mailbox.notices(about) if notice.stage == "Drifted"]


def test_a_deny_that_was_detached_is_attached_again_and_said_once_with_who_did_it(watching: Product, bed: Bed) -> None:
    user = make_user(bed.endpoints)
    before = user.state()
    watching.contain(user.arn)
    undo(bed, user.name)
    trail = {"Events": [
        {"EventId": "e-1", "EventName": "DetachUserPolicy", "ReadOnly": "false", "AccessKeyId": "AKIAMALLORY",
         "EventTime": time.time(), "Username": "mallory", "Resources": []},
        {"EventId": "e-2", "EventName": "AttachUserPolicy", "ReadOnly": "false", "EventTime": time.time(),
         "Username": "entity-lockdown-111111111111", "Resources": []},
    ]}
    with bed.proxy.rule(fault="lose", service="cloudtrail", action="LookupEvents", contains=user.name, body=json.dumps(trail)):
        watch(watching)
    [drifted] = drifts(watching, user.name)
    assert "attach AWSDenyAll" in drifted.json["summary"]
    assert "DetachUserPolicy by mallory with the key AKIAMALLORY" in drifted.mail
    assert "AttachUserPolicy by entity-lockdown" not in drifted.mail
    assert DENY_ALL in str(user.state())
    watch(watching)
    assert len(drifts(watching, user.name)) == 1
    watching.release(user.arn, ReactivateKeys="true")
    assert user.state() == before


def test_a_key_that_was_made_since_is_made_inactive_too(watching: Product, bed: Bed) -> None:
    user = make_user(bed.endpoints)
    watching.contain(user.arn)
    iam = bed.endpoints.client("iam", MEMBER)
    new = iam.create_access_key(UserName=user.name)["AccessKey"]["AccessKeyId"]
    watch(watching)
    states = {k["AccessKeyId"]: k["Status"] for k in iam.list_access_keys(UserName=user.name)["AccessKeyMetadata"]}
    assert set(states.values()) == {"Inactive"}
    [drifted] = drifts(watching, user.name)
    assert new in drifted.json["summary"]


def test_a_function_that_was_let_loose_is_stopped_again(watching: Product, bed: Bed) -> None:
    function = make_function(bed.endpoints, queue=True)
    watching.contain(function.arn)
    function.client().delete_function_concurrency(FunctionName=function.name)
    for mapping in function.mapping_states():
        function.client().update_event_source_mapping(UUID=mapping, Enabled=True)
    watch(watching)
    assert function.reserved() == 0 and set(function.mapping_states().values()) <= {"Disabled", "Disabling"}
    [drifted] = drifts(watching, function.name)
    assert drifted.json["stage"] == "Drifted"


def test_an_instance_is_isolated_and_cut_off_again(watching: Product, bed: Bed) -> None:
    network = make_network(bed.endpoints, acls="tiers")
    instance = make_fragile_instance(network, public=False)
    before = instance.state()
    watching.contain(instance.arn)
    ec2 = bed.endpoints.client("ec2", MEMBER)
    first, second = instance.interfaces
    isolation = instance.groups()[second][0]
    own = network.group()
    ec2.modify_network_interface_attribute(NetworkInterfaceId=first, Groups=[own])
    door = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "198.51.100.7/32"}]}]
    ec2.authorize_security_group_ingress(GroupId=isolation, IpPermissions=door)
    acl = network.acls().of(network.public)
    [entry] = [e for e in network.acls().entries(acl) if e.get("CidrBlock", "").startswith("10.0.2.") and not e["Egress"]]
    ec2.delete_network_acl_entry(NetworkAclId=acl, RuleNumber=entry["RuleNumber"], Egress=False)
    attached = ec2.create_network_interface(SubnetId=network.private[0], Groups=[own])["NetworkInterface"]["NetworkInterfaceId"]
    ec2.attach_network_interface(DeviceIndex=7, InstanceId=instance.id, NetworkInterfaceId=attached)
    watch(watching)
    [drifted] = drifts(watching, instance.id)
    for word in (first, attached, acl, "isolation group"):
        assert word in drifted.json["summary"], word
    assert instance.groups() == {interface: [isolation] for interface in instance.interfaces}
    found = ec2.describe_network_interfaces(NetworkInterfaceIds=[attached])["NetworkInterfaces"][0]
    assert [g["GroupId"] for g in found["Groups"]] == [isolation]
    assert not ec2.describe_security_groups(GroupIds=[isolation])["SecurityGroups"][0]["IpPermissions"]
    assert not any(network.flows_through(interface, network.nat_interface) for interface in instance.interfaces)
    watching.release(instance.arn)
    assert instance.state() == before


def test_what_holds_is_only_read(watching: Product, bed: Bed) -> None:
    role = make_role(bed.endpoints)
    watching.contain(role.arn)
    mark = bed.proxy.mark()
    watch(watching)
    about = watching.calls_about(role.name, mark)
    assert about and {call["action"] for call in about if call["service"] != "dynamodb"} <= {
        "GetRole", "ListAttachedRolePolicies", "GetRolePolicy", "GetAccountSummary",
    }
    assert not [call for call in about if call["service"] == "dynamodb" and call["action"] != "GetItem"]
    assert watching.mailbox.stages(role.name) == ["Started", "Contained"]


def test_what_can_not_be_locked_again_is_said_once(watching: Product, bed: Bed) -> None:
    user = make_user(bed.endpoints)
    watching.contain(user.arn)
    undo(bed, user.name)
    denied = {"fault": "refuse", "service": "iam", "status": 403, "code": "AccessDenied", "message": "a policy of the intruder's"}
    actions = ("AttachUserPolicy", "PutUserPolicy", "PutUserPermissionsBoundary")
    rules = [bed.proxy.add_rule(action=action, contains=user.name, **denied) for action in actions]
    try:
        watch(watching)
        watch(watching)
    finally:
        for rule in rules:
            bed.proxy.remove_rule(rule)
    [drifted] = drifts(watching, user.name)
    assert "could NOT be locked again" in drifted.json["summary"] and "AccessDenied" in drifted.mail
    watch(watching)
    assert DENY_ALL in str(user.state()), "the next run repairs what the last one could not"


def test_what_belongs_to_an_instance_that_is_gone_is_cleared(watching: Product, bed: Bed) -> None:
    network = make_network(bed.endpoints)
    instance = make_fragile_instance(network, public=False)
    acls = network.acls().state()
    watching.contain(instance.arn)
    assert network.acls().state() != acls
    ec2 = bed.endpoints.client("ec2", MEMBER)
    ec2.modify_instance_attribute(InstanceId=instance.id, DisableApiTermination={"Value": False})
    ec2.terminate_instances(InstanceIds=[instance.id])
    watch(watching)
    assert network.acls().state() == acls, "the next owner of its addresses is not cut off"
    assert watching.mailbox.stages(instance.id)[-1] == "Released"
    watch(watching)
    assert watching.mailbox.stages(instance.id).count("Released") == 1


@pytest.mark.parametrize("watched", [True, False], ids=["the next watch", "the release at once"])
def test_entries_that_a_dead_watch_has_made_again_are_removed_by_the_release(
    another: Callable[..., Product], bed: Bed, watched: bool
) -> None:
    product, network = another(NetworkAcl="always"), make_network(bed.endpoints, acls="tiers")
    instance = make_fragile_instance(network, public=False)
    before, acl = instance.state(), network.acls().of(network.public)
    product.contain(instance.arn)
    [lost] = [cidr for egress, cidr in denials(instance, acl) if not egress and cidr.startswith("10.0.2.")]
    number = denials(instance, acl)[False, lost][0]
    network.ec2().delete_network_acl_entry(NetworkAclId=acl, RuleNumber=number, Egress=False)
    with bed.proxy.rule(fault="delay", ms=3_000, service="ec2", action="DescribeNetworkAcls", contains=acl):
        threading.Thread(target=product.invoke, args=(WATCH,)).start()
        until(lambda: (False, lost) in denials(instance, acl), 60, "the entry is made again")
        for process in product.processes():
            os.kill(process, signal.SIGKILL)
    product.lapse(instance.id)
    if watched:
        watch(product)
    product.release(instance.arn)
    assert product.mailbox.stages(instance.id)[-1] == "Released" and instance.state() == before


def test_a_containment_under_way_is_left_alone(another: Callable[..., Product], bed: Bed) -> None:
    product = another(SettleSeconds="5")
    instance = make_instance(bed.endpoints, make_vpc(bed.endpoints))
    thread = threading.Thread(target=product.contain, args=(instance.arn,))
    thread.start()
    while "Started" not in product.mailbox.stages(instance.id):
        time.sleep(0.1)
    watch(product)
    thread.join()
    assert product.mailbox.stages(instance.id) == ["Started", "Contained"]


def test_a_watched_identity_that_undoes_it_at_once_is_locked_again_within_the_invocation(
    another: Callable[..., Product], bed: Bed
) -> None:
    product = another()
    lead_to_proxy(bed, product.outputs["FunctionName"], CONFIRM_MILLISECONDS="3000")
    user = make_user(bed.endpoints)
    thread = threading.Thread(target=product.contain, args=(user.arn,))
    thread.start()
    while "Contained" not in product.mailbox.stages(user.name):
        time.sleep(0.05)
    undo(bed, user.name)
    thread.join()
    assert product.mailbox.stages(user.name) == ["Started", "Contained", "Drifted"]
    assert not user.allowed()


def test_only_the_constant_input_of_the_rule_is_a_watch(watching: Product) -> None:
    for event in ({"watch": "true"}, {"watch": True, "more": 1}):
        assert watching.invoke(event)["error"] == "NotAnSnsEvent"


def test_the_schedule_is_deployed_and_can_be_turned_off(another: Callable[..., Product], bed: Bed) -> None:
    on, off = another(WatchMinutes="60"), another(WatchMinutes="0")
    events = bed.endpoints.client("events", "111111111111")
    targets = [
        t["Arn"] for rule in events.list_rules()["Rules"] if rule.get("ScheduleExpression") == "rate(60 minutes)"
        for t in events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
    ]
    assert any(on.outputs["FunctionName"] in target for target in targets)
    assert not any(off.outputs["FunctionName"] in target for target in targets)
    assert EXTERNAL_ID not in str(events.list_rules())


# --- What the identity had made -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tracing(bed: Bed, package: Path) -> Product:
    """A product that asks CloudTrail soon after a containment, and not after twenty minutes."""
    product = deploy_product(bed, package, unique("lockdown"))
    lead_to_proxy(bed, product.outputs["FunctionName"], TRACE_MILLISECONDS="1000", CONFIRM_MILLISECONDS="100")
    return product


def change(name: str, identity: dict[str, Any], answer: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A change as CloudTrail's LookupEvents tells it."""
    detail = {"eventName": name, "recipientAccountId": MEMBER, "userIdentity": identity, "responseElements": answer, **more}
    return {"EventId": f"e-{name}-{len(str(answer))}", "EventName": name, "ReadOnly": "false", "AccessKeyId": "AKIASTOLEN",
            "EventTime": time.time(), "Username": "x", "Resources": [], "CloudTrailEvent": json.dumps(detail)}


def traces(product: Product, about: str) -> list[Any]:
    return [notice for notice in product.mailbox.notices(about) if notice.stage == "Notified"]


@pytest.mark.parametrize("kind", ["user", "role"])
def test_what_an_identity_made_before_its_deny_held_is_named_once(tracing: Product, bed: Bed, kind: str) -> None:
    if kind == "user":
        victim: Any = make_user(bed.endpoints)
        identity = {"type": "IAMUser", "arn": victim.arn}
    else:
        victim = make_role(bed.endpoints)
        identity = {"type": "AssumedRole", "sessionContext": {"sessionIssuer": {"arn": victim.arn}}}
    other = {"type": "IAMUser", "arn": f"arn:aws:iam::{MEMBER}:user/somebody"}
    tracing.contain(victim.arn)
    time.sleep(1.5)
    made = f"arn:aws:iam::{MEMBER}:user/mallory"
    trail = {"Events": [
        change("CreateUser", identity, {"user": {"arn": made}}),
        change("CreateUser", other, {"user": {"arn": f"arn:aws:iam::{MEMBER}:user/wanted"}}),
        change("AttachUserPolicy", identity, {}, errorCode="AccessDenied"),
    ]}
    refused = {"fault": "refuse", "service": "cloudtrail", "action": "LookupEvents", "status": 403, "code": "AccessDenied"}
    with bed.proxy.rule(**refused):
        watch(tracing)
    assert not traces(tracing, victim.name), "what could not be asked is asked again"
    with bed.proxy.rule(fault="lose", service="cloudtrail", action="LookupEvents", body=json.dumps(trail)):
        untaken = {"fault": "refuse", "service": "sns", "status": 403, "code": "AuthorizationError", "message": "no"}
        with bed.proxy.rule(action="Publish", contains=victim.name, **untaken):
            watch(tracing)
        assert not traces(tracing, victim.name)
        watch(tracing)
        watch(tracing)
    [notice] = traces(tracing, victim.name)
    assert notice.json["traces"] and "CreateUser" in notice.json["traces"][0]
    assert len(notice.json["traces"]) == 1
    assert f"--entity-arn '{made}'" in notice.mail and "wanted" not in notice.mail
    assert tracing.mailbox.on_topic(tracing.outputs["FailureTopicArn"], victim.name)
    tracing.release(victim.arn)
    assert victim.allowed()


def test_an_identity_that_made_nothing_is_not_told_of(tracing: Product, bed: Bed) -> None:
    user = make_user(bed.endpoints)
    tracing.contain(user.arn)
    time.sleep(1.5)
    with bed.proxy.rule(fault="lose", service="cloudtrail", action="LookupEvents", body=json.dumps({"Events": []})):
        watch(tracing)
    mark = bed.proxy.mark()
    watch(tracing)
    assert not traces(tracing, user.name)
    assert not tracing.calls_about(user.name, mark, service="cloudtrail")
