"""Lambda's Runtime API on loopback, to run the packaged binary by itself: when it is ready, and what it answers an event.

Source: AWS Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes".
"""

import json
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

TIME_LIMIT_SECONDS = 900
"""Of one invocation, as the hub template has it."""


@dataclass
class RuntimeApi:
    """One API for one process at a time."""

    events: "Queue[Any]" = field(default_factory=Queue)
    answers: "Queue[tuple[str, str]]" = field(default_factory=Queue)
    """The last part of the path (`response` or `error`) and the body."""
    asked: "Queue[float]" = field(default_factory=Queue)
    """When the next event was asked for, by the monotonic clock."""

    def __post_init__(self) -> None:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                api.asked.put(time.monotonic())
                event = json.dumps(api.events.get()).encode()
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", str(uuid.uuid4()))
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + TIME_LIMIT_SECONDS) * 1000)))
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:111111111111:function:figures")
                self.send_header("Content-Type", "application/json")
                self._end(event)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(errors="replace")
                api.answers.put((self.path.rpartition("/")[2], body))
                self.send_response(202)
                self._end(b"{}")

            def _end(self, body: bytes) -> None:
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    pass  # the process was ended while it waited for an event

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """For `AWS_LAMBDA_RUNTIME_API`."""
        return f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Ends the server; waiting handlers end with the program."""
        self._server.shutdown()
        self._server.server_close()


class Runtime:
    """The packaged binary as a process of its own, fed by an API of its own."""

    def __init__(self, binary: Path, environment: dict[str, str], log: Path) -> None:
        self.api = RuntimeApi()
        with log.open("ab") as sink:
            began = time.monotonic()
            self.process = subprocess.Popen(
                [str(binary)], env={**environment, "AWS_LAMBDA_RUNTIME_API": self.api.address},
                stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
            )
        try:
            self.ready_seconds = self.api.asked.get(timeout=30) - began
        except Empty:
            self.stop()
            raise RuntimeError(f"the function never asked for an event; its log is {log}") from None

    def __enter__(self) -> "Runtime":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def handle(self, event: Any, seconds: float = 60.0) -> None:
        """Hands an event over and waits for the answer, which must be no error."""
        self.api.events.put(event)
        kind, body = self.api.answers.get(timeout=seconds)
        if kind != "response":
            raise RuntimeError(f"the function answered {kind}: {body}")

    def peak_memory(self) -> int:
        """The most that was ever resident, in bytes (proc(5), `VmHWM`)."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("the kernel tells no VmHWM")

    def stop(self) -> None:
        """Ends process and API."""
        self.process.kill()
        self.process.wait()
        self.api.close()
