"""Looking on while the product works: the calls of a containment in their order, waiting for a moment, deliveries again."""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from .bed import Bed
from .instances import Instance, Vpc
from .mailbox import Notice
from .product import EXTERNAL_ID, Product

TAG = "entity-lockdown"
ATTEMPTS = 3
"""How often Lambda delivers an event at most."""


def our_groups(vpc: Vpc) -> dict[str, dict[str, Any]]:
    """The product's groups in a VPC by their purpose; two of one purpose would be a defect."""
    found: dict[str, dict[str, Any]] = {}
    of_vpc = [{"Name": "vpc-id", "Values": [vpc.id]}]
    for group in vpc.ec2().describe_security_groups(Filters=of_vpc)["SecurityGroups"]:
        for tag in group.get("Tags", []):
            if tag["Key"] == TAG:
                assert tag["Value"] not in found, "two groups of one purpose"
                found[tag["Value"]] = group
    return found


def calls(bed: Bed, mark: int, *actions: str) -> list[dict[str, Any]]:
    """The calls of these actions after a `proxy.mark()`, those of the set-up are not among them."""
    return [call for action in actions for call in bed.proxy.calls(mark, action=action)]


def moves(bed: Bed, interface: str, mark: int) -> list[dict[str, Any]]:
    """The calls that gave an interface other groups, refused ones left out."""
    found = calls(bed, mark, "ModifyNetworkInterfaceAttribute")
    return [c for c in found if interface in c["text"] and "SecurityGroupId.1" in c["params"] and not c["code"]]


def until(holds: Callable[[], bool], seconds: float, what: str) -> float:
    """Waits until something holds; how long that took, in seconds."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - began


def in_settle(product: Product, instance: Instance, work: Callable[[], None], event: Any = None) -> None:
    """Contains an instance, by this event if one is given, and does `work` once its interfaces have been opened.

    The settle must be long enough for it.
    """
    mark = product.bed.proxy.mark()
    ask = partial(product.invoke, event) if event else partial(product.contain, instance.arn)
    asked = threading.Thread(target=ask)
    asked.start()
    try:
        until(lambda: all(moves(product.bed, eni, mark) for eni in instance.interfaces), 30, f"{instance.id} is opened")
        work()
    finally:
        asked.join()


def event_for(product: Product, instance: Instance, action: str = "contain") -> dict[str, Any]:
    """The event of an ordinary message, to be delivered as often as a test likes."""
    return product.event({"Arn": instance.arn, "Action": action, "ExternalId": EXTERNAL_ID})


def deliver(product: Product, event: dict[str, Any]) -> int:
    """Hands an event over until it no longer fails, as often as Lambda does at most; how often that was."""
    for attempt in range(1, ATTEMPTS + 1):
        if product.invoke(event)["error"] is None:
            return attempt
    return ATTEMPTS


def stages(product: Product, instance: Instance) -> list[str]:
    """The stages of the notices about an instance."""
    return product.mailbox.stages(instance.id)


def contained(product: Product, instance: Instance) -> Notice:
    """Contains an instance and returns the notice that says how it ended."""
    product.contain(instance.arn)
    return product.mailbox.notices(instance.id)[-1]


def released(product: Product, instance: Instance, **attributes: str) -> Notice:
    """Releases an instance and returns the notice that says how it ended."""
    product.release(instance.arn, **attributes)
    return product.mailbox.notices(instance.id)[-1]


def is_isolated(vpc: Vpc, instance: Instance, *beside: str) -> bool:
    """Whether every interface is in our isolation group, which has no rule, and in no other but those that are named."""
    group = our_groups(vpc).get("isolation", {})
    closed = bool(group) and not group["IpPermissions"] and not group["IpPermissionsEgress"]
    return closed and all(groups == sorted([group["GroupId"], *beside]) for groups in instance.groups().values())


def denials(instance: Instance, acl: str) -> dict[tuple[bool, str], list[int]]:
    """The numbers of an ACL's denials for the instance's own addresses, by direction (egress or not) and range."""
    own = {f"{a}/{128 if ':' in a else 32}" for addresses in instance.addresses().values() for a in addresses}
    found: dict[tuple[bool, str], list[int]] = {}
    for entry in instance.acls().entries(acl):
        cidr = entry.get("CidrBlock") or entry["Ipv6CidrBlock"]
        if cidr in own and entry["RuleAction"] == "deny":
            found.setdefault((entry["Egress"], cidr), []).append(entry["RuleNumber"])
    return found
