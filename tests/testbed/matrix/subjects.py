"""What the matrices lock: a fresh entity for each trial, with the names that its calls hold and the truth about it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..accounts import MEMBER
from ..auto_scaling import make_scaling_group
from ..bed import Bed
from ..instances import Instance
from ..networks import Network, make_fragile_instance, make_network
from ..self_check import DENY_ALL
from ..victims import make_function, make_role, make_user

KINDS = ("user", "role", "function", "instance")


@dataclass(frozen=True)
class Subject:
    """One entity to lock."""

    kind: str
    arn: str
    names: tuple[str, ...]
    """What calls about it name it and its parts by, its own name first, in an order that all of a kind have."""
    state: Callable[[], dict[str, Any]]
    """All that a release must leave as it was."""
    left_open: Callable[[], list[str]]
    """What of it is not locked, in words: empty if it is contained."""
    undo: Callable[[], None]
    """Opens it again after a containment, as somebody with other rights would."""

    def shape(self) -> Any:
        """Its state as that of any other one of its kind in the same condition would be."""
        return _shape(self.state(), {name: f"<{n}>" for n, name in enumerate(self.names)})


def make_subject(bed: Bed, kind: str) -> Subject:
    """A fresh entity of a kind: nothing of it is known to the product."""
    return {"user": _user, "role": _role, "function": _function, "instance": _instance}[kind](bed)


def _user(bed: Bed) -> Subject:
    user = make_user(bed.endpoints)
    names = (user.name, user.credentials.access_key_id)
    iam = bed.endpoints.client("iam", MEMBER)
    return Subject(
        "user", user.arn, names, user.state, lambda: ["the user's key works"] if user.allowed() else [],
        lambda: iam.detach_user_policy(UserName=user.name, PolicyArn=DENY_ALL),
    )


def _role(bed: Bed) -> Subject:
    role = make_role(bed.endpoints)
    session = role.session()

    def left_open() -> list[str]:
        return [what for what, held in (("an old session", session), ("a new session", None)) if role.allowed(held)]

    return Subject("role", role.arn, (role.name,), role.state, left_open, lambda: _detach(bed, role.name))


def _function(bed: Bed) -> Subject:
    function = make_function(bed.endpoints, queue=True, reserved=5)
    [mapping] = function.mappings

    def left_open() -> list[str]:
        found = ["the role"] if function.role.allowed() else []
        if function.reserved() != 0:
            found.append("concurrency")
        if set(function.mapping_states().values()) - {"Disabled", "Disabling"}:
            found.append("the event source mapping")
        return found

    def undo() -> None:
        function.client().delete_function_concurrency(FunctionName=function.name)
        function.client().update_event_source_mapping(UUID=mapping, Enabled=True)
        _detach(bed, function.role.name)

    return Subject("function", function.arn, (function.name, function.role.name, mapping), function.state, left_open, undo)


def _instance(bed: Bed) -> Subject:
    """Two interfaces in private subnets behind a NAT gateway, in an Auto Scaling group, its evidence easily lost."""
    network = make_network(bed.endpoints, acls="tiers")
    instance = make_fragile_instance(network, public=False)
    group = make_scaling_group(bed.endpoints, network, instance)
    role = instance.role
    if role is None:
        raise RuntimeError("the instance was to have a role")
    [profile] = bed.endpoints.client("iam", MEMBER).list_instance_profiles_for_role(RoleName=role.name)["InstanceProfiles"]
    acls = network.acls()
    names = (
        instance.id, *instance.interfaces, role.name, profile["InstanceProfileName"], group.name,
        acls.of(network.public), acls.of(network.subnet), network.id, *instance.volumes().values(), network.nat_gateway,
    )
    attached: list[str] = []
    return Subject(
        "instance", instance.arn, names, instance.state, lambda: _instance_left_open(bed, network, instance, attached),
        lambda: attached.append(_open_instance(bed, network, instance)),
    )


def _open_instance(bed: Bed, network: Network, instance: Instance) -> str:
    """An interface in another group, a way to the NAT gateway, and a new interface, whose id it returns."""
    ec2, own = bed.endpoints.client("ec2", MEMBER), network.group()
    ec2.modify_network_interface_attribute(NetworkInterfaceId=instance.interfaces[0], Groups=[own])
    acl = network.acls().of(network.public)
    [entry] = [e for e in network.acls().entries(acl) if e.get("CidrBlock", "").startswith("10.0.2.") and not e["Egress"]]
    ec2.delete_network_acl_entry(NetworkAclId=acl, RuleNumber=entry["RuleNumber"], Egress=False)
    new = ec2.create_network_interface(SubnetId=network.private[0], Groups=[own])["NetworkInterface"]["NetworkInterfaceId"]
    ec2.attach_network_interface(DeviceIndex=7, InstanceId=instance.id, NetworkInterfaceId=new)
    return str(new)


def _detach(bed: Bed, role: str) -> None:
    bed.endpoints.client("iam", MEMBER).detach_role_policy(RoleName=role, PolicyArn=DENY_ALL)


def _instance_left_open(bed: Bed, network: Network, instance: Instance, attached: list[str]) -> list[str]:
    found, groups = [], instance.groups()
    if attached:
        new = bed.endpoints.client("ec2", MEMBER).describe_network_interfaces(NetworkInterfaceIds=attached)["NetworkInterfaces"]
        groups |= {one["NetworkInterfaceId"]: [group["GroupId"] for group in one["Groups"]] for one in new}
    ids = sorted({group for own in groups.values() for group in own})
    described = bed.endpoints.client("ec2", MEMBER).describe_security_groups(GroupIds=ids)["SecurityGroups"]
    ruled = {g["GroupId"] for g in described if g["IpPermissions"] or g["IpPermissionsEgress"]}
    for interface, own in groups.items():
        if ruled & set(own):
            found.append(f"{interface} is in groups with rules")
        if network.flows_through(interface, network.nat_interface):
            found.append(f"{interface} reaches the NAT gateway")
    if instance.allowed():
        found.append("the role")
    if (instance.lifecycle() or {}).get("state") != "Standby":
        found.append("not on standby")
    return found


def _shape(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        shaped = {_shape(key, names): _shape(item, names) for key, item in value.items()}
        if "entries" in shaped:
            # Their numbers and addresses are each VPC's own: how many there are of each sort is not. Two that say the same count
            # once: where a lease lapses over its holder, two invocations make it.
            different = {(egress, action, protocol, block) for egress, _, action, protocol, block in value["entries"]}
            sorts = sorted((egress, action, protocol) for egress, action, protocol, _ in different)
            shaped["entries"] = [str(sort) for sort in sorts]
            shaped["subnets"] = len(value["subnets"])
        return shaped
    if isinstance(value, (list, tuple)):
        return sorted((_shape(item, names) for item in value), key=str)
    if isinstance(value, str):
        for name, placeholder in names.items():
            value = value.replace(name, placeholder)
        return re.sub(r"\b(sg|subnet|acl)-\w+", r"\1", value)
    return value
