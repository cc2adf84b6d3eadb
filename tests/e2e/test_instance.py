"""An EC2 instance from the message to the isolation to the release: every interface, both families, its own role sessions alone."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError
from testbed.accounts import MEMBER, REGION
from testbed.bed import Bed
from testbed.instances import Instance, Vpc, make_instance, make_ipv4_instance, make_vpc
from testbed.product import EXTERNAL_ID, Product
from testbed.victims import make_role

EVERYWHERE = [["0.0.0.0/0"], ["::/0"]]


@pytest.fixture
def vpc(bed: Bed) -> Vpc:
    """A VPC that nobody else uses."""
    return make_vpc(bed.endpoints)


def ours(bed: Bed, vpc: Vpc, region: str = REGION) -> dict[str, dict[str, Any]]:
    """Our groups in a VPC by their purpose; two of one purpose would be a defect."""
    ec2 = bed.endpoints.client("ec2", MEMBER, region)
    found: dict[str, dict[str, Any]] = {}
    for group in ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc.id]}])["SecurityGroups"]:
        for tag in group.get("Tags", []):
            if tag["Key"] == "entity-lockdown":
                assert tag["Value"] not in found, "two groups of one purpose"
                found[tag["Value"]] = group
    return found


def families(permissions: list[dict[str, Any]]) -> list[list[str]]:
    """The IPv4 and the IPv6 sources or destinations."""
    v4 = [r["CidrIp"] for p in permissions for r in p.get("IpRanges", [])]
    v6 = [r["CidrIpv6"] for p in permissions for r in p.get("Ipv6Ranges", [])]
    return [v4, v6]


def swaps(product: Product, interface: str, mark: int) -> list[str]:
    """The groups that an interface was given, in order."""
    found = []
    for call in product.calls_about(interface, mark, action="ModifyNetworkInterfaceAttribute"):
        if "SecurityGroupId.1" in call["params"] and not call["code"]:
            found.append(call["params"]["SecurityGroupId.1"])
    return found


def wait_for_a_swap(product: Product, interface: str, mark: int) -> None:
    """Waits until the interface was given a group."""
    deadline = time.monotonic() + 30
    while not swaps(product, interface, mark):
        assert time.monotonic() < deadline, f"{interface} was never moved"
        time.sleep(0.05)


def attributes(instance: Instance, action: str = "contain") -> dict[str, str]:
    """The attributes of an ordinary message."""
    return {"Arn": instance.arn, "Action": action, "ExternalId": EXTERNAL_ID}


def test_three_interfaces_are_isolated_by_way_of_the_untracking_group_and_put_back(
    product: Product, bed: Bed, vpc: Vpc
) -> None:
    instance = make_instance(bed.endpoints, vpc, interfaces=3, profile_path="/team/")
    before, mark = instance.state(), bed.proxy.mark()
    assert instance.allowed()
    product.contain(instance.arn)
    assert product.mailbox.stages(instance.id) == ["Started", "Contained"]
    groups = ours(bed, vpc)
    isolation, untracking = groups["isolation"], groups["untracking"]
    assert families(isolation["IpPermissions"]) == families(isolation["IpPermissionsEgress"]) == [[], []]
    assert families(untracking["IpPermissions"]) == families(untracking["IpPermissionsEgress"]) == EVERYWHERE
    assert instance.groups() == {interface: [isolation["GroupId"]] for interface in instance.interfaces}
    for interface in instance.interfaces:
        assert swaps(product, interface, mark) == [untracking["GroupId"], isolation["GroupId"]]
    assert not instance.allowed()
    started = product.mailbox.notices(instance.id)[0]
    assert "OPEN to the network" in started.mail
    product.release(instance.arn)
    assert product.mailbox.stages(instance.id)[-1] == "Released"
    assert instance.state() == before and instance.allowed()
    assert set(ours(bed, vpc)) == {"isolation", "untracking"}


def test_timeouts_are_shortened_before_the_swap_and_set_back(product: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc)
    mark = bed.proxy.mark()
    product.contain(instance.arn)
    product.release(instance.arn)
    calls = product.calls_about(instance.interfaces[0], mark, action="ModifyNetworkInterfaceAttribute")
    values = [{k.rpartition(".")[2]: v for k, v in c["params"].items() if "Tracking" in k} for c in calls]
    assert values[0] == {"TcpEstablishedTimeout": "60", "UdpTimeout": "30", "UdpStreamTimeout": "60"}
    assert values[-1] == {"TcpEstablishedTimeout": "432000", "UdpTimeout": "30", "UdpStreamTimeout": "180"}


def test_other_instances_of_the_same_role_go_on(product: Product, bed: Bed, vpc: Vpc) -> None:
    role = make_role(bed.endpoints, path="/service-role/")
    victim, bystander = (make_instance(bed.endpoints, vpc, role=role) for _ in range(2))
    before = bystander.groups()
    product.contain(victim.arn)
    assert not victim.allowed() and bystander.allowed()
    assert bystander.groups() == before
    product.release(victim.arn)
    assert victim.allowed()


def test_two_instances_at_once_share_one_pair_of_groups(product: Product, bed: Bed, vpc: Vpc) -> None:
    instances = [make_instance(bed.endpoints, vpc) for _ in range(3)]
    product.contain(*(instance.arn for instance in instances))
    isolation = ours(bed, vpc)["isolation"]["GroupId"]
    for instance in instances:
        assert product.mailbox.stages(instance.id)[-1] == "Contained"
        assert instance.groups() == {instance.interfaces[0]: [isolation]}


def test_twenty_copies_at_once_end_in_one_containment(product: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc, interfaces=2)
    before, mark, event = instance.state(), bed.proxy.mark(), product.event(attributes(instance))
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: product.invoke(event), range(20)))
    assert {answer["error"] for answer in answers} == {None}
    assert product.mailbox.stages(instance.id) == ["Started", "Contained"]
    assert set(ours(bed, vpc)) == {"isolation", "untracking"}
    assert all(len(swaps(product, interface, mark)) == 2 for interface in instance.interfaces)
    product.release(instance.arn)
    assert instance.state() == before


def test_a_copy_that_comes_in_the_settle_changes_nothing(product: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc)
    before, mark, event = instance.state(), bed.proxy.mark(), product.event(attributes(instance))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(product.invoke, event)
        wait_for_a_swap(product, instance.interfaces[0], mark)
        assert pool.submit(product.invoke, event).result()["error"] is None
        assert first.result()["error"] is None
    assert product.mailbox.stages(instance.id) == ["Started", "Contained"]
    assert len(swaps(product, instance.interfaces[0], mark)) == 2
    product.release(instance.arn)
    product.invoke(event)
    assert instance.state() == before


def test_a_release_in_the_settle_wins(another: Callable[..., Product], bed: Bed, vpc: Vpc) -> None:
    product = another(SettleSeconds="60")
    instance = make_instance(bed.endpoints, vpc)
    before, mark = instance.state(), bed.proxy.mark()
    with ThreadPoolExecutor(2) as pool:
        contained = pool.submit(product.contain, instance.arn)
        wait_for_a_swap(product, instance.interfaces[0], mark)
        product.release(instance.arn)
        contained.result()
    assert product.mailbox.stages(instance.id)[-1] == "Released"
    assert instance.state() == before and instance.allowed()


def test_without_a_settle_nothing_is_opened(another: Callable[..., Product], bed: Bed, vpc: Vpc) -> None:
    product = another(SettleSeconds="0")
    instance = make_instance(bed.endpoints, vpc)
    product.contain(instance.arn)
    partial = product.mailbox.notices(instance.id)[-1]
    assert partial.stage == "Partial" and "SettleSeconds is 0" in partial.mail
    assert set(ours(bed, vpc)) == {"isolation"}


def test_a_group_of_ours_that_was_changed_is_repaired_before_it_is_used(product: Product, bed: Bed, vpc: Vpc) -> None:
    first, second = (make_instance(bed.endpoints, vpc) for _ in range(2))
    product.contain(first.arn)
    ec2, isolation = bed.endpoints.client("ec2", MEMBER), ours(bed, vpc)["isolation"]["GroupId"]
    door = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "198.51.100.7/32"}]}]
    ec2.authorize_security_group_ingress(GroupId=isolation, IpPermissions=door)
    ec2.authorize_security_group_egress(GroupId=isolation, IpPermissions=door)
    product.contain(second.arn)
    group = ours(bed, vpc)["isolation"]
    assert families(group["IpPermissions"]) == families(group["IpPermissionsEgress"]) == [[], []]
    assert product.mailbox.stages(second.id)[-1] == "Contained"


def test_in_a_vpc_without_ipv6_the_untracking_group_is_open_to_both_all_the_same(product: Product, bed: Bed) -> None:
    vpc, instance = make_ipv4_instance(bed.endpoints)
    before, mark = instance.state(), bed.proxy.mark()
    product.contain(instance.arn)
    assert product.mailbox.stages(instance.id) == ["Started", "Contained"]
    groups = ours(bed, vpc)
    untracking, isolation = groups["untracking"], groups["isolation"]
    assert families(untracking["IpPermissions"]) == families(untracking["IpPermissionsEgress"]) == EVERYWHERE
    assert families(isolation["IpPermissions"]) == families(isolation["IpPermissionsEgress"]) == [[], []]
    assert swaps(product, instance.interfaces[0], mark) == [untracking["GroupId"], isolation["GroupId"]]
    product.release(instance.arn)
    assert instance.state() == before and instance.allowed()


def test_a_strangers_group_under_our_name_is_neither_trusted_nor_touched(product: Product, bed: Bed, vpc: Vpc) -> None:
    ec2 = bed.endpoints.client("ec2", MEMBER)
    foreign = ec2.create_security_group(GroupName="entity-lockdown-isolation", Description="bait", VpcId=vpc.id)["GroupId"]
    before = ec2.describe_security_groups(GroupIds=[foreign])["SecurityGroups"]
    instance = make_instance(bed.endpoints, vpc)
    product.contain(instance.arn)
    assert product.mailbox.stages(instance.id)[-1] == "Contained"
    assert foreign not in instance.groups()[instance.interfaces[0]]
    assert ec2.describe_security_groups(GroupIds=[foreign])["SecurityGroups"] == before


def test_what_an_intruder_moves_back_is_isolated_again_by_the_next_message(product: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc)
    before = instance.state()
    product.contain(instance.arn)
    interface = instance.interfaces[0]
    bed.endpoints.client("ec2", MEMBER).modify_network_interface_attribute(
        NetworkInterfaceId=interface, Groups=before["groups"][interface]
    )
    product.contain(instance.arn)
    contained = product.mailbox.notices(instance.id)[-1]
    assert contained.stage == "Contained" and interface in contained.json["summary"]
    assert instance.groups() == {interface: [ours(bed, vpc)["isolation"]["GroupId"]]}
    product.release(instance.arn)
    assert instance.state() == before


def test_an_interface_attached_since_is_isolated_by_the_next_message_and_put_back(
    product: Product, bed: Bed, vpc: Vpc
) -> None:
    instance = make_instance(bed.endpoints, vpc)
    product.contain(instance.arn)
    ec2 = bed.endpoints.client("ec2", MEMBER)
    own = vpc.group()
    new = ec2.create_network_interface(SubnetId=vpc.subnet, Groups=[own])["NetworkInterface"]["NetworkInterfaceId"]
    ec2.attach_network_interface(DeviceIndex=1, InstanceId=instance.id, NetworkInterfaceId=new)
    product.contain(instance.arn)
    groups = lambda: [g["GroupId"] for g in ec2.describe_network_interfaces(NetworkInterfaceIds=[new])["NetworkInterfaces"][0]["Groups"]]  # noqa: E731
    assert groups() == [ours(bed, vpc)["isolation"]["GroupId"]]
    product.release(instance.arn)
    assert groups() == [own]


def test_what_somebody_else_changed_since_is_left_unless_forced(product: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc)
    before, interface, other = instance.state(), instance.interfaces[0], vpc.group()
    product.contain(instance.arn)
    bed.endpoints.client("ec2", MEMBER).modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=[other])
    product.release(instance.arn)
    partial = product.mailbox.notices(instance.id)[-1]
    assert partial.stage == "Partial" and "Force" in partial.mail
    assert instance.groups() == {interface: [other]}
    product.release(instance.arn, Force="true")
    assert product.mailbox.stages(instance.id)[-1] == "Released"
    assert instance.state() == before


def test_a_former_group_that_is_gone_is_left_out_and_said(product: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc)
    interface = instance.interfaces[0]
    gone, left = instance.groups()[interface]
    product.contain(instance.arn)
    bed.endpoints.client("ec2", MEMBER).delete_security_group(GroupId=gone)
    product.release(instance.arn)
    released = product.mailbox.notices(instance.id)[-1]
    assert released.stage == "Released" and gone in released.mail
    assert instance.groups() == {interface: [left]}


def test_without_any_former_group_it_stays_isolated_and_says_so(product: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc)
    former = instance.groups()[instance.interfaces[0]]
    product.contain(instance.arn)
    for group in former:
        bed.endpoints.client("ec2", MEMBER).delete_security_group(GroupId=group)
    product.release(instance.arn)
    partial = product.mailbox.notices(instance.id)[-1]
    assert partial.stage == "Partial" and "stays isolated" in partial.mail
    assert instance.groups() == {instance.interfaces[0]: [ours(bed, vpc)["isolation"]["GroupId"]]}


def test_an_instance_that_is_gone_is_released_and_said(product: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc, with_role=False)
    product.contain(instance.arn)
    ec2 = bed.endpoints.client("ec2", MEMBER)
    with pytest.raises(ClientError, match="OperationNotPermitted"):
        ec2.terminate_instances(InstanceIds=[instance.id])
    ec2.modify_instance_attribute(InstanceId=instance.id, DisableApiTermination={"Value": False})
    ec2.terminate_instances(InstanceIds=[instance.id])
    for interface in instance.interfaces:
        if ec2.describe_network_interfaces(Filters=[{"Name": "network-interface-id", "Values": [interface]}])["NetworkInterfaces"]:
            ec2.delete_network_interface(NetworkInterfaceId=interface)
    product.release(instance.arn)
    released = product.mailbox.notices(instance.id)[-1]
    assert released.stage == "Released" and "no longer exist" in released.mail


def test_a_requester_managed_interface_is_skipped_and_the_result_is_partial(product: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc, interfaces=2)
    managed = instance.interfaces[1]
    with bed.proxy.rule(fault="requester_managed", contains=managed):
        product.contain(instance.arn)
    partial = product.mailbox.notices(instance.id)[-1]
    assert partial.stage == "Partial" and managed in partial.mail
    assert instance.groups()[instance.interfaces[0]] == [ours(bed, vpc)["isolation"]["GroupId"]]


def test_a_swap_that_is_lost_is_never_called_contained(product: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc, interfaces=2)
    lost = instance.interfaces[1]
    with bed.proxy.rule(fault="lose", action="ModifyNetworkInterfaceAttribute", contains=lost):
        product.contain(instance.arn)
    stages = product.mailbox.stages(instance.id)
    assert stages == ["Started", "Partial"]
    assert lost in product.mailbox.notices(instance.id)[-1].mail


def test_unsupported_timeouts_are_noted_and_the_work_goes_on(product: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc)
    refusal = {"fault": "refuse", "action": "ModifyNetworkInterfaceAttribute", "status": 400, "code": "UnsupportedOperation"}
    with bed.proxy.rule(contains="ConnectionTrackingSpecification", message="not supported by this type", **refusal):
        product.contain(instance.arn)
    contained = product.mailbox.notices(instance.id)[-1]
    assert contained.stage == "Contained" and "UnsupportedOperation" in contained.mail


def test_a_full_inline_quota_of_the_role_means_network_only_and_partial(product: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc)
    assert instance.role
    before = instance.state()
    full = {"fault": "refuse", "status": 409, "code": "LimitExceeded", "message": "Cannot exceed quota"}
    with bed.proxy.rule(action="PutRolePolicy", contains=instance.role.name, **full):
        product.contain(instance.arn)
    assert product.mailbox.stages(instance.id)[-1] == "Partial"
    assert instance.groups() == {instance.interfaces[0]: [ours(bed, vpc)["isolation"]["GroupId"]]}
    assert instance.role.state() == before["role"], "never a deny on the whole role"
    product.release(instance.arn)
    assert instance.state() == before


def test_where_inline_policies_are_not_allowed_the_network_alone_is_cut_and_said(
    another: Callable[..., Product], bed: Bed, vpc: Vpc
) -> None:
    product = another(InlineDeny="no", SettleSeconds="0")
    instance = make_instance(bed.endpoints, vpc)
    product.contain(instance.arn)
    partial = product.mailbox.notices(instance.id)[-1]
    assert partial.stage == "Partial" and "InlineDeny" in partial.mail
    assert instance.groups() == {instance.interfaces[0]: [ours(bed, vpc)["isolation"]["GroupId"]]}


def test_another_region_is_acted_in(product: Product, bed: Bed) -> None:
    vpc = make_vpc(bed.endpoints, "eu-central-1")
    instance = make_instance(bed.endpoints, vpc, with_role=False)
    before = instance.state()
    product.contain(instance.arn)
    assert product.mailbox.stages(instance.id)[-1] == "Contained"
    assert set(ours(bed, vpc, "eu-central-1")) == {"isolation", "untracking"}
    product.release(instance.arn)
    assert instance.state() == before


def test_no_call_of_a_containment_is_denied(product: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc, interfaces=2)
    mark = bed.proxy.mark()
    product.contain(instance.arn)
    product.release(instance.arn)
    denied = [(c["action"], c["code"]) for c in bed.proxy.calls(mark, status=403) if c["code"]]
    assert denied == []


def test_a_plan_names_every_step_and_changes_nothing(product: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc, interfaces=2)
    before = instance.state()
    product.publish(instance.arn, action="plan")
    [planned] = product.mailbox.notices(instance.id)
    assert planned.stage == "Planned" and instance.state() == before and not ours(bed, vpc)
    for word in (*instance.interfaces, "untracking", "wait 2 s", "isolation", "inline policy"):
        assert word in planned.mail


def test_an_instance_that_does_not_exist_fails_and_is_not_retried(product: Product) -> None:
    arn = f"arn:aws:ec2:{REGION}:{MEMBER}:instance/i-00000000000000001"
    answer = product.invoke(product.event({"Arn": arn, "Action": "contain", "ExternalId": EXTERNAL_ID}))
    assert answer["error"] is None
    assert product.mailbox.stages("i-00000000000000001") == ["Failed"]
