"""The fault matrix: whatever call AWS fails, and however: nothing is called contained that isn't, and what is open is said.

Generated from the calls of an undisturbed containment. `MATRIX=all` tries every call with every fault; without, a sample.
"""

import time

import pytest
from testbed.matrix.faults import LASTING, TELLS_AFTER, refer, run, trials, wakes_stored
from testbed.matrix.lane import END_SECONDS, Lane
from testbed.matrix.subjects import KINDS, Subject, make_subject
from testbed.matrix.work import conclude, each, sample
from testbed.watching import until

SAMPLE = {"user": 6, "role": 4, "function": 6, "instance": 4}
"""Trials of each kind in the sample."""


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_call_fails_what_is_said_is_true(lanes: list[Lane], kind: str) -> None:
    reference = refer(lanes[0], kind)
    chosen, began = sample(trials(reference), SAMPLE[kind]), time.monotonic()
    each(lanes, chosen, run)
    missed = [trial for trial in chosen if not trial.hit]
    calls = f"{len(reference.points)} calls of a containment"
    conclude(f"fault matrix, {kind}: {calls}", began, chosen, len(chosen) - len(missed), missed)


def wait_for_wake_up(lane: Lane, subject: Subject, mark: int, number: int) -> None:
    """Waits until the wake-up with a number has come: it stores the one after it first."""
    deadline = time.monotonic() + END_SECONDS
    while wakes_stored(lane, subject, mark) <= number:
        assert time.monotonic() < deadline, f"no wake-up {number} within {END_SECONDS:.0f} s"
        time.sleep(0.2)


def test_a_journal_that_can_not_be_written_is_no_flood_and_made_up_for(lanes: list[Lane]) -> None:
    lane = lanes[0]
    subject = make_subject(lane.bed, "user")
    before, event, mark = subject.state(), lane.event(subject, "contain"), lane.bed.proxy.mark()
    writes = {"service": "dynamodb", "action": "TransactWriteItems", "caller": lane.name, "contains": subject.names[0]}
    with lane.bed.proxy.rule(**LASTING["500 from then on"], **writes, skip=1):
        assert lane.deliver(event) is None
        # Wake-ups come meanwhile, and can't note what they say: the eighth alone repeats it.
        for last, times in ((TELLS_AFTER - 1, 1), (TELLS_AFTER + 2, 2)):
            wait_for_wake_up(lane, subject, mark, last)
            until(lambda: len(lane.finals(subject, event, mark)) >= times, END_SECONDS, f"told {times} times")  # noqa: B023
            told = lane.finals(subject, event, mark)
            assert [(one["stage"], one["json"]["journalled"]) for one in told] == [("Contained", False)] * times
        assert len(lane.notices(subject, mark)) == 3 and not subject.left_open()
    mark = lane.bed.proxy.mark()
    lane.wait_for_end(subject, event, mark)
    [told] = lane.finals(subject, event, mark)
    assert told["stage"] == "Contained" and told["json"]["journalled"]
    lane.deliver(lane.event(subject, "release"))
    assert subject.state() == before
