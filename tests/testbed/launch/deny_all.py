"""The managed policy AWSDenyAll, which ministack doesn't ship; what it makes up for a missing policy allows everything."""

from ministack.services import iam

NAME = "AWSDenyAll"
# As AWS publishes it, version v1.
DOCUMENT = (
    '{"Version":"2012-10-17","Statement":[{"Sid":"DenyAll","Effect":"Deny","Action":["*"],"Resource":"*"}]}'
)


def _register() -> None:
    iam._aws_managed_policies[f"arn:aws:iam::aws:policy/{NAME}"] = iam._make_aws_managed_record(NAME, DOCUMENT)


def install() -> None:
    """Registers the policy now, and again whenever ministack seeds its own ones after a reset."""
    seed = iam._seed_aws_managed_policies

    def seed_with_deny_all() -> None:
        seed()
        _register()

    iam._seed_aws_managed_policies = seed_with_deny_all
    _register()
