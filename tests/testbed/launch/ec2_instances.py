"""Instance attributes and ends as AWS has them.

- `InstanceInitiatedShutdownBehavior` can be modified, `blockDeviceMapping` described (Amazon EC2 API Reference,
  ModifyInstanceAttribute and DescribeInstanceAttribute). moto takes the first for an empty list of security groups.
- A device that isn't there: `InvalidInstanceAttributeValue`; moto fails with a stack trace.
- A terminated instance has no interfaces; those that aren't deleted with it are free again (Amazon EC2 User Guide, "Terminate
  Amazon EC2 instances"). moto leaves them attached.
"""

from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instances import Instance
from moto.ec2.responses.instances import InstanceResponse

BOOLEANS = {"disableApiTermination", "disableApiStop", "ebsOptimized", "sourceDestCheck"}


def _install_attributes() -> None:
    describe, legacy = InstanceResponse.describe_instance_attribute, InstanceResponse._attribute_value_handler
    values, devices = InstanceResponse._dot_value_instance_attribute_handler, InstanceResponse._block_device_mapping_handler
    groups = InstanceResponse._security_grp_instance_attribute_handler

    def describe_devices_too(self: Any) -> Any:
        if self._get_param("Attribute") != "blockDeviceMapping":
            return describe(self)
        instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
        return ActionResult({"InstanceId": instance.id, "BlockDeviceMappings": instance.block_device_mappings})

    def legacy_with_booleans(self: Any) -> Any:
        """`Attribute` and `Value`: moto would keep the text `true`, which protects from nothing."""
        attribute, value = self._get_param("Attribute"), self._get_param("Value")
        handled = legacy(self)
        if handled and attribute in BOOLEANS:
            name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in attribute)
            setattr(self.ec2_backend.get_instance(self._get_param("InstanceId")), name, str(value).lower() == "true")
        return handled

    def shutdown_behavior_too(self: Any) -> Any:
        behavior = self._get_param("InstanceInitiatedShutdownBehavior.Value")
        if behavior is None:
            return values(self)
        self.error_on_dryrun()
        if behavior not in ("stop", "terminate"):
            message = f"Value ({behavior}) for parameter instanceInitiatedShutdownBehavior is invalid."
            raise EC2ClientError("InvalidParameterValue", message)
        name = "instance_initiated_shutdown_behavior"
        self.ec2_backend.modify_instance_attribute(self._get_param("InstanceId"), name, behavior)
        return True

    def devices_that_exist(self: Any) -> Any:
        for mapping in self._get_param("BlockDeviceMappings", []):
            device = mapping.get("DeviceName")
            if device not in self.ec2_backend.get_instance(self._get_param("InstanceId")).block_device_mapping:
                raise EC2ClientError("InvalidInstanceAttributeValue", f"No device is currently mapped at {device}")
        return devices(self)

    def groups_if_there_are_any(self: Any) -> Any:
        return bool(self._get_param("Groups", [])) and groups(self)

    InstanceResponse.describe_instance_attribute = describe_devices_too
    InstanceResponse._attribute_value_handler = legacy_with_booleans
    InstanceResponse._dot_value_instance_attribute_handler = shutdown_behavior_too
    InstanceResponse._block_device_mapping_handler = devices_that_exist
    InstanceResponse._security_grp_instance_attribute_handler = groups_if_there_are_any


def _install_end() -> None:
    terminate, interfaces = Instance.terminate, Instance.network_interfaces.fget

    def terminate_and_free(self: Any) -> Any:
        previous = terminate(self)
        for interface in self.nics.values():
            interface.instance = interface.attachment_id = interface.attach_time = interface.device_index = None
            interface.status = "available"
        return previous

    def interfaces_of_the_living(self: Any) -> Any:
        return [] if self.state == "terminated" else interfaces(self)

    Instance.terminate = terminate_and_free
    Instance.network_interfaces = property(interfaces_of_the_living)


def install() -> None:
    """Wraps the handlers of the two calls, and the end of an instance."""
    _install_attributes()
    _install_end()
