"""boto3 clients of the bed: as an account's root for set-up, or with somebody's own credentials."""

import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from .accounts import REGION


@dataclass(frozen=True)
class Credentials:
    """What a caller signs with; an instance's and a role's come with a token."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    @classmethod
    def root(cls, account: str) -> "Credentials":
        """An account's root: the emulators take the account's number for its key."""
        return cls(account, "test")

    @classmethod
    def of_session(cls, answer: dict[str, Any]) -> "Credentials":
        """From the `Credentials` of an STS answer."""
        return cls(answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"])


@dataclass(frozen=True)
class Endpoints:
    """Where the emulators listen, and the authority that signed their certificate."""

    aws: str
    ec2: str
    ca: Path

    def client(self, service: str, who: Credentials | str, region: str = REGION, *, endpoint: str = "") -> Any:
        """A client for `service`; a plain account number means that account's root. One attempt: tests want the answer."""
        credentials = Credentials.root(who) if isinstance(who, str) else who
        url = endpoint or (self.ec2 if service in ("ec2", "autoscaling") else self.aws)
        with _MAKING:
            return _make(service, credentials, region, url, self.ca)


_MAKING = threading.Lock()
"""boto3 makes clients by one thread at a time; made, they serve many."""


@lru_cache(maxsize=256)
def _make(service: str, credentials: Credentials, region: str, url: str, ca: Path) -> Any:
    """Making a client takes longer than most calls to it."""
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=url,
        verify=str(ca) if url.startswith("https") else None,
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        aws_session_token=credentials.session_token,
        config=Config(
            retries={"total_max_attempts": 1}, proxies={}, max_pool_connections=32,
            # An invocation may take as long as Lambda lets it.
            read_timeout=900 if service == "lambda" else 180,
            s3={"addressing_style": "path"},
        ),
    )
