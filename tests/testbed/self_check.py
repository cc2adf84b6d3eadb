"""What must hold before any test means something: the seeded AWSDenyAll denies, and a condition on it can be met."""

import uuid

from botocore.exceptions import ClientError

from .accounts import MEMBER
from .clients import Credentials, Endpoints

DENY_ALL = "arn:aws:iam::aws:policy/AWSDenyAll"


class Untruthful(RuntimeError):
    """The bed doesn't behave as AWS does: no result of a test on it would count."""


def check_deny_all(endpoints: Endpoints) -> None:
    """Makes a user who may do everything, attaches AWSDenyAll, and sees the user's own call refused."""
    iam = endpoints.client("iam", MEMBER)
    name = f"self-check-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    iam.attach_user_policy(UserName=name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    key = iam.create_access_key(UserName=name)["AccessKey"]
    own = endpoints.client("sqs", Credentials(key["AccessKeyId"], key["SecretAccessKey"]))
    own.list_queues()
    iam.attach_user_policy(UserName=name, PolicyArn=DENY_ALL)
    try:
        own.list_queues()
    except ClientError as refused:
        if refused.response["Error"]["Code"] not in ("AccessDenied", "AccessDeniedException"):
            raise Untruthful(f"AWSDenyAll denies with {refused}") from refused
    else:
        raise Untruthful("AWSDenyAll is attached and the call is allowed")
    iam.detach_user_policy(UserName=name, PolicyArn=DENY_ALL)
    iam.detach_user_policy(UserName=name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName=name)
