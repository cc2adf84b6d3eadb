"""Condition keys that AWS has and ministack leaves out; a condition on a missing key would never hold.

`iam:PolicyARN` and `iam:PermissionsBoundary` come from the call's parameters (for the deletion of a boundary: from the one
that is there); `ec2:SourceInstanceARN` from a session name that is an instance id, which is how AWS names such sessions.
`aws:userid` needs no help: it is ROLE-ID:SESSION-NAME, so `*:i-...` matches.
"""

import os
from typing import Any

from ministack.core import iam_actions, iam_evaluator
from ministack.core.responses import get_account_id
from ministack.services import iam

POLICY_ARN_ACTIONS = {
    f"iam:{verb}{kind}Policy" for verb in ("Attach", "Detach") for kind in ("User", "Role", "Group")
}
BOUNDARY_ACTIONS = {
    "iam:PutUserPermissionsBoundary", "iam:PutRolePermissionsBoundary", "iam:CreateUser", "iam:CreateRole",
}
BOUNDARY_DELETIONS = {
    "iam:DeleteUserPermissionsBoundary": (iam._users, "UserName"),
    "iam:DeleteRolePermissionsBoundary": (iam._roles, "RoleName"),
}


def _first(params: dict[str, Any], name: str) -> str:
    value = params.get(name, "")
    return str(value[0] if isinstance(value, list) and value else value or "")


def _boundary_in_place(action: str, params: dict[str, Any]) -> str:
    store, parameter = BOUNDARY_DELETIONS[action]
    entity = store.get_scoped(get_account_id(), None, _first(params, parameter)) or {}
    boundary = entity.get("PermissionsBoundary")
    if isinstance(boundary, dict):
        return str(boundary.get("PermissionsBoundaryArn", ""))
    return str(boundary or "")


def iam_keys(action: str, params: dict[str, Any]) -> dict[str, str]:
    """The keys of one IAM call, in lower case as the evaluator looks them up."""
    if action in POLICY_ARN_ACTIONS and (arn := _first(params, "PolicyArn")):
        return {"iam:policyarn": arn}
    if action in BOUNDARY_ACTIONS and (arn := _first(params, "PermissionsBoundary")):
        return {"iam:permissionsboundary": arn}
    if action in BOUNDARY_DELETIONS and (arn := _boundary_in_place(action, params)):
        return {"iam:permissionsboundary": arn}
    return {}


def source_instance_keys(credential: Any) -> dict[str, str]:
    """The key of an instance's session, whose name is the instance id."""
    session = credential.principal_arn.rpartition("/")[2]
    if credential.principal_type != "AssumedRole" or not session.startswith("i-"):
        return {}
    region = os.environ.get("MINISTACK_REGION", "us-east-1")
    return {"ec2:sourceinstancearn": f"arn:aws:ec2:{region}:{credential.account_id}:instance/{session}"}


def install() -> None:
    """Wraps the two functions that gather the keys of a call and of its caller."""
    of_request, of_caller = iam_actions.request_tag_context, iam_evaluator._principal_keys

    def request_context(service: str, iam_action: str, body: bytes, params: dict[str, Any]) -> dict[str, Any]:
        return {**of_request(service, iam_action, body, params), **iam_keys(iam_action, params)}

    def caller_keys(credential: Any) -> dict[str, Any]:
        return {**of_caller(credential), **source_instance_keys(credential)}

    iam_actions.request_tag_context = request_context
    iam_evaluator._principal_keys = caller_keys
