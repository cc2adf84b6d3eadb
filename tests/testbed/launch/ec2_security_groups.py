"""A security group that an interface has, or that another group's rule names, can't be deleted, and the default one never
(Amazon EC2 API Reference, DeleteSecurityGroup). moto deletes them.
"""

from typing import Any

from moto.ec2.exceptions import DependencyViolationError, EC2ClientError
from moto.ec2.models.security_groups import SecurityGroupBackend


def _needed(backend: Any, group: Any) -> bool:
    if any(group.id == own.id for interface in list(backend.enis.values()) for own in interface.group_set):
        return True
    others = [other for other in list(backend.groups.get(group.vpc_id, {}).values()) if other.id != group.id]
    rules = [rule for other in others for rule in (*other.ingress_rules, *other.egress_rules)]
    return any(rule.source_group.get("GroupId") == group.id for rule in rules)


def install() -> None:
    """Wraps the deletion."""
    delete = SecurityGroupBackend.delete_security_group

    def delete_unless_needed(self: Any, name: str | None = None, group_id: str | None = None) -> Any:
        group = self.get_security_group_from_id(group_id) if group_id else None
        if group and group.name == "default":
            message = f'the specified group: "{group.id}" name: "default" cannot be deleted by a user'
            raise EC2ClientError("CannotDelete", message)
        if group and _needed(self, group):
            raise DependencyViolationError(f"resource {group.id} has a dependent object")
        return delete(self, name, group_id)

    SecurityGroupBackend.delete_security_group = delete_unless_needed
