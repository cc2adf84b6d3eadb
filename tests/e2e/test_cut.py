"""Flows that AWS always tracks are cut at the edges of other subnets: for the instance alone, before it is opened, and for as long."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from testbed.bed import Bed
from testbed.figures import DELAY_MS, chain_to
from testbed.instances import Instance, launch, make_instance, make_interface, make_vpc
from testbed.networks import Network, make_fragile_instance, make_network
from testbed.product import Product
from testbed.watching import calls, contained, denials, in_settle, is_isolated, moves, our_groups, released, stages, until


def through_nat(network: Network, instance: Instance) -> list[bool]:
    """Whether flows of each private interface get through the NAT gateway and back."""
    private = [i["NetworkInterfaceId"] for i in instance.described() if i["SubnetId"] in network.private]
    assert private
    return [network.flows_through(interface, network.nat_interface) for interface in private]


def flows(network: Network, instance: Instance) -> dict[str, tuple[bool, bool]]:
    """What of each interface passes: through the NAT gateway, and out through the internet gateway."""
    return {i: (network.flows_through(i, network.nat_interface), network.flows_out(i)) for i in instance.interfaces}


def own_ranges(instance: Instance) -> set[str]:
    """Every private address of an instance, as an ACL's entry names it."""
    return {f"{a}/{128 if ':' in a else 32}" for addresses in instance.addresses().values() for a in addresses}


@pytest.mark.parametrize("acls", ["shared", "tiers"])
def test_flows_through_a_nat_gateway_are_cut_for_the_instance_alone_until_it_is_released(
    product: Product, bed: Bed, acls: Any
) -> None:
    network = make_network(bed.endpoints, acls=acls)
    instance, bystander = make_fragile_instance(network, prefix=True), make_fragile_instance(network)
    before, beside, others = instance.state(), bystander.state(), flows(network, bystander)
    assert through_nat(network, instance) == [True, True] and set(others.values()) == {(True, True)}
    notice = contained(product, instance)
    assert notice.stage == "Contained", notice.mail
    assert through_nat(network, instance) == [False, False] and is_isolated(network, instance)
    used = [acl for acl, state in network.acls().state().items() if state["subnets"]]
    assert len(used) == {"shared": 1, "tiers": 2}[acls]
    for acl in used:
        found = denials(instance, acl)
        assert set(found) == {(egress, cidr) for egress in (False, True) for cidr in own_ranges(instance)}
        assert all(len(numbers) == 1 and numbers[0] < 100 for numbers in found.values())
        assert [e["RuleAction"] for e in network.acls().entries(acl) if e.get("CidrBlock") == "10.0.2.64/28"] == ["deny"] * 2
    assert flows(network, bystander) == others
    assert {**bystander.state(), "acls": None} == {**beside, "acls": None}
    assert released(product, instance).stage == "Released"
    assert instance.state() == before and bystander.state() == beside
    assert through_nat(network, instance) == [True, True]


def test_the_instance_is_cut_off_all_through_the_settle(configured: Callable[..., Product], bed: Bed) -> None:
    product, network = configured(SettleSeconds="12"), make_network(bed.endpoints, acls="tiers")
    instance = make_fragile_instance(network)
    seen: list[Any] = []

    def look() -> None:
        open_group = our_groups(network)["untracking"]["GroupId"]
        seen.extend([set(map(tuple, instance.groups().values())) == {(open_group,)}, *through_nat(network, instance)])

    in_settle(product, instance, look)
    assert seen == [True, False, False]
    assert stages(product, instance) == ["Started", "Contained"]
    started = product.mailbox.notices(instance.id)[0].mail
    assert "OPEN to the network within its own subnets and by way of the internet gateway" in started


def test_with_never_the_acls_are_left_and_what_goes_on_is_named(configured: Callable[..., Product], bed: Bed) -> None:
    product, network = configured(NetworkAcl="never", AutoScaling="leave"), make_network(bed.endpoints)
    instance = make_fragile_instance(network)
    before = instance.state()
    notice = contained(product, instance)
    assert notice.stage == "Partial" and instance.state()["acls"] == before["acls"]
    assert through_nat(network, instance) == [True, True] and is_isolated(network, instance)
    open_ways = [line for line in notice.json["residue"] if "through a NAT gateway" in line]
    assert [next(i for i in instance.interfaces[:2] if i in line) for line in open_ways] == instance.interfaces[:2]
    assert all("NetworkAcl is `never`" in line for line in open_ways) and all(line in notice.mail for line in open_ways)
    assert "OPEN to the network from and to everywhere" in product.mailbox.notices(instance.id)[0].mail
    assert released(product, instance).stage == "Released" and instance.state() == before


def test_auto_leaves_acls_alone_where_nothing_leads_out_and_always_does_not(
    product: Product, configured: Callable[..., Product], bed: Bed
) -> None:
    vpc = make_vpc(bed.endpoints)
    instance, other = make_instance(bed.endpoints, vpc), make_instance(bed.endpoints, vpc)
    before, [acl] = instance.state(), instance.acls().state()
    assert contained(product, instance).stage == "Contained" and instance.state()["acls"] == before["acls"]
    assert contained(configured(NetworkAcl="always"), other).stage == "Contained"
    assert {cidr for _, cidr in denials(other, acl)} == own_ranges(other) and not denials(instance, acl)
    assert released(configured(NetworkAcl="always"), other).stage == "Released"
    assert released(product, instance).stage == "Released" and instance.state() == before


def test_auto_cuts_a_public_instance_off_from_the_other_subnets_only_where_the_settle_would_open_it(
    product: Product, configured: Callable[..., Product], bed: Bed
) -> None:
    network = make_network(bed.endpoints)
    one, two = (launch(network, [make_interface(network, network.public, public=True)]) for _ in range(2))
    before, acl = one.state(), network.acls().of(network.public)
    assert contained(product, one).stage == "Contained"
    assert {cidr for _, cidr in denials(one, acl)} == own_ranges(one)
    started = product.mailbox.notices(one.id)[0].mail
    assert "OPEN to the network within its own subnets and by way of the internet gateway" in started
    assert contained(configured(SettleSeconds="0"), two).stage == "Partial" and not denials(two, acl)
    released(configured(SettleSeconds="0"), two)
    assert released(product, one).stage == "Released" and one.state() == before


def test_without_a_settle_flows_are_cut_and_nothing_is_opened(configured: Callable[..., Product], bed: Bed) -> None:
    product, network = configured(SettleSeconds="0"), make_network(bed.endpoints, acls="tiers")
    instance = make_fragile_instance(network)
    before, mark = instance.state(), bed.proxy.mark()
    notice = contained(product, instance)
    assert notice.stage == "Partial" and "SettleSeconds is 0" in notice.mail and "NAT gateway" not in notice.mail
    assert through_nat(network, instance) == [False, False] and is_isolated(network, instance)
    assert set(our_groups(network)) == {"isolation"}
    assert all(len(moves(bed, interface, mark)) == 1 for interface in instance.interfaces)
    assert released(product, instance).stage == "Released" and instance.state() == before


def test_preserving_and_cutting_end_before_the_first_interface_is_opened(product: Product, bed: Bed) -> None:
    instance = make_fragile_instance(make_network(bed.endpoints, acls="tiers"))
    mark = bed.proxy.mark()
    product.contain(instance.arn)
    opened = min(moves(bed, interface, mark)[0]["start_ms"] for interface in instance.interfaces)
    entries = calls(bed, mark, "CreateNetworkAclEntry")
    kept = [call for call in calls(bed, mark, "ModifyInstanceAttribute") if instance.id in call["text"]]
    stored = [call for call in calls(bed, mark, "SendMessage") if instance.id in call["text"]]
    # Two directions in two ACLs for four IPv4 and three IPv6 addresses; two attributes and two volumes.
    assert len(entries) == 2 * 2 * 7 and len(kept) == 4
    assert any(call["params"]["DelaySeconds"] == "32" for call in stored), "the settle and the lease of a holder that died"
    denied = [call for call in calls(bed, mark, "PutRolePolicy") if instance.id in call["text"]]
    before = [*entries, *kept, *denied, *(call for call in stored if call["params"]["DelaySeconds"] == "32")]
    assert denied and all(call["status"] == 200 and call["end_ms"] <= opened for call in before)
    assert max(c["end_ms"] for c in [*kept, *denied]) <= min(c["start_ms"] for c in entries), "kept first, then cut"


def way_to_the_cut(product: Product, bed: Bed, interfaces: int) -> list[str]:
    """The longest chain of calls from the event to the last entry, for an instance with so many interfaces, in a VPC of its own."""
    network = make_network(bed.endpoints, acls="tiers")
    instance = launch(network, [make_interface(network, network.private[n % 2]) for n in range(interfaces)])
    # What a first message takes beside, a session and a process, is not the interfaces'.
    product.publish(instance.arn, action="plan")
    mark, slow = bed.proxy.mark(), bed.proxy.add_rule(fault="delay", ms=2 * DELAY_MS)
    containing = threading.Thread(target=product.contain, args=(instance.arn,))
    containing.start()
    try:
        until(lambda: bool(calls(bed, mark, "CreateNetworkAclEntry")), 30, "the cut begins")
        time.sleep(4 * DELAY_MS / 1000)
    finally:
        bed.proxy.remove_rule(slow)
        containing.join()
    # Two directions in two ACLs for an IPv4 and an IPv6 address of each.
    assert len(calls(bed, mark, "CreateNetworkAclEntry")) == 2 * 2 * 2 * interfaces
    assert stages(product, instance)[-1] == "Contained"
    return chain_to(bed.proxy.calls(mark), "CreateNetworkAclEntry", last=True)


def test_the_way_to_the_cut_is_as_long_for_ten_interfaces_as_for_one(product: Product, bed: Bed) -> None:
    ways: dict[int, list[str]] = {}
    # A busy machine can make what runs side by side look like one after the other, and never the other way round.
    for _ in range(3):
        for count in (1, 10):
            ways[count] = min(way_to_the_cut(product, bed, count), ways.get(count, ["?"] * 99), key=len)
        if len(ways[1]) == len(ways[10]):
            break
    for count, way in ways.items():
        print(f"{count} interfaces: {len(way)} round trips ({' > '.join(way)})")
    assert len(ways[10]) == len(ways[1]), ways
