"""An IAM role: its sessions, its path, and what may not be touched."""

import json

import pytest
from testbed.accounts import HUB, MEMBER
from testbed.bed import Bed
from testbed.product import Product
from testbed.self_check import DENY_ALL
from testbed.victims import Role, make_role


@pytest.fixture
def role(bed: Bed) -> Role:
    """A role that may do everything."""
    return make_role(bed.endpoints)


@pytest.mark.parametrize("path", ["/", "/service-role/", "/a/b/"])
def test_a_role_is_locked_with_the_sessions_it_has_and_put_back(product: Product, bed: Bed, path: str) -> None:
    role = make_role(bed.endpoints, path=path)
    before, session = role.state(), role.session()
    assert role.allowed(session)
    product.contain(role.arn)
    assert product.mailbox.stages(role.name) == ["Started", "Contained"]
    assert not role.allowed(session) and not role.allowed()
    product.release(role.arn)
    assert product.mailbox.stages(role.name)[-1] == "Released"
    assert role.allowed(session) and role.state() == before


def test_a_session_means_its_role_and_the_notice_says_so(product: Product, bed: Bed) -> None:
    role = make_role(bed.endpoints, path="/a/b/")
    arn = f"arn:aws:sts::{MEMBER}:assumed-role/{role.name}/session"
    product.contain(arn)
    contained = product.mailbox.notices(role.name)[-1]
    assert contained.stage == "Contained" and "all sessions" in contained.mail.lower()
    assert not role.allowed(role.session("another"))
    product.release(arn)
    assert role.allowed()


def test_a_role_named_by_session_and_by_arn_is_one_containment(product: Product, role: Role) -> None:
    before = role.state()
    product.contain(f"arn:aws:sts::{MEMBER}:assumed-role/{role.name}/session")
    product.contain(role.arn)
    assert product.mailbox.stages(role.name)[-1] == "Unchanged"
    product.release(role.arn)
    assert role.state() == before


@pytest.mark.parametrize("full", [["AttachRolePolicy"], ["AttachRolePolicy", "PutRolePolicy"]])
def test_a_role_with_full_quotas_is_locked_and_put_back(product: Product, role: Role, full: list[str]) -> None:
    before, proxy = role.state(), product.bed.proxy
    refusal = {"fault": "refuse", "status": 409, "code": "LimitExceeded", "contains": role.name}
    rules = [proxy.add_rule(action=action, **refusal) for action in full]
    product.contain(role.arn)
    for rule in rules:
        proxy.remove_rule(rule)
    assert product.mailbox.stages(role.name)[-1] == "Contained" and not role.allowed()
    product.release(role.arn)
    assert product.mailbox.stages(role.name)[-1] == "Released"
    assert role.allowed() and role.state() == before


def test_a_lost_change_is_never_called_contained(product: Product, role: Role) -> None:
    proxy = product.bed.proxy
    lost = {"fault": "lose", "service": "iam", "contains": role.name}
    with (
        proxy.rule(action="AttachRolePolicy", **lost),
        proxy.rule(action="PutRolePolicy", **lost),
        proxy.rule(action="PutRolePermissionsBoundary", **lost),
    ):
        product.contain(role.arn)
    assert product.mailbox.stages(role.name)[-1] in ("Partial", "Failed") and role.allowed()


def test_a_wrong_path_is_refused_with_the_real_arn(product: Product, bed: Bed) -> None:
    role = make_role(bed.endpoints, path="/service-role/")
    product.contain(role.arn.replace("/service-role/", "/"))
    refused = product.mailbox.notices(role.name)[-1]
    assert refused.stage == "Refused" and role.arn in refused.mail and role.allowed()


def test_our_own_roles_are_refused(product: Product) -> None:
    iam = product.bed.endpoints.client("iam", HUB)
    for arn in (product.outputs["FunctionRoleArn"], product.outputs["MemberRoleArn"], product.member_role):
        product.contain(arn)
        assert product.mailbox.stages(arn)[-1] == "Refused"
    for arn in (product.outputs["FunctionRoleArn"], product.outputs["MemberRoleArn"]):
        attached = iam.list_attached_role_policies(RoleName=arn.rpartition("/")[2])["AttachedPolicies"]
        assert DENY_ALL not in {policy["PolicyArn"] for policy in attached}


@pytest.mark.parametrize("path", ["/aws-service-role/x.amazonaws.com/", "/aws-reserved/sso.amazonaws.com/"])
@pytest.mark.parametrize("named", ["role", "session"])
def test_roles_of_aws_are_refused_however_they_are_named(product: Product, bed: Bed, path: str, named: str) -> None:
    role = make_role(bed.endpoints, path=path)
    product.contain(role.arn if named == "role" else f"arn:aws:sts::{MEMBER}:assumed-role/{role.name}/session")
    refused = product.mailbox.notices(role.name)[-1]
    assert refused.stage == "Refused" and role.allowed()
    if "sso" in path:
        assert "permission set" in refused.mail.lower()


def test_a_namesake_made_since_is_not_released(product: Product, bed: Bed, role: Role) -> None:
    iam = bed.endpoints.client("iam", MEMBER)
    product.contain(role.arn)
    for policy in iam.list_attached_role_policies(RoleName=role.name)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=role.name, PolicyArn=policy["PolicyArn"])
    iam.delete_role(RoleName=role.name)
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    iam.create_role(RoleName=role.name, AssumeRolePolicyDocument=trust)
    iam.attach_role_policy(RoleName=role.name, PolicyArn=DENY_ALL)
    product.release(role.arn)
    attached = iam.list_attached_role_policies(RoleName=role.name)["AttachedPolicies"]
    assert [policy["PolicyArn"] for policy in attached] == [DENY_ALL]
