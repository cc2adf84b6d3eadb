"""The crash matrix: wherever the function dies, its work is finished by somebody, and the entity ends as it should.

Generated from the calls of an undisturbed run. `MATRIX=all` tries every call, before it and after it took effect; without, a sample.
"""

import time
from itertools import zip_longest

import pytest
from testbed.matrix.crash import Death, Trial, deaths, record, run
from testbed.matrix.lane import Lane
from testbed.matrix.subjects import KINDS
from testbed.matrix.work import each, sample

SAMPLE = {"user": 5, "role": 4, "function": 5, "instance": 6}
"""Trials of each kind in the sample; each is a containment and a release that die."""


def paired(contain: list[Death], release: list[Death]) -> list[tuple[Death | None, Death | None]]:
    """One subject for two deaths, and everything tried once."""
    return list(zip_longest(contain, release))


@pytest.mark.parametrize("kind", KINDS)
def test_wherever_it_dies_the_entity_ends_locked_and_as_it_was(lanes: list[Lane], kind: str) -> None:
    found = record(lanes[0], kind)
    pairs = sample(paired(deaths(found["contain"]), deaths(found["release"])), SAMPLE[kind])
    trials = [Trial(kind, contain, release) for contain, release in pairs]
    began = time.monotonic()
    each(lanes, trials, run)
    reached, missed = (sum(len(getattr(t, name)) for t in trials) for name in ("reached", "missed"))
    failures = [f"{trial}: {failure}" for trial in trials for failure in trial.failures]
    print(
        f"\ncrash matrix, {kind}: {len(found['contain'])} calls of a containment, {len(found['release'])} of a release; "
        f"killed at {reached} points, {missed} not reached, {len(failures)} failures; {time.monotonic() - began:.0f} s"
    )
    for death in [death for trial in trials for death in trial.missed]:
        print(f"  not reached: {death}")
    assert not failures, "\n".join(failures)
    assert reached and missed * 10 <= reached
