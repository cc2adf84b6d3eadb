"""What was lost and what came twice: by the state of the entities, the journal, the mails, the calls and the dead-letter queue."""

from collections import Counter
from collections.abc import Sequence

from ..accounts import HUB
from ..product import Product
from .entities import Entity, is_locked, last_part, side_by_side

FINAL = {"Contained", "Partial", "Failed", "Unchanged", "Refused"}
"""Stages of which each message of an entity brings one."""
CHANGES = ("Attach", "Put", "Modify", "Create", "Update")
"""What the calls begin with that lock."""


def wrong(product: Product, entities: Sequence[Entity], mark: int) -> list[str]:
    """What is not as it must be after each entity has been asked for once since a mark: locked, recorded, made and told once."""
    return lost(product, entities) + twice(product, mark)


def lost(product: Product, entities: Sequence[Entity]) -> list[str]:
    """What is not locked, not recorded once or not told once."""
    finals = Counter(last_part(n.json["entity"]) for n in product.mailbox.notices() if n.stage in FINAL)
    begun = Counter(last_part(n.json["entity"]) for n in product.mailbox.notices() if n.stage == "Started")
    stages = Counter(n.stage for n in product.mailbox.notices())
    keys = [item["pk"]["S"] for item in product.journal()]
    records = Counter(last_part(key) for key in keys if key.startswith("record/"))
    found = [f"{count} notices {stage}" for stage, count in stages.items() if stage not in ("Started", "Contained")]
    locked = side_by_side(is_locked, entities, 4, "looking at them")
    for entity, holds in zip(entities, locked, strict=True):
        name = last_part(entity.arn)
        counts = {"records": records[name], "notices at the start": begun[name], "at the end": finals[name]}
        found += [] if holds else [f"{name} is not locked"]
        found += [f"{name} has {count} {what}" for what, count in counts.items() if count != 1]
    return found + dead_letters(product)


def dead_letters(product: Product) -> list[str]:
    """What is in the dead-letter queue."""
    asked = {"QueueUrl": product.outputs["DeadLetterQueueUrl"], "AttributeNames": ["ApproximateNumberOfMessages"]}
    count = int(product.bed.endpoints.client("sqs", HUB).get_queue_attributes(**asked)["Attributes"]["ApproximateNumberOfMessages"])
    return [f"{count} messages in the dead-letter queue"] if count else []


def twice(product: Product, mark: int) -> list[str]:
    """Changes that were made again with the same words: each is made once, unless somebody has undone it."""
    made: Counter[tuple[str, str]] = Counter()
    for service in ("iam", "lambda", "ec2", "autoscaling"):
        for call in product.bed.proxy.calls(mark, service=service, status=200, by="aws"):
            if call["action"].startswith(CHANGES):
                made[call["action"], call["text"]] += 1
    return [f"{count} times {action} {text[:200]}" for (action, text), count in made.items() if count > 1]


def calls_each(product: Product, mark: int, messages: int) -> dict[str, float]:
    """The calls for each message since a mark, by service and in all."""
    calls = Counter(call["service"] for call in product.bed.proxy.calls(mark))
    return {name: round(count / messages, 1) for name, count in [*sorted(calls.items()), ("all", calls.total())]}
