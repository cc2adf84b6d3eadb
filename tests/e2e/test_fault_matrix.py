"""The fault matrix: whatever call AWS fails, and however: nothing is called contained that isn't, and what is open is said.

Generated from the calls of an undisturbed containment. `MATRIX=all` tries every call with every fault; without, a sample.
"""

import time

import pytest
from testbed.matrix.faults import refer, run, trials
from testbed.matrix.lane import Lane
from testbed.matrix.subjects import KINDS, make_subject
from testbed.matrix.work import each, sample

BROKEN = {"fault": "refuse", "status": 500, "code": "InternalFailure", "message": "try again"}
SAMPLE = {"user": 6, "role": 4, "function": 6, "instance": 4}
"""Trials of each kind in the sample."""
WAKE_UPS_SECONDS = 15.0
"""Time for three wake-ups at least: the lease lapses, and each comes a lease and a half after the one before."""


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_call_fails_what_is_said_is_true(lanes: list[Lane], kind: str) -> None:
    reference = refer(lanes[0], kind)
    chosen, began = sample(trials(reference), SAMPLE[kind]), time.monotonic()
    each(lanes, chosen, run)
    hit = sum(trial.hit for trial in chosen)
    failures = [f"{trial}: {failure}" for trial in chosen for failure in trial.failures]
    print(
        f"\nfault matrix, {kind}: {len(reference.points)} calls of a containment; {hit} of {len(chosen)} faults met, "
        f"{len(failures)} failures; {time.monotonic() - began:.0f} s"
    )
    for trial in chosen:
        if not trial.hit:
            print(f"  not met: {trial}")
    assert not failures, "\n".join(failures)
    assert hit and (len(chosen) - hit) * 10 <= hit


def test_a_journal_that_can_not_be_written_is_told_of_once_and_made_up_for(lanes: list[Lane]) -> None:
    lane = lanes[0]
    subject = make_subject(lane.bed, "user")
    before, event, mark = subject.state(), lane.event(subject, "contain"), lane.bed.proxy.mark()
    writes = {"service": "dynamodb", "action": "TransactWriteItems", "caller": lane.name, "contains": subject.names[0]}
    with lane.bed.proxy.rule(**BROKEN, **writes, skip=1):
        assert lane.deliver(event) is None
        # Wake-ups come meanwhile, and can't note what they say.
        time.sleep(WAKE_UPS_SECONDS)
        assert len(lane.calls(mark, service="sqs", action="SendMessage")) > 2
        [told] = lane.finals(subject, event, mark)
        assert told["stage"] == "Contained" and not told["json"]["journalled"] and not subject.left_open()
    mark = lane.bed.proxy.mark()
    lane.wait_for_end(subject, event, mark)
    [told] = lane.finals(subject, event, mark)
    assert told["stage"] == "Contained" and told["json"]["journalled"]
    lane.deliver(lane.event(subject, "release"))
    assert subject.state() == before
