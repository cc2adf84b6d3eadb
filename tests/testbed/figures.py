"""Measures the packaged function: size, start, memory, and how many round trips lie between an event and the deny.

    make figures            a table
    make -s figures JSON=1  the same as JSON

`PACKAGE_ZIP` is the function's package, `PROXY_BIN` the bed's proxy (the Makefile sets both). Exit code 1: a limit is passed.

Round trips are counted, not timed, since a network's length is not the product's: the proxy holds every call back for
`DELAY_MS`, so that what runs side by side overlaps for certain, and the longest chain of calls one after the other that ends
with the deny is the count. Connections are not in it: on AWS a cold process opens one to each service.
"""

import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from .bed import Bed, proxy_binary, running_bed
from .measuring import begin, unpack
from .product import EXTERNAL_ID, Product, deploy_product
from .round_trips import Call, chain
from .runtime_api import Runtime
from .story import make_console
from .victims import User, make_user

STARTS = 20
CONTAINMENTS = 20
AT_ONCE = 25
"""The most entities that a message may name."""

LARGEST_ZIP = 8_000_000
MOST_MEMORY = 32 * 1024 * 1024
"""Limits of this project, in bytes."""

DELAY_MS = 100
DENY = "AttachUserPolicy"


def environment(product: Product) -> dict[str, str]:
    """The environment of the function as the bed runs it, its execution role's credentials included."""
    product.contain(make_user(product.bed.endpoints).arn)
    [process, *_] = product.processes()
    entries = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def event(product: Product, users: list[User]) -> dict[str, Any]:
    """One message that names all of them."""
    made = product.event({"ExternalId": EXTERNAL_ID, "Action": "contain"})
    arn = {"Type": "String", "Value": users[0].arn}
    if len(users) > 1:
        arn = {"Type": "String.Array", "Value": json.dumps([user.arn for user in users])}
    made["Records"][0]["Sns"]["MessageAttributes"]["Arn"] = arn
    return made


def contain(runtime: Runtime, product: Product, users: list[User]) -> None:
    """Contains users by one message, and sees that they are: a figure of what did not work would be worth nothing."""
    runtime.handle(event(product, users))
    if any(user.allowed() for user in users):
        raise RuntimeError("a user is not contained: these would be figures of nothing")


def users(bed: Bed, count: int) -> list[User]:
    """So many new users."""
    return [make_user(bed.endpoints) for _ in range(count)]


def chain_to(calls: Sequence[dict[str, Any]], action: str = DENY, *, last: bool = False) -> list[str]:
    """The calls at the proxy one after the other up to the first of `action`, or to its last."""
    wanted = sorted((call["start_ms"], call["seq"]) for call in calls if call["action"] == action)
    if not wanted:
        raise RuntimeError(f"the function never called {action}")
    end = wanted[-1 if last else 0][1]
    seen = [Call(f"{call['service']}:{call['action']}", call["start_ms"], call["end_ms"], call["seq"]) for call in calls]
    return chain(seen, lambda call: call.about == end)


def measure(package: Path, bed: Bed) -> dict[str, Any]:
    """All figures."""
    product = deploy_product(bed, package)
    binary = unpack(package, bed.folder / "package")
    variables, log = environment(product), bed.folder / "figures.log"

    starts = []
    for _ in range(STARTS):
        with Runtime(binary, variables, log) as runtime:
            starts.append(runtime.ready_seconds * 1000)

    with Runtime(binary, variables, log) as runtime:
        idle = runtime.peak_memory()
        for user in users(bed, CONTAINMENTS):
            contain(runtime, product, [user])
        one_by_one = runtime.peak_memory()
        contain(runtime, product, users(bed, AT_ONCE))
        at_once = runtime.peak_memory()

    chains = {}
    victims = users(bed, 2)
    with Runtime(binary, variables, log) as runtime, bed.proxy.rule(fault="delay", ms=DELAY_MS):
        for temperature, user in zip(("cold", "warm"), victims, strict=True):
            mark = bed.proxy.mark()
            contain(runtime, product, [user])
            chains[temperature] = chain_to(bed.proxy.calls(mark))
    return {
        "zip_bytes": package.stat().st_size,
        "ready_ms": {"median": statistics.median(starts), "min": min(starts), "max": max(starts), "starts": STARTS},
        "peak_memory_bytes": {
            "ready": idle, f"after_{CONTAINMENTS}_containments": one_by_one, f"after_{AT_ONCE}_in_one_message": at_once,
        },
        "round_trips_to_deny": {name: {"count": len(calls), "calls": calls} for name, calls in chains.items()},
    }


def problems(figures: dict[str, Any]) -> list[str]:
    """The limits that are passed."""
    memory = max(figures["peak_memory_bytes"].values())
    return [
        problem
        for passed, problem in (
            (figures["zip_bytes"] > LARGEST_ZIP, f"the package is larger than {LARGEST_ZIP / 1e6:.0f} MB"),
            (memory > MOST_MEMORY, f"the peak memory is more than {MOST_MEMORY // 2**20} MiB"),
        )
        if passed
    ]


def table(figures: dict[str, Any]) -> Table:
    """For people."""
    shown, mib, ready = Table(box=None, header_style="bold", pad_edge=False), 2**20, figures["ready_ms"]
    for column in ("figure", "value", "limit"):
        shown.add_column(column)
    shown.add_row("package", f"{figures['zip_bytes'] / 1e6:.2f} MB", f"{LARGEST_ZIP / 1e6:.0f} MB")
    spread = f"{ready['median']:.0f} ms (median of {ready['starts']}; {ready['min']:.0f} to {ready['max']:.0f})"
    shown.add_row("process start to ready", spread, "")
    for name, size in figures["peak_memory_bytes"].items():
        shown.add_row(f"peak memory, {name.replace('_', ' ')}", f"{size / mib:.1f} MiB", f"{MOST_MEMORY // mib} MiB")
    for name, trips in figures["round_trips_to_deny"].items():
        calls = " > ".join(trips["calls"])
        shown.add_row(f"round trips, event to deny, {name}", f"{trips['count']} ({calls})", "")
    return shown


def main() -> int:
    """Measures, and prints."""
    package, as_json = begin("figures", proxy_binary())
    try:
        with running_bed(keep_folder="KEEP_BED" in os.environ) as bed:
            figures = measure(package, bed)
    except RuntimeError as error:
        sys.exit(f"error: {error}")
    if as_json:
        print(json.dumps(figures, indent=2))
    else:
        make_console().print(table(figures))
    for problem in problems(figures):
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems(figures) else 0


if __name__ == "__main__":
    sys.exit(main())
