"""Who is behind an access key, for the proxy, which judges EC2 calls in the emulator's place.

AWS has no such call: `DescribeCaller` with an `AccessKeyId` gives `Account` and `Arn`, for users, their sessions, roles' sessions.
"""

from typing import Any
from xml.sax.saxutils import escape

from ministack.core import iam_evaluator
from ministack.services import iam, sts


def describe(params: dict[str, Any]) -> Any:
    """Account and ARN of a key that could sign now."""
    key = iam._p(params, "AccessKeyId")
    session = sts._sessions.get(key) or {}
    account = session.get("AccountId") or iam_evaluator.find_iam_access_key_account(key) or ""
    found = iam_evaluator.resolve_credential(key, account)
    if not account or isinstance(found, iam_evaluator.CredentialResolutionError):
        return iam._error(404, "NoSuchEntity", "Nobody signs with this key.", ns="iam")
    body = (
        f"<DescribeCallerResult><Account>{found.account_id}</Account>"
        f"<Arn>{escape(found.principal_arn)}</Arn></DescribeCallerResult>"
    )
    return iam._xml(200, "DescribeCallerResponse", body, ns="iam")


def install() -> None:
    """Adds the call."""
    iam._IAM_HANDLERS["DescribeCaller"] = describe
