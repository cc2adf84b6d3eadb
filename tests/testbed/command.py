"""The command `lockdown` in a responder's environment, with a terminal or without."""

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .accounts import HUB, REGION
from .bed import REPOSITORY
from .product import EXTERNAL_ID, Product

DONE, FAILED, USAGE, OUT_OF_REACH, NOT_FOUND, PARTIAL, TIMED_OUT = range(7)


@dataclass(frozen=True)
class Ran:
    """How the command ended, and what it wrote."""

    code: int
    out: str
    err: str = ""

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Command:
    """The command in an environment that holds what a responder's would, and nothing else."""

    product: Product
    more: dict[str, str] = field(default_factory=dict)

    @property
    def binary(self) -> Path:
        target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
        return Path(os.environ.get("LOCKDOWN_BIN", target / "debug" / "lockdown"))

    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.product.bed.endpoints.aws, "SSL_CERT_FILE": str(self.product.bed.certificates.ca),
            "AWS_ACCESS_KEY_ID": HUB, "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(self.product.bed.folder), "RUST_LOG": "trace",
            "LOCKDOWN_EXTERNAL_ID": EXTERNAL_ID, "LOCKDOWN_TABLE": self.product.outputs["JournalTableName"], **self.more,
        }

    def with_environment(self, **more: str) -> "Command":
        return Command(self.product, {**self.more, **more})

    def run(self, *line: str, stdin: str = "") -> Ran:
        """Runs it without a terminal. The secret never shows, whatever the line."""
        secrets = {EXTERNAL_ID, self.more.get("LOCKDOWN_EXTERNAL_ID") or EXTERNAL_ID}
        ran = subprocess.run(
            [self.binary, *line], env=self.environment(), input=stdin, capture_output=True, text=True, timeout=120
        )
        assert not [secret for secret in secrets if secret in ran.stdout + ran.stderr], "a secret shows"
        assert "panicked" not in ran.stderr
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    def publish(self, *arns: str, action: str = "contain", more: tuple[str, ...] = ()) -> Ran:
        """`lockdown publish` to the product's topic."""
        line = ("--topic-arn", self.product.outputs["TopicArn"], "--action", action, "--entity-arn", *arns)
        return self.run("publish", *line, *more)

    def on_terminal(self, *line: str, answers: dict[str, str] | None = None, columns: int = 80) -> Ran:
        """Runs it on a terminal of its own, and types an answer where a text appears."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))

        def take_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        environment = {"TERM": "xterm-256color", **self.environment()}
        child = subprocess.Popen(
            [self.binary, *line], env=environment, stdin=slave, stdout=slave, stderr=slave, preexec_fn=take_terminal
        )
        os.close(slave)
        text, pending, ends = "", dict(answers or {}), time.monotonic() + 60
        while time.monotonic() < ends:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    text += os.read(master, 4096).decode(errors="replace")
                except OSError:
                    break
            for prompt in [prompt for prompt in pending if prompt in text]:
                time.sleep(0.3)  # no person types before the echo is off
                os.write(master, pending.pop(prompt).encode() + b"\n")
        code = child.wait(timeout=10)
        os.close(master)
        return Ran(code, text)
