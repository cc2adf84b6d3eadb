"""The endpoint that answers AWS calls at once, or after a set time: its process, and what it has seen (see endpoint/)."""

import http.client
import json
import os
from pathlib import Path
from typing import Any

from .bed import REPOSITORY
from .certificates import make_certificates
from .process import Child, NotReady

ADDRESSES = 16
"""More loopback addresses than the endpoint has services: each gets one of its own."""


def endpoint_binary() -> Path:
    """`ENDPOINT_BIN`, or cargo's debug build."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return Path(os.environ.get("ENDPOINT_BIN", target / "debug" / "testbed-endpoint"))


class Endpoint:
    """One running endpoint."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self.certificates = make_certificates(folder, ADDRESSES)
        command = [str(binary), "--cert", str(self.certificates.cert), "--key", str(self.certificates.key)]
        self.child = Child("testbed-endpoint", command, {}, folder / "endpoint.log", pipe=True)
        line = self.child.process.stdout.readline() if self.child.process.stdout else b""
        if not line:
            self.child.stop()
            raise NotReady(f"testbed-endpoint printed no addresses:\n{self.child.tail()}")
        self._addresses = json.loads(line)

    def urls(self, scheme: str) -> dict[str, str]:
        """The variables that lead an SDK here, each service to an address of its own."""
        urls: dict[str, str] = self._addresses[scheme]
        return {"AWS_ENDPOINT_URL": urls["STS"], **{f"AWS_ENDPOINT_URL_{name}": url for name, url in urls.items()}}

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._addresses["control"], timeout=30)
        try:
            connection.request(method, path, json.dumps(body))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def reset(self, *, delay_ms: float = 0.0, interfaces: int = 1) -> None:
        """Forgets all calls and all state; how long a call takes from now on, and how many interfaces the instance has."""
        self._ask("POST", "/reset", {"delay_us": round(delay_ms * 1000), "interfaces": interfaces})

    def log(self) -> dict[str, Any]:
        """The calls, the connections by service, and the complaints since the last reset (endpoint/log.rs)."""
        seen: dict[str, Any] = self._ask("GET", "/log")
        seen["calls"].sort(key=lambda call: call["came"])
        return seen
