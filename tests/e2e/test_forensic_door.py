"""The team's own groups stay beside isolation in their own VPC, untouched; network ACLs let the team pass where it says so."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from testbed.auto_scaling import make_scaling_group
from testbed.bed import Bed
from testbed.instances import Instance, launch, make_interface
from testbed.networks import Network, make_fragile_instance, make_network
from testbed.product import Product
from testbed.watching import calls, contained, denials, is_isolated, moves, our_groups, released, stages

TEAM, TEAM_V6, BY_TRANSIT = "10.9.0.0/16", "2001:db8:9::/48", "10.200.0.0/16"


@dataclass(frozen=True)
class Door:
    """A network with a group of the team's in it."""

    network: Network
    group: str

    def described(self) -> dict[str, Any]:
        """The group, as EC2 describes it."""
        found: dict[str, Any] = self.network.ec2().describe_security_groups(GroupIds=[self.group])["SecurityGroups"][0]
        return found


def make_door(bed: Bed, *, wide: bool = False) -> Door:
    """A network, and a group in it that lets the team in, and nothing out unless it is `wide`."""
    network = make_network(bed.endpoints, acls="tiers")
    group = network.group()
    if not wide:
        [described] = network.ec2().describe_security_groups(GroupIds=[group])["SecurityGroups"]
        network.ec2().revoke_security_group_egress(GroupId=group, IpPermissions=described["IpPermissionsEgress"])
    return Door(network, group)


@pytest.fixture(scope="module")
def doors(bed: Bed) -> tuple[Door, Door]:
    """Two VPCs with a group each."""
    return make_door(bed), make_door(bed)


@pytest.fixture
def product(configured: Callable[..., Product], doors: tuple[Door, Door]) -> Product:
    """One with every parameter on."""
    return configured(
        NetworkAcl="always", AutoScaling="replace", Snapshots="yes", ForensicSecurityGroupIds=",".join(d.group for d in doors),
        ForensicCidrs=f"{TEAM},{TEAM_V6},{BY_TRANSIT}",
    )


def passes(network: Network, subnet: str, address: str) -> bool:
    """Whether the edge of a subnet lets an address through in both directions."""
    return all(network.acls().let_through(subnet, address, egress=egress) for egress in (False, True))


def allowed_numbers(network: Network, subnet: str, cidr: str) -> list[tuple[bool, int]]:
    """Direction and number of the entries of a subnet's ACL that allow just this range."""
    entries = network.acls().entries(network.acls().of(subnet))
    cidrs = [(e, e.get("CidrBlock") or e["Ipv6CidrBlock"]) for e in entries if e["RuleAction"] == "allow"]
    return [(e["Egress"], e["RuleNumber"]) for e, block in cidrs if block == cidr]


def test_the_group_of_its_vpc_stays_beside_isolation_and_that_of_another_is_named(
    product: Product, bed: Bed, doors: tuple[Door, Door]
) -> None:
    here, elsewhere = doors
    instance = make_fragile_instance(here.network)
    before, rules, mark = instance.state(), [door.described() for door in doors], bed.proxy.mark()
    product.publish(instance.arn, action="plan")
    planned = product.mailbox.notices(instance.id)[-1]
    assert f"into your forensic group {here.group}" in planned.mail and instance.state() == before
    notice = contained(product, instance)
    assert notice.stage == "Contained", notice.mail
    assert is_isolated(here.network, instance, here.group)
    assert f"Your forensic group {here.group} stays beside the isolation group" in notice.mail
    not_attached = "Not attached, since no interface of the instance is in their VPC: your forensic groups"
    assert f"{not_attached} {elsewhere.group}" in notice.mail
    untracking = our_groups(here.network)["untracking"]["GroupId"]
    for interface in instance.interfaces:
        opened, closed = moves(bed, interface, mark)
        assert (opened["params"]["SecurityGroupId.1"], "SecurityGroupId.2" in opened["params"]) == (untracking, False)
        assert closed["params"]["SecurityGroupId.2"] == here.group
    assert [door.described() for door in doors] == rules, "never edited"
    assert contained(product, instance).stage == "Unchanged"
    assert released(product, instance).stage == "Released"
    assert instance.state() == before and [door.described() for door in doors] == rules


def test_in_a_vpc_without_such_a_group_it_is_isolated_alone(product: Product, bed: Bed, doors: tuple[Door, Door]) -> None:
    network = make_network(bed.endpoints)
    instance = make_fragile_instance(network, with_role=False)
    before = instance.state()
    notice = contained(product, instance)
    assert notice.stage == "Contained" and is_isolated(network, instance)
    assert all(f"{door.group}" in notice.mail for door in doors) and "stays beside" not in notice.mail
    assert not allowed_numbers(network, network.subnet, TEAM)
    assert released(product, instance).stage == "Released" and instance.state() == before


def test_a_door_that_the_intruder_takes_out_is_put_in_again(product: Product, doors: tuple[Door, Door]) -> None:
    network, door = doors[0].network, doors[0].group
    instance = make_fragile_instance(network, with_role=False, public=False)
    before = instance.state()
    product.contain(instance.arn)
    isolation, first = our_groups(network)["isolation"]["GroupId"], instance.interfaces[0]
    instance.ec2().modify_network_interface_attribute(NetworkInterfaceId=first, Groups=[isolation])
    notice = contained(product, instance)
    assert notice.stage == "Contained" and first in notice.json["summary"] and is_isolated(network, instance, door)
    assert released(product, instance).stage == "Released" and instance.state() == before


def test_a_door_that_is_open_to_everywhere_is_no_isolation(configured: Callable[..., Product], bed: Bed) -> None:
    door = make_door(bed, wide=True)
    everywhere = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}]
    door.network.ec2().authorize_security_group_ingress(GroupId=door.group, IpPermissions=everywhere)
    product, rules = configured(ForensicSecurityGroupIds=door.group), door.described()
    instance = make_fragile_instance(door.network, with_role=False)
    before = instance.state()
    notice = contained(product, instance)
    assert notice.stage == "Partial" and is_isolated(door.network, instance, door.group) and door.described() == rules
    for way in ("in from", "out to"):
        assert f"Your forensic group {door.group} lets traffic {way} everywhere: with it the instance is not isolated" in notice.mail
    assert released(product, instance).stage == "Released" and instance.state() == before


def test_an_acl_that_keeps_the_team_out_lets_it_in_until_the_release(product: Product, doors: tuple[Door, Door]) -> None:
    network, acls = doors[0].network, doors[0].network.acls()
    instance = launch(network, [make_interface(network, network.private[0])])
    former, own = acls.of(network.private[0]), acls.make(network.private[0], open=False)
    acls.add(own, 50, "deny", "10.0.0.0/8")
    acls.add(own, 60, "allow")
    try:
        before = instance.state()
        assert not passes(network, network.private[0], "10.9.0.5") and not passes(network, network.private[0], "2001:db8:9::5")
        notice = contained(product, instance)
        assert notice.stage == "Contained" and f"allow everything from and to {TEAM} in the network ACL {own}" in notice.mail
        assert passes(network, network.private[0], "10.9.0.5") and passes(network, network.private[0], "2001:db8:9::5")
        numbers = allowed_numbers(network, network.private[0], TEAM)
        assert [egress for egress, _ in numbers] == [False, True] and all(number < 50 for _, number in numbers)
        assert not allowed_numbers(network, network.private[1], TEAM), "the ACL of others lets nobody else in"
        assert not passes(network, network.private[0], "10.8.0.5")
        assert released(product, instance).stage == "Released" and instance.state() == before
    finally:
        acls.move(network.private[0], former)


def test_an_acl_that_lets_the_team_through_gets_no_entry_for_it(product: Product, doors: tuple[Door, Door]) -> None:
    network = doors[0].network
    instance = make_fragile_instance(network, with_role=False, public=False)
    assert contained(product, instance).stage == "Contained"
    assert not allowed_numbers(network, network.private[0], TEAM) and passes(network, network.private[0], "10.9.0.5")
    released(product, instance)


def test_acls_between_the_instance_and_the_team_are_left_and_what_goes_on_through_them_is_said(
    product: Product, bed: Bed, doors: tuple[Door, Door]
) -> None:
    network = doors[1].network
    _, transit = network.transit_gateway_route(BY_TRANSIT)
    instance = make_fragile_instance(network, with_role=False, public=False)
    before, address = instance.state(), instance.addresses()[instance.interfaces[0]][0]
    notice = contained(product, instance)
    assert notice.stage == "Partial" and is_isolated(network, instance, doors[1].group)
    assert not denials(instance, network.acls().of(network.public)), "the team comes through this one"
    assert denials(instance, network.acls().of(network.private[0]))
    assert passes(network, network.public, address) and network.flows_through(instance.interfaces[0], transit)
    why = f"the network ACL of {network.public} is left as it is, since it stands between the instance and ForensicCidrs too"
    ways = [line for line in notice.json["residue"] if why in line]
    assert {word for word in ("a NAT gateway", "a transit gateway") if any(word in line for line in ways)} == {
        "a NAT gateway", "a transit gateway",
    } and all(line in notice.mail for line in ways)
    assert released(product, instance).stage == "Released" and instance.state() == before


def test_a_team_in_another_subnet_of_the_vpc_gets_through(configured: Callable[..., Product], bed: Bed) -> None:
    door = make_door(bed)
    network = door.network
    product = configured(ForensicSecurityGroupIds=door.group, ForensicCidrs="10.0.0.0/24")
    instance = launch(network, [make_interface(network, network.private[0])])
    before, address = instance.state(), instance.addresses()[instance.interfaces[0]][0]
    notice = contained(product, instance)
    assert notice.stage == "Partial" and "since it stands between the instance and ForensicCidrs too" in notice.mail
    assert passes(network, network.public, address) and passes(network, network.private[0], "10.0.0.9")
    assert network.flows_through(instance.interfaces[0], network.nat_interface)
    assert released(product, instance).stage == "Released" and instance.state() == before


def test_no_call_of_a_containment_with_every_parameter_on_is_denied(
    product: Product, bed: Bed, doors: tuple[Door, Door]
) -> None:
    network = doors[0].network
    instance: Instance = make_fragile_instance(network, prefix=True)
    group = make_scaling_group(bed.endpoints, network, instance, minimum=1)
    before, mark = instance.state(), bed.proxy.mark()
    product.contain(instance.arn, IncidentId="INC-11")
    product.release(instance.arn)
    assert stages(product, instance) == ["Started", "Contained", "Released"]
    assert instance.state() == before and group.members() == {instance.id: "InService"}
    since = bed.proxy.calls(mark)
    made = {"CreateNetworkAclEntry", "DeleteNetworkAclEntry", "CreateSnapshots", "EnterStandby", "ExitStandby",
            "UpdateAutoScalingGroup", "ModifyInstanceAttribute", "ModifyNetworkInterfaceAttribute", "SendMessage", "PutRolePolicy"}
    assert made <= {call["action"] for call in since}, "nothing of it was left out"
    assert [(c["action"], c["code"]) for c in since if c["status"] == 403] == []
    assert len(calls(bed, mark, "CreateSnapshots")) == 1
