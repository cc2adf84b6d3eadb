"""The bed's own truths about instances: their attributes, states, ends and snapshots."""

from typing import Any

import pytest
from testbed.accounts import MEMBER
from testbed.bed import Bed
from testbed.callers import limited_role, refusal, session_through_proxy, through_proxy
from testbed.instances import Instance, make_instance
from testbed.networks import Network, make_fragile_instance, make_network

PROTECT = {"DisableApiTermination": {"Value": True}}
STOP = {"InstanceInitiatedShutdownBehavior": {"Value": "stop"}}


def keep(*devices: str) -> dict[str, Any]:
    """The devices' volumes outlive the instance."""
    return {"BlockDeviceMappings": [{"DeviceName": device, "Ebs": {"DeleteOnTermination": False}} for device in devices]}


@pytest.fixture(scope="module")
def network(bed: Bed) -> Network:
    """A network for all tests of this file."""
    return make_network(bed.endpoints)


@pytest.fixture
def instance(network: Network) -> Instance:
    """One whose evidence is easily lost."""
    return make_fragile_instance(network, with_role=False, public=False)


# --- Attributes -----------------------------------------------------------------------------------------------------------


def test_attributes_come_back_as_they_were_set_and_others_stay(bed: Bed, instance: Instance) -> None:
    modify = through_proxy(bed, "ec2", MEMBER).modify_instance_attribute
    before, groups = instance.state(), instance.groups()
    assert before["attributes"] == {"disableApiTermination": False, "instanceInitiatedShutdownBehavior": "terminate"}
    assert before["deleted_with_it"] == {"/dev/sda1": True, "/dev/sdb": True}
    for attribute in (PROTECT, STOP, keep("/dev/sdb")):
        modify(InstanceId=instance.id, **attribute)
    after = instance.state()
    assert after["attributes"] == {"disableApiTermination": True, "instanceInitiatedShutdownBehavior": "stop"}
    assert after["deleted_with_it"] == {"/dev/sda1": True, "/dev/sdb": False}
    [reservation] = through_proxy(bed, "ec2", MEMBER).describe_instances(InstanceIds=[instance.id])["Reservations"]
    [described] = reservation["Instances"]
    devices = {d["DeviceName"]: d["Ebs"]["DeleteOnTermination"] for d in described["BlockDeviceMappings"]}
    assert devices == after["deleted_with_it"]
    assert instance.groups() == groups
    modify(InstanceId=instance.id, DisableApiTermination={"Value": False})
    modify(InstanceId=instance.id, InstanceInitiatedShutdownBehavior={"Value": "terminate"})
    modify(InstanceId=instance.id, BlockDeviceMappings=[{"DeviceName": "/dev/sdb", "Ebs": {"DeleteOnTermination": True}}])
    assert instance.state() == before


@pytest.mark.parametrize(("asked", "code"), [
    ({**PROTECT, **STOP}, "InvalidParameterCombination"),
    ({**PROTECT, **keep("/dev/sda1")}, "InvalidParameterCombination"),
    ({}, "InvalidParameterCombination"),
    (keep("/dev/sdz"), "InvalidInstanceAttributeValue"),
    ({"InstanceInitiatedShutdownBehavior": {"Value": "burn"}}, "InvalidParameterValue"),
    ({"InstanceId": "i-00000000", **STOP}, "InvalidInstanceID.NotFound"),
])
def test_what_is_not_one_attribute_of_an_instance_is_refused(
    bed: Bed, instance: Instance, asked: dict[str, Any], code: str
) -> None:
    before = instance.state()
    modify = through_proxy(bed, "ec2", MEMBER).modify_instance_attribute
    assert refusal(modify, **{"InstanceId": instance.id, **asked}) == code
    assert instance.state() == before


def test_a_spot_instance_says_so_and_takes_no_termination_protection(bed: Bed, network: Network) -> None:
    spot, ec2 = make_fragile_instance(network, with_role=False, spot=True), through_proxy(bed, "ec2", MEMBER)
    described = ec2.describe_instances(InstanceIds=[spot.id])["Reservations"][0]["Instances"][0]
    assert described["InstanceLifecycle"] == "spot"
    for value in (True, False):
        code = refusal(ec2.modify_instance_attribute, InstanceId=spot.id, DisableApiTermination={"Value": value})
        assert code == "UnsupportedOperation"
    assert refusal(ec2.modify_instance_attribute, InstanceId=spot.id, **STOP) == ""


# --- States ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pending", "stopping", "shutting-down"])
def test_an_instance_on_its_way_looks_like_it_and_cannot_be_changed(bed: Bed, instance: Instance, state: str) -> None:
    ec2, eni = through_proxy(bed, "ec2", MEMBER), instance.interfaces[0]
    groups = {"NetworkInterfaceId": eni, "Groups": instance.groups()[eni]}

    def seen() -> str:
        return str(ec2.describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"][0]["State"]["Name"])

    with bed.proxy.rule(fault="instance_state", contains=instance.id, value=state):
        assert seen() == state
        assert refusal(ec2.modify_network_interface_attribute, **groups) == "IncorrectInstanceState"
        assert refusal(ec2.modify_instance_attribute, InstanceId=instance.id, **STOP) == "IncorrectInstanceState"
    assert seen() == "running"
    assert refusal(ec2.modify_network_interface_attribute, **groups) == ""


def test_another_instance_keeps_its_state(bed: Bed, instance: Instance, network: Network) -> None:
    other, ec2 = make_fragile_instance(network, with_role=False, public=False), through_proxy(bed, "ec2", MEMBER)
    with bed.proxy.rule(fault="instance_state", contains=instance.id, value="stopped"):
        reservations = ec2.describe_instances(InstanceIds=[instance.id, other.id])["Reservations"]
        seen = {i["InstanceId"]: i["State"] for r in reservations for i in r["Instances"]}
        assert seen == {instance.id: {"Code": 80, "Name": "stopped"}, other.id: {"Code": 16, "Name": "running"}}
        assert refusal(ec2.modify_instance_attribute, InstanceId=instance.id, **STOP) == ""


# --- Ends -----------------------------------------------------------------------------------------------------------------


def test_a_shutdown_from_inside_takes_the_evidence_along_unless_it_is_kept(instance: Instance, network: Network) -> None:
    kept = make_fragile_instance(network, with_role=False, public=False)
    kept.ec2().modify_instance_attribute(InstanceId=kept.id, **STOP)
    volumes = {i.id: list(i.volumes().values()) for i in (instance, kept)}
    for each in (instance, kept):
        each.shut_down_from_inside()
    assert (instance.run_state(), kept.run_state()) == ("terminated", "stopped")
    left = {v["VolumeId"] for v in network.ec2().describe_volumes()["Volumes"]}
    assert left.isdisjoint(volumes[instance.id]) and left.issuperset(volumes[kept.id])


def test_termination_protection_refuses_and_a_terminated_instance_has_no_interfaces(bed: Bed, instance: Instance) -> None:
    ec2 = through_proxy(bed, "ec2", MEMBER)
    ec2.modify_instance_attribute(InstanceId=instance.id, **PROTECT)
    assert refusal(ec2.terminate_instances, InstanceIds=[instance.id]) == "OperationNotPermitted"
    ec2.modify_instance_attribute(InstanceId=instance.id, DisableApiTermination={"Value": False})
    ec2.terminate_instances(InstanceIds=[instance.id])
    described = ec2.describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"][0]
    assert described["State"]["Name"] == "terminated" and described["NetworkInterfaces"] == []
    attached = [{"Name": "attachment.instance-id", "Values": [instance.id]}]
    assert ec2.describe_network_interfaces(Filters=attached)["NetworkInterfaces"] == []
    assert {i["Status"] for i in instance.described()} == {"available"}


# --- Snapshots --------------------------------------------------------------------------------------------------------------


def test_snapshots_of_all_volumes_are_made_with_their_tags(bed: Bed, instance: Instance) -> None:
    ec2, tag = through_proxy(bed, "ec2", MEMBER), {"Key": "containment", "Value": instance.id}
    of_instance, tags = {"InstanceId": instance.id}, [{"ResourceType": "snapshot", "Tags": [tag]}]
    made = ec2.create_snapshots(InstanceSpecification=of_instance, TagSpecifications=tags)["Snapshots"]
    filters = [{"Name": "tag:containment", "Values": [instance.id]}]
    found = ec2.describe_snapshots(OwnerIds=["self"], Filters=filters)["Snapshots"]
    ids = [{snapshot["SnapshotId"] for snapshot in listed} for listed in (made, found, instance.snapshots())]
    assert ids[0] == ids[1] == ids[2]
    assert sorted(s["VolumeId"] for s in found) == sorted(instance.volumes().values())
    missing = {"InstanceSpecification": {"InstanceId": "i-00000000"}}
    assert refusal(ec2.create_snapshots, **missing) == "InvalidInstanceID.NotFound"


# --- Judged -----------------------------------------------------------------------------------------------------------------


def test_attributes_are_judged_on_the_instance_and_devices_on_their_volumes_too(bed: Bed, instance: Instance) -> None:
    first = instance.volumes()["/dev/sda1"]
    role = limited_role(bed, {
        "Effect": "Allow", "Action": "ec2:ModifyInstanceAttribute",
        "Resource": [f"arn:aws:ec2:us-east-1:{MEMBER}:{path}" for path in (f"instance/{instance.id}", f"volume/{first}")],
    })
    modify = through_proxy(bed, "ec2", session_through_proxy(bed, role)).modify_instance_attribute
    other = make_instance(bed.endpoints, with_role=False)
    asked = [(instance, STOP), (other, STOP), (instance, keep("/dev/sda1")), (instance, keep("/dev/sdb"))]
    codes = [refusal(modify, InstanceId=whose.id, **attribute) for whose, attribute in asked]
    assert codes == ["", "UnauthorizedOperation", "", "UnauthorizedOperation"]


def test_an_instance_can_be_kept_out_by_its_tag(bed: Bed, instance: Instance) -> None:
    role = limited_role(
        bed, {"Effect": "Allow", "Action": "ec2:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "ec2:ModifyInstanceAttribute", "Resource": "*",
         "Condition": {"StringEquals": {"aws:ResourceTag/hands": "off"}}},
    )
    modify = through_proxy(bed, "ec2", session_through_proxy(bed, role)).modify_instance_attribute
    assert refusal(modify, InstanceId=instance.id, **STOP) == ""
    instance.ec2().create_tags(Resources=[instance.id], Tags=[{"Key": "hands", "Value": "off"}])
    # The judge remembers for half a second what it was asked; another tag is another question.
    assert refusal(modify, InstanceId=instance.id, **STOP) == "UnauthorizedOperation"


SNAPSHOTS = "arn:aws:ec2:*::snapshot/*"


@pytest.mark.parametrize(("left_out", "code"), [
    (None, ""), *((name, "UnauthorizedOperation") for name in ("instance", "volume", "snapshot", "tags")),
])
def test_snapshots_are_judged_on_instance_volumes_snapshots_and_tags(
    bed: Bed, instance: Instance, left_out: str | None, code: str
) -> None:
    tagged = {"StringEquals": {"aws:RequestTag/containment": "c-1"}}
    statements: dict[str, dict[str, Any]] = {
        "instance": {"Action": "ec2:CreateSnapshots", "Resource": "arn:aws:ec2:*:*:instance/*"},
        "volume": {"Action": "ec2:CreateSnapshots", "Resource": "arn:aws:ec2:*:*:volume/*"},
        "snapshot": {"Action": "ec2:CreateSnapshots", "Resource": SNAPSHOTS, "Condition": tagged},
        "tags": {"Action": "ec2:CreateTags", "Resource": SNAPSHOTS,
                 "Condition": {"StringEquals": {"ec2:CreateAction": "CreateSnapshots"}}},
    }
    role = limited_role(bed, *({"Effect": "Allow", **s} for name, s in statements.items() if name != left_out))
    create = through_proxy(bed, "ec2", session_through_proxy(bed, role)).create_snapshots
    asked = {"InstanceSpecification": {"InstanceId": instance.id}}
    tags = [{"ResourceType": "snapshot", "Tags": [{"Key": "containment", "Value": "c-1"}]}]
    assert refusal(create, **asked, TagSpecifications=tags) == code
    assert refusal(create, **asked) == "UnauthorizedOperation", "without the tag that the policy asks for"
