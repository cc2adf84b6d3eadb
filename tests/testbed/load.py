"""Many entities at once, many copies of one message, throttling, and a thousand messages in one process: nothing lost, nothing twice.

The burst goes through SNS, 24 messages under way at most; copies, throttling and the one process are handed over directly, since
the bed's SNS neither copies a message nor delivers it again.

    make load                            the whole, in a quarter of an hour
    make load LOAD_ARGS="--entities 50"  a smaller one
    make -s load JSON=1                  the same as JSON

Ends with exit code 1 if anything was lost or came twice.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table

from .accounts import HUB, MEMBER
from .bed import REPOSITORY, Bed, running_bed
from .measuring import unpack
from .product import EXTERNAL_ID, Product, deploy_product, lead_to_proxy
from .runtime_api import Runtime
from .self_check import DENY_ALL
from .story import make_console
from .victims import User, make_user, unique

PUBLISHERS = 24
"""Messages under way at once: the emulated SNS loses what the emulated Lambda has no room for, instead of trying it again."""
A_SECOND = 20
"""Calls a second that are let through for an account that is throttled."""
FINAL = {"Contained", "Partial", "Failed", "Unchanged", "Refused"}
CONFIRM_MS = 200

BAR = Console(stderr=True)
"""Where the progress bars are."""

T = TypeVar("T")
S = TypeVar("S")


@dataclass
class Outcome:
    """What came of it: figures, and what went wrong."""

    figures: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def side_by_side(work: Callable[[S], T], items: Sequence[S], at_once: int, what: str) -> list[T]:
    """Does the work for all items, so many at once; a bar on a terminal."""
    with ThreadPoolExecutor(at_once) as pool:
        done = pool.map(work, items)
        return list(track(done, what, total=len(items), disable=not sys.stderr.isatty(), console=BAR))


def make_users(bed: Bed, count: int, accounts: Sequence[str] = (MEMBER, HUB)) -> list[User]:
    """So many users, spread over the accounts."""
    return side_by_side(
        lambda n: make_user(bed.endpoints, accounts[n % len(accounts)]), range(count), 8, f"{count} users to contain"
    )


def deploy(bed: Bed, package: Path) -> Product:
    """A product of its own, whose looks after a containment come soon."""
    product = deploy_product(bed, package, unique("load"))
    lead_to_proxy(bed, product.outputs["FunctionName"], CONFIRM_MILLISECONDS=str(CONFIRM_MS))
    return product


def records(product: Product) -> Counter[str]:
    """How many records each entity has, by the last part of their keys."""
    keys = [item["pk"]["S"] for item in product.journal()]
    return Counter(key.rsplit("/", 1)[-1] for key in keys if key.startswith("record/"))


def check(product: Product, users: Sequence[User], *, messages: int = 1) -> list[str]:
    """What was lost or came twice: each user is denied, has one record, and one final notice for each of its messages."""
    finals: Counter[str] = Counter()
    for notice in product.mailbox.notices():
        if notice.stage in FINAL:
            finals[notice.json["entity"].rsplit("/", 1)[-1]] += 1
    kept, wrong = records(product), []
    for user in users:
        if DENY_ALL not in user.state()["attached"]:
            wrong.append(f"{user.name} is not contained")
        if kept[user.name] != 1:
            wrong.append(f"{user.name} has {kept[user.name]} records")
        if finals[user.name] != messages:
            wrong.append(f"{user.name} has {finals[user.name]} final notices")
    dead = product.bed.endpoints.client("sqs", HUB).receive_message(QueueUrl=product.outputs["DeadLetterQueueUrl"])
    if dead.get("Messages"):
        wrong.append("there is something in the dead-letter queue")
    return wrong


def calls_of_product(product: Product, mark: int) -> Counter[str]:
    """The calls since a mark, by service."""
    return Counter(call["service"] for call in product.bed.proxy.calls(mark))


def burst(bed: Bed, package: Path, entities: int) -> Outcome:
    """As many messages as entities, as fast as the bed takes them, through SNS; then one watch over all that is open."""
    product, users = deploy(bed, package), make_users(bed, entities)
    mark, began = bed.proxy.mark(), time.monotonic()
    side_by_side(lambda user: product.contain(user.arn), users, PUBLISHERS, f"{entities} messages through SNS")
    seconds, calls = time.monotonic() - began, calls_of_product(product, mark)
    outcome = Outcome(wrong=check(product, users))
    mark, began = bed.proxy.mark(), time.monotonic()
    error = product.invoke({"watch": True})["error"]
    watched = time.monotonic() - began
    if error:
        outcome.wrong.append(f"the watch ended with {error}")
    outcome.figures = {
        "entities": entities, "seconds": round(seconds, 1), "processes": len(product.processes()),
        "calls_per_entity": {name: round(count / entities, 1) for name, count in sorted(calls.items())},
        "watch_seconds": round(watched, 1), "watch_calls_per_entity": round(sum(calls_of_product(product, mark).values()) / entities, 1),
    }
    return outcome


def copies(bed: Bed, package: Path, count: int) -> Outcome:
    """One message, delivered so many times at once."""
    product, [user] = deploy(bed, package), make_users(bed, 1, [MEMBER])
    event, began = product.event({"Arn": user.arn, "ExternalId": EXTERNAL_ID, "Action": "contain"}), time.monotonic()
    answers = side_by_side(lambda _: product.invoke(event), range(count), count, f"{count} copies of one message")
    wrong = check(product, [user])
    errors = Counter(answer["error"] for answer in answers if answer["error"])
    if errors:
        wrong.append(f"copies ended with {dict(errors)}")
    return Outcome({"copies": count, "seconds": round(time.monotonic() - began, 1)}, wrong)


def throttled(bed: Bed, package: Path, entities: int) -> Outcome:
    """An account that takes twenty calls of IAM a second: Lambda's two retries and the wake-ups are left to the emulators."""
    product, users = deploy(bed, package), make_users(bed, entities, [MEMBER])
    mark, began = bed.proxy.mark(), time.monotonic()
    limit = {"fault": "throttle", "service": "iam", "caller": f":{MEMBER}:assumed-role/Member-", "per_second": A_SECOND}
    with bed.proxy.rule(**limit) as rule:
        waiting = {user.name: product.event({"Arn": user.arn, "ExternalId": EXTERNAL_ID, "Action": "contain"}) for user in users}
        attempts = 0
        while waiting and attempts < 3:
            attempts += 1
            answers = side_by_side(
                lambda name: (name, product.invoke(waiting[name])["error"]), list(waiting), PUBLISHERS,
                f"{len(waiting)} messages, {A_SECOND} calls of IAM a second",
            )
            waiting = {name: waiting[name] for name, error in answers if error}
        hits = next(r["hits"] for r in bed.proxy.rules() if r["id"] == rule)
        seconds = time.monotonic() - began
    deadline = time.monotonic() + 120
    while (wrong := check(product, users)) and time.monotonic() < deadline:
        time.sleep(1)
    figures = {
        "entities": entities, "seconds": round(seconds, 1), "deliveries": attempts, "throttled_calls": hits,
        "calls_per_entity": round(sum(calls_of_product(product, mark).values()) / entities, 1),
    }
    return Outcome(figures, wrong if hits else [*wrong, "no call was throttled: nothing was tried"])


def one_process(bed: Bed, package: Path, messages: int) -> Outcome:
    """So many messages one after the other in one process, and its memory as they go."""
    product = deploy(bed, package)
    product.contain(make_users(bed, 1)[0].arn)
    [process, *_] = product.processes()
    entries = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    variables = {**dict(entry.split("=", 1) for entry in entries if "=" in entry), "CONFIRM_MILLISECONDS": "1"}
    binary = unpack(package, bed.folder / "load")
    users, memory = make_users(bed, messages), []
    with Runtime(binary, variables, bed.folder / "load.log") as runtime:
        for user in track(users, f"{messages} messages in one process", disable=not sys.stderr.isatty(), console=BAR):
            runtime.handle(product.event({"Arn": user.arn, "ExternalId": EXTERNAL_ID, "Action": "contain"}))
            memory.append(runtime.memory())
    tenth = max(1, messages // 10)
    first, last = statistics.median(memory[tenth : 2 * tenth]), statistics.median(memory[-tenth:])
    wrong = [f"{user.name} is not contained" for user in users if user.allowed()]
    if last > first * 1.1 + 512 * 1024:
        wrong.append(f"memory grew from {first / 2**20:.1f} to {last / 2**20:.1f} MiB")
    return Outcome({
        "messages": messages, "memory_mib_second_tenth": round(first / 2**20, 1), "memory_mib_last_tenth": round(last / 2**20, 1),
        "peak_mib": round(max(memory) / 2**20, 1),
    }, wrong)


def show(outcomes: dict[str, Outcome]) -> None:
    """A table for people."""
    table = Table("load", "figures", "lost or twice")
    for name, outcome in outcomes.items():
        figures = ", ".join(f"{key} {value}" for key, value in outcome.figures.items())
        table.add_row(name, figures, f"{len(outcome.wrong)}: {'; '.join(outcome.wrong[:5])}" if outcome.wrong else "nothing")
    make_console().print(table)


def main() -> None:
    """Runs all of it."""
    parser = argparse.ArgumentParser(prog="make load", description="Many entities, copies, throttling, and one process for long.")
    parser.add_argument("--entities", type=int, default=1000, help="entities in the burst, and messages in one process (1000)")
    parser.add_argument("--copies", type=int, default=200, help="copies of one message (200)")
    parser.add_argument("--throttled", type=int, default=100, help="entities in the account that is throttled (100)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    asked = parser.parse_args()
    package = Path(os.environ.get("PACKAGE_ZIP", REPOSITORY / "target" / "lambda" / "entity-lockdown.zip"))
    if not package.is_file():
        sys.exit(f"error: {package} is missing: run `make package`")
    with running_bed() as bed:
        outcomes = {
            "copies": copies(bed, package, asked.copies),
            "throttled": throttled(bed, package, asked.throttled),
            "one process": one_process(bed, package, asked.entities),
            "burst": burst(bed, package, asked.entities),
        }
    if asked.json:
        print(json.dumps({name: asdict(outcome) for name, outcome in outcomes.items()}, indent=2))
    else:
        show(outcomes)
    sys.exit(any(outcome.wrong for outcome in outcomes.values()))


if __name__ == "__main__":
    main()
