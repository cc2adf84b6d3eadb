"""The crash matrix: wherever the function dies, its work is finished by somebody, and the entity ends as it should.

Generated from the calls of an undisturbed run. `MATRIX=all` tries every call, before it and after it took effect; without, a
sample.
"""

import time
from itertools import zip_longest
from typing import Any

import pytest
from testbed.matrix.crash import Death, RepairTrial, Trial, deaths, record, record_repair, run, run_repair
from testbed.matrix.lane import DELIVERIES, QUIET_SECONDS, Lane
from testbed.matrix.points import Point
from testbed.matrix.subjects import KINDS, Subject, make_subject
from testbed.matrix.work import conclude, each, sample

SAMPLE = {"user": 4, "role": 3, "function": 4, "instance": 4}
"""Trials of each kind in the sample; each is a containment and a release that die."""
REPAIRS = {"user": 2, "role": 1, "function": 2, "instance": 2}
"""Trials of each kind in the sample of watches that die."""


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
    reached = sum(len(trial.reached) for trial in trials)
    calls = f"{len(found['contain'])} calls of a containment, {len(found['release'])} of a release"
    conclude(f"crash matrix, {kind}: {calls}", began, trials, reached, [death for trial in trials for death in trial.missed])


@pytest.mark.parametrize("kind", KINDS)
def test_wherever_a_watch_dies_the_next_look_locks_and_tells(lanes: list[Lane], kind: str) -> None:
    found = record_repair(lanes[0], kind)
    trials = [RepairTrial(kind, death) for death in sample(deaths(found), REPAIRS[kind])]
    began = time.monotonic()
    each(lanes, trials, run_repair)
    missed = [trial for trial in trials if not trial.reached]
    conclude(f"crash matrix, watch of a {kind}: {len(found)} calls", began, trials, len(trials) - len(missed), missed)


def opened_and_dead(lane: Lane) -> tuple[Subject, dict[str, Any]]:
    """An instance whose function died when the first interface had just been opened for the settle, and its message."""
    subject = make_subject(lane.bed, "instance")
    event = lane.event(subject, "contain")
    # The timeouts of its tracked connections come first.
    opening = Point("ec2", "ModifyNetworkInterfaceAttribute", 1, 1)
    with lane.dying_at(opening, subject, event, after=True) as reached:
        assert reached and subject.left_open()
    return subject, event


def test_an_outage_that_outlasts_the_deliveries_leaves_no_instance_open_for_good(lanes: list[Lane]) -> None:
    lane = lanes[0]
    subject, event = opened_and_dead(lane)
    out = {"fault": "refuse", "status": 500, "code": "InternalError", "message": "an outage"}
    with lane.bed.proxy.rule(service="ec2", action="DescribeInstances", contains=subject.names[0], **out):
        for _ in range(DELIVERIES):
            lane.product.invoke(event)
        time.sleep(QUIET_SECONDS)
    time.sleep(QUIET_SECONDS)
    lane.product.invoke(event)
    lane.product.invoke({"watch": True})
    assert subject.left_open() == []


def test_the_watch_finishes_what_neither_a_redelivery_nor_a_wake_up_does(lanes: list[Lane]) -> None:
    lane = lanes[0]
    with lane.bed.proxy.rule(fault="lose", service="sqs", action="SendMessage", caller=lane.name):
        subject, _ = opened_and_dead(lane)
        time.sleep(QUIET_SECONDS)
        lane.product.invoke({"watch": True})
    assert subject.left_open() == []
