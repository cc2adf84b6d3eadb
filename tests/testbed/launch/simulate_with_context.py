"""SimulatePrincipalPolicy with what ministack's own leaves out: context keys, several resources, the permissions boundary.

The proxy asks it how AWS would judge an EC2 call, which nobody judges otherwise. With its `CallerAccessKeyId`, which AWS
doesn't know, the very credential is judged, not its user or role alone: what depends on the session (`aws:userid`,
`ec2:SourceInstanceARN`, session policies), and whether it is valid at all, counts as in any other call.
"""

from typing import Any
from xml.sax.saxutils import escape

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import iam

DECISIONS = {"Allow": "allowed", "Deny": "explicitDeny", "ImplicitDeny": "implicitDeny"}


def _members(params: dict[str, Any], prefix: str) -> list[str]:
    found: list[str] = []
    while value := iam._p(params, f"{prefix}.member.{len(found) + 1}"):
        found.append(value)
    return found


def context_of(params: dict[str, Any]) -> dict[str, Any]:
    """`ContextEntries` as the evaluator takes them: lower-case keys, one value bare, several as a list."""
    context: dict[str, Any] = {}
    number = 1
    while name := iam._p(params, f"ContextEntries.member.{number}.ContextKeyName"):
        values = _members(params, f"ContextEntries.member.{number}.ContextKeyValues")
        several = iam._p(params, f"ContextEntries.member.{number}.ContextKeyType").endswith("List")
        context[name.lower()] = values if several else "".join(values[:1])
        number += 1
    return context


def _policies(principal: str, account: str) -> tuple[list[Any], list[Any]]:
    kind, _, path = principal.split(":", 5)[5].partition("/")
    name = path.rpartition("/")[2]
    if kind == "user":
        boundary = iam_evaluator._permissions_boundary(iam._users, name, account)
        return iam_evaluator._gather_user_policies(name, account), boundary
    boundary = iam_evaluator._permissions_boundary(iam._roles, name, account)
    return iam_evaluator._gather_role_policies(name, account), boundary


def decide(principal: str, account: str, action: str, resource: str, context: dict[str, Any]) -> str:
    """How a role's or user's own policies decide, in the words of SimulatePrincipalPolicy."""
    policies, boundary = _policies(principal, account)
    call = iam_evaluator.EvalContext(
        principal_arn=principal, principal_type="AssumedRole", principal_account=account, action=action,
        resource_arn=resource, region=get_region(), secure_transport=True, service_context=context,
        tag_keys=context.get("aws:tagkeys", []),
    )
    return DECISIONS[iam_evaluator.evaluate(call, policies, *boundary).decision]


def decide_for_credential(key: str, account: str, action: str, resource: str, context: dict[str, Any]) -> str:
    """The same for whoever signs with a key; `invalid` if nobody can."""
    caller = iam_evaluator.resolve_principal(key, account)
    if isinstance(caller, iam_evaluator.AuthError):
        return "invalid"
    if caller.policies is None:
        return "allowed"
    call = iam_evaluator.EvalContext(
        principal_arn=caller.arn, principal_type=caller.type, principal_account=caller.account, action=action,
        resource_arn=resource, region=get_region(), secure_transport=True, service_context=context,
        principal_keys=caller.keys, tag_keys=context.get("aws:tagkeys", []),
    )
    return DECISIONS[iam_evaluator.evaluate(call, caller.policies, *caller.limits).decision]


def simulate(params: dict[str, Any]) -> Any:
    """One result for each action and resource."""
    principal, key, account = iam._p(params, "PolicySourceArn"), iam._p(params, "CallerAccessKeyId"), get_account_id()
    context, results = context_of(params), ""
    for action in _members(params, "ActionNames"):
        for resource in _members(params, "ResourceArns") or ["*"]:
            if key:
                decision = decide_for_credential(key, account, action, resource, context)
            else:
                decision = decide(principal, account, action, resource, context)
            results += (
                f"<member><EvalActionName>{escape(action)}</EvalActionName>"
                f"<EvalResourceName>{escape(resource)}</EvalResourceName>"
                f"<EvalDecision>{decision}</EvalDecision></member>"
            )
    body = (
        f"<SimulatePrincipalPolicyResult><EvaluationResults>{results}</EvaluationResults>"
        "<IsTruncated>false</IsTruncated></SimulatePrincipalPolicyResult>"
    )
    return iam._xml(200, "SimulatePrincipalPolicyResponse", body, ns="iam")


def install() -> None:
    """Takes the place of ministack's handler."""
    iam._IAM_HANDLERS["SimulatePrincipalPolicy"] = simulate
