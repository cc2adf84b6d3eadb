"""What comes in the way of cutting an instance off and of giving it back: said clearly, undone as far as it exists, never lost."""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from testbed.bed import Bed
from testbed.instances import Instance, launch, make_interface
from testbed.networks import Network, make_fragile_instance, make_network
from testbed.product import Product
from testbed.watching import (
    calls, contained, deliver, denials, event_for, in_settle, is_isolated, moves, our_groups, released, stages, until,
)


@pytest.fixture
def network(bed: Bed) -> Network:
    """One whose public and private subnets have an ACL each, with an instance's way out through a NAT gateway."""
    return make_network(bed.endpoints, acls="tiers")


@pytest.fixture
def instance(network: Network) -> Instance:
    """One with an IPv4 and an IPv6 address in a private subnet."""
    return launch(network, [make_interface(network, network.subnet)])


@pytest.fixture
def settling(configured: Callable[..., Product]) -> Product:
    """One with a settle that is long enough for something to happen in it, and for a busy machine to notice that it began."""
    return configured(SettleSeconds="8")


def public_acl(network: Network) -> str:
    """The ACL in which a deny cuts the way through the NAT gateway."""
    return network.acls().of(network.public)


def flows(network: Network, instance: Instance) -> bool:
    """Whether anything of its first interface gets through the NAT gateway and back."""
    return network.flows_through(instance.interfaces[0], network.nat_interface)


def deny(network: Network, acl: str, number: int, instance: Instance) -> str:
    """Somebody else's deny for the instance's IPv4 address, both ways; returns the range."""
    cidr = f"{instance.addresses()[instance.interfaces[0]][0]}/32"
    network.acls().add(acl, number, "deny", cidr)
    return cidr


def both(numbers: list[int], cidr: str) -> dict[tuple[bool, str], list[int]]:
    """The same numbers in both directions."""
    return {(egress, cidr): numbers for egress in (False, True)}


# --- Rules that are in the way --------------------------------------------------------------------------------------------------


def test_instances_that_are_cut_off_at_once_in_one_acl_don_t_get_in_each_others_way(product: Product, bed: Bed) -> None:
    network = make_network(bed.endpoints)
    three = [launch(network, [make_interface(network, network.subnet)]) for _ in range(3)]
    before, acl = network.acls().state(), public_acl(network)
    product.contain(*(instance.arn for instance in three))
    assert [stages(product, instance)[-1] for instance in three] == ["Contained"] * 3
    assert [flows(network, instance) for instance in three] == [False] * 3
    assert released(product, three[1]).stage == "Released"
    assert [flows(network, instance) for instance in three] == [False, True, False] and not denials(three[1], acl)
    product.release(three[0].arn, three[2].arn)
    assert network.acls().state() == before


def test_a_full_acl_is_named_and_the_other_holds(product: Product, bed: Bed, network: Network, instance: Instance) -> None:
    full = public_acl(network)
    for number in (1, 2, 3):
        network.acls().add(full, number, "deny", f"192.0.2.{number}/32")
    before = instance.state()
    with bed.proxy.rule(fault="acl_quota", contains=full, value="5"):
        notice = contained(product, instance)
        assert notice.stage == "Partial" and is_isolated(network, instance) and flows(network, instance)
        [line] = notice.json["notDone"]
        assert full in line["what"] and "NetworkAclEntryLimitExceeded" in line["why"] and "Raise the quota" in line["why"]
        assert len(denials(instance, network.acls().of(network.subnet))) == 4, "the other ACL has both families, both ways"
        assert released(product, instance).stage == "Released" and instance.state() == before
    assert contained(product, instance).stage == "Contained" and not flows(network, instance)
    assert released(product, instance).stage == "Released" and instance.state() == before


def test_an_acl_that_is_full_in_one_direction_cuts_by_the_other_and_is_left_as_it_was(
    product: Product, network: Network, instance: Instance
) -> None:
    full = public_acl(network)
    network.acls().fill(full, directions=[True])
    before = instance.state()
    notice = contained(product, instance)
    assert notice.stage == "Partial" and not flows(network, instance), "what enters is enough to end a connection"
    assert full in notice.json["notDone"][0]["what"] and "NetworkAclEntryLimitExceeded" in notice.mail
    assert released(product, instance).stage == "Released" and instance.state() == before


def test_an_allow_that_comes_before_everything_is_named_and_left(product: Product, network: Network, instance: Instance) -> None:
    acl = public_acl(network)
    network.acls().add(acl, 1, "allow", "10.0.0.0/8")
    before = instance.state()
    notice = contained(product, instance)
    [line] = notice.json["notDone"]
    assert notice.stage == "Partial" and flows(network, instance) and is_isolated(network, instance)
    assert acl in line["what"] and "NoRuleNumber" in line["why"] and "renumber those" in line["why"]
    assert released(product, instance).stage == "Released" and instance.state() == before


def test_an_identical_entry_of_somebody_else_from_before_is_left_by_the_release(
    product: Product, network: Network, instance: Instance
) -> None:
    acl = public_acl(network)
    cidr = deny(network, acl, 7, instance)
    network.acls().add(acl, 9, "deny", "10.0.1.0/24", both_ways=False, egress=True)
    before = instance.state()
    assert contained(product, instance).stage == "Contained" and not flows(network, instance)
    assert {key: numbers for key, numbers in denials(instance, acl).items() if key[1] == cidr} == both([7], cidr)
    assert released(product, instance).stage == "Released" and instance.state() == before


def test_an_entry_of_somebody_else_in_one_direction_is_completed_and_left(
    product: Product, network: Network, instance: Instance
) -> None:
    acl, address = public_acl(network), instance.addresses()[instance.interfaces[0]][0]
    network.acls().add(acl, 7, "deny", f"{address}/32", both_ways=False, egress=True)
    before = instance.state()
    assert contained(product, instance).stage == "Contained" and not flows(network, instance)
    assert denials(instance, acl)[True, f"{address}/32"] == [7] and denials(instance, acl)[False, f"{address}/32"]
    assert released(product, instance).stage == "Released" and instance.state() == before


def test_an_identical_entry_that_somebody_has_made_since_is_left_and_said(
    product: Product, network: Network, instance: Instance
) -> None:
    acl = public_acl(network)
    product.contain(instance.arn)
    cidr = deny(network, acl, 70, instance)
    notice = released(product, instance)
    assert notice.stage == "Released" and denials(instance, acl) == both([70], cidr)
    assert "entries that say the same and that somebody else has made since are left: rule 70 in, rule 70 out" in notice.mail
    assert not denials(instance, network.acls().of(network.subnet))


@pytest.mark.parametrize("directions", [(False, True), (True,)], ids=["both directions", "one direction"])
def test_an_entry_that_the_intruder_takes_out_is_made_again_by_the_next_message(
    product: Product, network: Network, instance: Instance, directions: tuple[bool, ...]
) -> None:
    before, acl = instance.state(), public_acl(network)
    product.contain(instance.arn)
    for (egress, _), [number] in denials(instance, acl).items():
        if egress in directions:
            network.ec2().delete_network_acl_entry(NetworkAclId=acl, RuleNumber=number, Egress=egress)
    assert flows(network, instance) == (len(directions) == 2)
    notice = contained(product, instance)
    assert notice.stage == "Contained" and acl in notice.json["summary"] and not flows(network, instance)
    assert contained(product, instance).stage == "Unchanged"
    assert released(product, instance).stage == "Released" and instance.state() == before


# --- What changes in the middle -------------------------------------------------------------------------------------------------


def test_an_acl_that_takes_anothers_place_in_the_settle_gets_the_entries_too(
    settling: Product, network: Network, instance: Instance
) -> None:
    former, new = public_acl(network), []
    in_settle(settling, instance, lambda: new.append(network.acls().make(network.public)))
    assert stages(settling, instance) == ["Started", "Contained"] and not flows(network, instance)
    assert public_acl(network) == new[0] and len(denials(instance, new[0])) == 4
    assert released(settling, instance).stage == "Released"
    assert not denials(instance, new[0]) and not denials(instance, former) and flows(network, instance)


def test_an_acl_that_is_gone_keeps_nothing_from_being_released(product: Product, network: Network, instance: Instance) -> None:
    groups, former = instance.groups(), public_acl(network)
    product.contain(instance.arn)
    network.acls().make(network.public)
    network.acls().delete(former)
    notice = released(product, instance)
    assert notice.stage == "Released" and former in notice.mail and "the resource no longer exists" in notice.mail
    assert instance.groups() == groups and not denials(instance, network.acls().of(network.subnet)) and flows(network, instance)


def test_an_instance_that_stops_on_its_own_is_isolated_as_soon_as_it_can_be(
    settling: Product, bed: Bed, network: Network, instance: Instance
) -> None:
    before, mark, [interface] = instance.state(), bed.proxy.mark(), instance.interfaces
    stopping = []

    def refused() -> bool:
        found = calls(bed, mark, "ModifyNetworkInterfaceAttribute")
        return any(interface in call["text"] and call["code"] == "IncorrectInstanceState" for call in found)

    def stop() -> None:
        rule = bed.proxy.add_rule(fault="instance_state", contains=instance.id, value="stopping")
        until(refused, 60, "isolation is refused")
        stopping.append(is_isolated(network, instance))
        bed.proxy.remove_rule(rule)

    in_settle(settling, instance, stop)
    assert stopping == [False]
    assert stages(settling, instance) == ["Started", "Contained"] and is_isolated(network, instance)
    assert released(settling, instance).stage == "Released" and instance.state() == before


def test_an_instance_that_stays_in_stopping_is_closed_by_the_redelivered_message(
    settling: Product, bed: Bed, network: Network, instance: Instance
) -> None:
    before, mark, event = instance.state(), bed.proxy.mark(), event_for(settling, instance)
    rules: list[int] = []
    stop = {"fault": "instance_state", "contains": instance.id, "value": "stopping"}
    in_settle(settling, instance, lambda: rules.append(bed.proxy.add_rule(**stop)), event)
    assert not flows(network, instance) and stages(settling, instance) == ["Started"]
    assert not is_isolated(network, instance), "it can't be, as long as it is on its way"
    bed.proxy.remove_rule(rules[0])
    deliver(settling, event)
    assert stages(settling, instance) == ["Started", "Contained"] and is_isolated(network, instance)
    groups = [call["params"]["SecurityGroupId.1"] for call in moves(bed, instance.interfaces[0], mark)]
    assert groups == [our_groups(network)[purpose]["GroupId"] for purpose in ("untracking", "isolation")], "opened once"
    assert released(settling, instance).stage == "Released" and instance.state() == before


@pytest.mark.parametrize("state", ["pending", "stopping"])
def test_an_instance_on_its_way_is_tried_again(
    product: Product, bed: Bed, network: Network, instance: Instance, state: str
) -> None:
    before, event = instance.state(), event_for(product, instance)
    with bed.proxy.rule(fault="instance_state", contains=instance.id, value=state):
        assert product.invoke(event)["error"] and instance.state() == before and stages(product, instance) == []
    deliver(product, event)
    assert stages(product, instance) == ["Started", "Contained"] and is_isolated(network, instance)
    assert released(product, instance).stage == "Released" and instance.state() == before


def test_entries_of_a_process_that_died_before_it_wrote_their_numbers_down_are_removed(
    configured: Callable[..., Product], bed: Bed, network: Network, instance: Instance
) -> None:
    product, mark, before, acl = configured(SettleSeconds="4"), bed.proxy.mark(), instance.state(), public_acl(network)
    with bed.proxy.rule(fault="delay", ms=3_000, service="ec2", action="DescribeNetworkAcls", contains=acl):
        threading.Thread(target=product.invoke, args=(event_for(product, instance),)).start()
        until(lambda: len([c for c in calls(bed, mark, "CreateNetworkAclEntry") if c["end_ms"]]) == 8, 30, "entries are made")
        for process in product.processes():
            os.kill(process, signal.SIGKILL)
        time.sleep(0.5)
    assert len(denials(instance, acl)) == 4
    product.lapse(instance.id)
    assert released(product, instance).stage == "Released" and instance.state() == before


# --- What is gone ---------------------------------------------------------------------------------------------------------------


def test_the_next_owner_of_the_address_of_a_terminated_instance_is_not_cut_off_after_the_release(
    product: Product, network: Network
) -> None:
    instance = make_fragile_instance(network, public=False)
    before, freed, ec2 = network.acls().state(), instance.addresses()[instance.interfaces[0]][0], instance.ec2()
    product.contain(instance.arn)
    ec2.modify_instance_attribute(InstanceId=instance.id, DisableApiTermination={"Value": False})
    ec2.terminate_instances(InstanceIds=[instance.id])
    for interface in instance.interfaces:
        ec2.delete_network_interface(NetworkInterfaceId=interface)
    heir = launch(network, [make_interface(network, network.subnet, PrivateIpAddress=freed)])
    address_is_cut = not any(
        network.acls().let_through(network.public, freed, egress=egress) for egress in (False, True)
    )
    notice = released(product, instance)
    assert address_is_cut and notice.stage == "Released" and "no longer exists" in notice.mail
    assert network.acls().state() == before and flows(network, heir)
    state: Any = instance.role.state() if instance.role else None
    assert state["inline"] == {}


def test_an_interface_that_is_detached_and_deleted_leaves_no_entry_behind(
    settling: Product, bed: Bed, network: Network
) -> None:
    instance = make_fragile_instance(network, public=False)
    before, [kept, lost] = network.acls().state(), instance.interfaces

    def lose() -> None:
        described = instance.described()[1]
        instance.ec2().detach_network_interface(AttachmentId=described["Attachment"]["AttachmentId"], Force=True)
        instance.ec2().delete_network_interface(NetworkInterfaceId=lost)

    in_settle(settling, instance, lose)
    assert stages(settling, instance) == ["Started", "Contained"]
    notice = released(settling, instance)
    assert notice.stage == "Released" and lost in notice.mail and network.acls().state() == before
    assert network.flows_through(kept, network.nat_interface)
