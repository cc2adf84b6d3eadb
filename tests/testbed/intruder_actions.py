"""What an intruder tries, one function for each action (see intruder.py).

Each is tried on the entity whose credentials are held where it is about a principal, and on the cast's function and instance
else. IAM's `PassRole` isn't judged by the emulator: passing a role is judged by the making of the function that gets it.
"""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from .accounts import MEMBER
from .cast import Cast, Holder
from .clients import Credentials
from .self_check import DENY_ALL
from .victims import ADMIN, Function, Role, User, allowed, function_code, unique

TRUST = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{MEMBER}:root"}, "Action": "sts:AssumeRole"},
]})
ANYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
PORTS = itertools.count(10000)
"""A rule is made once only: each attempt has a port of its own."""


@dataclass(frozen=True)
class Left:
    """Something that was made and that containment doesn't undo."""

    kind: str
    name: str
    works: Callable[[], bool | None]
    """Whether it can be used now; None where the bed can't tell."""


@dataclass
class Attempt:
    """The attempts with one holder's credentials."""

    cast: Cast
    holder: Holder
    credentials: Credentials | None
    left: list[Left] = field(default_factory=list)
    undoing: list[Callable[[], Any]] = field(default_factory=list)
    clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """With the credentials that are held; EC2 through the proxy, which judges it."""
        assert self.credentials
        bed = self.cast.bed
        if service not in self.clients:
            endpoint = bed.proxy.url if service == "ec2" else ""
            self.clients[service] = bed.endpoints.client(service, self.credentials, endpoint=endpoint)
        return self.clients[service]

    @property
    def own(self) -> User | Role:
        """The principal whose credentials are held."""
        assert self.holder.principal
        return self.holder.principal

    def on_own(self, verb: str, what: str, *, root: bool = False, **more: Any) -> None:
        """`detach` and `policy` become `DetachUserPolicy` or `DetachRolePolicy` of the held principal."""
        kind = "user" if isinstance(self.own, User) else "role"
        client = self.cast.root("iam") if root else self.client("iam")
        getattr(client, f"{verb}_{kind}_{what}")(**{f"{kind.title()}Name": self.own.name}, **more)

    def later(self, undo: Callable[..., Any], **more: Any) -> None:
        """Has the root set something right again after the attempt."""
        self.undoing.append(lambda: undo(**more))

    def undo(self) -> None:
        """Sets right what was changed before the containment, so that each attempt finds the same; nothing of it is left."""
        for undo in reversed(self.undoing):
            undo()
        self.undoing.clear()
        self.left.clear()


@dataclass(frozen=True)
class Action:
    """One thing to try."""

    name: str
    kind: str
    attempt: Callable[[Attempt], None]
    prepare: Callable[[Attempt], None] | None = None
    """Where there must be something to do it to, outside of the window."""


# --- On the principal itself --------------------------------------------------------------------------------------------------


def inline_name(a: Attempt) -> str:
    """The name of our inline deny on the held principal; of another policy of its own, where ours is a managed one."""
    if a.cast.instance.role == a.own:
        return f"EntityLockdownDeny-{a.cast.instance.id}"
    return "EntityLockdownDenyAll" if a.own == a.cast.inline else "app"


def detach(a: Attempt) -> None:
    a.on_own("detach", "policy", PolicyArn=DENY_ALL)


def put_app_policy(a: Attempt) -> None:
    """Outside of the window there is a policy of the principal's own to try it on: ours must not be touched."""
    a.on_own("put", "policy", root=True, PolicyName="app", PolicyDocument=ANYTHING)


def delete_inline(a: Attempt) -> None:
    name = inline_name(a)
    inline = a.own.state()["inline"]
    a.on_own("delete", "policy", PolicyName=name if name in inline else "app")


def overwrite_inline(a: Attempt) -> None:
    name = inline_name(a)
    a.on_own("put", "policy", PolicyName=name, PolicyDocument=ANYTHING)
    a.later(a.on_own, verb="delete", what="policy", root=True, PolicyName=name)


def put_boundary(a: Attempt) -> None:
    a.on_own("put", "permissions_boundary", PermissionsBoundary=ADMIN)
    a.later(a.on_own, verb="delete", what="permissions_boundary", root=True)


def delete_boundary(a: Attempt) -> None:
    a.on_own("delete", "permissions_boundary")


# --- New ways in ----------------------------------------------------------------------------------------------------------------


def make_key(a: Attempt) -> None:
    """For the contained user: with a role's session, for the user beside it."""
    user = a.own if isinstance(a.own, User) else a.cast.user
    key = a.client("iam").create_access_key(UserName=user.name)["AccessKey"]
    made = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
    a.left.append(Left("key of a contained user", made.access_key_id, lambda: allowed(a.cast.bed.endpoints, made)))
    a.later(a.cast.root("iam").delete_access_key, UserName=user.name, AccessKeyId=made.access_key_id)


def make_user(a: Attempt) -> None:
    iam, name = a.client("iam"), unique("mallory")
    iam.create_user(UserName=name)
    iam.attach_user_policy(UserName=name, PolicyArn=ADMIN)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    made = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
    a.left.append(Left("user", name, lambda: allowed(a.cast.bed.endpoints, made)))
    a.later(a.cast.root("iam").delete_user, UserName=name)
    a.later(a.cast.root("iam").delete_access_key, UserName=name, AccessKeyId=made.access_key_id)
    a.later(a.cast.root("iam").detach_user_policy, UserName=name, PolicyArn=ADMIN)


def make_password(a: Attempt) -> None:
    """For a new user without a key, so that it counts by itself."""
    iam, name = a.client("iam"), unique("console")
    iam.create_user(UserName=name)
    iam.create_login_profile(UserName=name, Password="correct-Horse-7")
    a.left.append(Left("password of the user", name, lambda: None))
    a.later(a.cast.root("iam").delete_user, UserName=name)
    a.later(a.cast.root("iam").delete_login_profile, UserName=name)


def make_role(a: Attempt) -> None:
    iam, name = a.client("iam"), unique("backdoor")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    iam.attach_role_policy(RoleName=name, PolicyArn=ADMIN)
    a.left.append(Left("role", name, Role(a.cast.bed.endpoints, name, arn).allowed))
    a.later(a.cast.root("iam").delete_role, RoleName=name)
    a.later(a.cast.root("iam").detach_role_policy, RoleName=name, PolicyArn=ADMIN)


def pass_role(a: Attempt) -> None:
    name, helper = unique("implant"), a.cast.helper
    made = a.client("lambda").create_function(
        FunctionName=name, Runtime="provided.al2023", Handler="bootstrap", Role=helper.arn, Timeout=10,
        Code={"ZipFile": function_code()},
    )
    implant = Function(a.cast.bed.endpoints, name, made["FunctionArn"], helper)
    a.left.append(Left("function with another role", name, implant.allowed))
    a.later(a.cast.root("lambda").delete_function, FunctionName=name)


# --- The function ---------------------------------------------------------------------------------------------------------------


def update_code(a: Attempt) -> None:
    a.client("lambda").update_function_code(FunctionName=a.cast.function.name, ZipFile=function_code())


def lift_concurrency(a: Attempt) -> None:
    a.client("lambda").delete_function_concurrency(FunctionName=a.cast.function.name)


def feed_again(a: Attempt) -> None:
    [mapping] = a.cast.function.mappings
    a.client("lambda").update_event_source_mapping(UUID=mapping, Enabled=True)


def invoke(qualifier: str) -> Callable[[Attempt], None]:
    def attempt(a: Attempt) -> None:
        a.client("lambda").invoke(FunctionName=a.cast.function.name, Qualifier=qualifier)["Payload"].read()

    return attempt


def call_url(a: Attempt) -> None:
    status = a.cast.call_url()
    if status != 200:
        raise ClientError({"Error": {"Code": str(status), "Message": "the function URL"}}, "GET")


# --- The instance ---------------------------------------------------------------------------------------------------------------


def move_interface(a: Attempt) -> None:
    """Into groups of the VPC that are not ours, as it was before."""
    interface, group = a.cast.instance.interfaces[0], a.cast.network.group()
    before = a.cast.instance.groups()[interface]
    a.client("ec2").modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=[group])
    a.later(a.cast.root("ec2").modify_network_interface_attribute, NetworkInterfaceId=interface, Groups=before)


def open_our_group(a: Attempt) -> None:
    port = next(PORTS)
    door = [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "198.51.100.7/32"}]}]
    a.client("ec2").authorize_security_group_ingress(GroupId=a.cast.isolation, IpPermissions=door)
    a.later(a.cast.root("ec2").revoke_security_group_ingress, GroupId=a.cast.isolation, IpPermissions=door)


def untag_our_group(a: Attempt) -> None:
    """The tag by which the product knows it, and by which the guard policy protects it."""
    tags = [{"Key": "entity-lockdown", "Value": "isolation"}]
    a.client("ec2").delete_tags(Resources=[a.cast.isolation], Tags=tags)
    a.later(a.cast.root("ec2").create_tags, Resources=[a.cast.isolation], Tags=tags)


def ours_or_a_decoy(a: Attempt) -> dict[str, Any]:
    """An entry that denies an address of the instance; a decoy's number, where there is none."""
    own = {address for addresses in a.cast.instance.addresses().values() for address in addresses}
    acl = a.cast.network.acls().of(a.cast.network.public)
    for entry in a.cast.network.acls().entries(acl):
        block = entry.get("CidrBlock") or entry["Ipv6CidrBlock"]
        if entry["RuleAction"] == "deny" and block.split("/")[0] in own:
            return {"NetworkAclId": acl, "RuleNumber": entry["RuleNumber"], "Egress": entry["Egress"]}
    return {"NetworkAclId": acl, "RuleNumber": 9000, "Egress": False}


def put_decoy_entry(a: Attempt) -> None:
    entry = ours_or_a_decoy(a)
    if entry["RuleNumber"] == 9000:
        a.cast.root("ec2").create_network_acl_entry(**entry, Protocol="-1", RuleAction="deny", CidrBlock="192.0.2.1/32")


def delete_entry(a: Attempt) -> None:
    a.client("ec2").delete_network_acl_entry(**ours_or_a_decoy(a))


ACTIONS = [
    Action("detach the deny from itself", "iam", detach),
    Action("delete the inline deny", "iam", delete_inline, put_app_policy),
    Action("write over the inline deny", "iam", overwrite_inline),
    Action("delete its boundary", "iam", delete_boundary),
    Action("set another boundary on itself", "iam", put_boundary),
    Action("make a key", "iam", make_key),
    Action("make a user with a key", "iam", make_user),
    Action("make a user with a password", "iam", make_password),
    Action("make a role", "iam", make_role),
    Action("pass a role to a new function", "lambda", pass_role),
    Action("update the function's code", "lambda", update_code),
    Action("lift the function's concurrency", "lambda", lift_concurrency),
    Action("feed the function again", "lambda", feed_again),
    Action("invoke the function by name", "lambda", invoke("$LATEST")),
    Action("invoke it by alias", "lambda", invoke("live")),
    Action("invoke it by version", "lambda", invoke("1")),
    Action("invoke it by its URL", "url", call_url),
    Action("move an interface of the instance", "ec2", move_interface),
    Action("open our isolation group", "ec2", open_our_group),
    Action("take the tag off our group", "ec2", untag_our_group),
    Action("delete an entry of a network ACL", "ec2", delete_entry, put_decoy_entry),
]
