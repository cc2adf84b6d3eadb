"""Child processes that end with the bed, whatever ends the bed."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a child gets when its parent dies, so that even a SIGKILL of the tests leaves nothing behind."""


class NotReady(RuntimeError):
    """A part of the bed did not start; the message holds the end of its log."""


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """One process in a process group of its own, logging into a file, stopped by its id together with its children."""

    def __init__(self, name: str, command: list[str], env: dict[str, str], log: Path, *, pipe: bool = False) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as sink:
            self.process = subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipe else sink,
                stderr=sink,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def wait_until(self, ready: Callable[[], bool], seconds: float = 30.0) -> None:
        """Polls `ready`; raises `NotReady` with the log's end if the process ends or takes too long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise NotReady(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")
            if ready():
                return
            time.sleep(0.05)
        raise NotReady(f"{self.name} did not answer within {seconds:.0f} s:\n{self.tail()}")

    def tail(self, size: int = 4000) -> str:
        """The last characters of the log."""
        return self.log.read_text(errors="replace")[-size:]

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after 1 s, to the group: an emulator's functions are its children."""
        self._signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            pass
        self._signal(signal.SIGKILL)
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass
