"""The bed's own truths about Auto Scaling: what standby does, what is refused, who may."""

from typing import Any

import pytest
from testbed.accounts import MEMBER
from testbed.auto_scaling import ScalingGroup, make_scaling_group
from testbed.bed import Bed
from testbed.callers import limited_role, refusal, session_through_proxy, through_proxy
from testbed.clients import Credentials
from testbed.instances import Instance, Vpc, make_instance, make_vpc


@pytest.fixture(scope="module")
def vpc(bed: Bed) -> Vpc:
    """A VPC for all tests of this file."""
    return make_vpc(bed.endpoints)


@pytest.fixture
def instance(bed: Bed, vpc: Vpc) -> Instance:
    """One that no group has yet."""
    return make_instance(bed.endpoints, vpc, with_role=False)


def standby(group: ScalingGroup, instance: Instance | str, **more: Any) -> dict[str, Any]:
    """The parameters of EnterStandby and ExitStandby."""
    id = instance if isinstance(instance, str) else instance.id
    return {"AutoScalingGroupName": group.name, "InstanceIds": [id], **more}


# --- Standby ----------------------------------------------------------------------------------------------------------------


def test_standby_with_a_decrement_shrinks_the_group_and_leaving_it_grows_it_again(
    bed: Bed, vpc: Vpc, instance: Instance
) -> None:
    group = make_scaling_group(bed.endpoints, vpc, instance, minimum=1, desired=2)
    client = through_proxy(bed, "autoscaling", MEMBER)
    before = instance.state()
    assert before["scaling"] == {"group": group.name, "state": "InService", "MinSize": 1, "DesiredCapacity": 2, "MaxSize": 3}
    client.enter_standby(**standby(group, instance, ShouldDecrementDesiredCapacity=True))
    assert group.sizes() == (1, 1, 3) and group.members()[instance.id] == "Standby" and len(group.members()) == 2
    client.exit_standby(**standby(group, instance))
    assert instance.state() == before and len(group.members()) == 2


def test_standby_without_a_decrement_launches_a_replacement(bed: Bed, vpc: Vpc, instance: Instance) -> None:
    group, client = make_scaling_group(bed.endpoints, vpc, instance), through_proxy(bed, "autoscaling", MEMBER)
    client.enter_standby(**standby(group, instance, ShouldDecrementDesiredCapacity=False))
    assert group.sizes() == (0, 1, 3) and sorted(group.members().values()) == ["InService", "Standby"]
    client.exit_standby(**standby(group, instance))
    assert group.sizes() == (0, 2, 3) and sorted(group.members().values()) == ["InService", "InService"]
    assert instance.run_state() == "running"


def test_standby_below_the_minimum_is_refused_until_the_minimum_is_lowered(bed: Bed, vpc: Vpc, instance: Instance) -> None:
    group, client = make_scaling_group(bed.endpoints, vpc, instance, minimum=1), through_proxy(bed, "autoscaling", MEMBER)
    enter = standby(group, instance, ShouldDecrementDesiredCapacity=True)
    words = "has min-size=1, max-size=3, and desired-size=1. To place into standby 1 instance, please"
    with pytest.raises(client.exceptions.ClientError, match=words):
        client.enter_standby(**enter)
    assert group.sizes() == (1, 1, 3) and group.members() == {instance.id: "InService"}
    client.update_auto_scaling_group(AutoScalingGroupName=group.name, MinSize=0)
    client.enter_standby(**enter)
    assert group.sizes() == (0, 0, 3) and group.members() == {instance.id: "Standby"}


def test_a_minimum_put_back_too_early_launches_a_replacement(bed: Bed, vpc: Vpc, instance: Instance) -> None:
    group = make_scaling_group(bed.endpoints, vpc, instance, minimum=0)
    client = through_proxy(bed, "autoscaling", MEMBER)
    client.enter_standby(**standby(group, instance, ShouldDecrementDesiredCapacity=True))
    client.update_auto_scaling_group(AutoScalingGroupName=group.name, MinSize=1)
    assert group.sizes() == (1, 1, 3) and sorted(group.members().values()) == ["InService", "Standby"]


def test_leaving_standby_over_the_maximum_is_refused(bed: Bed, vpc: Vpc, instance: Instance) -> None:
    group = make_scaling_group(bed.endpoints, vpc, instance, maximum=1)
    client = through_proxy(bed, "autoscaling", MEMBER)
    client.enter_standby(**standby(group, instance, ShouldDecrementDesiredCapacity=False))
    assert refusal(client.exit_standby, **standby(group, instance)) == "ValidationError"
    assert group.members()[instance.id] == "Standby" and group.sizes() == (0, 1, 1)


@pytest.mark.parametrize("state", ["EnteringStandby", "Pending", "Terminating"])
def test_an_instance_that_is_not_in_service_cannot_be_put_into_standby(
    bed: Bed, vpc: Vpc, instance: Instance, state: str
) -> None:
    group, client = make_scaling_group(bed.endpoints, vpc, instance), through_proxy(bed, "autoscaling", MEMBER)
    enter = standby(group, instance, ShouldDecrementDesiredCapacity=True)
    with bed.proxy.rule(fault="lifecycle_state", contains=instance.id, value=state):
        [member] = client.describe_auto_scaling_instances(InstanceIds=[instance.id])["AutoScalingInstances"]
        [described] = client.describe_auto_scaling_groups(AutoScalingGroupNames=[group.name])["AutoScalingGroups"]
        [in_group] = described["Instances"]
        assert member["LifecycleState"] == in_group["LifecycleState"] == state
        assert refusal(client.enter_standby, **enter) == "ValidationError"
        assert refusal(client.exit_standby, **standby(group, instance)) == "ValidationError"
    assert refusal(client.exit_standby, **standby(group, instance)) == "ValidationError"
    assert refusal(client.enter_standby, **enter) == ""
    assert refusal(client.enter_standby, **enter) == "ValidationError"


def test_an_unknown_group_and_an_instance_of_none_are_refused(bed: Bed, vpc: Vpc, instance: Instance) -> None:
    group, client = make_scaling_group(bed.endpoints, vpc), through_proxy(bed, "autoscaling", MEMBER)
    enter = standby(group, instance, ShouldDecrementDesiredCapacity=True)
    assert refusal(client.enter_standby, **enter) == "ValidationError"
    assert refusal(client.enter_standby, **{**enter, "AutoScalingGroupName": "nobody"}) == "ValidationError"
    assert refusal(client.exit_standby, AutoScalingGroupName="nobody", InstanceIds=[instance.id]) == "ValidationError"
    assert refusal(client.update_auto_scaling_group, AutoScalingGroupName="nobody", MinSize=0) == "ValidationError"
    assert client.describe_auto_scaling_instances(InstanceIds=[instance.id])["AutoScalingInstances"] == []
    assert instance.lifecycle() is None


def test_sizes_that_contradict_each_other_are_refused(bed: Bed, vpc: Vpc) -> None:
    group, client = make_scaling_group(bed.endpoints, vpc, minimum=1), through_proxy(bed, "autoscaling", MEMBER)
    for sizes in ({"MinSize": 4}, {"DesiredCapacity": 4}, {"DesiredCapacity": 0}):
        assert refusal(client.update_auto_scaling_group, AutoScalingGroupName=group.name, **sizes) == "ValidationError"
    assert group.sizes() == (1, 1, 3)


# --- What a group does to its instances -------------------------------------------------------------------------------------


def test_an_unhealthy_instance_is_terminated_and_replaced_though_protected_but_not_in_standby(bed: Bed, vpc: Vpc) -> None:
    first, second = (make_instance(bed.endpoints, vpc, with_role=False) for _ in range(2))
    group = make_scaling_group(bed.endpoints, vpc, first, second, desired=2)
    for instance in (first, second):
        instance.ec2().modify_instance_attribute(InstanceId=instance.id, DisableApiTermination={"Value": True})
    group.client().enter_standby(**standby(group, second, ShouldDecrementDesiredCapacity=True))
    for instance in (first, second):
        group.fails_health_check(instance.id)
    assert (first.run_state(), second.run_state()) == ("terminated", "running")
    assert group.sizes() == (0, 1, 3) and first.id not in group.members() and len(group.members()) == 2


def test_scaling_in_spares_what_is_in_standby(bed: Bed, vpc: Vpc, instance: Instance) -> None:
    group = make_scaling_group(bed.endpoints, vpc, instance, desired=3)
    group.client().enter_standby(**standby(group, instance, ShouldDecrementDesiredCapacity=True))
    group.resize(DesiredCapacity=0)
    assert group.members() == {instance.id: "Standby"} and instance.run_state() == "running"


def test_a_group_with_instances_is_deleted_by_force_alone_and_takes_them_along(bed: Bed, vpc: Vpc) -> None:
    first, second = (make_instance(bed.endpoints, vpc, with_role=False) for _ in range(2))
    group = make_scaling_group(bed.endpoints, vpc, first, second, desired=2)
    group.client().enter_standby(**standby(group, first, ShouldDecrementDesiredCapacity=True))
    assert refusal(group.delete) == "ResourceInUse"
    group.detach(second.id)
    group.delete(force=True)
    assert group.described() == {} and (first.run_state(), second.run_state()) == ("terminated", "running")
    assert second.lifecycle() is None


# --- Judged -----------------------------------------------------------------------------------------------------------------


def test_calls_need_a_session_that_exists(bed: Bed) -> None:
    client = through_proxy(bed, "autoscaling", Credentials("AKIAUNKNOWN000000000", "x"))
    assert refusal(client.describe_auto_scaling_instances) == "InvalidClientTokenId"


def test_standby_is_judged_on_the_group_and_its_tags(bed: Bed, vpc: Vpc) -> None:
    first, second = (make_instance(bed.endpoints, vpc, with_role=False) for _ in range(2))
    allowed, other = (make_scaling_group(bed.endpoints, vpc, each) for each in (first, second))
    for group, value in ((allowed, "yes"), (other, "no")):
        tag = {"ResourceId": group.name, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": False}
        group.client().create_or_update_tags(Tags=[{**tag, "Key": "ours", "Value": value}])
    role = limited_role(bed, {
        "Effect": "Allow", "Action": ["autoscaling:EnterStandby", "autoscaling:ExitStandby"],
        "Resource": f"arn:aws:autoscaling:*:{MEMBER}:autoScalingGroup:*:autoScalingGroupName/scaling-*",
        "Condition": {"StringEquals": {"aws:ResourceTag/ours": "yes", "autoscaling:ResourceTag/ours": "yes"}},
    }, {"Effect": "Allow", "Action": "autoscaling:DescribeAutoScalingInstances", "Resource": "*"})
    client = through_proxy(bed, "autoscaling", session_through_proxy(bed, role))
    enter = [standby(g, i, ShouldDecrementDesiredCapacity=True) for g, i in ((allowed, first), (other, second))]
    assert [refusal(client.enter_standby, **each) for each in enter] == ["", "AccessDenied"]
    assert refusal(client.exit_standby, **standby(allowed, first)) == ""
    assert refusal(client.describe_auto_scaling_instances) == ""
    assert refusal(client.describe_auto_scaling_groups) == "AccessDenied"
    call = bed.proxy.calls(0, service="autoscaling", action="EnterStandby", code="AccessDenied")[-1]
    assert (call["account"], call["by"], call["status"]) == (MEMBER, "judge", 403)
    assert other.members() == {second.id: "InService"}


def test_an_update_can_be_limited_to_sizes_by_keys_that_must_be_absent(bed: Bed, vpc: Vpc) -> None:
    group = make_scaling_group(bed.endpoints, vpc)
    absent = ["MaxSize", "LaunchConfigurationName", "LaunchTemplateVersionSpecified", "VPCZoneIdentifiers"]
    role = limited_role(bed, {
        "Effect": "Allow", "Action": "autoscaling:UpdateAutoScalingGroup", "Resource": group.arn,
        "Condition": {"Null": {f"autoscaling:{key}": "true" for key in absent}},
    })
    update = through_proxy(bed, "autoscaling", session_through_proxy(bed, role)).update_auto_scaling_group
    template = {"LaunchTemplateName": group.name, "Version": "1"}
    refused = [
        {"MaxSize": 5}, {"VPCZoneIdentifier": vpc.subnet}, {"LaunchTemplate": template}, {"LaunchConfigurationName": "x"},
    ]
    assert [refusal(update, AutoScalingGroupName=group.name, **asked) for asked in refused] == ["AccessDenied"] * 4
    assert refusal(update, AutoScalingGroupName=group.name, MinSize=0, DesiredCapacity=1) == ""


def test_a_minimum_can_be_limited_and_must_then_be_named(bed: Bed, vpc: Vpc) -> None:
    group = make_scaling_group(bed.endpoints, vpc, minimum=1)
    role = limited_role(bed, {
        "Effect": "Allow", "Action": "autoscaling:UpdateAutoScalingGroup", "Resource": group.arn,
        "Condition": {"NumericLessThanEquals": {"autoscaling:MinSize": "1"}, "Null": {"autoscaling:MinSize": "false"}},
    })
    update = through_proxy(bed, "autoscaling", session_through_proxy(bed, role)).update_auto_scaling_group
    asked = ({"MinSize": 2}, {"DesiredCapacity": 2}, {"MinSize": 0})
    codes = [refusal(update, AutoScalingGroupName=group.name, **sizes) for sizes in asked]
    assert codes == ["AccessDenied", "AccessDenied", ""]


def test_a_call_can_be_throttled_and_lost(bed: Bed, vpc: Vpc, instance: Instance) -> None:
    group, client = make_scaling_group(bed.endpoints, vpc, instance), through_proxy(bed, "autoscaling", MEMBER)
    enter = standby(group, instance, ShouldDecrementDesiredCapacity=True)
    with bed.proxy.rule(fault="throttle", service="autoscaling", action="EnterStandby", contains=group.name):
        assert refusal(client.enter_standby, **enter) == "Throttling"
    with bed.proxy.rule(fault="lose", service="autoscaling", action="EnterStandby", contains=group.name):
        assert refusal(client.enter_standby, **enter) == ""
    assert group.members() == {instance.id: "InService"}
