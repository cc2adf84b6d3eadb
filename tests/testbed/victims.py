"""Entities to lock, each with real credentials that can be asked what they may do."""

import json
import sys
import tempfile
import uuid
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from .accounts import MEMBER, REGION
from .clients import Credentials, Endpoints
from .zip import write_package

ADMIN = "arn:aws:iam::aws:policy/AdministratorAccess"
DENIALS = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}


def unique(prefix: str) -> str:
    """A name that no other test has."""
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def allowed(endpoints: Endpoints, credentials: Credentials) -> bool:
    """Whether a call that these credentials had the right to goes through; an error that is no denial is raised."""
    try:
        endpoints.client("sqs", credentials).list_queues()
    except ClientError as error:
        if error.response["Error"]["Code"] in DENIALS:
            return False
        raise
    return True


@cache
def _operator(endpoints: Endpoints, account: str) -> Credentials:
    """Someone of the account who may assume the victims' roles: a root may not."""
    return make_user(endpoints, account, prefix="operator").credentials


@dataclass(frozen=True)
class User:
    """An IAM user with an access key."""

    endpoints: Endpoints
    name: str
    arn: str
    credentials: Credentials
    account: str = MEMBER

    def allowed(self) -> bool:
        """Whether the user's own key still works."""
        return allowed(self.endpoints, self.credentials)

    def state(self) -> dict[str, Any]:
        """All that a release must leave as it was."""
        iam, name = self.endpoints.client("iam", self.account), {"UserName": self.name}
        return {
            "attached": sorted(p["PolicyArn"] for p in iam.list_attached_user_policies(**name)["AttachedPolicies"]),
            "inline": {p: iam.get_user_policy(PolicyName=p, **name)["PolicyDocument"]
                       for p in iam.list_user_policies(**name)["PolicyNames"]},
            "boundary": iam.get_user(**name)["User"].get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
            "keys": {k["AccessKeyId"]: k["Status"] for k in iam.list_access_keys(**name)["AccessKeyMetadata"]},
        }


@dataclass(frozen=True)
class Role:
    """An IAM role that the account's own may assume."""

    endpoints: Endpoints
    name: str
    arn: str
    account: str = MEMBER

    def session(self, name: str = "session") -> Credentials:
        """Credentials of a new session."""
        sts = self.endpoints.client("sts", _operator(self.endpoints, self.account))
        return Credentials.of_session(sts.assume_role(RoleArn=self.arn, RoleSessionName=name)["Credentials"])

    def allowed(self, session: Credentials | None = None) -> bool:
        """Whether a session, by default a new one, may do what the role has the right to."""
        return allowed(self.endpoints, session or self.session())

    def state(self) -> dict[str, Any]:
        """All that a release must leave as it was."""
        iam, name = self.endpoints.client("iam", self.account), {"RoleName": self.name}
        return {
            "attached": sorted(p["PolicyArn"] for p in iam.list_attached_role_policies(**name)["AttachedPolicies"]),
            "inline": {p: iam.get_role_policy(PolicyName=p, **name)["PolicyDocument"]
                       for p in iam.list_role_policies(**name)["PolicyNames"]},
            "boundary": iam.get_role(**name)["Role"].get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
        }


@dataclass(frozen=True)
class Function:
    """A Lambda function that answers `fine`, with its role and what feeds it."""

    endpoints: Endpoints
    name: str
    arn: str
    role: Role
    mappings: list[str] = field(default_factory=list)
    account: str = MEMBER
    region: str = REGION

    def client(self) -> Any:
        """Lambda as its account's root."""
        return self.endpoints.client("lambda", self.account, self.region)

    def allowed(self, qualifier: str = "$LATEST") -> bool:
        """Whether it, or a version or alias of it, can be invoked."""
        try:
            answer = self.client().invoke(FunctionName=self.name, Qualifier=qualifier)
        except ClientError as error:
            if error.response["Error"]["Code"] == "TooManyRequestsException":
                return False
            raise
        if answer["Payload"].read() != b'"fine"':
            raise RuntimeError(f"{self.name} didn't answer as it should")
        return True

    def alias(self, name: str = "live") -> str:
        """Publishes a version under an alias and returns the alias's ARN."""
        version = self.client().publish_version(FunctionName=self.name)["Version"]
        return str(self.client().create_alias(FunctionName=self.name, Name=name, FunctionVersion=version)["AliasArn"])

    def feed(self, *, enabled: bool = True, qualifier: str = "") -> str:
        """Adds an event source mapping from a queue of its own and returns its id."""
        sqs = self.endpoints.client("sqs", self.account, self.region)
        url = sqs.create_queue(QueueName=unique("queue"))["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        name = f"{self.name}:{qualifier}" if qualifier else self.name
        made = self.client().create_event_source_mapping(FunctionName=name, EventSourceArn=arn, Enabled=enabled)
        self.mappings.append(made["UUID"])
        return str(made["UUID"])

    def mapping_states(self) -> dict[str, str]:
        """The state of each of its mappings, in Lambda's words."""
        return {uuid: self.client().get_event_source_mapping(UUID=uuid)["State"] for uuid in self.mappings}

    def reserved(self) -> int | None:
        """Its reserved concurrency."""
        concurrency: int | None = self.client().get_function_concurrency(FunctionName=self.name).get(
            "ReservedConcurrentExecutions"
        )
        return concurrency

    def state(self) -> dict[str, Any]:
        """All that a release must leave as it was, the role included."""
        return {"concurrency": self.reserved(), "mappings": self.mapping_states(), "role": self.role.state()}


def make_user(endpoints: Endpoints, account: str = MEMBER, *, path: str = "/", prefix: str = "user", **more: Any) -> User:
    """A user who may do everything until contained."""
    iam, name = endpoints.client("iam", account), unique(prefix)
    arn = iam.create_user(UserName=name, Path=path, **more)["User"]["Arn"]
    iam.attach_user_policy(UserName=name, PolicyArn=ADMIN)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return User(endpoints, name, arn, Credentials(key["AccessKeyId"], key["SecretAccessKey"]), account)


def make_role(
    endpoints: Endpoints, account: str = MEMBER, *, path: str = "/", prefix: str = "role", name: str = "", **more: Any
) -> Role:
    """A role that may do everything until contained, for the account's own, Lambda and EC2."""
    iam, name = endpoints.client("iam", account), name or unique(prefix)
    principal = {"AWS": f"arn:aws:iam::{account}:root", "Service": ["lambda.amazonaws.com", "ec2.amazonaws.com"]}
    trust = {"Version": "2012-10-17",
             "Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}]}
    made = iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=json.dumps(trust), **more)
    iam.attach_role_policy(RoleName=name, PolicyArn=ADMIN)
    return Role(endpoints, name, made["Role"]["Arn"], account)


BOOTSTRAP = f"""#!{sys.executable} -IS
import os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(api + "next") as event:
        request = event.headers["Lambda-Runtime-Aws-Request-Id"]
    urllib.request.urlopen(urllib.request.Request(api + request + "/response", b'"fine"')).close()
"""


@cache
def function_code() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script"
        script.write_text(BOOTSTRAP)
        return write_package(script, Path(folder) / "function.zip").read_bytes()


def make_function(
    endpoints: Endpoints, account: str = MEMBER, *, role: Role | None = None, reserved: int | None = None,
    queue: bool = False, region: str = REGION, name: str = "",
) -> Function:
    """A function with a role at a path of its own, or with a given one; `queue` adds an event source mapping."""
    client, name = endpoints.client("lambda", account, region), name or unique("function")
    role = role or make_role(endpoints, account, path="/service-role/")
    made = client.create_function(
        FunctionName=name, Runtime="provided.al2023", Handler="bootstrap", Role=role.arn, Timeout=10,
        Code={"ZipFile": function_code()},
    )
    if reserved is not None:
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)
    function = Function(endpoints, name, made["FunctionArn"], role, [], account, region)
    if queue:
        function.feed()
    return function
