"""What the tools that measure the packaged function begin with: their arguments, and what must have been built."""

import argparse
import os
import signal
import sys
import zipfile
from pathlib import Path

from .bed import REPOSITORY


def begin(tool: str, binary: Path) -> tuple[Path, bool]:
    """The package to measure, and whether JSON is asked for.

    Ends the process where the package or `binary` is missing. A signal ends it by way of what is to be cleared.
    """
    arguments = argparse.ArgumentParser(prog=f"python -m tests.testbed.{tool}", description="Measures the packaged function.")
    arguments.add_argument("--json", action="store_true", help="print JSON instead of tables")
    as_json: bool = arguments.parse_args().json
    package = Path(os.environ.get("PACKAGE_ZIP", REPOSITORY / "target" / "lambda" / "entity-lockdown.zip"))
    for needed, target in ((package, "make package"), (binary, "make tools")):
        if not needed.is_file():
            sys.exit(f"error: {needed} is missing: run `{target}`")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    return package, as_json


def unpack(package: Path, folder: Path) -> Path:
    """Unpacks a package as Lambda does, its rules beside its program, and returns the program."""
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
    program = folder / "bootstrap"
    program.chmod(0o755)
    return program
