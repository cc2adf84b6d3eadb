"""The guard policy: what it stops, whom it leaves alone, and what it can't tell apart.

Organizations isn't emulated. The policy's statements are attached to each caller instead: a Deny works the same there. "Bound" is
who has them, as everybody in the organization would.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from testbed.accounts import MEMBER
from testbed.bed import Bed
from testbed.callers import refusal
from testbed.clients import Credentials
from testbed.guard_policy import QUOTA, attach_guard, document, guard_statements, template
from testbed.instances import Vpc, make_instance, make_vpc
from testbed.product import Product
from testbed.self_check import DENY_ALL
from testbed.victims import ADMIN, DENIALS, Role, User, make_function, make_role, make_user, unique

FOREIGN = "arn:aws:iam::aws:policy/AdministratorAccess"
"""A boundary, or a policy, that is none of ours."""
BREAK_GLASS = f"arn:aws:iam::{MEMBER}:role/break-glass-*,arn:aws:iam::*:user/break-glass-*"
OURS = [{"Key": "entity-lockdown", "Value": "isolation"}]
FULL = {"fault": "refuse", "service": "iam", "status": 409, "code": "LimitExceeded", "message": "Cannot exceed quota"}


@dataclass(frozen=True)
class Caller:
    """Somebody with full rights."""

    bed: Bed
    credentials: Credentials

    def client(self, service: str) -> Any:
        """EC2 goes through the proxy, which judges it."""
        endpoint = self.bed.proxy.url if service == "ec2" else ""
        return self.bed.endpoints.client(service, self.credentials, endpoint=endpoint)


@pytest.fixture(scope="module")
def rendered(product: Product) -> dict[str, str]:
    """The parameters that fit this product."""
    return {
        "TargetIds": MEMBER, "MemberRoleName": product.member_role.rpartition("/")[2], "BreakGlassPrincipals": BREAK_GLASS,
        "RolloutPrincipals": "arn:*:iam::*:role/stacksets-exec-*,arn:aws:iam::*:role/deployment",
    }


@pytest.fixture(scope="module")
def free(bed: Bed) -> Caller:
    """Somebody whom no policy of the organization binds."""
    return Caller(bed, make_user(bed.endpoints, prefix="intruder").credentials)


@pytest.fixture(scope="module")
def bound(bed: Bed, rendered: dict[str, str]) -> Caller:
    """The same, bound."""
    intruder = make_user(bed.endpoints, prefix="intruder")
    attach_guard(bed, guard_statements(**rendered), intruder)
    return Caller(bed, intruder.credentials)


def bound_role(bed: Bed, rendered: dict[str, str], name: str, **more: str) -> Caller:
    """A session of a bound role of this name."""
    role = make_role(bed.endpoints, name=name)
    attach_guard(bed, guard_statements(**{**rendered, **more}), role)
    return Caller(bed, role.session())


def denied(code: str) -> bool:
    return code in DENIALS


# --- Things to try them on, as the product would leave them ---------------------------------------------------------------


@dataclass(frozen=True)
class Things:
    """Fresh things of the member account, made as its root."""

    bed: Bed
    member_role: str
    vpc: Vpc

    def root(self, service: str) -> Any:
        return self.bed.endpoints.client(service, MEMBER)

    def user(self, **more: Any) -> User:
        return make_user(self.bed.endpoints, **more)

    def role(self, **more: Any) -> Role:
        return make_role(self.bed.endpoints, **more)

    def locked_user(self) -> str:
        user = self.user()
        self.root("iam").attach_user_policy(UserName=user.name, PolicyArn=DENY_ALL)
        return user.name

    def locked_role(self) -> str:
        role = self.role()
        self.root("iam").attach_role_policy(RoleName=role.name, PolicyArn=DENY_ALL)
        return role.name

    def own_member_role(self) -> str:
        """The member role, as it was: what a free caller changes would hurt other tests."""
        return self.member_role

    def group(self, *, ours: bool = True) -> str:
        group = self.vpc.group()
        if ours:
            self.root("ec2").create_tags(Resources=[group], Tags=OURS)
        return group


DOOR = [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "198.51.100.7/32"}]}]
OPEN_DOOR = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}]
WAY_OUT = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
TRUST = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{MEMBER}:root"}, "Action": "sts:AssumeRole"},
]})
NOTHING_DENIED = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})


def another_rule(things: Things) -> dict[str, Any]:
    """A change of a rule of a group of ours."""
    group = things.group()
    rules = things.root("ec2").describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])
    rule = next(r for r in rules["SecurityGroupRules"] if not r["IsEgress"])["SecurityGroupRuleId"]
    wider = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 65535, "CidrIpv4": "10.0.0.0/8"}
    return {"GroupId": group, "SecurityGroupRules": [{"SecurityGroupRuleId": rule, "SecurityGroupRule": wider}]}


Attempt = Callable[[Caller, Things], str]
"""Tries something on a fresh thing; the error code, empty if it succeeds."""


def iam(action: str, of: Callable[[Things], dict[str, Any]]) -> Attempt:
    return lambda caller, things: refusal(getattr(caller.client("iam"), action), **of(things))


def ec2(action: str, of: Callable[[Things], dict[str, Any]]) -> Attempt:
    return lambda caller, things: refusal(getattr(caller.client("ec2"), action), **of(things))


def bounded(things: Things, kind: str, boundary: str) -> str:
    made = things.user(PermissionsBoundary=boundary) if kind == "user" else things.role(PermissionsBoundary=boundary)
    return made.name


STOPPED: dict[str, Attempt] = {
    "detach AWSDenyAll from a user": iam("detach_user_policy", lambda t: {"UserName": t.locked_user(), "PolicyArn": DENY_ALL}),
    "detach AWSDenyAll from a role": iam("detach_role_policy", lambda t: {"RoleName": t.locked_role(), "PolicyArn": DENY_ALL}),
    "attach AWSDenyAll to a user": iam("attach_user_policy", lambda t: {"UserName": t.user().name, "PolicyArn": DENY_ALL}),
    "attach AWSDenyAll to a role": iam("attach_role_policy", lambda t: {"RoleName": t.role().name, "PolicyArn": DENY_ALL}),
    "delete our boundary of a user": iam(
        "delete_user_permissions_boundary", lambda t: {"UserName": bounded(t, "user", DENY_ALL)}),
    "delete our boundary of a role": iam(
        "delete_role_permissions_boundary", lambda t: {"RoleName": bounded(t, "role", DENY_ALL)}),
    "put our boundary on a user": iam(
        "put_user_permissions_boundary", lambda t: {"UserName": t.user().name, "PermissionsBoundary": DENY_ALL}),
    "put our boundary on a role": iam(
        "put_role_permissions_boundary", lambda t: {"RoleName": t.role().name, "PermissionsBoundary": DENY_ALL}),
    "make a role that would be exempt as a rollout role": iam(
        "create_role", lambda t: {"RoleName": unique("stacksets-exec"), "AssumeRolePolicyDocument": TRUST}),
    "make a role that would be exempt as break-glass": iam(
        "create_role", lambda t: {"RoleName": unique("break-glass"), "AssumeRolePolicyDocument": TRUST}),
    "trust somebody else with a break-glass role": iam("update_assume_role_policy", lambda t: {
        "RoleName": t.role(name=unique("break-glass")).name, "PolicyDocument": TRUST}),
    "take a break-glass role's rights": iam("detach_role_policy", lambda t: {
        "RoleName": t.role(name=unique("break-glass")).name, "PolicyArn": ADMIN}),
    "lock a break-glass role out": iam("put_role_policy", lambda t: {
        "RoleName": t.role(name=unique("break-glass")).name, "PolicyName": "deny", "PolicyDocument": NOTHING_DENIED}),
    "make a key of a break-glass user": iam("create_access_key", lambda t: {"UserName": t.user(prefix="break-glass").name}),
    "give a break-glass user a password": iam("create_login_profile", lambda t: {
        "UserName": t.user(prefix="break-glass").name, "Password": "correct-Horse-7"}),
    "let something into our group": ec2(
        "authorize_security_group_ingress", lambda t: {"GroupId": t.group(), "IpPermissions": DOOR}),
    "let something out of our group": ec2(
        "authorize_security_group_egress", lambda t: {"GroupId": t.group(), "IpPermissions": DOOR}),
    "take a rule out of our group": ec2(
        "revoke_security_group_ingress", lambda t: {"GroupId": t.group(), "IpPermissions": OPEN_DOOR}),
    "take a way out of our group": ec2(
        "revoke_security_group_egress", lambda t: {"GroupId": t.group(), "IpPermissions": WAY_OUT}),
    "change a rule of our group": ec2("modify_security_group_rules", another_rule),
    "delete our group": ec2("delete_security_group", lambda t: {"GroupId": t.group()}),
    "take our tag off our group": ec2("delete_tags", lambda t: {"Resources": [t.group()], "Tags": [{"Key": "entity-lockdown"}]}),
    "write over our tag": ec2("create_tags", lambda t: {
        "Resources": [t.group()], "Tags": [{"Key": "entity-lockdown", "Value": "nothing"}]}),
    "put another tag on our group": ec2("create_tags", lambda t: {
        "Resources": [t.group()], "Tags": [{"Key": "owner", "Value": "mallory"}]}),
    "put our tag on somebody's group": ec2("create_tags", lambda t: {"Resources": [t.group(ours=False)], "Tags": OURS}),
    "make a group with our tag": ec2("create_security_group", lambda t: {
        "GroupName": unique("group"), "Description": "planted", "VpcId": t.vpc.id,
        "TagSpecifications": [{"ResourceType": "security-group", "Tags": OURS}]}),
}

LEFT_ALONE: dict[str, Attempt] = {
    "attach another policy": iam("attach_user_policy", lambda t: {"UserName": t.user().name, "PolicyArn": FOREIGN}),
    "detach another policy": iam("detach_user_policy", lambda t: {"UserName": t.user().name, "PolicyArn": ADMIN}),
    "detach another policy from a role": iam("detach_role_policy", lambda t: {"RoleName": t.role().name, "PolicyArn": ADMIN}),
    "write an inline policy": iam("put_role_policy", lambda t: {
        "RoleName": t.role().name, "PolicyName": "app", "PolicyDocument": NOTHING_DENIED}),
    "put another boundary on a user": iam("put_user_permissions_boundary", lambda t: {
        "UserName": t.user().name, "PermissionsBoundary": FOREIGN}),
    "delete another boundary": iam(
        "delete_role_permissions_boundary", lambda t: {"RoleName": bounded(t, "role", FOREIGN)}),
    "make a user": iam("create_user", lambda t: {"UserName": unique("user")}),
    "make a role": iam("create_role", lambda t: {"RoleName": unique("role"), "AssumeRolePolicyDocument": TRUST}),
    "make a role whose name holds an exempt one's": iam(
        "create_role", lambda t: {"RoleName": unique("my-break-glass"), "AssumeRolePolicyDocument": TRUST}),
    "make a key": iam("create_access_key", lambda t: {"UserName": t.user().name}),
    "change another role's trust": iam("update_assume_role_policy", lambda t: {"RoleName": t.role().name, "PolicyDocument": TRUST}),
    "read the member role": iam("get_role", lambda t: {"RoleName": t.own_member_role()}),
    "read an exempt role's policies": iam(
        "list_attached_role_policies", lambda t: {"RoleName": t.role(name=unique("break-glass")).name}),
    "let something into another group": ec2(
        "authorize_security_group_ingress", lambda t: {"GroupId": t.group(ours=False), "IpPermissions": DOOR}),
    "take a rule out of another group": ec2(
        "revoke_security_group_ingress", lambda t: {"GroupId": t.group(ours=False), "IpPermissions": OPEN_DOOR}),
    "delete another group": ec2("delete_security_group", lambda t: {"GroupId": t.group(ours=False)}),
    "tag another group": ec2("create_tags", lambda t: {
        "Resources": [t.group(ours=False)], "Tags": [{"Key": "owner", "Value": "ada"}]}),
    "make a group with a tag": ec2("create_security_group", lambda t: {
        "GroupName": unique("group"), "Description": "of a team", "VpcId": t.vpc.id,
        "TagSpecifications": [{"ResourceType": "security-group", "Tags": [{"Key": "owner", "Value": "ada"}]}]}),
    "set a function's concurrency": lambda caller, things: refusal(
        caller.client("lambda").put_function_concurrency,
        FunctionName=make_function(things.bed.endpoints).name, ReservedConcurrentExecutions=3),
}


@pytest.fixture(scope="module")
def things(bed: Bed, product: Product) -> Things:
    """What the attempts need."""
    return Things(bed, product.member_role.rpartition("/")[2], make_vpc(bed.endpoints))


# --- Stopped, and left alone ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", STOPPED)
def test_what_was_locked_is_out_of_everybodys_hands(free: Caller, bound: Caller, things: Things, what: str) -> None:
    assert STOPPED[what](free, things) == "", "without the policy it can be done, so that this test can fail"
    assert denied(STOPPED[what](bound, things))


@pytest.mark.parametrize("what", LEFT_ALONE)
def test_other_administration_goes_on(bound: Caller, things: Things, what: str) -> None:
    assert LEFT_ALONE[what](bound, things) == ""


def changes_of_the_member_role(name: str) -> dict[str, tuple[str, dict[str, Any]]]:
    role = {"RoleName": name}
    return {
        "trust": ("update_assume_role_policy", {**role, "PolicyDocument": TRUST}),
        "delete": ("delete_role", role),
        "attach": ("attach_role_policy", {**role, "PolicyArn": ADMIN}),
        "lock out": ("attach_role_policy", {**role, "PolicyArn": DENY_ALL}),
        "write inline": ("put_role_policy", {**role, "PolicyName": "containment", "PolicyDocument": NOTHING_DENIED}),
        "delete inline": ("delete_role_policy", {**role, "PolicyName": "containment"}),
        "boundary": ("put_role_permissions_boundary", {**role, "PermissionsBoundary": FOREIGN}),
        "session": ("update_role", {**role, "MaxSessionDuration": 43200}),
        "tag": ("tag_role", {**role, "Tags": OURS}),
        "make anew": ("create_role", {**role, "AssumeRolePolicyDocument": TRUST}),
    }


def test_nobody_changes_the_member_role(bound: Caller, things: Things) -> None:
    client, name = bound.client("iam"), things.own_member_role()
    codes = {what: refusal(getattr(client, action), **more) for what, (action, more) in changes_of_the_member_role(name).items()}
    assert {what for what, code in codes.items() if not denied(code)} == set()


def test_rollout_principals_change_the_member_role_and_its_trust_and_nothing_that_is_locked(
    bed: Bed, things: Things, rendered: dict[str, str]
) -> None:
    decoy = unique("Member")
    for name in (unique("stacksets-exec"), "deployment"):
        rollout = bound_role(bed, {**rendered, "MemberRoleName": decoy}, name)
        client, role = rollout.client("iam"), {"RoleName": decoy}
        assert refusal(client.create_role, **role, AssumeRolePolicyDocument=TRUST) == ""
        for what, (action, more) in changes_of_the_member_role(decoy).items():
            if what in ("trust", "attach", "write inline", "session"):
                assert refusal(getattr(client, action), **more) == "", what
        assert refusal(client.delete_role_policy, **role, PolicyName="containment") == ""
        assert refusal(client.detach_role_policy, **role, PolicyArn=ADMIN) == ""
        assert refusal(client.delete_role, **role) == ""
        for what in ("detach AWSDenyAll from a user", "delete our boundary of a role", "let something into our group"):
            assert denied(STOPPED[what](rollout, things)), what


def test_break_glass_principals_pass_and_only_the_trust_is_not_theirs(
    bed: Bed, things: Things, rendered: dict[str, str]
) -> None:
    responder = bound_role(bed, rendered, unique("break-glass"), ReserveInlinePolicies="yes", ReserveBoundaries="yes")
    codes = {what: attempt(responder, things) for what, attempt in {**STOPPED, **LEFT_ALONE}.items()}
    assert {what: code for what, code in codes.items() if code} == {}
    client, member = responder.client("iam"), {"RoleName": things.own_member_role()}
    assert denied(refusal(client.update_assume_role_policy, **member, PolicyDocument=TRUST))
    assert denied(refusal(client.delete_role, **member))
    assert refusal(client.tag_role, **member, Tags=[{"Key": "seen", "Value": "by-break-glass"}]) == ""


def test_an_exempt_role_is_assumed_by_whom_it_trusts(bed: Bed, bound: Caller, things: Things) -> None:
    role = things.role(name=unique("break-glass"))
    assert refusal(bound.client("sts").assume_role, RoleArn=role.arn, RoleSessionName="responder") == ""


# --- The product under its own guard ------------------------------------------------------------------------------------------


@pytest.fixture
def guarded_product(bed: Bed, product: Product, rendered: dict[str, str]) -> Iterator[Product]:
    """The product with a member role that is bound as everybody is."""
    name = product.member_role.rpartition("/")[2]
    reserved = guard_statements(**rendered, ReserveInlinePolicies="yes", ReserveBoundaries="yes")
    policy = attach_guard(bed, reserved, Role(bed.endpoints, name, product.member_role))
    yield product
    bed.endpoints.client("iam", MEMBER).detach_role_policy(RoleName=name, PolicyArn=policy)


def test_the_product_contains_and_releases_everything_under_it(guarded_product: Product, bed: Bed, bound: Caller) -> None:
    product, proxy = guarded_product, bed.proxy
    user, role, function = make_user(bed.endpoints), make_role(bed.endpoints), make_function(bed.endpoints, queue=True)
    instance = make_instance(bed.endpoints, interfaces=2)
    inline, boundary = make_user(bed.endpoints), make_user(bed.endpoints)
    victims = [user, role, function, instance, inline, boundary]
    before, mark = [victim.state() for victim in victims], proxy.mark()
    rules = [proxy.add_rule(action="AttachUserPolicy", contains=full.name, **FULL) for full in (inline, boundary)]
    rules.append(proxy.add_rule(action="PutUserPolicy", contains=boundary.name, **FULL))
    product.contain(*(victim.arn for victim in victims))
    for rule in rules:
        proxy.remove_rule(rule)
    names = [getattr(victim, "name", None) or victim.id for victim in victims]
    assert {name: product.mailbox.stages(name)[-1] for name in names} == dict.fromkeys(names, "Contained")
    assert boundary.state()["boundary"] == DENY_ALL and inline.state()["inline"]
    iam, groups = bound.client("iam"), {group for groups in instance.groups().values() for group in groups}
    assert denied(refusal(iam.detach_user_policy, UserName=user.name, PolicyArn=DENY_ALL))
    assert denied(refusal(iam.detach_role_policy, RoleName=role.name, PolicyArn=DENY_ALL))
    assert denied(refusal(iam.detach_role_policy, RoleName=function.role.name, PolicyArn=DENY_ALL))
    assert denied(refusal(iam.delete_user_permissions_boundary, UserName=boundary.name))
    for group in groups:
        assert denied(refusal(bound.client("ec2").authorize_security_group_ingress, GroupId=group, IpPermissions=DOOR))
    product.release(*(victim.arn for victim in victims))
    assert {name: product.mailbox.stages(name)[-1] for name in names} == dict.fromkeys(names, "Released")
    assert [victim.state() for victim in victims] == before
    ours = [c for c in proxy.calls(mark) if product.member_role.rpartition("/")[2] in (c["principal"] or "")]
    assert ours and not [call for call in ours if call["code"] in DENIALS]


# --- What it can't tell apart -------------------------------------------------------------------------------------------------


def inline_deny(things: Things) -> dict[str, Any]:
    """An inline deny as ours on a role; a user's is the same."""
    role = {"RoleName": things.role().name, "PolicyName": "EntityLockdownDeny-i-0123456789abcdef0"}
    things.root("iam").put_role_policy(**role, PolicyDocument=NOTHING_DENIED.replace("Allow", "Deny"))
    return role


def user_deny(things: Things) -> dict[str, Any]:
    user = {"UserName": things.user().name, "PolicyName": "EntityLockdownDenyAll"}
    things.root("iam").put_user_policy(**user, PolicyDocument=NOTHING_DENIED.replace("Allow", "Deny"))
    return user


INLINE: dict[str, Attempt] = {
    "delete our inline deny of a role": iam("delete_role_policy", inline_deny),
    "delete our inline deny of a user": iam("delete_user_policy", user_deny),
    "write over our inline deny of a role": iam(
        "put_role_policy", lambda t: {**inline_deny(t), "PolicyDocument": NOTHING_DENIED}),
    "write over our inline deny of a user": iam("put_user_policy", lambda t: {**user_deny(t), "PolicyDocument": NOTHING_DENIED}),
}
BOUNDARIES: dict[str, Attempt] = {
    "put another boundary over ours on a user": iam("put_user_permissions_boundary", lambda t: {
        "UserName": bounded(t, "user", DENY_ALL), "PermissionsBoundary": FOREIGN}),
    "put another boundary over ours on a role": iam("put_role_permissions_boundary", lambda t: {
        "RoleName": bounded(t, "role", DENY_ALL), "PermissionsBoundary": FOREIGN}),
}


@pytest.mark.parametrize("what", [*INLINE, *BOUNDARIES])
def test_names_of_inline_policies_and_replaced_boundaries_can_not_be_told_apart(
    bound: Caller, things: Things, what: str
) -> None:
    assert {**INLINE, **BOUNDARIES}[what](bound, things) == "", "the template and README.md say that it is not stopped"


@pytest.mark.parametrize(("parameter", "attempts", "price"), [
    ("ReserveInlinePolicies", INLINE, "write an inline policy"),
    ("ReserveBoundaries", BOUNDARIES, "put another boundary on a user"),
])
def test_they_can_be_reserved_altogether_at_a_price(
    bed: Bed, rendered: dict[str, str], things: Things, parameter: str, attempts: dict[str, Attempt], price: str
) -> None:
    intruder = bound_role(bed, rendered, unique("intruder"), **{parameter: "yes"})
    codes = {what: attempt(intruder, things) for what, attempt in attempts.items()}
    assert {what for what, code in codes.items() if not denied(code)} == set()
    assert denied(LEFT_ALONE[price](intruder, things)), "the bystander's, which is the price"
    untouched = ("attach another policy", "detach another policy", "make a user", "make a role", "make a key")
    others = {what: LEFT_ALONE[what](intruder, things) for what in untouched}
    assert {what: code for what, code in others.items() if code} == {}


def test_concurrency_interfaces_and_acl_entries_can_not_be_told_apart(product: Product, bed: Bed, bound: Caller) -> None:
    function, instance = make_function(bed.endpoints), make_instance(bed.endpoints)
    [interface], [own] = instance.interfaces, instance.groups().values()
    product.contain(function.arn, instance.arn)
    assert function.reserved() == 0 and instance.groups()[interface] != own
    assert refusal(bound.client("lambda").delete_function_concurrency, FunctionName=function.name) == ""
    move = {"NetworkInterfaceId": interface, "Groups": own}
    assert refusal(bound.client("ec2").modify_network_interface_attribute, **move) == ""
    acl = instance.acls().of(instance.described()[0]["SubnetId"])
    instance.acls().add(acl, 1, "deny", "192.0.2.1/32")
    entry = {"NetworkAclId": acl, "RuleNumber": 1, "Egress": False}
    assert refusal(bound.client("ec2").delete_network_acl_entry, **entry) == ""
    product.release(function.arn, instance.arn)


# --- The template -------------------------------------------------------------------------------------------------------------


def with_patterns(count: int, **more: str) -> str:
    """The policy with so many patterns for responders, each of the length of an Identity Center role's."""
    pattern = "arn:aws:iam::*:role/aws-reserved/sso.amazonaws.com/*_Respond"
    patterns = ",".join(f"{pattern}{n}" for n in range(count))
    return document(guard_statements(TargetIds=MEMBER, BreakGlassPrincipals=patterns, **more))


def test_it_fits_the_quota_with_room_for_the_patterns_of_the_team() -> None:
    usual = document(guard_statements(TargetIds=MEMBER, BreakGlassPrincipals="arn:aws:iam::*:role/break-glass-*"))
    eight, six = with_patterns(8), with_patterns(6, ReserveInlinePolicies="yes", ReserveBoundaries="yes")
    print(f"guard policy: {len(usual)} characters, {len(eight)} with eight long patterns, {len(six)} with six and all reserved")
    assert len(usual) < QUOTA / 2 and len(eight) < QUOTA and len(six) < QUOTA, "README.md says so"
    assert len(with_patterns(9)) > QUOTA, "README.md says how many fit"


def test_it_is_a_service_control_policy_by_its_grammar() -> None:
    statements = guard_statements(
        TargetIds=MEMBER, BreakGlassPrincipals=BREAK_GLASS, ReserveInlinePolicies="yes", ReserveBoundaries="yes"
    )
    sids = [statement["Sid"] for statement in statements]
    assert len(sids) == len(set(sids)) and all(re.fullmatch("[A-Za-z0-9]+", sid) for sid in sids)
    for statement in statements:
        assert statement["Effect"] == "Deny" and not {"Principal", "NotPrincipal", "NotResource"} & statement.keys()
        for action in statement.get("Action", statement.get("NotAction")):
            assert re.fullmatch(r"[a-z0-9]+:[A-Za-z]*\*?", action), "a wildcard only at the end"
        assert statement["Condition"]["ArnNotLike"].keys() == {"aws:PrincipalArn"}, "every statement has its exemptions"
    assert template()["Resources"]["Guard"]["Properties"]["Type"] == "SERVICE_CONTROL_POLICY"


def test_it_names_no_partition() -> None:
    body = template()
    assert "arn:aws:" not in json.dumps([body["Resources"], body["Outputs"]])
    assert not [p for p in body["Parameters"].values() if "arn:aws:" in p.get("Default", "")]
    china = document(guard_statements(
        partition="aws-cn", TargetIds=MEMBER, BreakGlassPrincipals="arn:aws-cn:iam::*:role/break-glass-*"
    ))
    assert "arn:aws-cn:iam::aws:policy/AWSDenyAll" in china and "arn:aws:" not in china


@pytest.mark.parametrize(("parameter", "taken", "refused"), [
    ("TargetIds", ["222222222222", "ou-ab12-12345678", "r-ab12"], ["", "*", "22222222222", "ou-ab12"]),
    ("BreakGlassPrincipals",
     ["arn:aws:iam::*:role/break-glass-*", "arn:aws-us-gov:iam::222222222222:user/path/ada",
      "arn:*:iam::*:role/aws-reserved/sso.amazonaws.com/*/AWSReservedSSO_Respond_*"],
     ["", "*", "arn:aws:iam::*:role/*", "arn:aws:iam::*:*", "arn:aws:iam::222222222222:root", "arn:aws:iam::*:role/?*"]),
    ("MemberRoleName", ["EntityLockdownMemberRole"], ["", "a,b", "path/role", "*"]),
])
def test_nobody_is_made_exempt_by_a_slip(parameter: str, taken: list[str], refused: list[str]) -> None:
    pattern = template()["Parameters"][parameter]["AllowedPattern"]
    assert [value for value in taken if not re.fullmatch(pattern, value)] == []
    assert [value for value in refused if re.fullmatch(pattern, value)] == []


def test_every_parameter_says_what_it_is_and_what_it_takes() -> None:
    for name, parameter in template()["Parameters"].items():
        assert parameter["Description"] and {"AllowedPattern", "AllowedValues"} & parameter.keys(), name
        assert ("AllowedPattern" in parameter) == ("ConstraintDescription" in parameter), name
