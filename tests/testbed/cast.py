"""One of every entity with the credentials that an intruder would hold of it, for the victim's view (see intruder.py)."""

import http.client
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .accounts import MEMBER
from .bed import Bed
from .clients import Credentials
from .guard_policy import attach_guard
from .instances import Instance
from .networks import Network, make_fragile_instance, make_network
from .victims import Function, Role, User, make_function, make_role, make_user, unique


@dataclass(frozen=True)
class Holder:
    """Somebody with an entity's credentials, or, without a principal, with none at all."""

    name: str
    principal: User | Role | None
    get: Callable[[], Credentials | None]
    """As they are at that moment: a new session each time, or the one that was there before."""
    can: frozenset[str]
    """The kinds of actions that are tried with them."""


@dataclass(frozen=True)
class Cast:
    """The entities of one account that are contained together."""

    bed: Bed
    user: User
    inline: User
    """His managed policies are full: he is denied by an inline policy."""
    bounded: User
    """So are his inline ones: he is denied by his permissions boundary."""
    role: Role
    function: Function
    url: str
    """The function's URL, which anybody may call."""
    network: Network
    instance: Instance
    isolation: str
    """Our isolation group of the VPC, which is there from an earlier containment."""
    helper: Role
    """Another role of the account, which nobody contains."""
    holders: list[Holder] = field(default_factory=list)
    roots: dict[str, Any] = field(default_factory=dict)

    @property
    def arns(self) -> list[str]:
        """All that is contained."""
        return [self.user.arn, self.inline.arn, self.bounded.arn, self.role.arn, self.function.arn, self.instance.arn]

    @property
    def names(self) -> list[str]:
        """As notices name them."""
        return [self.user.name, self.inline.name, self.bounded.name, self.role.name, self.function.name, self.instance.id]

    @property
    def principals(self) -> list[User | Role]:
        """Whose credentials are held."""
        assert self.instance.role
        return [self.user, self.inline, self.bounded, self.role, self.function.role, self.instance.role]

    def root(self, service: str) -> Any:
        """A client past the proxy, as the account's root: for set-up and for setting right."""
        if service not in self.roots:
            self.roots[service] = self.bed.endpoints.client(service, MEMBER)
        return self.roots[service]

    def call_url(self) -> int:
        """The HTTP status that the function's URL answers."""
        target = urlsplit(self.url)
        trust = ssl.create_default_context(cafile=str(self.bed.certificates.ca))
        connection = http.client.HTTPSConnection(str(target.hostname), int(target.port or 443), timeout=60, context=trust)
        try:
            connection.request("GET", target.path)
            return connection.getresponse().status
        finally:
            connection.close()


def _make_url(bed: Bed, function: Function) -> str:
    client = function.client()
    made = client.create_function_url_config(FunctionName=function.name, AuthType="NONE")["FunctionUrl"]
    client.add_permission(
        FunctionName=function.name, StatementId="url", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE",
    )
    # The emulator serves it under a path too, where no name needs to be resolved.
    return f"{bed.endpoints.aws}/_aws/lambda-url/{made.split('//')[1].split('.')[0]}/"


def _make_group(network: Network) -> str:
    ec2 = network.ec2()
    group: str = ec2.create_security_group(
        GroupName="entity-lockdown-isolation", VpcId=network.id,
        Description="entity-lockdown: lets nothing in and nothing out. Do not use.",
        TagSpecifications=[{"ResourceType": "security-group", "Tags": [{"Key": "entity-lockdown", "Value": "isolation"}]}],
    )["GroupId"]
    found = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
    ec2.revoke_security_group_egress(GroupId=group, IpPermissions=found["IpPermissionsEgress"])
    return group


def make_cast(bed: Bed, guard: list[dict[str, Any]] | None = None) -> Cast:
    """All of them; with a guard policy, each of their principals is bound by it."""
    network = make_network(bed.endpoints, acls="tiers")
    function = make_function(bed.endpoints, queue=True)
    function.alias("live")
    cast = Cast(
        bed, make_user(bed.endpoints), make_user(bed.endpoints, prefix="inline"), make_user(bed.endpoints, prefix="bounded"),
        make_role(bed.endpoints), function, _make_url(bed, function), network,
        make_fragile_instance(network, public=False), _make_group(network), make_role(bed.endpoints, prefix="helper"),
    )
    if guard is not None:
        attach_guard(bed, guard, *cast.principals)
    cast.holders.extend(_holders(cast))
    return cast


def _holders(cast: Cast) -> list[Holder]:
    user, role, of_function, of_instance = cast.user, cast.role, cast.function.role, cast.instance.role
    assert of_instance
    own = cast.bed.endpoints.client("sts", user.credentials)
    of_user = Credentials.of_session(own.get_session_token()["Credentials"])
    before = role.session(unique("old"))
    of_execution, of_metadata = of_function.session(cast.function.name), cast.instance.session()
    iam, every = frozenset({"iam"}), frozenset({"iam", "lambda", "ec2"})
    return [
        Holder("user: key", user, lambda: user.credentials, every),
        Holder("user: session token", user, lambda: of_user, iam),
        Holder("user with an inline deny: key", cast.inline, lambda: cast.inline.credentials, iam),
        Holder("user with a boundary: key", cast.bounded, lambda: cast.bounded.credentials, iam),
        Holder("role: old session", role, lambda: before, iam),
        Holder("role: new session", role, lambda: role.session(unique("new")), frozenset({"iam", "ec2"})),
        Holder("function: its session", of_function, lambda: of_execution, frozenset({"iam", "lambda"})),
        Holder("instance: its session", of_instance, lambda: of_metadata, frozenset({"iam", "ec2"})),
        Holder("nobody's", None, lambda: None, frozenset({"url"})),
    ]
