"""Snapshots of the volumes: started after the cut, tagged, never waited for, named in notice and record, kept on release."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from testbed.bed import Bed
from testbed.instances import Instance
from testbed.networks import Network, make_fragile_instance, make_network
from testbed.product import Product
from testbed.watching import calls, contained, deliver, event_for, is_isolated, moves, released, stages


@pytest.fixture
def product(configured: Callable[..., Product]) -> Product:
    """One that takes snapshots."""
    return configured(AutoScaling="replace", Snapshots="yes")


@pytest.fixture
def network(bed: Bed) -> Network:
    """One for each test: not all of them release, and an ACL has room for four such instances."""
    return make_network(bed.endpoints)


@pytest.fixture
def instance(network: Network) -> Instance:
    """One with two volumes."""
    return make_fragile_instance(network, with_role=False)


def recorded(product: Product, instance: Instance) -> str:
    """The record of an instance, as the journal has it."""
    [item] = [i for i in product.journal() if i["pk"]["S"].endswith(f"/{instance.id}") and "/ec2-instance/" in i["pk"]["S"]]
    return json.dumps(item)


def tags(snapshot: dict[str, Any]) -> dict[str, str]:
    """The tags of a snapshot."""
    return {tag["Key"]: tag["Value"] for tag in snapshot["Tags"]}


def test_one_set_of_snapshots_is_started_after_the_cut_and_outlives_the_release(
    product: Product, bed: Bed, network: Network, instance: Instance
) -> None:
    before, mark = instance.state(), bed.proxy.mark()
    product.contain(instance.arn, IncidentId="INC-2026/11 <b>")
    notice = product.mailbox.notices(instance.id)[-1]
    assert notice.stage == "Contained", notice.mail
    taken = instance.snapshots()
    assert sorted(s["VolumeId"] for s in taken) == sorted(instance.volumes().values())
    for snapshot in taken:
        assert tags(snapshot) == {
            "entity-lockdown": "evidence", "entity-lockdown-containment": notice.json["containmentId"],
            "entity-lockdown-incident": "INC-2026/11 b",
        }
        assert snapshot["SnapshotId"] in notice.mail and snapshot["SnapshotId"] in recorded(product, instance)
    [asked] = calls(bed, mark, "CreateSnapshots")
    cut = calls(bed, mark, "CreateNetworkAclEntry")
    assert cut and asked["start_ms"] >= max(call["end_ms"] for call in cut)
    end = released(product, instance)
    assert end.stage == "Released" and all(s["SnapshotId"] in end.mail for s in taken) and "never undone" in end.mail
    assert instance.state() == before and instance.snapshots() == taken


def test_a_second_message_and_a_copy_of_the_first_take_no_second_set(
    product: Product, bed: Bed, instance: Instance
) -> None:
    mark, event = bed.proxy.mark(), event_for(product, instance)
    product.invoke(event)
    product.invoke(event)
    assert contained(product, instance).stage == "Unchanged"
    assert len(calls(bed, mark, "CreateSnapshots")) == 1 and len(instance.snapshots()) == 2


def test_the_next_containment_takes_a_set_of_its_own(product: Product, instance: Instance) -> None:
    first, _ = contained(product, instance), released(product, instance)
    second = contained(product, instance)
    of = [{s["SnapshotId"] for s in instance.snapshots() if notice.json["containmentId"] in tags(s).values()}
          for notice in (first, second)]
    assert [len(ids) for ids in of] == [2, 2] and of[0].isdisjoint(of[1])
    assert all(id in second.mail for id in of[1])


def test_without_the_parameter_none_is_taken(configured: Callable[..., Product], bed: Bed, instance: Instance) -> None:
    product, mark = configured(), bed.proxy.mark()
    assert contained(product, instance).stage == "Contained"
    assert calls(bed, mark, "CreateSnapshots") == [] and instance.snapshots() == []


def test_snapshots_that_are_refused_are_said_and_hold_nothing_up(
    product: Product, bed: Bed, network: Network, instance: Instance
) -> None:
    before, mark = instance.state(), bed.proxy.mark()
    quota = {"status": 400, "code": "SnapshotLimitExceeded", "message": "The maximum number of snapshots is 100000."}
    with bed.proxy.rule(fault="refuse", service="ec2", action="CreateSnapshots", contains=instance.id, **quota):
        notice = contained(product, instance)
    assert notice.stage == "Partial" and is_isolated(network, instance)
    [line] = notice.json["notDone"]
    assert "snapshots" in line["what"] and "SnapshotLimitExceeded" in line["why"] and "Raise the quota" in line["why"]
    assert all(len(moves(bed, interface, mark)) == 2 for interface in instance.interfaces)
    assert contained(product, instance).stage == "Contained" and len(instance.snapshots()) == 2
    assert released(product, instance).stage == "Released" and instance.state() == before


def test_snapshots_that_hang_hold_isolation_up_for_seconds_only(
    product: Product, bed: Bed, network: Network, instance: Instance
) -> None:
    mark, event = bed.proxy.mark(), event_for(product, instance)
    with bed.proxy.rule(fault="delay", ms=20_000, service="ec2", action="CreateSnapshots", contains=instance.id, count=1):
        product.invoke(event)
        [asked] = calls(bed, mark, "CreateSnapshots")
        opened = min(moves(bed, interface, mark)[0]["start_ms"] for interface in instance.interfaces)
        assert opened - asked["start_ms"] < 9_500
        assert is_isolated(network, instance) and stages(product, instance) == ["Started"]
    deliver(product, event)
    assert stages(product, instance) == ["Started", "Contained"]
    assert sorted(s["VolumeId"] for s in instance.snapshots()) == sorted(instance.volumes().values())


def test_an_answer_that_is_lost_leads_to_no_second_set(product: Product, bed: Bed, instance: Instance) -> None:
    with bed.proxy.rule(fault="cut_after", service="ec2", action="CreateSnapshots", contains=instance.id, count=1):
        deliver(product, event_for(product, instance))
    notice = product.mailbox.notices(instance.id)[-1]
    assert notice.stage == "Contained", notice.mail
    assert sorted(s["VolumeId"] for s in instance.snapshots()) == sorted(instance.volumes().values())
