"""The proxy between the function and the emulators: its process, and what can be asked of it (see proxy/)."""

import http.client
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from .certificates import Certificates
from .process import Child, NotReady


class Proxy:
    """One running proxy."""

    def __init__(self, binary: Path, folder: Path, certificates: Certificates, *, aws: str, ec2: str) -> None:
        command = [
            str(binary), "--cert", str(certificates.cert), "--key", str(certificates.key),
            "--ca", str(certificates.ca), "--aws", aws, "--ec2", ec2,
        ]
        self.child = Child("testbed-proxy", command, {}, folder / "proxy.log", pipe=True)
        self._trust = ssl.create_default_context(cafile=str(certificates.ca))
        line = self.child.process.stdout.readline() if self.child.process.stdout else b""
        if not line:
            self.child.stop()
            raise NotReady(f"testbed-proxy printed no port:\n{self.child.tail()}")
        self.port = int(json.loads(line)["port"])
        self.url = f"https://127.0.0.1:{self.port}"

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=self._trust)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        return json.loads(text)

    def calls(self, after: int, *, contains: str = "", **match: Any) -> list[dict[str, Any]]:
        """The calls after a `mark()`, oldest first. Those of a whole run (after 0) take seconds: narrow them down.

        `contains` keeps those with a text in caller, path or body; `match` those whose fields equal it (`service="iam"`, ...).
        """
        query = {"after": after, **{key: match[key] for key in ("service", "action") if key in match}}
        if contains:
            query["contains"] = contains
        calls: list[dict[str, Any]] = self._ask("GET", f"/_proxy/calls?{urlencode(query)}")
        return [call for call in calls if all(call.get(key) == value for key, value in match.items())]

    def mark(self) -> int:
        """The newest call's sequence number: calls of one's own test are those after it."""
        return int(self._ask("GET", "/_proxy/last")["seq"])

    def reset(self) -> None:
        """Forgets all calls and rules."""
        self._ask("POST", "/_proxy/reset")

    def add_rule(self, **rule: Any) -> int:
        """Adds a fault rule (proxy/rules.rs says which) and returns its id."""
        return int(self._ask("POST", "/_proxy/rules", rule)["id"])

    def rules(self) -> list[dict[str, Any]]:
        """The rules in force, with how often each has hit."""
        rules: list[dict[str, Any]] = self._ask("GET", "/_proxy/rules")
        return rules

    def remove_rule(self, rule: int) -> None:
        """Removes one rule; one that has run out is gone already, which is fine."""
        self._ask("DELETE", f"/_proxy/rules/{rule}")

    @contextmanager
    def rule(self, **rule: Any) -> Iterator[int]:
        """A fault rule for the length of a `with`. Name the victim in `contains`: other tests run beside this one."""
        number = self.add_rule(**rule)
        try:
            yield number
        finally:
            self.remove_rule(number)
