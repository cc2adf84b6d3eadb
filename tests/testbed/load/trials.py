"""The loads themselves."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..bed import Bed
from ..measuring import unpack
from ..product import EXTERNAL_ID, Product, deploy_product, lead_to_proxy
from ..runtime_api import Runtime
from ..victims import unique
from ..watching import until
from .check import calls_each, lost, wrong
from .entities import Entity, make_entities, make_users, progress, side_by_side

ROOM = 12
"""Invocations at once (`ReservedConcurrency`): as many as two cores carry. The others wait in Lambda's queue."""
PATIENCE = {"JOURNAL_MILLISECONDS": "30000", "PERSIST_MILLISECONDS": "60000"}
"""Under load the emulators take seconds for what takes AWS milliseconds, and the journal counts as out of reach after two; persistence
is the product's own, which other tests do without."""
A_SECOND = 20
"""Calls of IAM a second that an account that throttles lets through."""
ATTEMPTS = 3
"""Of Lambda, for each event."""
LONGEST_SECONDS = 3600
"""Until a load counts as stuck."""


@dataclass
class Outcome:
    """What came of it: figures, and what went wrong."""

    figures: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def deploy(bed: Bed, package: Path, **parameters: str) -> Product:
    """A product of its own."""
    product = deploy_product(bed, package, unique("load"), **parameters)
    lead_to_proxy(bed, product.outputs["FunctionName"], **PATIENCE)
    return product


def attributes(entity: Entity) -> dict[str, Any]:
    """What a message carries that asks for a containment."""
    values = {"Arn": entity.arn, "Action": "contain", "ExternalId": EXTERNAL_ID}
    return {name: {"DataType": "String", "StringValue": value} for name, value in values.items()}


def publish(product: Product, entities: Sequence[Entity]) -> float:
    """One message for each entity, as fast as SNS takes them, until the last has ended; the seconds that publishing took."""
    began = time.monotonic()
    ids = side_by_side(
        lambda entity: product.publish_raw(attributes(entity), wait=False), entities, 8, f"{len(entities)} messages to SNS"
    )
    published, ended = time.monotonic() - began, set(product.bed.delivered())
    for message in progress(ids, len(ids), "until the last has ended"):
        if message not in ended:
            until(lambda message=message: message in product.bed.delivered(), LONGEST_SECONDS, f"message {message} ends")
            ended = set(product.bed.delivered())
    return published


def burst(bed: Bed, package: Path, count: int) -> Outcome:
    """As many messages as entities of all kinds, as fast as SNS takes them; then one watch over all that is open."""
    product, entities = deploy(bed, package, ReservedConcurrency=str(ROOM)), make_entities(bed, count)
    mark, began = bed.proxy.mark(), time.monotonic()
    with bed.deliveries(product.outputs["TopicArn"], attempts=ATTEMPTS):
        published = publish(product, entities)
    seconds, calls = time.monotonic() - began, calls_each(product, mark, count)
    outcome = Outcome(wrong=wrong(product, entities, mark))
    mark, began = bed.proxy.mark(), time.monotonic()
    error = product.invoke({"watch": True})["error"]
    outcome.figures = {
        "entities": count, "seconds": round(seconds, 1), "published in": round(published, 1), "calls each": calls,
        "seconds of a watch over all": round(time.monotonic() - began, 1), "its calls each": calls_each(product, mark, count),
    }
    outcome.wrong += [f"the watch ended with {error}"] if error else []
    return outcome


def copies(bed: Bed, package: Path, count: int) -> Outcome:
    """One message that SNS hands over so many times at once."""
    product, users = deploy(bed, package), make_users(bed, 1)
    mark, began = bed.proxy.mark(), time.monotonic()
    with bed.deliveries(product.outputs["TopicArn"], attempts=ATTEMPTS, copies=count):
        publish(product, users)
    figures = {"copies": count, "seconds": round(time.monotonic() - began, 1), "calls each": calls_each(product, mark, count)}
    return Outcome(figures, wrong(product, users, mark))


def throttled(bed: Bed, package: Path, count: int) -> Outcome:
    """Users of one account that takes twenty calls of IAM a second."""
    product, users = deploy(bed, package, ReservedConcurrency=str(ROOM)), make_users(bed, count)
    mark, began = bed.proxy.mark(), time.monotonic()
    limit = {"fault": "throttle", "service": "iam", "caller": f"{product.member_role.rpartition('/')[2]}/", "per_second": A_SECOND}
    with bed.proxy.rule(**limit) as rule, bed.deliveries(product.outputs["TopicArn"], attempts=ATTEMPTS):
        publish(product, users)
        seconds = time.monotonic() - began
        hits = next(each["hits"] for each in bed.proxy.rules() if each["id"] == rule)
    figures = {"entities": count, "seconds": round(seconds, 1), "throttled calls": hits, "calls each": calls_each(product, mark, count)}
    # A deny is attached again, to the same effect, where the look at it was throttled for too long.
    return Outcome(figures, lost(product, users) + ([] if hits else ["no call was throttled: nothing was tried"]))


def one_process(bed: Bed, package: Path, count: int) -> Outcome:
    """So many messages one after the other in one process, and its memory as they go."""
    product = deploy(bed, package)
    product.contain(make_users(bed, 1)[0].arn)
    [process, *_] = product.processes()
    entries = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    variables = {**dict(entry.split("=", 1) for entry in entries if "=" in entry), "CONFIRM_MILLISECONDS": "1"}
    users, memory, program = make_users(bed, count), [], unpack(package, bed.folder / "load")
    with Runtime(program, variables, bed.folder / "load.log") as runtime:
        for user in progress(users, count, f"{count} messages in one process"):
            runtime.handle(product.event({"Arn": user.arn, "ExternalId": EXTERNAL_ID, "Action": "contain"}))
            memory.append(runtime.memory())
    tenth = max(1, count // 10)
    first, last = statistics.median(memory[tenth : 2 * tenth]), statistics.median(memory[-tenth:])
    found = [f"{user.name} is not locked" for user in users if user.allowed()]
    if last > first * 1.1 + 512 * 1024:
        found.append(f"memory grew from {first / 2**20:.1f} to {last / 2**20:.1f} MiB")
    sizes = {"second tenth": first, "last tenth": last, "peak": max(memory)}
    return Outcome({"messages": count, "MiB": {name: round(size / 2**20, 1) for name, size in sizes.items()}}, found)
