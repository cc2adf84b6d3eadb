"""The bed's own truths about networks: ACLs and their rules, interfaces of AWS's own, the ways that packets take."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from testbed.accounts import MEMBER
from testbed.bed import Bed
from testbed.callers import limited_role, refusal, session_through_proxy, through_proxy
from testbed.instances import Instance, make_instance, make_interface, make_vpc
from testbed.network_acls import Acls
from testbed.networks import Network, make_fragile_instance, make_network

ALL = "0.0.0.0/0"


@pytest.fixture
def acls(bed: Bed) -> Acls:
    """Those of a VPC of the test's own: one ACL, the default one."""
    vpc = make_vpc(bed.endpoints)
    return Acls(bed.endpoints, vpc.id)


@pytest.fixture(scope="module")
def network(bed: Bed) -> Network:
    """One whose subnets share an ACL; tests add no rules to it."""
    return make_network(bed.endpoints)


@pytest.fixture(scope="module")
def instance(network: Network) -> Instance:
    """In two private subnets and the public one."""
    return make_fragile_instance(network)


def only(acls: Acls) -> str:
    """The id of the one ACL."""
    [acl] = acls.described()
    return str(acl["NetworkAclId"])


def entry(acl: str, number: int = 10, **more: Any) -> dict[str, Any]:
    """A deny for one IPv4 address going out."""
    cidr = {} if "Ipv6CidrBlock" in more or "CidrBlock" in more else {"CidrBlock": "10.0.0.9/32"}
    return {"NetworkAclId": acl, "RuleNumber": number, "Protocol": "-1", "RuleAction": "deny", "Egress": True, **cidr, **more}


# --- Network ACLs: what they hold ----------------------------------------------------------------------------------------


def test_a_new_acl_has_the_rules_that_aws_gives_it(acls: Acls) -> None:
    def rules(acl: str) -> list[tuple[Any, ...]]:
        return [entry[1:] for entry in acls.state()[acl]["entries"] if entry[0]]

    closing = [(32767, "deny", "-1", ALL), (32768, "deny", "-1", "::/0")]
    assert rules(only(acls)) == [(100, "allow", "-1", ALL), (101, "allow", "-1", "::/0"), *closing]
    assert rules(acls.make(open=False)) == closing


def test_a_vpc_that_gets_ipv6_later_gets_its_rules_unless_its_default_acl_was_changed(bed: Bed) -> None:
    ec2 = bed.endpoints.client("ec2", MEMBER)
    for changed, numbers in ((False, [100, 101, 32767, 32768]), (True, [10, 100, 32767, 32768])):
        late = Acls(bed.endpoints, ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"])
        if changed:
            late.add(only(late), 10, "deny", "192.0.2.1/32")
        ec2.associate_vpc_cidr_block(VpcId=late.vpc, AmazonProvidedIpv6CidrBlock=True)
        assert [e["RuleNumber"] for e in late.entries(only(late)) if e["Egress"]] == numbers


def test_entries_of_both_families_come_back_and_are_deleted_by_number_and_direction(bed: Bed, acls: Acls) -> None:
    ec2, acl = through_proxy(bed, "ec2", MEMBER), only(acls)
    before = acls.state()
    ec2.create_network_acl_entry(**entry(acl, 5))
    ec2.create_network_acl_entry(**entry(acl, 6, Ipv6CidrBlock="2001:db8::9/128"))
    ec2.create_network_acl_entry(**entry(acl, 5, Egress=False))
    added = [e for e in acls.state()[acl]["entries"] if e[1] < 100]
    assert added == [
        (False, 5, "deny", "-1", "10.0.0.9/32"), (True, 5, "deny", "-1", "10.0.0.9/32"),
        (True, 6, "deny", "-1", "2001:db8::9/128"),
    ]
    for number, egress in ((5, True), (5, False), (6, True)):
        ec2.delete_network_acl_entry(NetworkAclId=acl, RuleNumber=number, Egress=egress)
    assert acls.state() == before


@pytest.mark.parametrize(("given", "kept"), [
    ({"CidrBlock": "100.68.0.18/18"}, "100.68.0.0/18"), ({"Ipv6CidrBlock": "2001:DB8::1/64"}, "2001:db8::/64"),
])
def test_a_block_with_host_bits_is_kept_in_its_canonical_form(bed: Bed, acls: Acls, given: dict[str, str], kept: str) -> None:
    acl = only(acls)
    through_proxy(bed, "ec2", MEMBER).create_network_acl_entry(**entry(acl, 7, **given))
    assert (True, 7, "deny", "-1", kept) in acls.state()[acl]["entries"]


# --- Network ACLs: what AWS refuses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wrong", "code"), [
    ({"RuleNumber": 0}, "InvalidParameterValue"),
    ({"RuleNumber": 32767}, "InvalidParameterValue"),
    ({"RuleAction": "drop"}, "InvalidParameterValue"),
    ({"CidrBlock": "10.0.0.9/33"}, "InvalidParameterValue"),
    ({"CidrBlock": "10.0.0.9/32", "Ipv6CidrBlock": "2001:db8::9/128"}, "InvalidParameterCombination"),
    ({"CidrBlock": None}, "MissingParameter"),
    ({"RuleNumber": 100}, "NetworkAclEntryAlreadyExists"),
    ({"NetworkAclId": "acl-00000000"}, "InvalidNetworkAclID.NotFound"),
])
def test_an_entry_that_cannot_be_is_refused(bed: Bed, acls: Acls, wrong: dict[str, Any], code: str) -> None:
    asked = {key: value for key, value in {**entry(only(acls)), **wrong}.items() if value is not None}
    before = acls.state()
    assert refusal(through_proxy(bed, "ec2", MEMBER).create_network_acl_entry, **asked) == code
    assert acls.state() == before


def test_an_entry_that_is_not_there_cannot_be_deleted(bed: Bed, acls: Acls) -> None:
    delete, acl = through_proxy(bed, "ec2", MEMBER).delete_network_acl_entry, only(acls)
    assert refusal(delete, NetworkAclId=acl, RuleNumber=10, Egress=True) == "InvalidNetworkAclEntry.NotFound"
    assert refusal(delete, NetworkAclId=acl, RuleNumber=32767, Egress=True) == "InvalidParameterValue"
    assert refusal(delete, NetworkAclId="acl-00000000", RuleNumber=10, Egress=True) == "InvalidNetworkAclID.NotFound"


def test_a_family_and_direction_takes_20_rules_the_closing_deny_among_them(bed: Bed, acls: Acls) -> None:
    create, acl = through_proxy(bed, "ec2", MEMBER).create_network_acl_entry, only(acls)
    acls.fill(acl, leave=1)
    assert refusal(create, **entry(acl, 1)) == ""
    assert refusal(create, **entry(acl, 2)) == "NetworkAclEntryLimitExceeded"
    assert refusal(create, **entry(acl, 2, Egress=False)) == ""
    assert refusal(create, **entry(acl, 3, Egress=False)) == "NetworkAclEntryLimitExceeded"
    assert refusal(create, **entry(acl, 2, Ipv6CidrBlock="2001:db8::9/128")) == ""
    assert len([e for e in acls.entries(acl) if e["Egress"] and "CidrBlock" in e]) == 20


def test_a_test_can_set_the_quota_of_an_acl(bed: Bed, acls: Acls) -> None:
    create, acl = through_proxy(bed, "ec2", MEMBER).create_network_acl_entry, only(acls)
    with bed.proxy.rule(fault="acl_quota", contains=acl, value="3"):
        assert [refusal(create, **entry(acl, n)) for n in (1, 2)] == ["", "NetworkAclEntryLimitExceeded"]
    assert refusal(create, **entry(acl, 2)) == ""


def test_calls_at_once_do_not_exceed_the_quota(bed: Bed, acls: Acls) -> None:
    create, acl = through_proxy(bed, "ec2", MEMBER).create_network_acl_entry, only(acls)
    with bed.proxy.rule(fault="acl_quota", contains=acl, value="5"), ThreadPoolExecutor(10) as pool:
        codes = sorted(pool.map(lambda n: refusal(create, **entry(acl, n)), range(1, 11)))
    assert codes == [""] * 3 + ["NetworkAclEntryLimitExceeded"] * 7


def test_an_entry_can_be_refused_or_lost_by_a_rule_of_the_test(bed: Bed, acls: Acls) -> None:
    create, acl = through_proxy(bed, "ec2", MEMBER).create_network_acl_entry, only(acls)
    with bed.proxy.rule(fault="lose", action="CreateNetworkAclEntry", contains=acl):
        assert refusal(create, **entry(acl)) == ""
    assert 10 not in [e["RuleNumber"] for e in acls.entries(acl)]


# --- Network ACLs: judged -------------------------------------------------------------------------------------------------


def test_entries_are_judged_on_their_acl_its_vpc_and_its_tags(bed: Bed, acls: Acls) -> None:
    root, acl, other = through_proxy(bed, "ec2", MEMBER), only(acls), acls.make(open=False)
    elsewhere = only(Acls(bed.endpoints, make_vpc(bed.endpoints).id))
    root.create_tags(Resources=[other], Tags=[{"Key": "keep", "Value": "out"}])
    vpc = f"arn:aws:ec2:us-east-1:{MEMBER}:vpc/{acls.vpc}"
    role = limited_role(
        bed,
        {"Effect": "Allow", "Action": ["ec2:CreateNetworkAclEntry", "ec2:DeleteNetworkAclEntry"],
         "Resource": "arn:aws:ec2:*:*:network-acl/*", "Condition": {"ArnEquals": {"ec2:Vpc": vpc}}},
        {"Effect": "Deny", "Action": "ec2:*", "Resource": "*", "Condition": {"StringEquals": {"aws:ResourceTag/keep": "out"}}},
    )
    ec2 = through_proxy(bed, "ec2", session_through_proxy(bed, role))
    codes = [refusal(ec2.create_network_acl_entry, **entry(id)) for id in (acl, other, elsewhere)]
    assert codes == ["", "UnauthorizedOperation", "UnauthorizedOperation"]
    assert refusal(ec2.delete_network_acl_entry, NetworkAclId=acl, RuleNumber=10, Egress=True) == ""
    foreign = refusal(ec2.delete_network_acl_entry, NetworkAclId=elsewhere, RuleNumber=100, Egress=True)
    assert foreign == "UnauthorizedOperation"
    assert refusal(ec2.describe_network_acls) == "UnauthorizedOperation"


# --- Interfaces -----------------------------------------------------------------------------------------------------------


def test_the_interfaces_of_awss_own_services_have_their_types_and_are_managed(bed: Bed) -> None:
    network = make_network(bed.endpoints)
    _, transit = network.transit_gateway_route()
    _, firewall = network.firewall_route()
    of_type = {
        "nat_gateway": network.nat_interface, "transit_gateway": transit, "gateway_load_balancer_endpoint": firewall,
        "vpc_endpoint": network.interface_endpoint(), "network_load_balancer": network.aws_interface(),
        "lambda": network.aws_interface("lambda", network.private[1]),
    }
    of_vpc = [{"Name": "vpc-id", "Values": [network.id]}]
    found = network.ec2().describe_network_interfaces(Filters=of_vpc)["NetworkInterfaces"]
    assert {i["InterfaceType"]: i["NetworkInterfaceId"] for i in found} == of_type
    assert all(i["RequesterManaged"] for i in found)
    ec2 = through_proxy(bed, "ec2", MEMBER)
    code = refusal(ec2.modify_network_interface_attribute, NetworkInterfaceId=network.nat_interface, Groups=[network.group()])
    assert code == "OperationNotPermitted"


def test_interfaces_can_be_filtered_by_several_types_within_a_vpc(bed: Bed, network: Network, instance: Instance) -> None:
    ec2 = through_proxy(bed, "ec2", MEMBER)

    def found(*types: str) -> set[str]:
        filters = [{"Name": "interface-type", "Values": list(types)}, {"Name": "vpc-id", "Values": [network.id]}]
        return {i["NetworkInterfaceId"] for i in ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]}

    assert found("lambda", "nat_gateway", "vpc_endpoint") == {network.nat_interface}
    assert found("lambda") == set()
    assert found("interface") == set(instance.interfaces)
    with bed.proxy.rule(fault="interface_type", contains=instance.interfaces[1], value="lambda"):
        assert found("lambda", "nat_gateway") == {network.nat_interface, instance.interfaces[1]}
        assert found("interface") == {instance.interfaces[0], instance.interfaces[2]}


@pytest.mark.parametrize(("kind", "managed", "code"), [
    ("trunk", False, ""), ("efa", False, ""), ("lambda", True, "OperationNotPermitted"),
])
def test_a_test_can_make_an_interface_look_like_another_type(
    bed: Bed, instance: Instance, kind: str, managed: bool, code: str
) -> None:
    ec2, (eni, other, _) = through_proxy(bed, "ec2", MEMBER), instance.interfaces
    with bed.proxy.rule(fault="interface_type", contains=eni, value=kind):
        found = ec2.describe_network_interfaces(NetworkInterfaceIds=[eni, other])["NetworkInterfaces"]
        seen = {i["NetworkInterfaceId"]: (i["InterfaceType"], i["RequesterManaged"]) for i in found}
        assert seen == {eni: (kind, managed), other: ("interface", False)}
        [launched] = ec2.describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"]
        assert {i["NetworkInterfaceId"]: i["InterfaceType"] for i in launched["NetworkInterfaces"]}[eni] == kind
        assert refusal(ec2.modify_network_interface_attribute, NetworkInterfaceId=eni, Groups=instance.groups()[eni]) == code


def test_all_addresses_of_an_interface_come_back_and_nobody_else_has_them(bed: Bed) -> None:
    network = make_network(bed.endpoints)
    instance = make_fragile_instance(network, prefix=True)
    private, prefixed, public = instance.described()
    assert [len(private[key]) for key in ("PrivateIpAddresses", "Ipv6Addresses")] == [2, 1]
    assert [p["Ipv4Prefix"] for p in prefixed["Ipv4Prefixes"]] == ["10.0.2.64/28"]
    address = public["Association"]["PublicIp"]
    assert public["PrivateIpAddresses"][0]["Association"]["PublicIp"] == address
    unassociated = (private, *private["PrivateIpAddresses"], prefixed, *prefixed["PrivateIpAddresses"])
    assert all("Association" not in where for where in unassociated)
    [launched] = network.ec2().describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"]
    associations = {i["NetworkInterfaceId"]: i.get("Association", {}).get("PublicIp") for i in launched["NetworkInterfaces"]}
    assert associations == dict(zip(instance.interfaces, (None, None, address), strict=True))
    everybodys = [a for other in (instance, make_fragile_instance(network)) for own in other.addresses().values() for a in own]
    assert len(everybodys) == len(set(everybodys)) == 14


def test_an_address_that_is_free_again_goes_to_the_next_interface(bed: Bed) -> None:
    vpc = make_vpc(bed.endpoints)
    first = make_interface(vpc, vpc.subnet)

    def address(interface: str) -> str:
        [described] = vpc.ec2().describe_network_interfaces(NetworkInterfaceIds=[interface])["NetworkInterfaces"]
        return str(described["PrivateIpAddress"])

    freed = address(first)
    vpc.ec2().delete_network_interface(NetworkInterfaceId=first)
    assert address(make_interface(vpc, vpc.subnet)) == freed


def test_a_group_that_is_needed_cannot_be_deleted(bed: Bed) -> None:
    vpc = make_vpc(bed.endpoints)
    ec2, group, other = through_proxy(bed, "ec2", MEMBER), vpc.group(), vpc.group()
    interface = ec2.create_network_interface(SubnetId=vpc.subnet, Groups=[group])["NetworkInterface"]["NetworkInterfaceId"]
    assert refusal(ec2.delete_security_group, GroupId=group) == "DependencyViolation"
    ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=[other])
    rule = [{"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "UserIdGroupPairs": [{"GroupId": group}]}]
    ec2.authorize_security_group_ingress(GroupId=other, IpPermissions=rule)
    assert refusal(ec2.delete_security_group, GroupId=group) == "DependencyViolation"
    ec2.revoke_security_group_ingress(GroupId=other, IpPermissions=rule)
    assert refusal(ec2.delete_security_group, GroupId=group) == ""
    filters = [{"Name": "vpc-id", "Values": [vpc.id]}, {"Name": "group-name", "Values": ["default"]}]
    [default] = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
    assert refusal(ec2.delete_security_group, GroupId=default["GroupId"]) == "CannotDelete"


# --- Routes ---------------------------------------------------------------------------------------------------------------


def test_routes_name_what_they_lead_to(bed: Bed) -> None:
    network = make_network(bed.endpoints)
    nat = network.nat_gateway
    egress, (transit, _) = network.egress_only_route(), network.transit_gateway_route()
    endpoints = {network.gateway_endpoint("dynamodb"), network.gateway_endpoint("s3")}

    def routes() -> list[dict[str, Any]]:
        tables = through_proxy(bed, "ec2", MEMBER).describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [network.id]}])
        by_subnet = {a.get("SubnetId"): t["Routes"] for t in tables["RouteTables"] for a in t["Associations"]}
        assert set(by_subnet) == {None, network.public, *network.private}
        return list(by_subnet[network.private[0]])

    assert {r["NatGatewayId"] for r in routes() if "NatGatewayId" in r} == {nat}
    assert {r["EgressOnlyInternetGatewayId"] for r in routes() if "EgressOnlyInternetGatewayId" in r} == {egress}
    assert {r["TransitGatewayId"] for r in routes() if "TransitGatewayId" in r} == {transit}
    assert {r["GatewayId"] for r in routes() if "DestinationPrefixListId" in r} == endpoints
    firewall, _ = network.firewall_route()
    assert [r["GatewayId"] for r in routes() if r.get("DestinationCidrBlock") == ALL] == [firewall]
    filters = [{"Name": "vpc-id", "Values": [network.id]}, {"Name": "vpc-endpoint-type", "Values": ["Gateway"]}]
    found = through_proxy(bed, "ec2", MEMBER).describe_vpc_endpoints(Filters=filters)["VpcEndpoints"]
    assert {e["VpcEndpointId"] for e in found} == endpoints
    assert all(e["RouteTableIds"] == [network.private_routes] for e in found)


# --- The ways of packets ----------------------------------------------------------------------------------------------------


def deny(network: Network, subnet: str, instance: Instance, interface: str) -> None:
    """A deny for every address of an interface, both ways, in the ACL of a subnet."""
    for number, address in enumerate(instance.addresses()[interface], 1):
        network.acls().add(network.acls().of(subnet), number, "deny", f"{address}/{128 if ':' in address else 32}")


def test_a_deny_for_the_own_address_cuts_where_packets_enter_another_subnet_not_where_they_leave_their_own(bed: Bed) -> None:
    network = make_network(bed.endpoints, acls="tiers")
    instance = make_fragile_instance(network)
    first, second, public = instance.interfaces
    assert all(network.flows_through(eni, network.nat_interface) for eni in (first, second)) and network.flows_out(public)
    deny(network, network.private[0], instance, first)
    assert network.flows_through(first, network.nat_interface)
    deny(network, network.public, instance, first)
    assert not network.flows_through(first, network.nat_interface)
    assert network.flows_through(second, network.nat_interface) and network.flows_out(public)


def test_in_a_shared_acl_the_deny_cuts_what_leaves_the_subnet_and_nothing_else(bed: Bed) -> None:
    network = make_network(bed.endpoints)
    instance = make_fragile_instance(network)
    same, other = (network.interface_endpoint(subnet) for subnet in network.private)
    first, second, _ = instance.interfaces
    deny(network, network.private[0], instance, first)
    assert not network.flows_through(first, network.nat_interface) and not network.flows_through(first, other)
    assert network.flows_through(first, same), "within one subnet no ACL is passed"
    assert network.flows_through(second, network.nat_interface)


def test_what_has_no_other_subnet_to_enter_is_not_cut_by_the_own_address(bed: Bed) -> None:
    network = make_network(bed.endpoints)
    instance = make_fragile_instance(network)
    public = instance.interfaces[2]
    deny(network, network.public, instance, public)
    assert network.flows_out(public)
    network.acls().add(network.acls().of(network.public), 50, "deny", ALL)
    network.acls().add(network.acls().of(network.public), 51, "deny", "::/0")
    assert not network.flows_out(public)


def test_the_acl_of_a_subnet_can_be_replaced(bed: Bed) -> None:
    network = make_network(bed.endpoints)
    before, new = network.acls().of(network.public), network.acls().make(network.private[0])
    assert [network.acls().of(s) for s in (network.public, *network.private)] == [before, new, before]


def test_an_instance_of_a_plain_vpc_still_has_its_state(bed: Bed) -> None:
    instance = make_instance(bed.endpoints, with_role=False)
    state = instance.state()
    assert set(state) == {"groups", "timeouts", "acls", "attributes", "deleted_with_it", "scaling", "role"}
    assert state["timeouts"][instance.interfaces[0]]["UdpTimeout"] == 30 and state["scaling"] is None
    through_proxy(bed, "ec2", MEMBER).modify_network_interface_attribute(
        NetworkInterfaceId=instance.interfaces[0], ConnectionTrackingSpecification={"UdpTimeout": 45}
    )
    assert instance.state()["timeouts"][instance.interfaces[0]]["UdpTimeout"] == 45
