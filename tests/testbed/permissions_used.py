"""Compares the rights of the product's two roles with the calls that the tests saw: a right that nothing uses is one too many.

    python -m tests.testbed.permissions_used FOLDER    after end-to-end tests with PERMISSIONS_SEEN=FOLDER

Exit code 1: a right without a user. (That no needed right is missing is what the tests themselves show.)
"""

import json
import sys
from pathlib import Path
from typing import Any

from cfnlint.decode import cfn_yaml

from .bed import REPOSITORY
from .proxy_process import Proxy

USED_BY_AWS = {
    "logs:CreateLogStream": "Lambda writes the function's log in its name",
    "logs:PutLogEvents": "Lambda writes the function's log in its name",
    "kms:Decrypt": "Lambda, DynamoDB and SQS decrypt in the function's name",
    "kms:GenerateDataKey*": "SNS and SQS encrypt in the function's name",
    "sqs:ReceiveMessage": "Lambda receives wake-ups in the function's name",
    "sqs:DeleteMessage": "Lambda receives wake-ups in the function's name",
    "sqs:GetQueueAttributes": "Lambda receives wake-ups in the function's name",
}
"""Rights whose calls AWS makes itself, beside the proxy."""

OTHER_RIGHTS = {
    "dynamodb:TransactWriteItems": ("dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"),
    "securityhub:BatchUpdateFindingsV2": ("securityhub:BatchUpdateFindings",),
}
"""Calls that are judged by rights of other names: of what they hold, or of the call that they took the place of."""


def seen(proxy: Proxy) -> dict[str, list[str]]:
    """The rights that each of the two roles has used in the calls at a proxy: calls that were refused, or cut, prove nothing."""
    found: dict[str, set[str]] = {"FunctionRole": set(), "MemberRole": set()}
    for call in proxy.calls(0):
        role = _role(call)
        if role is None or call["status"] is None or not 200 <= call["status"] < 300:
            continue
        action = f"{call['service']}:{call['action']}"
        found[role].update(OTHER_RIGHTS.get(action, (action,)))
        if "TagSpecification" in call["text"]:
            found[role].add("ec2:CreateTags")
    return {role: sorted(rights) for role, rights in found.items()}


def _role(call: dict[str, Any]) -> str | None:
    """Whose call it is: the proxy sees the member role assumed, and Lambda gives the function its session behind the proxy's back."""
    if call["principal"]:
        return "MemberRole" if ":assumed-role/Member-" in call["principal"] else None
    return "FunctionRole" if call["access_key"].startswith("ASIA") else None


def granted() -> dict[str, set[str]]:
    """The rights of each role, by the hub's template."""
    resources = json.loads(json.dumps(cfn_yaml.load(str(REPOSITORY / "cloudformation" / "entity-lockdown.yaml"))))["Resources"]
    return {role: set(_allowed(resources[role])) for role in ("FunctionRole", "MemberRole")}


def _allowed(role: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for policy in role["Properties"]["Policies"]:
        for entry in policy["PolicyDocument"]["Statement"]:
            statement = entry["Fn::If"][1] if "Fn::If" in entry else entry
            if statement["Effect"] == "Allow":
                actions = statement["Action"]
                found += actions if isinstance(actions, list) else [actions]
    return found


def main() -> int:
    """Compares, and prints."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    files = sorted(Path(sys.argv[1]).glob("*.json"))
    if not files:
        sys.exit(f"error: no file of a test run in `{sys.argv[1]}`: run the end-to-end tests with PERMISSIONS_SEEN set to it")
    runs = [json.loads(file.read_text()) for file in files]
    unused = 0
    for role, rights in granted().items():
        used = {action for run in runs for action in run[role]}
        idle = sorted(rights - used - USED_BY_AWS.keys())
        unused += len(idle)
        print(f"{role}: {len(rights)} rights, {len(rights & used)} used by a scenario, {len(rights & USED_BY_AWS.keys())} by AWS itself")
        for action in idle:
            print(f"error: {action} of {role} was used by no scenario: prove it by a test, or take it out of both templates")
    return 1 if unused else 0


if __name__ == "__main__":
    sys.exit(main())
