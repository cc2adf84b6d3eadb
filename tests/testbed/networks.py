"""VPCs in which connections take the ways that AWS always tracks: NAT gateways, endpoints, load balancers, firewalls."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from .accounts import MEMBER, REGION
from .clients import Endpoints
from .instances import DEVICES, Instance, Vpc, launch, make_interface
from .network_acls import Acls
from .victims import Role, make_role, unique

REMOTE = {4: "198.51.100.7", 6: "2001:db8:ffff::7"}
"""Somebody out there, by address family."""


@dataclass(frozen=True)
class Network(Vpc):
    """A VPC with a public subnet and two private ones behind a NAT gateway; `subnet` is the first private one."""

    public: str = ""
    private: tuple[str, str] = ("", "")
    public_routes: str = ""
    """The route table of the public subnet."""
    private_routes: str = ""
    """The route table of both private subnets."""
    nat_gateway: str = ""
    nat_interface: str = ""

    def acls(self) -> Acls:
        """Its network ACLs."""
        return Acls(self.endpoints, self.id, self.region)

    def egress_only_route(self) -> str:
        """IPv6 of the private subnets goes out through an egress-only gateway, whose id is returned."""
        made = self.ec2().create_egress_only_internet_gateway(VpcId=self.id)["EgressOnlyInternetGateway"]
        gateway = str(made["EgressOnlyInternetGatewayId"])
        self.ec2().create_route(
            RouteTableId=self.private_routes, DestinationIpv6CidrBlock="::/0", EgressOnlyInternetGatewayId=gateway
        )
        return gateway

    def transit_gateway_route(self, cidr: str = "10.200.0.0/16", subnet: str = "") -> tuple[str, str]:
        """A route of the private subnets to a transit gateway: its id, and its interface in `subnet` (the public one)."""
        ec2, before = self.ec2(), set(self.interfaces("transit_gateway"))
        gateway = ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
        ec2.create_transit_gateway_vpc_attachment(TransitGatewayId=gateway, VpcId=self.id, SubnetIds=[subnet or self.public])
        ec2.create_route(RouteTableId=self.private_routes, DestinationCidrBlock=cidr, TransitGatewayId=gateway)
        [interface] = set(self.interfaces("transit_gateway")) - before
        return gateway, interface

    def gateway_endpoint(self, service: Literal["dynamodb", "s3"] = "dynamodb") -> str:
        """A gateway endpoint in the private subnets' route table."""
        made = self._endpoint(f"com.amazonaws.{self.region}.{service}", "Gateway", RouteTableIds=[self.private_routes])
        return str(made["VpcEndpointId"])

    def interface_endpoint(self, subnet: str = "", service: str = "sqs") -> str:
        """A PrivateLink endpoint; returns its interface in `subnet` (the first private one)."""
        made = self._endpoint(f"com.amazonaws.{self.region}.{service}", "Interface", SubnetIds=[subnet or self.subnet])
        return str(made["NetworkInterfaceIds"][0])

    def firewall_route(self, subnet: str = "", destination: str = "0.0.0.0/0") -> tuple[str, str]:
        """The private subnets' way out leads through a firewall's endpoint.

        Returns the endpoint's id, the routes' target, and its interface in `subnet` (the public one).
        """
        ec2, route = self.ec2(), {"RouteTableId": self.private_routes, "DestinationCidrBlock": destination}
        made = self._endpoint("com.amazonaws.vpce.firewall", "GatewayLoadBalancer", SubnetIds=[subnet or self.public])
        routes = ec2.describe_route_tables(RouteTableIds=[self.private_routes])["RouteTables"][0]["Routes"]
        if any(r.get("DestinationCidrBlock") == destination for r in routes):
            ec2.delete_route(**route)
        ec2.create_route(**route, VpcEndpointId=made["VpcEndpointId"])
        return str(made["VpcEndpointId"]), str(made["NetworkInterfaceIds"][0])

    def aws_interface(self, kind: str = "network_load_balancer", subnet: str = "") -> str:
        """An interface of one of AWS's own services in `subnet` (the public one): of a load balancer, `lambda`, ..."""
        made = self.ec2().create_network_interface(
            SubnetId=subnet or self.public, InterfaceType=kind, Description=f"{kind} {unique('aws')}", Groups=[self.group()]
        )["NetworkInterface"]
        return str(made["NetworkInterfaceId"])

    def interfaces(self, kind: str) -> list[str]:
        """The interfaces of a type in this VPC."""
        found = self.ec2().describe_network_interfaces(Filters=[{"Name": "vpc-id", "Values": [self.id]}])["NetworkInterfaces"]
        return [str(i["NetworkInterfaceId"]) for i in found if i["InterfaceType"] == kind]

    def flows_through(self, interface: str, middle: str) -> bool:
        """Whether any address of an interface gets to the outside and back through `middle`, another interface of the VPC.

        Within one subnet no ACL is passed. Between two, a packet leaves the one and enters the other, and so does its answer;
        a NAT gateway talks to the outside as well. Security groups and route tables are not asked: a tracked flow is there.
        """
        own, other = self._described(interface), self._described(middle)
        acls = self.acls()
        passed = partial(acls.let_through, now=acls.described())
        for address in _addresses(own):
            family = 6 if ":" in address else 4
            through = own["SubnetId"] == other["SubnetId"] or (
                passed(own["SubnetId"], REMOTE[family], egress=True)
                and passed(other["SubnetId"], address, egress=False)
                and passed(other["SubnetId"], address, egress=True)
                and passed(own["SubnetId"], REMOTE[family], egress=False)
            )
            out_and_back = all(passed(other["SubnetId"], REMOTE[family], egress=egress) for egress in (True, False))
            if through and (other["InterfaceType"] != "nat_gateway" or out_and_back):
                return True
        return False

    def flows_out(self, interface: str) -> bool:
        """Whether any address of an interface gets out and back through a gateway without interface (internet gateway, ...)."""
        own, acls = self._described(interface), self.acls()
        passed, families = partial(acls.let_through, now=acls.described()), {6 if ":" in a else 4 for a in _addresses(own)}
        return any(all(passed(own["SubnetId"], REMOTE[f], egress=egress) for egress in (True, False)) for f in families)

    def _described(self, interface: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ec2().describe_network_interfaces(NetworkInterfaceIds=[interface])["NetworkInterfaces"][0]
        return found

    def _endpoint(self, service: str, kind: str, **more: Any) -> dict[str, Any]:
        made: dict[str, Any] = self.ec2().create_vpc_endpoint(
            VpcId=self.id, ServiceName=service, VpcEndpointType=kind, **more
        )["VpcEndpoint"]
        return made


def _addresses(described: dict[str, Any]) -> list[str]:
    """All that packets of an interface may come from; of a prefix the first address."""
    private = [address["PrivateIpAddress"] for address in described["PrivateIpAddresses"]]
    prefixes = [prefix[f"{family}Prefix"] for family in ("Ipv4", "Ipv6") for prefix in described.get(f"{family}Prefixes", [])]
    return private + [address["Ipv6Address"] for address in described["Ipv6Addresses"]] + [p.split("/")[0] for p in prefixes]


def make_network(endpoints: Endpoints, region: str = REGION, *, acls: Literal["shared", "tiers"] = "shared") -> Network:
    """A VPC with an internet gateway, a NAT gateway in the public subnet, and two private subnets that go out through it.

    `shared`: all subnets have the VPC's default ACL. `tiers`: the public subnet has one of its own, the private ones another.
    """
    ec2 = endpoints.client("ec2", MEMBER, region)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]["VpcId"]
    block = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"]
    # An instance's interfaces are all in one availability zone.
    public, first, second = (
        ec2.create_subnet(
            VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", Ipv6CidrBlock=block.replace("00::/56", f"{n:02x}::/64"),
            AvailabilityZone=f"{region}a",
        )["Subnet"]["SubnetId"]
        for n in range(3)
    )
    internet = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=internet, VpcId=vpc)
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    nat = ec2.create_nat_gateway(SubnetId=public, AllocationId=address)["NatGateway"]
    tables = [ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"] for _ in range(2)]
    ec2.create_route(RouteTableId=tables[0], DestinationCidrBlock="0.0.0.0/0", GatewayId=internet)
    ec2.create_route(RouteTableId=tables[0], DestinationIpv6CidrBlock="::/0", GatewayId=internet)
    ec2.create_route(RouteTableId=tables[1], DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat["NatGatewayId"])
    for subnet, table in ((public, tables[0]), (first, tables[1]), (second, tables[1])):
        ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    network = Network(
        endpoints, vpc, first, region, public, (first, second), tables[0], tables[1], nat["NatGatewayId"],
        nat["NatGatewayAddresses"][0]["NetworkInterfaceId"],
    )
    if acls == "tiers":
        network.acls().make(public)
        network.acls().make(first, second)
    return network


def make_fragile_instance(
    network: Network, *, role: Role | None = None, with_role: bool = True, spot: bool = False, public: bool = True,
    prefix: bool = False,
) -> Instance:
    """An instance whose evidence is easily lost: an interface in each private subnet, a public one in the public subnet.

    Its two volumes are deleted with it, and a shutdown from inside terminates it. The first interface has two private IPv4
    addresses; `prefix` gives the second one a prefix as well.
    """
    first, second = network.private
    more = {"Ipv4Prefixes": [{"Ipv4Prefix": "10.0.2.64/28"}]} if prefix else {}
    interfaces = [
        make_interface(network, first, SecondaryPrivateIpAddressCount=1),
        make_interface(network, second, **more),
        *([make_interface(network, network.public, public=True)] if public else []),
    ]
    return launch(
        network, interfaces, role or (make_role(network.endpoints) if with_role else None), spot=spot,
        InstanceInitiatedShutdownBehavior="terminate",
        BlockDeviceMappings=[{"DeviceName": d, "Ebs": {"VolumeSize": 8, "DeleteOnTermination": True}} for d in DEVICES],
    )
