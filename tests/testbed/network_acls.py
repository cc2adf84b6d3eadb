"""Network ACLs of a VPC as they are read back, and what they let through."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .accounts import MEMBER, REGION
from .clients import Endpoints

QUOTA = 20
"""Rules of one direction and address family, the closing deny among them (Amazon VPC User Guide, "Amazon VPC quotas")."""


@dataclass(frozen=True)
class Acls:
    """All network ACLs of a VPC, read anew at each question."""

    endpoints: Endpoints
    vpc: str
    region: str = REGION

    def ec2(self) -> Any:
        """EC2 as the account's root, past the proxy."""
        return self.endpoints.client("ec2", MEMBER, self.region)

    def described(self) -> list[dict[str, Any]]:
        """As EC2 describes them."""
        of_vpc = [{"Name": "vpc-id", "Values": [self.vpc]}]
        acls: list[dict[str, Any]] = self.ec2().describe_network_acls(Filters=of_vpc)["NetworkAcls"]
        return acls

    def of(self, subnet: str) -> str:
        """The ACL of a subnet."""
        associations = [a for acl in self.described() for a in acl["Associations"]]
        return next(str(a["NetworkAclId"]) for a in associations if a["SubnetId"] == subnet)

    def entries(self, acl: str) -> list[dict[str, Any]]:
        """The entries of one ACL in the order of their evaluation, ingress first."""
        found = next(a["Entries"] for a in self.described() if a["NetworkAclId"] == acl)
        return sorted(found, key=lambda entry: (entry["Egress"], entry["RuleNumber"]))

    def state(self) -> dict[str, Any]:
        """Every entry and every associated subnet of every ACL."""
        return {
            acl["NetworkAclId"]: {
                "subnets": sorted(a["SubnetId"] for a in acl["Associations"]),
                "entries": sorted(
                    (e["Egress"], e["RuleNumber"], e["RuleAction"], e["Protocol"], e.get("CidrBlock") or e["Ipv6CidrBlock"])
                    for e in acl["Entries"]
                ),
            }
            for acl in self.described()
        }

    def add(
        self, acl: str, number: int, action: str, cidr: str = "0.0.0.0/0", *, both_ways: bool = True, egress: bool = False,
    ) -> None:
        """Adds an entry for all protocols, in both directions or in one."""
        block = {"Ipv6CidrBlock" if ":" in cidr else "CidrBlock": cidr}
        for direction in (False, True) if both_ways else (egress,):
            self.ec2().create_network_acl_entry(
                NetworkAclId=acl, RuleNumber=number, Protocol="-1", RuleAction=action, Egress=direction, **block
            )

    def make(self, *subnets: str, open: bool = True) -> str:
        """A new ACL for these subnets in place of theirs; `open` lets everything through, as the default one does."""
        allowed = [(100, "0.0.0.0/0"), (101, "::/0")] if open else []
        acl: str = self.ec2().create_network_acl(VpcId=self.vpc)["NetworkAcl"]["NetworkAclId"]
        for number, cidr in allowed:
            self.add(acl, number, "allow", cidr)
        for subnet in subnets:
            self.move(subnet, acl)
        return acl

    def move(self, subnet: str, acl: str) -> None:
        """A subnet gets this ACL in place of its own."""
        associations = [a for described in self.described() for a in described["Associations"]]
        [own] = [a["NetworkAclAssociationId"] for a in associations if a["SubnetId"] == subnet]
        self.ec2().replace_network_acl_association(AssociationId=own, NetworkAclId=acl)

    def delete(self, acl: str) -> None:
        """Deletes an ACL that no subnet has."""
        self.ec2().delete_network_acl(NetworkAclId=acl)

    def fill(
        self, acl: str, *, leave: int = 0, ipv6: bool = False, quota: int = QUOTA, directions: Sequence[bool] = (False, True),
    ) -> None:
        """Fills these directions (egress or not) with rules of no effect until `leave` more would fit."""
        for egress in directions:
            used = [e for e in self.entries(acl) if e["Egress"] == egress and ("Ipv6CidrBlock" in e) == ipv6]
            for n in range(quota - leave - len(used)):
                cidr = f"2001:db8::{n:x}/128" if ipv6 else f"192.0.2.{n}/32"
                number = (21000 if ipv6 else 20000) + n
                self.add(acl, number, "allow", cidr, both_ways=False, egress=egress)

    def let_through(self, subnet: str, remote: str, *, egress: bool, now: list[dict[str, Any]] | None = None) -> bool:
        """Whether a packet passes the edge of a subnet: the lowest rule that fits decides. `now`: what `described` said.

        Rules know one address alone: the source of what comes in, the destination of what goes out (Amazon VPC User Guide,
        "Network ACL rules"). The other end, which lies in the subnet, can't be told apart by them.
        """
        address, acls = ipaddress.ip_address(remote), self.described() if now is None else now
        [acl] = [acl for acl in acls if any(a["SubnetId"] == subnet for a in acl["Associations"])]
        for entry in sorted(acl["Entries"], key=lambda entry: int(entry["RuleNumber"])):
            network = ipaddress.ip_network(entry.get("CidrBlock") or entry["Ipv6CidrBlock"])
            if entry["Egress"] == egress and address.version == network.version and address in network:
                return bool(entry["RuleAction"] == "allow")
        return False
