"""`aws:PrincipalArn` of a role's session is the role's ARN, path included, on AWS (IAM User Guide, global condition keys).

ministack gives the session's ARN: a trust policy that names the role by this key would let nobody in.
"""

from typing import Any

from ministack.core import iam_evaluator
from ministack.services import iam


def role_arn(session: str) -> str:
    """The role behind `arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION`; any other ARN as it is."""
    head, marker, rest = session.partition(":assumed-role/")
    if not marker:
        return session
    partition, account, name = head.split(":")[1], head.split(":")[4], rest.split("/")[0]
    role = iam._roles.get_scoped(account, None, name) or {}
    return str(role.get("Arn") or f"arn:{partition}:iam::{account}:role/{name}")


def install() -> None:
    """Wraps the look-up of condition keys."""
    resolve = iam_evaluator._resolve_condition_key

    def resolve_with_role(key: str, ctx: Any) -> Any:
        value = resolve(key, ctx)
        return role_arn(value) if key.lower() == "aws:principalarn" and isinstance(value, str) else value

    iam_evaluator._resolve_condition_key = resolve_with_role
