"""The bed's truths about callers: whoever signs is judged as AWS would judge him, on EC2 too, and IAM's changes can be late."""

import json
import time
from typing import Any

import pytest
from testbed.accounts import MEMBER
from testbed.bed import Bed
from testbed.callers import limited_role, refusal, through_proxy
from testbed.clients import Credentials
from testbed.instances import make_vpc
from testbed.self_check import DENY_ALL
from testbed.victims import make_function, make_role, make_user

JUDGED_FOR = 0.6
"""Seconds after which the proxy asks anew (judge.rs)."""


def deny(condition: dict[str, Any] | None = None) -> str:
    """A policy that denies everything."""
    statement = {"Effect": "Deny", "Action": "*", "Resource": "*", **({"Condition": condition} if condition else {})}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def sees(bed: Bed, who: Credentials) -> str:
    """What DescribeInstances answers: an error code, or nothing."""
    return refusal(through_proxy(bed, "ec2", who).describe_instances)


def test_a_users_key_and_session_are_judged_on_ec2(bed: Bed) -> None:
    user = make_user(bed.endpoints, path="/team/")
    sts = bed.endpoints.client("sts", user.credentials)
    session = Credentials.of_session(sts.get_session_token()["Credentials"])
    assert (sees(bed, user.credentials), sees(bed, session)) == ("", "")
    bed.endpoints.client("iam", MEMBER).attach_user_policy(UserName=user.name, PolicyArn=DENY_ALL)
    time.sleep(JUDGED_FOR)
    assert {sees(bed, user.credentials), sees(bed, session)} == {"UnauthorizedOperation"}


def test_a_session_that_the_proxy_did_not_see_being_made_is_judged_on_ec2(bed: Bed) -> None:
    role = make_role(bed.endpoints, path="/a/b/")
    session = role.session()
    assert sees(bed, session) == ""
    bed.endpoints.client("iam", MEMBER).put_role_policy(RoleName=role.name, PolicyName="deny", PolicyDocument=deny())
    time.sleep(JUDGED_FOR)
    assert sees(bed, session) == "UnauthorizedOperation"


def test_an_inactive_key_and_an_invented_one_are_nobodys_on_ec2(bed: Bed) -> None:
    user = make_user(bed.endpoints)
    assert sees(bed, user.credentials) == ""
    key = user.credentials.access_key_id
    bed.endpoints.client("iam", MEMBER).update_access_key(UserName=user.name, AccessKeyId=key, Status="Inactive")
    time.sleep(JUDGED_FOR)
    assert sees(bed, user.credentials) == "AuthFailure"
    assert sees(bed, Credentials("AKIAINVENTED00000000", "secret")) == "AuthFailure"


@pytest.mark.parametrize("condition", [
    {"ArnEquals": {"ec2:SourceInstanceARN": f"arn:aws:ec2:us-east-1:{MEMBER}:instance/i-0000000000000001"}},
    {"StringLike": {"aws:userid": "*:i-0000000000000001"}},
])
def test_a_deny_for_one_instance_leaves_the_others_of_its_role_on_ec2_too(bed: Bed, condition: dict[str, Any]) -> None:
    role = make_role(bed.endpoints)
    bed.endpoints.client("iam", MEMBER).put_role_policy(RoleName=role.name, PolicyName="one", PolicyDocument=deny(condition))
    assert sees(bed, role.session("i-0000000000000001")) == "UnauthorizedOperation"
    assert sees(bed, role.session("i-0000000000000002")) == ""


def test_the_tags_of_a_group_and_of_a_call_decide_about_tagging(bed: Bed) -> None:
    vpc = make_vpc(bed.endpoints)
    ours, others = vpc.group(), vpc.group()
    vpc.ec2().create_tags(Resources=[ours], Tags=[{"Key": "team", "Value": "a"}])
    every = {"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}
    tagging = {"Effect": "Deny", "Action": ["ec2:CreateTags", "ec2:DeleteTags"], "Resource": "*"}
    role = limited_role(
        bed, every, {**tagging, "Condition": {"Null": {"aws:ResourceTag/team": "false"}}},
        {**tagging, "Condition": {"Null": {"aws:RequestTag/secret": "false"}}},
    )
    ec2 = through_proxy(bed, "ec2", role.session())
    assert refusal(ec2.create_tags, Resources=[ours], Tags=[{"Key": "x", "Value": "y"}]) == "UnauthorizedOperation"
    assert refusal(ec2.delete_tags, Resources=[ours], Tags=[{"Key": "team"}]) == "UnauthorizedOperation"
    assert refusal(ec2.create_tags, Resources=[others], Tags=[{"Key": "secret", "Value": "y"}]) == "UnauthorizedOperation"
    assert refusal(ec2.create_tags, Resources=[others], Tags=[{"Key": "x", "Value": "y"}]) == ""
    assert refusal(ec2.delete_tags, Resources=[others], Tags=[{"Key": "secret"}]) == "", "what is deleted is not requested"


def test_lambdas_calls_are_judged_by_their_own_actions(bed: Bed) -> None:
    function = make_function(bed.endpoints, queue=True)
    role = limited_role(bed, {
        "Effect": "Allow", "Action": ["lambda:GetFunctionConcurrency", "lambda:GetEventSourceMapping"], "Resource": "*",
    })
    client, [mapping] = bed.endpoints.client("lambda", role.session()), function.mappings
    assert refusal(client.get_function_concurrency, FunctionName=function.name) == ""
    assert refusal(client.get_event_source_mapping, UUID=mapping) == ""
    denied = "AccessDeniedException"
    assert refusal(client.put_function_concurrency, FunctionName=function.name, ReservedConcurrentExecutions=1) == denied
    assert refusal(client.delete_function_concurrency, FunctionName=function.name) == denied
    assert refusal(client.update_event_source_mapping, UUID=mapping, Enabled=False) == denied
    assert refusal(client.delete_event_source_mapping, UUID=mapping) == denied


def test_changes_of_iam_can_be_late_and_hold_in_the_end(bed: Bed) -> None:
    user, role = make_user(bed.endpoints), make_role(bed.endpoints)
    session, iam = role.session(), bed.endpoints.client("iam", MEMBER)
    assert user.allowed() and role.allowed(session) and sees(bed, session) == ""
    with bed.late(user.name, role.name):
        iam.attach_user_policy(UserName=user.name, PolicyArn=DENY_ALL)
        iam.put_role_policy(RoleName=role.name, PolicyName="deny", PolicyDocument=deny())
        time.sleep(JUDGED_FOR)
        assert DENY_ALL in user.state()["attached"], "what describes it shows it at once"
        assert user.allowed() and role.allowed(session) and sees(bed, session) == ""
    time.sleep(JUDGED_FOR)
    assert not user.allowed() and not role.allowed(session) and sees(bed, session) == "UnauthorizedOperation"
