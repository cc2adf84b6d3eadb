"""Instances with VPCs, interfaces in both IP families, and profiles on both emulators."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .accounts import MEMBER, REGION
from .clients import Credentials, Endpoints
from .network_acls import Acls
from .victims import Role, allowed, make_role, unique

IMAGE = "ami-12c6146b"
DEVICES = ("/dev/sda1", "/dev/sdb")
TIMEOUTS = {"TcpEstablishedTimeout": 432000, "UdpStreamTimeout": 180, "UdpTimeout": 30}
"""Of an interface whose timeouts nobody has set, in seconds (Amazon EC2 User Guide, "Connection tracking")."""


@dataclass(frozen=True)
class Vpc:
    """A VPC with IPv4 and IPv6, and one subnet."""

    endpoints: Endpoints
    id: str
    subnet: str
    region: str = REGION

    def ec2(self) -> Any:
        """EC2 as the account's root, past the proxy."""
        return self.endpoints.client("ec2", MEMBER, self.region)

    def group(self) -> str:
        """A new group of the VPC with a rule in either direction."""
        ec2 = self.ec2()
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

    def ec2(self) -> Any:
        """EC2 as the account's root, past the proxy."""
        return self.endpoints.client("ec2", MEMBER, self.region)

    def session(self) -> Credentials:
        """Credentials as the metadata service hands them out: the session's name is the instance's id."""
        if self.role is None:
            raise RuntimeError("the instance has no role")
        return self.role.session(self.id)

    def allowed(self) -> bool:
        """Whether its role's credentials, as it gets them, work."""
        return allowed(self.endpoints, self.session())

    def described(self) -> list[dict[str, Any]]:
        """Its interfaces as EC2 describes them, in the order of their device index."""
        found = self.ec2().describe_network_interfaces(NetworkInterfaceIds=self.interfaces)["NetworkInterfaces"]
        return sorted(found, key=lambda i: self.interfaces.index(i["NetworkInterfaceId"]))

    def groups(self) -> dict[str, list[str]]:
        """The groups of each interface."""
        return {i["NetworkInterfaceId"]: sorted(g["GroupId"] for g in i["Groups"]) for i in self.described()}

    def addresses(self) -> dict[str, list[str]]:
        """All private addresses of each interface, of both families."""
        return {
            i["NetworkInterfaceId"]: [a["PrivateIpAddress"] for a in i["PrivateIpAddresses"]]
            + [a["Ipv6Address"] for a in i["Ipv6Addresses"]]
            for i in self.described()
        }

    def acls(self) -> Acls:
        """The network ACLs of the VPC of its first interface."""
        return Acls(self.endpoints, self.described()[0]["VpcId"], self.region)

    def attribute(self, name: str) -> Any:
        """`disableApiTermination`, `instanceInitiatedShutdownBehavior`, ..."""
        answer = self.ec2().describe_instance_attribute(InstanceId=self.id, Attribute=name)
        return answer[name[0].upper() + name[1:]]["Value"]

    def volumes(self) -> dict[str, str]:
        """The volume of each device."""
        instance = self.ec2().describe_instances(InstanceIds=[self.id])["Reservations"][0]["Instances"][0]
        return {d["DeviceName"]: d["Ebs"]["VolumeId"] for d in instance["BlockDeviceMappings"]}

    def deleted_with_it(self) -> dict[str, bool]:
        """Whether the volume of each device is deleted on termination."""
        devices = self.ec2().describe_instance_attribute(InstanceId=self.id, Attribute="blockDeviceMapping")
        return {d["DeviceName"]: d["Ebs"]["DeleteOnTermination"] for d in devices["BlockDeviceMappings"]}

    def lifecycle(self) -> dict[str, Any] | None:
        """The Auto Scaling group that it is in, its state there and the group's sizes."""
        client = self.endpoints.client("autoscaling", MEMBER, self.region)
        members = client.describe_auto_scaling_instances(InstanceIds=[self.id])["AutoScalingInstances"]
        if not members:
            return None
        name = members[0]["AutoScalingGroupName"]
        [group] = client.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
        sizes = {key: group[key] for key in ("MinSize", "DesiredCapacity", "MaxSize")}
        return {"group": name, "state": members[0]["LifecycleState"], **sizes}

    def snapshots(self) -> list[dict[str, Any]]:
        """The snapshots of its volumes, as EC2 describes them."""
        volumes = list(self.volumes().values())
        filters = [{"Name": "volume-id", "Values": volumes}]
        found: list[dict[str, Any]] = self.ec2().describe_snapshots(OwnerIds=["self"], Filters=filters)["Snapshots"]
        return found

    def run_state(self) -> str:
        """`running`, `stopped`, `terminated`, ..."""
        instance = self.ec2().describe_instances(InstanceIds=[self.id])["Reservations"][0]["Instances"][0]
        return str(instance["State"]["Name"])

    def shut_down_from_inside(self) -> None:
        """What the intruder's `shutdown` does: it stops, or it is terminated, whatever protects it from the API."""
        if self.attribute("instanceInitiatedShutdownBehavior") == "stop":
            self.ec2().stop_instances(InstanceIds=[self.id])
        else:
            self.ec2().modify_instance_attribute(InstanceId=self.id, DisableApiTermination={"Value": False})
            self.ec2().terminate_instances(InstanceIds=[self.id])

    def state(self) -> dict[str, Any]:
        """All that a release must leave as it was."""
        vpcs = sorted({i["VpcId"] for i in self.described()})
        return {
            "groups": self.groups(),
            "timeouts": {
                i["NetworkInterfaceId"]: {**TIMEOUTS, **i.get("ConnectionTrackingConfiguration", {})} for i in self.described()
            },
            "acls": {vpc: Acls(self.endpoints, vpc, self.region).state() for vpc in vpcs},
            "attributes": {
                name: self.attribute(name) for name in ("disableApiTermination", "instanceInitiatedShutdownBehavior")
            },
            "deleted_with_it": self.deleted_with_it(),
            "scaling": self.lifecycle(),
            "role": self.role.state() if self.role else None,
        }


def make_vpc(endpoints: Endpoints, region: str = REGION) -> Vpc:
    """A VPC of its own with IPv6, so that groups found by name are this test's."""
    ec2 = endpoints.client("ec2", MEMBER, region)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]
    block = ec2.describe_vpcs(VpcIds=[vpc["VpcId"]])["Vpcs"][0]["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"]
    subnet = ec2.create_subnet(
        VpcId=vpc["VpcId"], CidrBlock="10.0.0.0/24", Ipv6CidrBlock=block.replace("/56", "/64")
    )["Subnet"]["SubnetId"]
    return Vpc(endpoints, vpc["VpcId"], subnet, region)


def make_ipv4_instance(endpoints: Endpoints) -> tuple[Vpc, Instance]:
    """A running instance with one interface in a VPC without IPv6, as a default VPC is: its groups begin with no egress for it."""
    ec2 = endpoints.client("ec2", MEMBER)
    made = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    vpc = Vpc(endpoints, made, ec2.create_subnet(VpcId=made, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"], REGION)
    interface = ec2.create_network_interface(SubnetId=vpc.subnet, Groups=[vpc.group()])["NetworkInterface"]["NetworkInterfaceId"]
    return vpc, launch(vpc, [interface], make_role(endpoints))


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
    """A running instance; each interface has two groups of its own and an IPv6 address."""
    vpc = vpc or make_vpc(endpoints)
    role = role or (make_role(endpoints) if with_role else None)
    return launch(vpc, [make_interface(vpc, vpc.subnet) for _ in range(interfaces)], role, profile_path=profile_path)


def make_interface(vpc: Vpc, subnet: str, *, public: bool = False, **more: Any) -> str:
    """An interface with two groups of its own and an IPv6 address; `public` gives it an Elastic IP address."""
    ec2 = vpc.ec2()
    made: str = ec2.create_network_interface(
        SubnetId=subnet, Groups=[vpc.group(), vpc.group()], Ipv6AddressCount=1, **more
    )["NetworkInterface"]["NetworkInterfaceId"]
    if public:
        ec2.associate_address(AllocationId=ec2.allocate_address(Domain="vpc")["AllocationId"], NetworkInterfaceId=made)
    return made


def launch(
    vpc: Vpc, interfaces: Sequence[str], role: Role | None = None, *, profile_path: str = "/", spot: bool = False, **more: Any
) -> Instance:
    """A running instance with these interfaces, the first as its primary one.

    Launched with `NetworkInterfaces`: with `SecurityGroupIds` moto would keep the instance's groups on its interface.
    """
    if role:
        more["IamInstanceProfile"] = {"Name": make_profile(vpc.endpoints, role, profile_path)}
    if spot:
        more["InstanceMarketOptions"] = {"MarketType": "spot"}
    launched = vpc.ec2().run_instances(
        ImageId=IMAGE, InstanceType="m5.large", MinCount=1, MaxCount=1,
        NetworkInterfaces=[{"DeviceIndex": n, "NetworkInterfaceId": eni} for n, eni in enumerate(interfaces)], **more,
    )["Instances"][0]["InstanceId"]
    arn = f"arn:aws:ec2:{vpc.region}:{MEMBER}:instance/{launched}"
    return Instance(vpc.endpoints, launched, arn, list(interfaces), role, vpc.region)
