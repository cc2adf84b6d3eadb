"""The fault matrix: whatever call AWS fails, and however: nothing is called contained that isn't, and what is open is said.

Generated from the calls of an undisturbed containment. `MATRIX=all` tries every call with every fault; without, a sample.
"""

import time

import pytest
from testbed.matrix.faults import refer, run, trials
from testbed.matrix.lane import Lane
from testbed.matrix.subjects import KINDS
from testbed.matrix.work import each, sample

SAMPLE = {"user": 6, "role": 4, "function": 6, "instance": 4}
"""Trials of each kind in the sample."""


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
