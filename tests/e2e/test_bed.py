"""The bed's own truths: what the other tests rest on."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from testbed.accounts import HUB, MEMBER
from testbed.bed import Bed
from testbed.callers import limited_role, refusal, session_through_proxy, through_proxy
from testbed.clients import Credentials
from testbed.instances import Instance, make_instance, make_vpc
from testbed.product import lead_to_proxy
from testbed.self_check import DENY_ALL
from testbed.victims import ADMIN, allowed, make_function, make_role, make_user, unique
from testbed.zip import write_package


@pytest.fixture(scope="module")
def instance(bed: Bed) -> Instance:
    """One with three interfaces."""
    return make_instance(bed.endpoints, interfaces=3)


# --- IAM ---------------------------------------------------------------------------------------------------------------


def test_aws_deny_all_denies_a_user_a_role_and_sessions_made_before(bed: Bed) -> None:
    iam, user, role = bed.endpoints.client("iam", MEMBER), make_user(bed.endpoints), make_role(bed.endpoints, path="/a/b/")
    before = role.session()
    assert user.allowed() and role.allowed(before)
    iam.attach_user_policy(UserName=user.name, PolicyArn=DENY_ALL)
    iam.attach_role_policy(RoleName=role.name, PolicyArn=DENY_ALL)
    assert not user.allowed() and not role.allowed(before) and not role.allowed()
    iam.detach_role_policy(RoleName=role.name, PolicyArn=DENY_ALL)
    assert role.allowed(before)


def test_deny_all_as_a_boundary_denies(bed: Bed) -> None:
    user = make_user(bed.endpoints)
    bed.endpoints.client("iam", MEMBER).put_user_permissions_boundary(UserName=user.name, PermissionsBoundary=DENY_ALL)
    assert not user.allowed()


def test_attaching_can_be_limited_to_one_policy(bed: Bed) -> None:
    role = limited_role(bed, {
        "Effect": "Allow", "Action": ["iam:AttachUserPolicy", "iam:DetachUserPolicy"], "Resource": "*",
        "Condition": {"ArnEquals": {"iam:PolicyARN": DENY_ALL}},
    })
    iam, victim = bed.endpoints.client("iam", role.session()), make_user(bed.endpoints)
    assert refusal(iam.attach_user_policy, UserName=victim.name, PolicyArn=DENY_ALL) == ""
    assert refusal(iam.detach_user_policy, UserName=victim.name, PolicyArn=DENY_ALL) == ""
    assert refusal(iam.attach_user_policy, UserName=victim.name, PolicyArn=ADMIN) == "AccessDenied"


def test_boundaries_can_be_limited_and_a_foreign_one_not_be_taken_off(bed: Bed) -> None:
    role = limited_role(bed, {
        "Effect": "Allow", "Action": ["iam:PutUserPermissionsBoundary", "iam:DeleteUserPermissionsBoundary"],
        "Resource": "*", "Condition": {"ArnEquals": {"iam:PermissionsBoundary": DENY_ALL}},
    })
    iam, victim = bed.endpoints.client("iam", role.session()), make_user(bed.endpoints)
    assert refusal(iam.put_user_permissions_boundary, UserName=victim.name, PermissionsBoundary=ADMIN) == "AccessDenied"
    assert refusal(iam.put_user_permissions_boundary, UserName=victim.name, PermissionsBoundary=DENY_ALL) == ""
    assert refusal(iam.delete_user_permissions_boundary, UserName=victim.name) == ""
    root = bed.endpoints.client("iam", MEMBER)
    root.put_user_permissions_boundary(UserName=victim.name, PermissionsBoundary=ADMIN)
    assert refusal(iam.delete_user_permissions_boundary, UserName=victim.name) == "AccessDenied"


@pytest.mark.parametrize("condition", [
    {"ArnEquals": {"ec2:SourceInstanceARN": f"arn:aws:ec2:us-east-1:{MEMBER}:instance/i-0000000000000001"}},
    {"StringLike": {"aws:userid": "*:i-0000000000000001"}},
])
def test_a_deny_for_one_instance_leaves_the_others_of_its_role(bed: Bed, condition: dict[str, Any]) -> None:
    role = make_role(bed.endpoints)
    document = {"Version": "2012-10-17",
                "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition}}
    bed.endpoints.client("iam", MEMBER).put_role_policy(
        RoleName=role.name, PolicyName="one", PolicyDocument=json.dumps(document)
    )
    assert not role.allowed(role.session("i-0000000000000001"))
    assert role.allowed(role.session("i-0000000000000002"))


def test_a_trust_can_name_a_role_by_its_arn_and_lets_no_other_in(bed: Bed) -> None:
    named, other = make_role(bed.endpoints, HUB, path="/service-role/"), make_role(bed.endpoints, HUB)
    trust = {"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{HUB}:root"}, "Action": "sts:AssumeRole",
        "Condition": {"ArnEquals": {"aws:PrincipalArn": named.arn}},
    }}
    name = unique("member")
    member = bed.endpoints.client("iam", MEMBER).create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    codes = [
        refusal(bed.endpoints.client("sts", role.session()).assume_role, RoleArn=member["Role"]["Arn"], RoleSessionName="hub")
        for role in (named, other)
    ]
    assert codes == ["", "AccessDenied"]


def test_an_inactive_key_is_refused(bed: Bed) -> None:
    user = make_user(bed.endpoints)
    key = user.credentials.access_key_id
    bed.endpoints.client("iam", MEMBER).update_access_key(UserName=user.name, AccessKeyId=key, Status="Inactive")
    with pytest.raises(ClientError):
        allowed(bed.endpoints, user.credentials)


# --- Lambda ------------------------------------------------------------------------------------------------------------


def test_concurrency_0_stops_a_function(bed: Bed) -> None:
    function, client = make_function(bed.endpoints), bed.endpoints.client("lambda", MEMBER)
    assert function.allowed()
    client.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
    assert not function.allowed()


CANARY = f"""#!{sys.executable} -I
import json, os, ssl, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
trust = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
while True:
    with urllib.request.urlopen(api + "next") as event:
        request, body = event.headers["Lambda-Runtime-Aws-Request-Id"], json.load(event)
    with urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + "/_proxy/rules", context=trust) as answer:
        answer.read()
    seen = json.dumps({{"event": body, "environment": sorted(os.environ), "extra": os.environ["EXTRA"]}})
    urllib.request.urlopen(urllib.request.Request(api + request + "/response", seen.encode())).close()
"""


def test_a_function_sees_its_own_environment_only_and_reaches_the_proxy_over_tls(bed: Bed, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(CANARY)
    client, name = bed.endpoints.client("lambda", HUB), unique("canary")
    client.create_function(
        FunctionName=name, Runtime="provided.al2023", Handler="bootstrap", Role=make_role(bed.endpoints, HUB).arn,
        Code={"ZipFile": write_package(script, tmp_path / "canary.zip").read_bytes()}, Timeout=10,
    )
    lead_to_proxy(bed, name, EXTRA="kept")
    answer = client.invoke(FunctionName=name, Payload=b'{"hello": 1}')
    seen = json.loads(answer["Payload"].read())
    assert seen["event"] == {"hello": 1} and seen["extra"] == "kept"
    inherited = {name for name in seen["environment"] if "PYTHON" in name or "MOTO" in name or "VIRTUAL" in name}
    assert inherited == set()


# --- The proxy: what AWS refuses and the emulators accept ---------------------------------------------------------------


@pytest.mark.parametrize(("subject", "code"), [
    ("x" * 99, ""), ("x" * 100, "InvalidParameter"), ("two\nlines", "InvalidParameter"), ("naïve", "InvalidParameter"),
])
def test_sns_takes_99_printable_ascii_characters_for_a_subject(bed: Bed, subject: str, code: str) -> None:
    topic = bed.endpoints.client("sns", HUB).create_topic(Name=unique("topic"))["TopicArn"]
    publish = through_proxy(bed, "sns", HUB).publish
    assert refusal(publish, TopicArn=topic, Subject=subject, Message="m") == code


def test_an_interface_takes_one_attribute_a_call(bed: Bed, instance: Instance) -> None:
    modify, eni = through_proxy(bed, "ec2", MEMBER).modify_network_interface_attribute, instance.interfaces[0]
    groups = instance.groups()[eni]
    both = {"Groups": groups, "ConnectionTrackingSpecification": {"UdpTimeout": 30}}
    assert refusal(modify, NetworkInterfaceId=eni, **both) == "InvalidParameterCombination"
    assert refusal(modify, NetworkInterfaceId=eni, Groups=groups) == ""


def test_an_interface_takes_no_missing_group_and_none_of_another_vpc(bed: Bed, instance: Instance) -> None:
    modify, eni = through_proxy(bed, "ec2", MEMBER).modify_network_interface_attribute, instance.interfaces[0]
    before = instance.groups()
    assert refusal(modify, NetworkInterfaceId=eni, Groups=["sg-00000000"]) == "InvalidGroup.NotFound"
    foreign = make_vpc(bed.endpoints).group()
    assert refusal(modify, NetworkInterfaceId=eni, Groups=[foreign]) == "InvalidParameterValue"
    assert refusal(modify, NetworkInterfaceId="eni-00000000", Groups=[foreign]) == "InvalidNetworkInterfaceID.NotFound"
    assert instance.groups() == before


def test_an_instance_with_several_interfaces_takes_no_groups(bed: Bed, instance: Instance) -> None:
    modify = through_proxy(bed, "ec2", MEMBER).modify_instance_attribute
    groups = instance.groups()[instance.interfaces[0]]
    assert refusal(modify, InstanceId=instance.id, Groups=groups) == "InvalidInstanceID"
    single = make_instance(bed.endpoints, with_role=False)
    assert refusal(modify, InstanceId=single.id, Groups=single.groups()[single.interfaces[0]]) == ""


def test_a_requester_managed_interface_says_so_and_cannot_be_changed(bed: Bed, instance: Instance) -> None:
    ec2, (eni, other, *_) = through_proxy(bed, "ec2", MEMBER), instance.interfaces
    with bed.proxy.rule(fault="requester_managed", contains=eni):
        found = ec2.describe_network_interfaces(NetworkInterfaceIds=[eni, other])["NetworkInterfaces"]
        assert {i["NetworkInterfaceId"]: i["RequesterManaged"] for i in found} == {eni: True, other: False}
        groups = instance.groups()[eni]
        code = refusal(ec2.modify_network_interface_attribute, NetworkInterfaceId=eni, Groups=groups)
        assert code == "OperationNotPermitted"


def test_tracking_timeouts_are_given_back_on_their_interface(bed: Bed, instance: Instance) -> None:
    ec2, (eni, other, *_) = through_proxy(bed, "ec2", MEMBER), instance.interfaces
    timeouts = {"TcpEstablishedTimeout": 60, "UdpTimeout": 30, "UdpStreamTimeout": 60}
    ec2.modify_network_interface_attribute(NetworkInterfaceId=eni, ConnectionTrackingSpecification=timeouts)
    found = ec2.describe_network_interfaces(NetworkInterfaceIds=[eni, other])["NetworkInterfaces"]
    seen = {i["NetworkInterfaceId"]: i.get("ConnectionTrackingConfiguration") for i in found}
    assert seen == {eni: timeouts, other: None}
    wrong = {"ConnectionTrackingSpecification": {"TcpEstablishedTimeout": 59}}
    code = refusal(ec2.modify_network_interface_attribute, NetworkInterfaceId=eni, **wrong)
    assert code == "InvalidParameterValue"


# --- The proxy: EC2 judged by the caller's policies ----------------------------------------------------------------------


def test_ec2_calls_need_a_session_that_exists(bed: Bed) -> None:
    ec2 = through_proxy(bed, "ec2", Credentials("AKIAUNKNOWN000000000", "x"))
    assert refusal(ec2.describe_instances) == "AuthFailure"


def test_ec2_calls_need_the_right(bed: Bed, instance: Instance) -> None:
    role = limited_role(bed, {"Effect": "Allow", "Action": "ec2:DescribeInstances", "Resource": "*"})
    ec2 = through_proxy(bed, "ec2", session_through_proxy(bed, role))
    assert refusal(ec2.describe_instances) == ""
    assert refusal(ec2.describe_network_interfaces) == "UnauthorizedOperation"
    call = bed.proxy.calls(0, action="DescribeNetworkInterfaces", code="UnauthorizedOperation")[-1]
    assert (call["account"], call["by"], call["status"]) == (MEMBER, "judge", 403)
    assert call["principal"].endswith(f":assumed-role/{role.name}/session")


def test_groups_can_be_limited_to_those_with_our_tag(bed: Bed) -> None:
    vpc, tag = make_vpc(bed.endpoints), {"Key": "ours", "Value": "yes"}
    role = limited_role(
        bed,
        {"Effect": "Allow", "Action": "ec2:CreateSecurityGroup", "Resource": "arn:aws:ec2:*:*:vpc/*"},
        {"Effect": "Allow", "Action": "ec2:CreateSecurityGroup", "Resource": "arn:aws:ec2:*:*:security-group/*",
         "Condition": {"StringEquals": {"aws:RequestTag/ours": "yes"}}},
        {"Effect": "Allow", "Action": "ec2:CreateTags", "Resource": "arn:aws:ec2:*:*:security-group/*",
         "Condition": {"StringEquals": {"ec2:CreateAction": "CreateSecurityGroup"}}},
        {"Effect": "Allow", "Action": "ec2:RevokeSecurityGroupEgress", "Resource": "arn:aws:ec2:*:*:security-group/*",
         "Condition": {"StringEquals": {"aws:ResourceTag/ours": "yes"}}},
    )
    ec2 = through_proxy(bed, "ec2", session_through_proxy(bed, role))
    create = {"Description": "d", "VpcId": vpc.id}
    assert refusal(ec2.create_security_group, GroupName="untagged", **create) == "UnauthorizedOperation"
    specification = [{"ResourceType": "security-group", "Tags": [tag]}]
    group = ec2.create_security_group(GroupName="tagged", TagSpecifications=specification, **create)["GroupId"]
    assert refusal(ec2.create_tags, Resources=[vpc.group()], Tags=[tag]) == "UnauthorizedOperation"
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    assert refusal(ec2.revoke_security_group_egress, GroupId=group, IpPermissions=everything) == ""
    foreign = refusal(ec2.revoke_security_group_egress, GroupId=vpc.group(), IpPermissions=everything)
    assert foreign == "UnauthorizedOperation"


def test_changing_an_interface_is_judged_on_the_groups_too(bed: Bed, instance: Instance) -> None:
    eni = instance.interfaces[0]
    first, second = instance.groups()[eni]
    role = limited_role(bed, {
        "Effect": "Allow", "Action": "ec2:ModifyNetworkInterfaceAttribute",
        "Resource": ["arn:aws:ec2:*:*:network-interface/*", f"arn:aws:ec2:*:*:security-group/{first}"],
    })
    modify = through_proxy(bed, "ec2", session_through_proxy(bed, role)).modify_network_interface_attribute
    assert refusal(modify, NetworkInterfaceId=eni, Groups=[first]) == ""
    assert refusal(modify, NetworkInterfaceId=eni, Groups=[first, second]) == "UnauthorizedOperation"


# --- The proxy: faults asked for -----------------------------------------------------------------------------------------


@pytest.fixture
def victim_iam(bed: Bed) -> Iterator[tuple[Any, str]]:
    """IAM through the proxy, and a victim's name."""
    yield through_proxy(bed, "iam", MEMBER), make_user(bed.endpoints).name


def test_a_lost_change_answers_and_changes_nothing(bed: Bed, victim_iam: tuple[Any, str]) -> None:
    iam, name = victim_iam
    with bed.proxy.rule(fault="lose", service="iam", action="AttachUserPolicy", contains=name, count=1):
        iam.attach_user_policy(UserName=name, PolicyArn=DENY_ALL)
        attached = iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]
        assert DENY_ALL not in {policy["PolicyArn"] for policy in attached}
        iam.attach_user_policy(UserName=name, PolicyArn=DENY_ALL)
    assert len(iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]) == 2


def test_lost_changes_of_lambda_and_ec2_are_plausible(bed: Bed, instance: Instance) -> None:
    function, client = make_function(bed.endpoints), through_proxy(bed, "lambda", MEMBER)
    with bed.proxy.rule(fault="lose", service="lambda", action="PutFunctionConcurrency", contains=function.name):
        answer = client.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
        assert answer["ReservedConcurrentExecutions"] == 0 and function.allowed()
    eni, before = instance.interfaces[0], instance.groups()
    group = next(iter(before[instance.interfaces[0]]))
    with bed.proxy.rule(fault="lose", service="ec2", action="ModifyNetworkInterfaceAttribute", contains=eni):
        through_proxy(bed, "ec2", MEMBER).modify_network_interface_attribute(NetworkInterfaceId=eni, Groups=[group])
    assert instance.groups() == before


def test_a_quota_can_be_full_and_calls_throttled_from_the_second_on(bed: Bed, victim_iam: tuple[Any, str]) -> None:
    iam, name = victim_iam
    full = {"status": 409, "code": "LimitExceeded", "message": "Cannot exceed quota for PoliciesPerUser: 10"}
    with bed.proxy.rule(fault="refuse", action="AttachUserPolicy", contains=name, **full):
        assert refusal(iam.attach_user_policy, UserName=name, PolicyArn=DENY_ALL) == "LimitExceeded"
    with bed.proxy.rule(fault="throttle", action="GetUser", contains=name, skip=1, count=1):
        codes = [refusal(iam.get_user, UserName=name) for _ in range(3)]
    assert codes == ["", "Throttling", ""]


def test_a_call_can_be_delayed_or_cut(bed: Bed, victim_iam: tuple[Any, str]) -> None:
    iam, name = victim_iam
    with bed.proxy.rule(fault="delay", action="GetUser", contains=name, ms=300):
        start = time.monotonic()
        iam.get_user(UserName=name)
        assert time.monotonic() - start >= 0.3
    with bed.proxy.rule(fault="cut_after", action="AttachUserPolicy", contains=name, count=1), pytest.raises(ConnectionClosedError):
        iam.attach_user_policy(UserName=name, PolicyArn=DENY_ALL)
    assert len(iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]) == 2


@pytest.mark.parametrize(("fault", "effect"), [("hold", 1), ("hold_after", 2)])
def test_a_call_is_held_before_or_after_its_change_until_the_rule_is_gone(
    bed: Bed, victim_iam: tuple[Any, str], fault: str, effect: int
) -> None:
    iam, name = victim_iam
    attach = {"UserName": name, "PolicyArn": DENY_ALL}
    with ThreadPoolExecutor(1) as pool:
        with bed.proxy.rule(fault=fault, action="AttachUserPolicy", contains=name, caller=f"role/{unique('nobody')}"):
            iam.attach_user_policy(**attach)
            iam.detach_user_policy(**attach)
        with bed.proxy.rule(fault=fault, action="AttachUserPolicy", contains=name) as rule:
            held = pool.submit(iam.attach_user_policy, **attach)
            while not next(r["held"] for r in bed.proxy.rules() if r["id"] == rule):
                time.sleep(0.01)
            assert len(iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]) == effect and not held.done()
        with pytest.raises(ConnectionClosedError):
            held.result()
    assert len(iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]) == effect


def test_many_calls_at_once_are_all_recorded(bed: Bed, victim_iam: tuple[Any, str]) -> None:
    iam, name = victim_iam
    mark = bed.proxy.mark()
    threads = [threading.Thread(target=iam.get_user, kwargs={"UserName": name}) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    calls = bed.proxy.calls(mark, action="GetUser", account=MEMBER)
    assert [call["params"]["UserName"] for call in calls] == [name] * 20
    assert all(call["status"] == 200 and call["end_ms"] >= call["start_ms"] for call in calls)
