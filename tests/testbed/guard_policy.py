"""The guard policy as CloudFormation would render it, and as a policy of identities: a Deny works the same in both."""

import json
import re
from typing import Any

from cfnlint.decode import cfn_yaml

from .accounts import MEMBER
from .bed import REPOSITORY, Bed
from .victims import Role, User, unique

TEMPLATE = REPOSITORY / "cloudformation" / "guard-scp.yaml"
QUOTA = 5120
"""Characters of a service control policy (AWS Organizations User Guide, "Quotas for AWS Organizations")."""

NOTHING = object()


def template() -> dict[str, Any]:
    """The template as JSON would have it."""
    parsed: dict[str, Any] = json.loads(json.dumps(cfn_yaml.load(str(TEMPLATE))))
    return parsed


def guard_statements(*, partition: str = "aws", **parameters: str) -> list[dict[str, Any]]:
    """The statements of the policy with these parameters, the template's defaults for the others."""
    body = template()
    values: dict[str, Any] = {"AWS::Partition": partition, "AWS::NoValue": NOTHING}
    for name, parameter in body["Parameters"].items():
        value = parameters.pop(name, parameter.get("Default"))
        if value is None:
            raise ValueError(f"the parameter {name} has no default")
        values[name] = value.split(",") if parameter["Type"] == "CommaDelimitedList" else value
    if parameters:
        raise ValueError(f"no such parameters: {sorted(parameters)}")
    content = body["Resources"]["Guard"]["Properties"]["Content"]
    rendered: list[dict[str, Any]] = _Rendering(body["Conditions"], values).render(content)["Statement"]
    return rendered


def document(statements: list[dict[str, Any]]) -> str:
    """The policy as CloudFormation hands it over: without white space."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


class _Rendering:
    """The intrinsic functions that the template uses; any other is an error."""

    def __init__(self, conditions: dict[str, Any], values: dict[str, Any]) -> None:
        self._conditions, self._values = conditions, values

    def render(self, node: Any) -> Any:
        if isinstance(node, list):
            return [item for item in map(self.render, node) if item is not NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            [(name, argument)] = node.items()
            if name == "Ref":
                return self._values[argument]
            if name.startswith("Fn::"):
                return getattr(self, f"_{name[4:].lower()}")(argument)
        rendered = {key: self.render(value) for key, value in node.items()}
        return {key: value for key, value in rendered.items() if value is not NOTHING}

    def _if(self, argument: list[Any]) -> Any:
        return self.render(argument[1 if self.render(self._conditions[argument[0]]) else 2])

    def _equals(self, argument: list[Any]) -> bool:
        first, second = self.render(argument)
        return bool(first == second)

    def _join(self, argument: list[Any]) -> str:
        return str(argument[0]).join(self.render(argument[1]))

    def _split(self, argument: list[Any]) -> list[str]:
        return str(self.render(argument[1])).split(argument[0])

    def _sub(self, argument: Any) -> str:
        text, more = argument if isinstance(argument, list) else (argument, {})
        values = {**self._values, **{name: self.render(value) for name, value in more.items()}}
        return re.sub(r"\$\{([^}]+)\}", lambda match: str(values[match[1]]), text)


def attach_guard(bed: Bed, statements: list[dict[str, Any]], *principals: User | Role) -> str:
    """Binds principals of the member account as the organization would bind all of them; returns the policy's ARN."""
    iam = bed.endpoints.client("iam", MEMBER)
    made: str = iam.create_policy(PolicyName=unique("guard"), PolicyDocument=document(statements))["Policy"]["Arn"]
    for principal in principals:
        if isinstance(principal, User):
            iam.attach_user_policy(UserName=principal.name, PolicyArn=made)
        else:
            iam.attach_role_policy(RoleName=principal.name, PolicyArn=made)
    return made
