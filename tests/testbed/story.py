"""How the demo and the figures show themselves: chapters, progress on what takes long, mails, and what was expected.

Without a terminal there is no animation and no colour, only lines.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.panel import Panel
from rich.rule import Rule
from rich.status import Status
from rich.text import Text

from .mailbox import Notice

WIDTH_WITHOUT_TERMINAL = 110
"""Columns of a file or a pipe, unless COLUMNS says otherwise."""

def make_console() -> Console:
    """The console on standard output."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL if piped else None)


class Story:
    """Tells what happens, and keeps what was not as expected."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or make_console()
        self.failures: list[str] = []
        self.expectations = 0
        self._chapter = 0

    def chapter(self, title: str, *lines: str) -> None:
        """Begins a numbered chapter with a few sentences."""
        self._chapter += 1
        self.console.print()
        self.console.print(Rule(f"[bold]{self._chapter}. {title}[/]", align="left", style="cyan"))
        for line in lines:
            self.say(line)

    def say(self, text: str) -> None:
        """A sentence; markup of rich allowed."""
        self.console.print(text)

    @contextmanager
    def working(self, what: str) -> Iterator["Work"]:
        """Shows that something takes its time, and how long it took."""
        began = time.monotonic()
        if not self.console.is_terminal:
            self.console.print(f"  ... {what}", style="dim")
        with Status(what, console=self.console) as status:
            yield Work(what, status, began)
        self.console.print(f"  [green]done[/] {what} [dim]({time.monotonic() - began:.1f} s)[/]")

    def expect(self, held: bool, what: str) -> bool:
        """Says whether something is as it should be. The story goes on either way; its exit code tells."""
        self.expectations += 1
        if held:
            self.console.print(f"  [green]ok[/]   {what}")
        else:
            self.failures.append(what)
            self.console.print(f"  [bold red]NOT[/]  {what}")
        return held

    def mail(self, notice: Notice, *, whole: bool = False) -> None:
        """A mail as people get it: its heart, or the whole of it."""
        colour = {"Contained": "green", "Released": "green", "Started": "blue"}.get(notice.stage, "red")
        title = Text(f"Mail: {notice.subject}", style=f"bold {colour}")
        self.console.print(Panel(Text(notice.mail.strip() if whole else heart(notice.mail)), title=title, title_align="left", border_style=colour))


class Work:
    """Something that takes its time."""

    def __init__(self, what: str, status: Status, began: float) -> None:
        self._what, self._status, self._began = what, status, began

    def tick(self, more: str = "") -> None:
        """Shows the seconds so far, and what is going on."""
        self._status.update(f"{self._what} [dim]({time.monotonic() - self._began:.0f} s)[/] {more}")


def heart(mail: str) -> str:
    """A mail without what is only good to know, and without the lines at its end that repeat what was asked."""
    kept = []
    for part in mail.strip().split("\n\n"):
        if part.startswith("Good to know\n"):
            kept.append("[left out here: Good to know]")
        elif not part.startswith("Entity: "):
            kept.append(part)
    return "\n\n".join(kept)
