"""Runs the loads and says what was lost or came twice.

    make load                             the whole
    make load LOAD_ARGS="--entities 50"   a smaller one
    make load LOAD_ARGS="--only copies"   one of them
    make -s load JSON=1                   the same as JSON

Ends with exit code 1 if anything was lost or came twice.
"""

import argparse
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from ..bed import REPOSITORY, running_bed
from ..story import make_console
from .trials import Outcome, burst, copies, one_process, throttled

LOADS = {"copies": copies, "throttled": throttled, "one-process": one_process, "burst": burst}


def spoken(value: Any) -> str:
    """A figure, or several by their names."""
    return ", ".join(f"{name} {each}" for name, each in value.items()) if isinstance(value, dict) else str(value)


def show(outcomes: dict[str, Outcome]) -> None:
    """A table for people."""
    table = Table("load", "figures", "lost or twice")
    for name, outcome in outcomes.items():
        figures = "\n".join(f"{key}: {spoken(value)}" for key, value in outcome.figures.items())
        shown = "\n".join(outcome.wrong[:10])
        table.add_row(name, figures, f"{len(outcome.wrong)}:\n{shown}" if outcome.wrong else "nothing")
    make_console().print(table)


def main() -> None:
    """Runs all of them, or one."""
    parser = argparse.ArgumentParser(prog="make load", description="Many entities, copies, throttling, and one process for long.")
    parser.add_argument("--entities", type=int, default=1000, help="entities in the burst, and messages in one process (1000)")
    parser.add_argument("--copies", type=int, default=200, help="copies of one message (200)")
    parser.add_argument("--throttled", type=int, default=100, help="entities in the account that throttles (100)")
    parser.add_argument("--only", choices=LOADS, help="one of the loads")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    asked = parser.parse_args()
    package = Path(os.environ.get("PACKAGE_ZIP", REPOSITORY / "target" / "lambda" / "entity-lockdown.zip"))
    if not package.is_file():
        sys.exit(f"error: {package} is missing: run `make package`")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    sizes = {"copies": asked.copies, "throttled": asked.throttled, "one-process": asked.entities, "burst": asked.entities}
    outcomes = {}
    for name, load in LOADS.items():
        if asked.only in (None, name):
            # A bed each: what one has left behind slows the emulators down for the next.
            with running_bed() as bed:
                outcomes[name] = load(bed, package, sizes[name])
    if asked.json:
        print(json.dumps({name: asdict(outcome) for name, outcome in outcomes.items()}, indent=2))
    else:
        show(outcomes)
    sys.exit(any(outcome.wrong for outcome in outcomes.values()))


if __name__ == "__main__":
    main()
