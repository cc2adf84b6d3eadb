"""The crash matrix: the function dies at a call, something else finishes its work, and nothing may tell the difference."""

import time
from dataclasses import dataclass, field
from typing import Any, Literal

from .lane import FINAL, QUIET_SECONDS, Lane, notice_of, undisturbed
from .points import Point, points
from .subjects import Subject, make_subject

Way = Literal["redelivered", "woken"]
WATCH = {"watch": True}
WOKEN = 5
"""After every so many-th death the wake-up alone finishes the work."""


@dataclass(frozen=True)
class Death:
    """Where the function dies, and who finishes."""

    point: Point
    after: bool
    way: Way = "redelivered"

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.point}, {self.way}"


@dataclass
class Trial:
    """One subject: its containment dies at one point and its release at another; None: that one isn't disturbed."""

    kind: str
    contain: Death | None
    release: Death | None
    reached: list[Death] = field(default_factory=list)
    missed: list[Death] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.kind} (contain {self.contain or 'undisturbed'}; release {self.release or 'undisturbed'})"


def record(lane: Lane, kind: str) -> dict[str, list[Point]]:
    """The points of an undisturbed containment and its release."""
    return undisturbed(lambda: _record(lane, kind))


def _record(lane: Lane, kind: str) -> dict[str, list[Point]]:
    subject, found = make_subject(lane.bed, kind), {}
    time.sleep(QUIET_SECONDS)
    for action in ("contain", "release"):
        lane.fresh_process()
        mark, event = lane.bed.proxy.mark(), lane.event(subject, action)
        error = lane.deliver(event, 1)
        calls = lane.calls(mark)
        stages = [notice["stage"] for notice in lane.finals(subject, event, mark)]
        if error or stages != [{"contain": "Contained", "release": "Released"}[action]]:
            raise RuntimeError(f"the undisturbed {action} of the {kind} ended with {error}, {stages}")
        found[action] = points(calls, subject)
        time.sleep(QUIET_SECONDS)
    return found


def deaths(found: list[Point]) -> list[Death]:
    """Each point once before and once after it took effect; the renewals of a lease come by the clock, so one stands for all.

    After every so many-th nobody delivers the message again, and only the wake-up is left, where one is stored.
    """
    renewals = ("dynamodb", "UpdateItem")
    kept = [point for point in found if (point.service, point.action) != renewals or point.occurrence == 0]
    both = [(point, after) for point in kept for after in (False, True)]
    return [Death(point, after, "woken" if n % WOKEN == WOKEN - 1 else "redelivered") for n, (point, after) in enumerate(both)]


def run(lane: Lane, trial: Trial) -> None:
    """Tries one subject and notes what was not as it should be."""
    subject = make_subject(lane.bed, trial.kind)
    before = subject.state()
    if not _half(lane, trial, subject, "contain", trial.contain):
        return
    _half(lane, trial, subject, "release", trial.release)
    after = subject.state()
    if after != before:
        trial.failures.append(f"the state before is not back: {_differences(before, after)}")
    if not trial.failures:
        lane.forget(subject)


@dataclass
class RepairTrial:
    """One subject that was contained and opened again: the watch that locks it dies."""

    kind: str
    death: Death
    reached: bool = False
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.kind} (watch {self.death})"


def record_repair(lane: Lane, kind: str) -> list[Point]:
    """The points of an undisturbed watch that locks a subject again."""
    subject, _, _ = _opened_again(lane, kind)
    time.sleep(QUIET_SECONDS)
    lane.fresh_process()
    mark = lane.bed.proxy.mark()
    lane.product.invoke(WATCH)
    found = points(lane.calls(mark), subject)
    if left := subject.left_open():
        raise RuntimeError(f"the undisturbed watch of the {kind} leaves open: {left}")
    lane.deliver(lane.event(subject, "release"))
    lane.forget(subject)
    return found


def run_repair(lane: Lane, trial: RepairTrial) -> None:
    """Lets a watch die over one subject and notes what the next look, or its wake-up, leaves undone or unsaid."""
    subject, before, event = _opened_again(lane, trial.kind)
    mark = lane.bed.proxy.mark()
    with lane.dying_at(trial.death.point, subject, WATCH, after=trial.death.after) as reached:
        trial.reached = reached
    if trial.death.way == "redelivered" or not _wake_up_is_stored(lane, subject, mark):
        time.sleep(QUIET_SECONDS)
        lane.product.invoke(WATCH)
    # That watch leaves it to a wake-up that is at work.
    lane.wait_for_end(subject, event, mark, silent=True)
    trial.failures += [f"left open: {what}" for what in subject.left_open()]
    told = [notice for notice in lane.notices(subject, mark) if notice["stage"] == "Drifted"]
    # One that went out and could not be noted any more may come again.
    if not 1 <= len(told) <= 2:
        trial.failures.append(f"{len(told)} notices of the drift")
    lane.deliver(lane.event(subject, "release"))
    after = subject.state()
    if after != before:
        trial.failures.append(f"the state before is not back: {_differences(before, after)}")
    if not trial.failures:
        lane.forget(subject)


def _opened_again(lane: Lane, kind: str) -> tuple[Subject, dict[str, Any], dict[str, Any]]:
    """A subject that was contained and that somebody has opened since, its state before, and the message."""
    subject = make_subject(lane.bed, kind)
    before, event = subject.state(), lane.event(subject, "contain")
    error = lane.deliver(event)
    subject.undo()
    if error or not subject.left_open():
        raise RuntimeError(f"the {kind} was to be contained ({error}) and opened again")
    return subject, before, event


def _half(lane: Lane, trial: Trial, subject: Subject, action: str, death: Death | None) -> bool:
    event, mark = lane.event(subject, action), lane.bed.proxy.mark()
    first = mark
    error = None
    if death is None:
        error = lane.deliver(event)
    else:
        with lane.dying_at(death.point, subject, event, after=death.after) as reached:
            (trial.reached if reached else trial.missed).append(death)
        first = lane.bed.proxy.mark()
        if death.way == "woken" and _wake_up_is_stored(lane, subject, mark):
            # A watch meanwhile does no harm.
            lane.product.invoke(WATCH)
        else:
            error = lane.deliver(event)
    lane.wait_for_end(subject, event, mark)
    ended = lane.finals(subject, event, mark)
    wrong = [f"the event fails for good: {error}"] if error and not ended else []
    wrong += _wrong(lane, subject, event, action, mark, first)
    trial.failures += [f"{action}: {what}" for what in wrong]
    return not wrong


def _wake_up_is_stored(lane: Lane, subject: Subject, mark: int) -> bool:
    stored = lane.calls(mark, service="sqs", action="SendMessage")
    return any(call["status"] == 200 and subject.names[0] in call["text"] for call in stored)


def _wrong(lane: Lane, subject: Subject, event: dict[str, Any], action: str, mark: int, first: int) -> list[str]:
    """What is not as if nothing had happened, after a half that began at `mark` and was taken up again at `first`."""
    wrong = []
    finals = lane.finals(subject, event, mark)
    stages = [notice["stage"] for notice in finals]
    wanted = {"contain": "Contained", "release": "Released"}[action]
    # A notice that went out and could not be noted any more is sent again: SNS can't be asked whether it has one.
    allowed = 2 if len(stages) > 1 and _said_and_not_noted(lane, subject, mark, first) else 1
    if set(stages) != {wanted} or len(stages) > allowed:
        summaries = [notice["json"].get("summary") for notice in finals]
        wrong.append(f"final notices {stages}, at most {allowed} {wanted} allowed: {summaries}")
    records, changes = lane.items(subject)
    if len(records) != 1:
        wrong.append(f"{len(records)} records")
    elif ("open" in records[0]) != (action == "contain"):
        wrong.append(f"the record is {'open' if 'open' in records[0] else 'closed'}")
    if action == "contain":
        wrong += [f"left open: {what}" for what in subject.left_open()]
    elif changes:
        wrong.append(f"changes are left in the journal: {changes}")
    return wrong


def _said_and_not_noted(lane: Lane, subject: Subject, mark: int, first: int) -> bool:
    """Whether the process that died had sent a final notice and written nothing since."""
    told = False
    for call in lane.calls(mark):
        if call["seq"] > first or subject.names[0] not in call["text"]:
            continue
        notice = notice_of(call)
        if notice and notice["stage"] in FINAL and call["by"] == "aws":
            told = True
        elif call["action"] == "TransactWriteItems" and call["status"] == 200:
            told = False
    return told


def _differences(before: Any, after: Any, path: str = "") -> str:
    if isinstance(before, dict) and isinstance(after, dict):
        parts = [_differences(before.get(key), after.get(key), f"{path}.{key}") for key in {*before, *after}
                 if before.get(key) != after.get(key)]
        return "; ".join(parts)
    return f"{path}: {before} -> {after}"
