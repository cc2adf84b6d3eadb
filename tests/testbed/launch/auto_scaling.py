"""Auto Scaling groups that count, refuse and replace as AWS documents it.

- Standby (Amazon EC2 Auto Scaling API Reference, EnterStandby and ExitStandby; User Guide, "Temporarily remove instances from
  your Auto Scaling group"): with a decrement the desired capacity goes down, not below the minimum; without, a replacement is
  launched. Leaving raises it, not over the maximum. An instance in standby is neither checked for its health nor scaled in.
- The words of the refusals are AWS's as seen in public reports; those for leaving standby are made after them.
- Attaching adds to the desired capacity, whatever else is in the group (AttachInstances). What an update doesn't name stays;
  a new minimum above the desired capacity raises it, a new maximum below lowers it (UpdateAutoScalingGroup).
- A group with instances is only deleted by force (DeleteAutoScalingGroup), and termination protection doesn't protect from
  Auto Scaling (Amazon EC2 User Guide, "Change instance termination protection").
"""

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.models import AutoScalingBackend, EnterStandbyActivity, ExitStandbyActivity, FakeAutoScalingGroup
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import EmptyResult

# moto serves calls at once on several threads; comparing the sizes of a group and changing them must be one act.
LOCK = threading.RLock()


def one_at_a_time(work: Callable[..., Any]) -> Callable[..., Any]:
    """Runs `work` under the lock."""

    @wraps(work)
    def locked(*arguments: Any, **more: Any) -> Any:
        with LOCK:
            return work(*arguments, **more)

    return locked


def find(backend: Any, name: str) -> Any:
    """A group, or AWS's refusal."""
    if name not in backend.autoscaling_groups:
        raise ValidationError(f"AutoScalingGroup name not found - no such group: {name}")
    return backend.autoscaling_groups[name]


def members(group: Any, instances: list[str], state: str) -> list[Any]:
    """The members with these ids, all of them in `state`."""
    found = {member.instance.id: member for member in group.instance_states}
    for instance in instances:
        if instance not in found:
            raise ValidationError(f"The instance {instance} is not part of Auto Scaling group {group.name}.")
        if found[instance].lifecycle_state != state:
            raise ValidationError(f"The instance {instance} is not in {state}.")
    return [found[instance] for instance in instances]


def sizes_do_not_fit(group: Any, verb: str, number: int) -> ValidationError:
    """AWS's word for a desired capacity that would leave the bounds."""
    plural = "" if number == 1 else "s"
    return ValidationError(
        f"AutoScalingGroup {group.name} has min-size={group.min_size}, max-size={group.max_size}, and "
        f"desired-size={group.desired_capacity}. To {verb} {number} instance{plural}, please update the AutoScalingGroup sizes "
        "appropriately."
    )


def terminate(group: Any, victims: list[Any]) -> None:
    """Terminates members and takes them out."""
    for member in victims:
        member.instance.disable_api_termination = False
    group.instance_states = [member for member in group.instance_states if member not in victims]
    if victims:
        group.autoscaling_backend.ec2_backend.terminate_instances([member.instance.id for member in victims])


def set_desired_capacity(self: Any, new_capacity: int | None) -> None:
    """Launches what is missing and terminates what is too much, of those in service."""
    self.desired_capacity = self.min_size if new_capacity is None else new_capacity
    missing = (self.desired_capacity or 0) - len(self.active_instances())
    if missing > 0:
        self.replace_autoscaling_group_instances(missing, self.get_propagated_tags())
    elif missing < 0:
        terminate(self, [member for member in self.active_instances() if not member.protected_from_scale_in][:-missing])
    if self.name in self.autoscaling_backend.autoscaling_groups:
        self.autoscaling_backend.update_attached_elbs(self.name)
        self.autoscaling_backend.update_attached_target_groups(self.name)


def enter_standby(self: Any, group_name: str, instance_ids: list[str], should_decrement: bool) -> list[Any]:
    """Out of service, and one less or a new one."""
    group = find(self, group_name)
    moved, before = members(group, instance_ids, "InService"), group.desired_capacity
    if should_decrement and before - len(moved) < group.min_size:
        raise sizes_do_not_fit(group, "place into standby", len(moved))
    for member in moved:
        member.lifecycle_state = "Standby"
    group.set_desired_capacity(before - len(moved) if should_decrement else before)
    return [EnterStandbyActivity(member.instance, before) for member in moved]


def exit_standby(self: Any, group_name: str, instance_ids: list[str]) -> list[Any]:
    """Back in service, and one more."""
    group = find(self, group_name)
    moved, before = members(group, instance_ids, "Standby"), group.desired_capacity
    if before + len(moved) > group.max_size:
        raise sizes_do_not_fit(group, "remove from standby", len(moved))
    for member in moved:
        member.lifecycle_state = "InService"
    group.set_desired_capacity(before + len(moved))
    return [ExitStandbyActivity(member.instance, before) for member in moved]


def set_instance_health(self: Any, instance_id: str, health_status: str) -> None:
    """An unhealthy instance in service is terminated and replaced; one in standby is left alone."""
    for group in self.autoscaling_groups.values():
        for member in group.instance_states:
            if member.instance.id == instance_id:
                member.health_status = health_status
                if health_status == "Unhealthy" and member.lifecycle_state == "InService":
                    terminate(group, [member])
                    group.set_desired_capacity(group.desired_capacity)
                return
    raise ValidationError(f"Instance Id not found - No managed instance found for instance ID {instance_id}")


def delete_group(self: Any, group_name: str, force: bool = False) -> None:
    """With all its members, in standby too, if forced."""
    if group_name not in self.autoscaling_groups:
        raise ValidationError(f"AutoScalingGroup name not found - AutoScalingGroup '{group_name}' not found")
    group = self.autoscaling_groups[group_name]
    if group.instance_states and not force:
        what = "there are instances or pending Spot instance request(s) still in the group"
        raise AutoscalingClientError("ResourceInUse", f"You cannot delete an AutoScalingGroup while {what}.")
    terminate(group, list(group.instance_states))
    self.autoscaling_groups.pop(group_name)


def _install_attaching_and_updating() -> None:
    attach, update = AutoScalingBackend.attach_instances, FakeAutoScalingGroup.update

    def attach_and_add(self: Any, group_name: str, instance_ids: list[str]) -> None:
        group = find(self, group_name)
        wanted = group.desired_capacity + len(instance_ids)
        if wanted > group.max_size:
            raise sizes_do_not_fit(group, "attach", len(instance_ids))
        for instance in instance_ids:
            # moto would leave it with the group that it was in before.
            self.ec2_backend.get_instance(instance).autoscaling_group = group
        bound, group.max_size = group.max_size, len(group.instance_states) + len(instance_ids)
        try:
            attach(self, group_name, instance_ids)
        finally:
            group.max_size = bound
        group.desired_capacity = wanted

    def update_what_is_named(self: Any, **named: Any) -> None:
        low = self.min_size if named["min_size"] is None else named["min_size"]
        high = self.max_size if named["max_size"] is None else named["max_size"]
        wanted = named["desired_capacity"]
        if low > high:
            raise ValidationError(f"Max bound, {high}, must be greater than or equal to min bound, {low}")
        if wanted is not None and not low <= wanted <= high:
            raise ValidationError(
                f"Desired capacity:{wanted} must be between the specified min size:{low} and max size:{high}"
            )
        named["desired_capacity"] = min(max(self.desired_capacity, low), high) if wanted is None else wanted
        policy = self.mixed_instances_policy
        update(self, **named)
        if named["mixed_instances_policy"] is None:
            self.mixed_instances_policy = policy

    AutoScalingBackend.attach_instances = one_at_a_time(attach_and_add)
    FakeAutoScalingGroup.update = one_at_a_time(update_what_is_named)


def install() -> None:
    """Takes the place of moto's own, and wraps what only counts wrong."""
    FakeAutoScalingGroup.set_desired_capacity = one_at_a_time(set_desired_capacity)
    AutoScalingBackend.enter_standby_instances = one_at_a_time(enter_standby)
    AutoScalingBackend.exit_standby_instances = one_at_a_time(exit_standby)
    AutoScalingBackend.set_instance_health = one_at_a_time(set_instance_health)
    AutoScalingBackend.delete_auto_scaling_group = one_at_a_time(delete_group)
    _install_attaching_and_updating()

    def delete(self: Any) -> Any:
        force = self._get_bool_param("ForceDelete", False)
        self.autoscaling_backend.delete_auto_scaling_group(self._get_param("AutoScalingGroupName"), force)
        return EmptyResult()

    AutoScalingResponse.delete_auto_scaling_group = delete
