"""The fault matrix: AWS fails a call in one of seven ways, and what the function then says of the entity is true."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

from .lane import ATTEMPT_MS, QUIET_SECONDS, Lane, undisturbed
from .points import Point, points
from .subjects import Subject, make_subject

DENIED = {"fault": "refuse", "status": 403, "code": "AccessDenied", "message": "an explicit deny in a service control policy"}
PASSING: dict[str, dict[str, Any]] = {
    "throttled three times": {"fault": "throttle", "count": 3},
    "500 twice": {"fault": "refuse", "status": 500, "code": "InternalFailure", "message": "try again", "count": 2},
    "cut after its effect": {"fault": "cut_after", "count": 1},
    "timed out": {"fault": "delay", "ms": ATTEMPT_MS + 1000, "count": 1},
}
"""What a retry helps against, the SDK's or Lambda's."""
LASTING: dict[str, dict[str, Any]] = {
    "denied": DENIED,
    "silently lost": {"fault": "lose"},
    "500 from then on": {"fault": "refuse", "status": 500, "code": "InternalFailure", "message": "try again"},
}
"""What holds for as long as the containment lasts."""

TELLS_AFTER = 8
"""The number of the wake-up that tells what is not done, if it fails (`src/resume.rs`)."""
STUCK_SECONDS = 20.0
"""As many wake-ups come in this time as would tell the same again and again."""
OCCURRENCES = 3
"""How many calls alike are hit one by one: the changes of an interface are so many, the entries of an ACL are all alike."""


@dataclass(frozen=True)
class Reference:
    """An undisturbed containment: its calls, and how the entity then is."""

    kind: str
    points: list[Point]
    shape: Any


@dataclass
class Trial:
    """One subject, one call, one fault."""

    reference: Reference
    point: Point
    fault: str
    hit: bool = False
    said: str = ""
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.reference.kind}: {self.point} {self.fault} ({self.said or 'nothing said yet'})"


def refer(lane: Lane, kind: str) -> Reference:
    """Contains an entity undisturbed, and releases it."""
    return undisturbed(lambda: _refer(lane, kind))


def _refer(lane: Lane, kind: str) -> Reference:
    subject = make_subject(lane.bed, kind)
    time.sleep(QUIET_SECONDS)
    lane.fresh_process()
    mark, event = lane.bed.proxy.mark(), lane.event(subject, "contain")
    error = lane.deliver(event, 1)
    calls, shape = lane.calls(mark), subject.shape()
    if error or subject.left_open():
        raise RuntimeError(f"the undisturbed containment of the {kind} ended with {error}, open: {subject.left_open()}")
    lane.deliver(lane.event(subject, "release"))
    lane.forget(subject)
    return Reference(kind, points(calls, subject), shape)


def trials(reference: Reference) -> list[Trial]:
    """Every call with every fault; of a read the first of those alike, and only a change can be lost."""
    found = []
    for point in reference.points:
        if point.occurrence < (OCCURRENCES if point.changes else 1):
            found += [Trial(reference, point, fault) for fault in PASSING]
        if point.occurrence == 0:
            # What DynamoDB has acknowledged is there: to lose that is no fault that there is.
            losable = point.changes and point.service != "dynamodb"
            found += [Trial(reference, point, fault) for fault in LASTING if losable or fault != "silently lost"]
        elif point.occurrence == 1:
            found.append(Trial(reference, point, "500 from then on"))
    return found


def run(lane: Lane, trial: Trial) -> None:
    """Contains a fresh subject under the fault, judges what was said, and releases it without the fault."""
    subject = make_subject(lane.bed, trial.reference.kind)
    before, event, mark = subject.state(), lane.event(subject, "contain"), lane.bed.proxy.mark()
    lane.fresh_process()
    rule = {**trial.point.rule(subject, lane.name), **{**PASSING, **LASTING}[trial.fault]}
    if trial.point.occurrence:
        rule["skip"] = trial.point.occurrence
    with lane.bed.proxy.rule(**rule) as number:
        error = lane.deliver(event)
        silent = bool(error) or trial.point.service in ("dynamodb", "sns")
        # Who can't write to the journal can't give the record up either.
        stuck = trial.point.service == "dynamodb" and trial.fault in LASTING
        lane.wait_for_end(subject, event, mark, silent=silent, at_most=STUCK_SECONDS if stuck else None)
        trial.hit = any(r["id"] == number and r["hits"] for r in lane.bed.proxy.rules())
    finals = lane.finals(subject, event, mark)
    trial.said = f"{'+'.join(notice['stage'] for notice in finals) or 'nothing'}{f', {error}' if error else ''}"
    # A delivery had left the message to the wake-ups, and ended well.
    told_by_wake_up = wakes_stored(lane, subject, mark) > TELLS_AFTER
    trial.failures += _untrue(trial, subject, finals, error, told_by_wake_up=told_by_wake_up)
    _released(lane, trial, subject, before, finals)
    if not trial.failures:
        lane.forget(subject)


def wakes_stored(lane: Lane, subject: Subject, mark: int) -> int:
    """The number of the last wake-up that was stored for a subject after a mark; -1: none."""
    stored = lane.calls(mark, service="sqs", action="SendMessage")
    wakes = [json.loads(call["params"]["MessageBody"]) for call in stored if call["status"] == 200]
    return max((wake["after"] for wake in wakes if wake["record"].endswith(subject.names[0])), default=-1)


def _untrue(
    trial: Trial, subject: Subject, finals: list[dict[str, Any]], error: str | None, *, told_by_wake_up: bool
) -> list[str]:
    wrong = []
    left_open, shape = subject.left_open(), subject.shape()
    # What keeps an instance's evidence opens nothing if it is missing. Elsewhere one lock may stand in for another.
    evidence = subject.kind == "instance" and shape != trial.reference.shape
    missing = left_open or (["its state is not that of a contained one"] if evidence else [])
    silenced = trial.point.service == "sns" and trial.fault in LASTING
    last = finals[-1] if finals else None
    if len(finals) > 1:
        wrong.append("more than one final notice")
    if last and last["stage"] in ("Contained", "Unchanged"):
        wrong += [f"said {last['stage']}, but {what}: {_difference(trial.reference.shape, shape)}" for what in missing]
    elif trial.fault in PASSING and not (last and _had_no_way_back(trial, last)):
        wrong.append(f"a retry would have helped: {_summary(last)}")
    elif last:
        if last["stage"] not in ("Partial", "Failed"):
            wrong.append(f"ended {last['stage']}")
        elif trial.fault in LASTING and not _names_it(trial, last):
            wrong.append(f"{last['stage']} doesn't name what is open: {_summary(last)}")
        elif trial.fault == "500 from then on" and not (error or told_by_wake_up or _had_no_way_back(trial, last)):
            wrong.append(f"{last['stage']} without an error, though a retry can help")
    elif silenced:
        wrong += [f"without notices: {what}" for what in missing]
    elif not error:
        wrong.append("nothing was said, and no error returned")
    if error and (trial.fault in PASSING or trial.fault == "denied"):
        wrong.append(f"returns {error} after all deliveries")
    return wrong


NO_WAY_BACK = {"dynamodb": "the journal is out of reach", "sqs": "no wake-up could be stored"}
"""Without these services nothing is opened for the settle, and the notice says why."""


def _had_no_way_back(trial: Trial, notice: dict[str, Any]) -> bool:
    """The journal is waited for 2 s in all, a wake-up for as long as the SDK tries: then isolation comes at once.

    No retry can help: an interface that is isolated is never opened again.
    """
    why = NO_WAY_BACK.get(trial.point.service)
    said = why is not None and why in notice["mail"]
    return said and notice["stage"] == "Partial" and trial.reference.kind == "instance"


def _names_it(trial: Trial, notice: dict[str, Any]) -> bool:
    """Refused: by the call. Lost: by what wasn't done, since nothing tells which call was lost."""
    if trial.fault != "silently lost":
        return f"{trial.point.service}:{trial.point.action}" in notice["mail"]
    return bool(notice["json"]["notDone"] or notice["json"]["residue"])


def _released(lane: Lane, trial: Trial, subject: Subject, before: dict[str, Any], finals: list[dict[str, Any]]) -> None:
    """Whatever was done is undone again; without the journal nothing can be, which the notice says."""
    if trial.point.service == "dynamodb" and (trial.fault in LASTING or not all(n["json"].get("journalled") for n in finals)):
        return
    event, mark = lane.event(subject, "release"), lane.bed.proxy.mark()
    error = lane.deliver(event)
    lane.wait_for_end(subject, event, mark)
    after = subject.state()
    if error and not lane.finals(subject, event, mark):
        trial.failures.append(f"the release fails: {error}")
    if after != before:
        trial.failures.append(f"the release leaves {_difference(before, after)}")


def _summary(notice: dict[str, Any] | None) -> str:
    if notice is None:
        return "no notice"
    said = notice["json"]
    return f"{said.get('stage')}: {said.get('summary')} {said.get('notDone')} {said.get('residue')}"[:700]


def _difference(wanted: Any, found: Any, path: str = "") -> str:
    if isinstance(wanted, dict) and isinstance(found, dict):
        keys = [key for key in {**wanted, **found} if wanted.get(key) != found.get(key)]
        return "; ".join(_difference(wanted.get(key), found.get(key), f"{path}.{key}") for key in keys)
    return f"{path}: {found} instead of {wanted}"
