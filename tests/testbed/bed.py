"""The bed as a whole: emulators and proxy, started in order, checked, stopped in reverse."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from .certificates import Certificates, make_certificates
from .clients import Endpoints
from .emulators import start_ministack, start_moto
from .proxy_process import Proxy
from .self_check import check_deny_all

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Bed:
    """A running bed. `endpoints` leads to the emulators themselves, `proxy` is what the function talks to."""

    folder: Path
    certificates: Certificates
    endpoints: Endpoints
    proxy: Proxy
    emulator: int
    """The process id of ministack, whose children the functions are."""

    def function_environment(self) -> dict[str, str]:
        """What the function's environment needs besides its template's: the way to the proxy, and trust in it."""
        return {
            "AWS_ENDPOINT_URL": self.proxy.url,
            "AWS_ENDPOINT_URL_EC2": self.proxy.url,
            "SSL_CERT_FILE": str(self.certificates.ca),
            # IAM's changes hold at once here: the second look need not wait for them.
            "CONFIRM_MILLISECONDS": "100",
            # Tests want to see what one try brings.
            "PERSIST_MILLISECONDS": "0",
            # A pause of a busy machine is no journal out of reach.
            "JOURNAL_MILLISECONDS": "8000",
        }

    @contextmanager
    def late(self, *names: str) -> Iterator[None]:
        """Changes of IAM for these users and roles don't hold yet, for the length of a `with`. One at a time."""
        listed, new = self.folder / "ministack" / "late", self.folder / "ministack" / "late.new"
        new.write_text("\n".join(names))
        new.rename(listed)
        try:
            yield
        finally:
            listed.unlink()

    @contextmanager
    def deliveries(self, topic: str, *, attempts: int = 1, copies: int = 1) -> Iterator[None]:
        """How often messages to a topic are handed over, for the length of a `with` (launch/deliveries.py). One at a time."""
        asked, new = self.folder / "ministack" / "deliveries.json", self.folder / "ministack" / "deliveries.new"
        new.write_text(json.dumps({topic: {"attempts": attempts, "copies": copies}}))
        new.rename(asked)
        try:
            yield
        finally:
            asked.unlink()

    def delivered(self) -> list[str]:
        """The messages that SNS has handed to a function that has ended since, well or not."""
        ended = self.folder / "ministack" / "deliveries"
        return ended.read_text().split() if ended.is_file() else []

    def wait_for_delivery(self, message: str, seconds: float = 180.0) -> None:
        """Waits until the function that SNS handed this message to has ended, well or not."""
        deadline = time.monotonic() + seconds
        while message not in self.delivered():
            if time.monotonic() > deadline:
                raise TimeoutError(f"message {message} was not delivered within {seconds:.0f} s")
            time.sleep(0.02)


def proxy_binary() -> Path:
    """`PROXY_BIN`, or cargo's debug build."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return Path(os.environ.get("PROXY_BIN", target / "debug" / "testbed-proxy"))


@contextmanager
def running_bed(*, keep_folder: bool = False) -> Iterator[Bed]:
    """Starts all parts and stops them again, whatever happens in between. `keep_folder` leaves the logs."""
    folder = Path(tempfile.mkdtemp(prefix="lockdown-bed-"))
    with ExitStack() as parts:
        if not keep_folder:
            parts.callback(shutil.rmtree, folder, ignore_errors=True)
        certificates = make_certificates(folder)
        moto, ec2 = start_moto(folder)
        parts.callback(moto.stop)
        ministack, aws = start_ministack(folder, certificates)
        parts.callback(ministack.stop)
        endpoints = Endpoints(aws, ec2, certificates.ca)
        check_deny_all(endpoints)
        proxy = Proxy(proxy_binary(), folder, certificates, aws=aws, ec2=ec2)
        parts.callback(proxy.child.stop)
        yield Bed(folder, certificates, endpoints, proxy, ministack.process.pid)
