"""Points: the calls of a run, named so that the same call of another run is found again though calls run in parallel."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .subjects import Subject

NAMING = ("dynamodb", "iam", "sns", "sqs")
"""Services whose calls always name the entity: those that don't are another's, to which a wake-up has led."""
READS = ("Describe", "Get", "List", "BatchGet")


@dataclass(frozen=True)
class Point:
    """The `occurrence`-th call (from 0) of an action about a part of the entity."""

    service: str
    action: str
    part: int | None
    """The index of the part's name among the subject's; None: the call holds no name of a part, and any such call counts."""
    occurrence: int

    def __str__(self) -> str:
        part = "" if self.part is None else f" <{self.part}>"
        return f"{self.service}:{self.action}{part} #{self.occurrence + 1}"

    @property
    def changes(self) -> bool:
        """Whether the call changes anything (a session counts as nothing)."""
        return not self.action.startswith((*READS, "AssumeRole"))

    def rule(self, subject: Subject, product: str) -> dict[str, Any]:
        """What matches this call of a product about another subject, all its occurrences."""
        match = {"service": self.service, "action": self.action, "caller": product}
        return match if self.part is None else {**match, "contains": subject.names[self.part]}


def points(calls: Iterable[dict[str, Any]], subject: Subject) -> list[Point]:
    """The points of recorded calls about a subject, in their order."""
    found: list[Point] = []
    seen: list[tuple[str, str, str]] = []
    for call in calls:
        service, action, text = call["service"], call["action"], call["text"]
        part = next((n for n, name in enumerate(subject.names) if name in text), None)
        if part is None and service in NAMING:
            continue
        name = "" if part is None else subject.names[part]
        # As the rule counts: every earlier call of the action that holds the name, whatever part it was named by.
        earlier = sum(1 for s, a, t in seen if (s, a) == (service, action) and name in t)
        found.append(Point(service, action, part, earlier))
        seen.append((service, action, text))
    return found

