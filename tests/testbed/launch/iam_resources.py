"""What an IAM call is judged on: AWS takes the real ARN, path included (service authorization reference of IAM).

ministack builds `role/NAME` and `user/NAME` without the path, and knows no instance profiles at all: a statement that names
paths or profiles would be judged on something else. A call about an access key without a user's name is judged on its user.
"""

from typing import Any

from ministack.core import iam_actions
from ministack.services import iam

KINDS = (("RoleName", "_roles"), ("UserName", "_users"), ("InstanceProfileName", "_instance_profiles"))


def install() -> None:
    """Wraps the look-up of the resource of a call."""
    extract = iam_actions.extract_resource_arn

    def real(service: str, method: str, path: str, headers: Any, body: bytes, query: Any, region: str, account: str) -> str:
        if service == "iam":
            key = iam_actions._query_param(query, "AccessKeyId")
            if key and not iam_actions._query_param(query, "UserName") and key in iam._access_keys:
                query = {**query, "UserName": [iam._access_keys[key]["UserName"]]}
            for parameter, store in KINDS:
                name = iam_actions._query_param(query, parameter)
                found = name and getattr(iam, store).get_scoped(account, None, name)
                if found:
                    return str(found["Arn"])
                if name and parameter == "InstanceProfileName":
                    return f"arn:aws:iam::{account}:instance-profile/{name}"
        return str(extract(service, method, path, headers, body, query, region, account))

    iam_actions.extract_resource_arn = real
