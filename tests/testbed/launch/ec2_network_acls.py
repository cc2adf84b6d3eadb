"""Network ACLs as AWS keeps them: rules of both address families, canonical blocks, errors for what isn't there.

- A new ACL ends with a deny for all IPv4 (32767) and, in a VPC with IPv6, for all IPv6 (32768); the default one allows all
  under 100 and, for IPv6, 101 (Amazon VPC User Guide, "Default network ACL for a VPC", "Custom network ACLs for your VPC").
- A block is kept in its canonical form (Amazon EC2 API Reference, CreateNetworkAclEntry).
- An entry that isn't there: `InvalidNetworkAclEntry.NotFound`; an ACL: `InvalidNetworkAclID.NotFound` (Amazon EC2 API
  Reference, "Error codes"). moto fails with a stack trace for the one, and takes the other for a route table.
"""

import ipaddress
import threading
from typing import Any

from moto.ec2.exceptions import EC2ClientError, InvalidNetworkAclIdError
from moto.ec2.models.network_acls import NetworkAclBackend
from moto.ec2.models.vpcs import VPC

ALL = {4: "0.0.0.0/0", 6: "::/0"}
ALLOW, DENY = {4: 100, 6: 101}, {4: 32767, 6: 32768}
# moto serves calls at once on several threads; looking for a number and taking it must be one act.
LOCK = threading.RLock()


def canonical(block: str | None) -> str | None:
    """A block without host bits."""
    try:
        return str(ipaddress.ip_network(block, strict=False)) if block else None
    except ValueError as error:
        message = f"Value ({block}) for parameter cidrBlock is invalid. {error}"
        raise EC2ClientError("InvalidParameterValue", message) from error


def _add(backend: Any, acl: str, family: int, number: int, action: str) -> None:
    for egress in (True, False):
        backend.create_network_acl_entry(
            network_acl_id=acl, rule_number=number, protocol="-1", rule_action=action, egress=egress,
            cidr_block=ALL[4] if family == 4 else None, ipv6_cidr_block=ALL[6] if family == 6 else None,
            icmp_code=None, icmp_type=None, port_range_from=None, port_range_to=None,
        )


def _numbers(acl: Any) -> set[int]:
    return {int(entry.rule_number) for entry in acl.network_acl_entries}


def _add_ipv6(backend: Any, acl: Any) -> None:
    """The IPv6 rules of an ACL; the allowing ones only where nobody has changed the default ACL's own."""
    if acl.default and _numbers(acl) == {ALLOW[4], DENY[4]}:
        _add(backend, acl.id, 6, ALLOW[6], "allow")
    if DENY[6] not in _numbers(acl):
        _add(backend, acl.id, 6, DENY[6], "deny")


def install() -> None:
    """Wraps the creation of ACLs and entries, their deletion, and the association of a VPC with IPv6."""
    create, create_entry = NetworkAclBackend.create_network_acl, NetworkAclBackend.create_network_acl_entry
    delete_entry, describe = NetworkAclBackend.delete_network_acl_entry, NetworkAclBackend.describe_network_acls
    associate = VPC.associate_vpc_cidr_block

    def create_with_rules(self: Any, vpc_id: str, tags: Any = None, default: bool = False) -> Any:
        acl = create(self, vpc_id, tags, default)
        if not default:
            _add(self, acl.id, 4, DENY[4], "deny")
        if self.get_vpc(vpc_id).get_cidr_block_association_set(ipv6=True):
            _add_ipv6(self, acl)
        return acl

    def create_canonical_entry(self: Any, **entry: Any) -> Any:
        entry["cidr_block"], entry["ipv6_cidr_block"] = canonical(entry["cidr_block"]), canonical(entry["ipv6_cidr_block"])
        with LOCK:
            return create_entry(self, **entry)

    def delete_entry_that_exists(self: Any, network_acl_id: str, rule_number: int, egress: bool) -> Any:
        with LOCK:
            try:
                return delete_entry(self, network_acl_id, rule_number, egress)
            except StopIteration:
                direction = "egress" if egress else "ingress"
                message = f"The {direction} network acl entry identified by {rule_number} does not exist."
                raise EC2ClientError("InvalidNetworkAclEntry.NotFound", message) from None

    def describe_existing(self: Any, network_acl_ids: list[str] | None = None, filters: Any = None) -> Any:
        for acl in network_acl_ids or []:
            if acl not in self.network_acls:
                raise InvalidNetworkAclIdError(acl)
        return describe(self, network_acl_ids, filters)

    def associate_and_add_rules(self: Any, *rest: Any, **more: Any) -> Any:
        associated = associate(self, *rest, **more)
        if self.get_cidr_block_association_set(ipv6=True):
            for acl in list(self.ec2_backend.network_acls.values()):
                if acl.vpc_id == self.id:
                    _add_ipv6(self.ec2_backend, acl)
        return associated

    NetworkAclBackend.create_network_acl = create_with_rules
    NetworkAclBackend.create_network_acl_entry = create_canonical_entry
    NetworkAclBackend.delete_network_acl_entry = delete_entry_that_exists
    NetworkAclBackend.describe_network_acls = describe_existing
    VPC.associate_vpc_cidr_block = associate_and_add_rules
