"""Auto Scaling groups, and what becomes of an instance in one."""

from dataclasses import dataclass
from typing import Any

from .accounts import MEMBER, REGION
from .clients import Endpoints
from .instances import IMAGE, Instance, Vpc
from .victims import unique


@dataclass(frozen=True)
class ScalingGroup:
    """An Auto Scaling group."""

    endpoints: Endpoints
    name: str
    arn: str
    region: str = REGION

    def client(self) -> Any:
        """Auto Scaling as the account's root, past the proxy."""
        return self.endpoints.client("autoscaling", MEMBER, self.region)

    def described(self) -> dict[str, Any]:
        """As Auto Scaling describes it; empty if it is gone."""
        groups = self.client().describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])["AutoScalingGroups"]
        return dict(groups[0]) if groups else {}

    def sizes(self) -> tuple[int, int, int]:
        """Minimum, desired capacity, maximum."""
        group = self.described()
        return group["MinSize"], group["DesiredCapacity"], group["MaxSize"]

    def members(self) -> dict[str, str]:
        """The lifecycle state of each instance in it."""
        return {i["InstanceId"]: i["LifecycleState"] for i in self.described()["Instances"]}

    def resize(self, **sizes: int) -> None:
        """`MinSize`, `DesiredCapacity`, `MaxSize`."""
        self.client().update_auto_scaling_group(AutoScalingGroupName=self.name, **sizes)

    def fails_health_check(self, instance: str) -> None:
        """What an isolated instance does: in service it is terminated and replaced, in standby it stays."""
        self.client().set_instance_health(InstanceId=instance, HealthStatus="Unhealthy")

    def detach(self, instance: str) -> None:
        """Takes an instance out of the group; it goes on, and the group launches no other."""
        self.client().detach_instances(
            AutoScalingGroupName=self.name, InstanceIds=[instance], ShouldDecrementDesiredCapacity=True
        )

    def delete(self, *, force: bool = False) -> None:
        """Deletes the group; by force with all its instances, those in standby too."""
        self.client().delete_auto_scaling_group(AutoScalingGroupName=self.name, ForceDelete=force)


def make_scaling_group(
    endpoints: Endpoints, vpc: Vpc, *instances: Instance, minimum: int = 0, desired: int = 1, maximum: int = 3,
) -> ScalingGroup:
    """A group with these instances in service, and as many of its own as the desired capacity asks for besides."""
    client, name = endpoints.client("autoscaling", MEMBER, vpc.region), unique("scaling")
    endpoints.client("ec2", MEMBER, vpc.region).create_launch_template(
        LaunchTemplateName=name, LaunchTemplateData={"ImageId": IMAGE, "InstanceType": "m5.large"}
    )
    client.create_auto_scaling_group(
        AutoScalingGroupName=name, MinSize=0, DesiredCapacity=desired - len(instances), MaxSize=maximum,
        LaunchTemplate={"LaunchTemplateName": name, "Version": "1"}, VPCZoneIdentifier=vpc.subnet,
    )
    if instances:
        client.attach_instances(AutoScalingGroupName=name, InstanceIds=[instance.id for instance in instances])
    client.update_auto_scaling_group(AutoScalingGroupName=name, MinSize=minimum)
    arn = client.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0]["AutoScalingGroupARN"]
    return ScalingGroup(endpoints, name, arn, vpc.region)
