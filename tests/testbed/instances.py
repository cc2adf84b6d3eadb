"""Instances with VPCs, interfaces in both IP families, and profiles on both emulators."""

from dataclasses import dataclass
from typing import Any

from .accounts import MEMBER, REGION
from .clients import Credentials, Endpoints
from .victims import Role, allowed, make_role, unique

IMAGE = "ami-12c6146b"


@dataclass(frozen=True)
class Vpc:
    """A VPC with IPv4 and IPv6, and one subnet."""

    endpoints: Endpoints
    id: str
    subnet: str
    region: str = REGION

    def group(self) -> str:
        """A new group of the VPC with a rule in either direction."""
        ec2 = self.endpoints.client("ec2", MEMBER, self.region)
        group: str = ec2.create_security_group(GroupName=unique("group"), Description="of a victim", VpcId=self.id)["GroupId"]
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[{
            "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8"}],
        }])
        return group


@dataclass(frozen=True)
class Instance:
    """A running instance, its interfaces in the order of their device index, its role if it has one."""

    endpoints: Endpoints
    id: str
    arn: str
    interfaces: list[str]
    role: Role | None
    region: str = REGION

    def session(self) -> Credentials:
        """Credentials as the metadata service hands them out: the session's name is the instance's id."""
        if self.role is None:
            raise RuntimeError("the instance has no role")
        return self.role.session(self.id)

    def allowed(self) -> bool:
        """Whether its role's credentials, as it gets them, work."""
        return allowed(self.endpoints, self.session())

    def groups(self) -> dict[str, list[str]]:
        """The groups of each interface."""
        ec2 = self.endpoints.client("ec2", MEMBER, self.region)
        found = ec2.describe_network_interfaces(NetworkInterfaceIds=self.interfaces)["NetworkInterfaces"]
        return {i["NetworkInterfaceId"]: sorted(g["GroupId"] for g in i["Groups"]) for i in found}

    def state(self) -> dict[str, Any]:
        """All that a release must leave as it was."""
        return {"groups": self.groups(), "role": self.role.state() if self.role else None}


def make_vpc(endpoints: Endpoints, region: str = REGION) -> Vpc:
    """A VPC of its own, so that groups found by name are this test's."""
    ec2 = endpoints.client("ec2", MEMBER, region)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]
    block = ec2.describe_vpcs(VpcIds=[vpc["VpcId"]])["Vpcs"][0]["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"]
    subnet = ec2.create_subnet(
        VpcId=vpc["VpcId"], CidrBlock="10.0.0.0/24", Ipv6CidrBlock=block.replace("/56", "/64")
    )["Subnet"]["SubnetId"]
    return Vpc(endpoints, vpc["VpcId"], subnet, region)


def make_profile(endpoints: Endpoints, role: Role, path: str = "/") -> str:
    """A profile on both emulators: IAM's for the role in it, moto's for the association. Returns its name."""
    name = unique("profile")
    for iam in (endpoints.client("iam", MEMBER), endpoints.client("iam", MEMBER, endpoint=endpoints.ec2)):
        iam.create_instance_profile(InstanceProfileName=name, Path=path)
    endpoints.client("iam", MEMBER).add_role_to_instance_profile(InstanceProfileName=name, RoleName=role.name)
    return name


def make_instance(
    endpoints: Endpoints, vpc: Vpc | None = None, *, interfaces: int = 1, role: Role | None = None,
    with_role: bool = True, profile_path: str = "/",
) -> Instance:
    """A running instance; each interface has two groups of its own and an IPv6 address.

    Launched with `NetworkInterfaces`: with `SecurityGroupIds` moto would keep the instance's groups on its interface.
    """
    vpc = vpc or make_vpc(endpoints)
    ec2 = endpoints.client("ec2", MEMBER, vpc.region)
    role = role or (make_role(endpoints) if with_role else None)
    profile = {"IamInstanceProfile": {"Name": make_profile(endpoints, role, profile_path)}} if role else {}
    made = [
        ec2.create_network_interface(SubnetId=vpc.subnet, Groups=[vpc.group(), vpc.group()], Ipv6AddressCount=1)
        ["NetworkInterface"]["NetworkInterfaceId"]
        for _ in range(interfaces)
    ]
    launched = ec2.run_instances(
        ImageId=IMAGE, InstanceType="m5.large", MinCount=1, MaxCount=1,
        NetworkInterfaces=[{"DeviceIndex": n, "NetworkInterfaceId": eni} for n, eni in enumerate(made)], **profile,
    )["Instances"][0]["InstanceId"]
    arn = f"arn:aws:ec2:{vpc.region}:{MEMBER}:instance/{launched}"
    return Instance(endpoints, launched, arn, made, role, vpc.region)
