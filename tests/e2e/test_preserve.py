"""Evidence is kept from being destroyed, by Auto Scaling, from inside and through the API; and keeping it holds no lock up."""

from collections.abc import Callable
from typing import Any

import pytest
from testbed.auto_scaling import make_scaling_group
from testbed.bed import Bed
from testbed.instances import Instance
from testbed.networks import Network, make_fragile_instance, make_network
from testbed.product import Product
from testbed.watching import calls, contained, deliver, event_for, is_isolated, moves, released, stages

KEPT = {"disableApiTermination": True, "instanceInitiatedShutdownBehavior": "stop"}
DEVICES_KEPT = {"/dev/sda1": False, "/dev/sdb": False}
REFUSED = {"fault": "refuse", "status": 400, "code": "ValidationError", "message": "not now"}


@pytest.fixture(scope="module")
def network(bed: Bed) -> Network:
    """One for all tests of this file: each leaves it as it was."""
    return make_network(bed.endpoints)


@pytest.fixture
def instance(network: Network) -> Instance:
    """One whose evidence is easily lost, without a role: that has tests of its own."""
    return make_fragile_instance(network, with_role=False)


def is_kept(instance: Instance) -> bool:
    """Whether neither a shutdown nor a termination destroys anything."""
    state = instance.state()
    return bool(state["attributes"] == KEPT and state["deleted_with_it"] == DEVICES_KEPT)


def place(instance: Instance) -> str:
    """Its lifecycle state in its group."""
    lifecycle = instance.lifecycle()
    return str(lifecycle["state"]) if lifecycle else ""


# --- What an Auto Scaling group does ----------------------------------------------------------------------------------------


def test_shrink_puts_it_on_standby_in_a_smaller_group_and_a_release_takes_it_back(
    product: Product, bed: Bed, network: Network, instance: Instance
) -> None:
    group = make_scaling_group(bed.endpoints, network, instance, minimum=1, desired=1)
    before = instance.state()
    assert contained(product, instance).stage == "Contained"
    assert (place(instance), group.sizes(), len(group.members())) == ("Standby", (0, 0, 3), 1) and is_kept(instance)
    group.fails_health_check(instance.id)
    assert instance.run_state() == "running"
    assert released(product, instance).stage == "Released"
    assert instance.state() == before and group.sizes() == (1, 1, 3) and len(group.members()) == 1


def test_replace_has_the_group_launch_another_and_a_release_keeps_the_contained_one(
    configured: Callable[..., Product], bed: Bed, network: Network, instance: Instance
) -> None:
    product = configured(AutoScaling="replace", Snapshots="yes")
    group = make_scaling_group(bed.endpoints, network, instance, minimum=1, desired=1)
    before = instance.state()
    assert contained(product, instance).stage == "Contained"
    assert (place(instance), group.sizes()) == ("Standby", (1, 1, 3)) and is_kept(instance)
    assert sorted(group.members().values()) == ["InService", "Standby"]
    assert released(product, instance).stage == "Released"
    assert instance.state() == before and group.members() == {instance.id: "InService"} and instance.run_state() == "running"


def test_leave_leaves_it_in_service_and_names_the_danger(
    configured: Callable[..., Product], bed: Bed, network: Network, instance: Instance
) -> None:
    product = configured(NetworkAcl="never", AutoScaling="leave")
    group = make_scaling_group(bed.endpoints, network, instance, minimum=1)
    before = instance.state()
    notice = contained(product, instance)
    assert (place(instance), group.sizes()) == ("InService", (1, 1, 3)) and is_kept(instance)
    assert f"AutoScaling is `leave`: its Auto Scaling group {group.name} may terminate it" in notice.mail
    assert released(product, instance).stage == "Released" and instance.state() == before


def test_a_group_that_has_room_below_keeps_its_minimum(product: Product, bed: Bed, network: Network, instance: Instance) -> None:
    group = make_scaling_group(bed.endpoints, network, instance, minimum=1, desired=2)
    before, mark = instance.state(), bed.proxy.mark()
    assert contained(product, instance).stage == "Contained" and group.sizes() == (1, 1, 3)
    assert released(product, instance).stage == "Released" and instance.state() == before
    assert calls(bed, mark, "UpdateAutoScalingGroup") == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first first", "last first"])
@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "at once"])
def test_two_of_one_group_get_its_minimum_back_in_whichever_order(
    product: Product, bed: Bed, network: Network, order: tuple[int, int], at_once: bool
) -> None:
    pair = [make_fragile_instance(network, with_role=False, public=False) for _ in range(2)]
    group = make_scaling_group(bed.endpoints, network, *pair, minimum=2, desired=2)
    before = [instance.state() for instance in pair]
    for arns in [[i.arn for i in pair]] if at_once else [[i.arn] for i in pair]:
        product.contain(*arns)
    assert [stages(product, instance)[-1] for instance in pair] == ["Contained"] * 2
    assert [place(instance) for instance in pair] == ["Standby"] * 2 and group.sizes() == (0, 0, 3)
    for which in order:
        assert released(product, pair[which]).stage == "Released"
    assert group.sizes() == (2, 2, 3) and group.members() == {instance.id: "InService" for instance in pair}
    assert [instance.state() for instance in pair] == before


def test_two_at_once_of_a_group_with_room_for_one_leave_and_come_back(product: Product, bed: Bed, network: Network) -> None:
    pair = [make_fragile_instance(network, with_role=False, public=False) for _ in range(2)]
    group = make_scaling_group(bed.endpoints, network, *pair, minimum=2, desired=3)
    before, members = [instance.state() for instance in pair], group.members()
    product.contain(*(instance.arn for instance in pair))
    assert [stages(product, instance)[-1] for instance in pair] == ["Contained"] * 2 and group.sizes() == (1, 1, 3)
    for instance in pair:
        assert released(product, instance).stage == "Released"
    assert group.sizes() == (2, 3, 3) and group.members() == members and [instance.state() for instance in pair] == before


def test_a_group_that_has_no_room_left_is_named_and_takes_the_instance_back_later(
    product: Product, bed: Bed, network: Network, instance: Instance
) -> None:
    group = make_scaling_group(bed.endpoints, network, instance, minimum=1, desired=1, maximum=2)
    before = instance.state()
    product.contain(instance.arn)
    group.resize(DesiredCapacity=2)
    notice = released(product, instance)
    [line] = notice.json["notDone"]
    assert notice.stage == "Partial" and group.name in line["what"] and "max-size=2" in line["why"]
    assert place(instance) == "Standby" and instance.state()["groups"] == before["groups"]
    group.resize(DesiredCapacity=1)
    assert released(product, instance).stage == "Released" and place(instance) == "InService"
    assert {**instance.state(), "scaling": None} == {**before, "scaling": None} and group.sizes()[0] == 1


def test_what_the_team_put_on_standby_itself_stays_there(
    product: Product, bed: Bed, network: Network, instance: Instance
) -> None:
    group = make_scaling_group(bed.endpoints, network, instance)
    group.client().enter_standby(
        AutoScalingGroupName=group.name, InstanceIds=[instance.id], ShouldDecrementDesiredCapacity=True
    )
    before = instance.state()
    notice = contained(product, instance)
    assert notice.stage == "Contained" and "it was so before; a release leaves it" in notice.mail
    assert released(product, instance).stage == "Released" and instance.state() == before and place(instance) == "Standby"


def test_a_group_that_is_deleted_meanwhile_keeps_nothing_from_being_released(
    product: Product, bed: Bed, network: Network, instance: Instance
) -> None:
    group = make_scaling_group(bed.endpoints, network, instance, minimum=1)
    before = instance.state()
    product.contain(instance.arn)
    group.detach(instance.id)
    group.delete(force=True)
    notice = released(product, instance)
    assert notice.stage == "Released" and group.name in notice.mail and "no longer exists" in notice.mail
    assert instance.state() == {**before, "scaling": None}


def test_an_instance_that_somebody_detached_is_not_put_back_and_its_group_is(
    product: Product, bed: Bed, network: Network, instance: Instance
) -> None:
    group = make_scaling_group(bed.endpoints, network, instance, minimum=1, desired=1)
    before = instance.state()
    product.contain(instance.arn)
    group.client().detach_instances(
        AutoScalingGroupName=group.name, InstanceIds=[instance.id], ShouldDecrementDesiredCapacity=False
    )
    notice = released(product, instance)
    assert notice.stage == "Released" and "has left the group meanwhile" in notice.mail
    assert instance.state() == {**before, "scaling": None} and group.sizes()[0] == 1


# --- What fails holds nothing up -----------------------------------------------------------------------------------------------


def test_standby_that_is_refused_is_said_and_the_rest_is_done(
    product: Product, bed: Bed, network: Network, instance: Instance
) -> None:
    group = make_scaling_group(bed.endpoints, network, instance, minimum=1)
    before = instance.state()
    with bed.proxy.rule(service="autoscaling", action="EnterStandby", contains=instance.id, **REFUSED):
        notice = contained(product, instance)
    assert notice.stage == "Partial" and place(instance) == "InService"
    [line] = notice.json["notDone"]
    assert "standby" in line["what"] and group.name in line["what"] and "ValidationError" in line["why"]
    assert is_isolated(network, instance) and is_kept(instance)
    assert not network.flows_through(instance.interfaces[0], network.nat_interface)
    assert released(product, instance).stage == "Released"
    assert instance.state() == before


def test_standby_that_hangs_holds_the_cut_up_for_seconds_only(
    product: Product, bed: Bed, network: Network, instance: Instance
) -> None:
    group = make_scaling_group(bed.endpoints, network, instance, minimum=1)
    before, mark, event = instance.state(), bed.proxy.mark(), event_for(product, instance)
    with bed.proxy.rule(fault="delay", ms=20_000, service="autoscaling", action="EnterStandby", contains=instance.id):
        assert product.invoke(event)["error"], "it is tried again"
        [asked] = calls(bed, mark, "EnterStandby")
        cut = max(call["end_ms"] for call in calls(bed, mark, "CreateNetworkAclEntry"))
        opened = max(moves(bed, interface, mark)[0]["end_ms"] for interface in instance.interfaces)
        print(f"cut {cut - asked['start_ms']:.0f} ms, opened {opened - asked['start_ms']:.0f} ms after standby was asked for")
        assert cut - asked["start_ms"] < 9_500 and opened - asked["start_ms"] < 9_500
        assert is_isolated(network, instance) and stages(product, instance) == ["Started"]
        deliver(product, event)
    notice = product.mailbox.notices(instance.id)[-1]
    assert notice.stage == "Partial" and group.name in notice.json["notDone"][0]["what"] and "within 5 s" in notice.mail
    assert contained(product, instance).stage == "Contained" and place(instance) == "Standby"
    assert released(product, instance).stage == "Released" and instance.state() == before


@pytest.mark.parametrize("action", ["EnterStandby", "ExitStandby", "UpdateAutoScalingGroup"])
def test_an_answer_of_auto_scaling_that_is_lost_changes_nothing(
    product: Product, bed: Bed, network: Network, instance: Instance, action: str
) -> None:
    group = make_scaling_group(bed.endpoints, network, instance, minimum=1)
    before = instance.state()
    with bed.proxy.rule(fault="cut_after", service="autoscaling", action=action, contains=group.name, count=1):
        assert contained(product, instance).stage == "Contained" and place(instance) == "Standby"
        assert released(product, instance).stage == "Released"
    assert instance.state() == before and group.members() == {instance.id: "InService"}


def test_attributes_that_may_not_be_set_are_said_and_the_rest_is_done(
    product: Product, bed: Bed, network: Network, instance: Instance
) -> None:
    before = instance.state()
    denied = {"fault": "refuse", "status": 403, "code": "UnauthorizedOperation", "message": "no"}
    with bed.proxy.rule(service="ec2", action="ModifyInstanceAttribute", contains=instance.id, **denied):
        notice = contained(product, instance)
    assert notice.stage == "Partial" and is_isolated(network, instance)
    what = " ".join(line["what"] for line in notice.json["notDone"])
    assert all(word in what for word in ("against termination", "/dev/sda1", "/dev/sdb")) and "member-role.yaml" in notice.mail
    assert instance.state()["attributes"] == before["attributes"]
    assert released(product, instance).stage == "Released" and instance.state() == before


# --- From inside and through the API ---------------------------------------------------------------------------------------------


def test_an_instance_that_shuts_itself_down_is_stopped_and_keeps_its_volumes(
    product: Product, network: Network, instance: Instance
) -> None:
    before, volumes = instance.state(), instance.volumes()
    product.contain(instance.arn)
    instance.shut_down_from_inside()
    assert instance.run_state() == "stopped" and instance.volumes() == volumes
    assert released(product, instance).stage == "Released" and instance.state() == before


def test_what_was_kept_already_is_kept_after_the_release(product: Product, instance: Instance) -> None:
    for attribute in (
        {"DisableApiTermination": {"Value": True}}, {"InstanceInitiatedShutdownBehavior": {"Value": "stop"}},
        {"BlockDeviceMappings": [{"DeviceName": "/dev/sdb", "Ebs": {"DeleteOnTermination": False}}]},
    ):
        instance.ec2().modify_instance_attribute(InstanceId=instance.id, **attribute)
    before = instance.state()
    assert contained(product, instance).stage == "Contained" and is_kept(instance)
    assert released(product, instance).stage == "Released" and instance.state() == before


def test_a_spot_instance_is_not_asked_to_be_protected_and_that_is_said(product: Product, bed: Bed, network: Network) -> None:
    instance = make_fragile_instance(network, with_role=False, spot=True)
    before, mark = instance.state(), bed.proxy.mark()
    notice = contained(product, instance)
    assert notice.stage == "Contained" and "A Spot instance can't be protected against termination" in notice.mail
    state: dict[str, Any] = instance.state()
    assert state["attributes"] == {**KEPT, "disableApiTermination": False} and state["deleted_with_it"] == DEVICES_KEPT
    assert all("DisableApiTermination" not in call["text"] for call in calls(bed, mark, "ModifyInstanceAttribute"))
    assert released(product, instance).stage == "Released" and instance.state() == before
