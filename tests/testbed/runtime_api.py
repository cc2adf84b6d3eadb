"""Lambda's Runtime API on loopback, to run the packaged binary by itself: when it is ready, and what it answers an event.

Source: AWS Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes".
"""

import json
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

TIME_LIMIT_SECONDS = 900
"""Of one invocation, as the hub template has it."""


_OFFSET = time.time_ns() - time.monotonic_ns()


def now() -> int:
    """Nanoseconds since 1970 by a clock that never goes back: the one that endpoint/log.rs goes by."""
    return _OFFSET + time.monotonic_ns()


@dataclass(frozen=True)
class Handled:
    """When an event was handed out, and when its answer came, as `now` says it."""

    handed: int
    answered: int


@dataclass
class RuntimeApi:
    """One API for one process at a time."""

    events: "Queue[Any]" = field(default_factory=Queue)
    handed: "Queue[int]" = field(default_factory=Queue)
    """When an event went out, as `now` says it."""
    answers: "Queue[tuple[str, str, int]]" = field(default_factory=Queue)
    """The last part of the path (`response` or `error`), the body, and when it came."""
    asked: "Queue[int]" = field(default_factory=Queue)
    """When the next event was asked for."""

    def __post_init__(self) -> None:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1  # An answer is one packet: `_end` flushes it.

            def do_GET(self) -> None:
                api.asked.put(now())
                event = json.dumps(api.events.get()).encode()
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", str(uuid.uuid4()))
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + TIME_LIMIT_SECONDS) * 1000)))
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:111111111111:function:figures")
                self.send_header("Content-Type", "application/json")
                self._end(event, lambda: api.handed.put(now()))

            def do_POST(self) -> None:
                came = now()
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(errors="replace")
                self.send_response(202)
                self._end(b"{}", lambda: None)
                api.answers.put((self.path.rpartition("/")[2], body, came))

            def _end(self, body: bytes, going_out: Callable[[], None]) -> None:
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                going_out()
                self.wfile.flush()

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

    def __init__(self, command: Path | list[str], environment: dict[str, str], log: Path) -> None:
        self.api = RuntimeApi()
        with log.open("ab") as sink:
            began = now()
            self.process = subprocess.Popen(
                command if isinstance(command, list) else [str(command)], env={**environment, "AWS_LAMBDA_RUNTIME_API": self.api.address},
                stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
            )
        try:
            self.ready_seconds = (self.api.asked.get(timeout=30) - began) / 1e9
        except Empty:
            self.stop()
            raise RuntimeError(f"the function never asked for an event; its log is {log}") from None

    def __enter__(self) -> "Runtime":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def handle(self, event: Any, seconds: float = 60.0) -> Handled:
        """Hands an event over and waits for the answer, which must be no error."""
        self.api.events.put(event)
        try:
            kind, body, came = self.api.answers.get(timeout=seconds)
        except Empty:
            raise RuntimeError(f"the function did not answer within {seconds:.0f} s") from None
        if kind != "response":
            raise RuntimeError(f"the function answered {kind}: {body}")
        return Handled(self.api.handed.get(), came)

    def peak_memory(self) -> int:
        """The most that was ever resident, in bytes (proc(5), `VmHWM`)."""
        return self._memory("VmHWM")

    def memory(self) -> int:
        """What is resident now, in bytes (proc(5), `VmRSS`)."""
        return self._memory("VmRSS")

    def _memory(self, name: str) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"the kernel tells no {name}")

    def processor_ms(self) -> float:
        """How long its threads have run so far, in milliseconds: what other programs do at the same time is not in it."""
        # proc(5), `schedstat`: the first number is the time spent on a processor, in nanoseconds.
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e6

    def stop(self) -> None:
        """Ends process and API."""
        self.process.kill()
        self.process.wait()
        self.api.close()
