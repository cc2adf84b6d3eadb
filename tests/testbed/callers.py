"""Callers on the function's way, through the proxy, and what their calls get."""

import json
from typing import Any

from botocore.exceptions import ClientError

from .accounts import MEMBER
from .bed import Bed
from .clients import Credentials
from .victims import ADMIN, Role, make_role, make_user


def through_proxy(bed: Bed, service: str, who: Credentials | str) -> Any:
    """A client that takes the function's way."""
    return bed.endpoints.client(service, who, endpoint=bed.proxy.url)


def session_through_proxy(bed: Bed, role: Role, name: str = "session") -> Credentials:
    """A session that the proxy has seen being made, as it sees the function's."""
    operator = make_user(bed.endpoints, role.account).credentials
    sts = through_proxy(bed, "sts", operator)
    return Credentials.of_session(sts.assume_role(RoleArn=role.arn, RoleSessionName=name)["Credentials"])


def limited_role(bed: Bed, *statements: dict[str, Any]) -> Role:
    """A role with these statements alone."""
    role = make_role(bed.endpoints)
    iam = bed.endpoints.client("iam", MEMBER)
    iam.detach_role_policy(RoleName=role.name, PolicyArn=ADMIN)
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    iam.put_role_policy(RoleName=role.name, PolicyName="limited", PolicyDocument=document)
    return role


def refusal(call: Any, **parameters: Any) -> str:
    """The error code that a call gets, empty if it succeeds."""
    try:
        call(**parameters)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""
