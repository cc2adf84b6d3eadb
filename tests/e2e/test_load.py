"""A burst, copies, and an account that throttles, in small: `make load` tries a thousand entities."""

from pathlib import Path

from testbed.bed import Bed
from testbed.load import Outcome, burst, copies, one_process, throttled


def judged(outcome: Outcome) -> None:
    print(outcome.figures)
    assert not outcome.wrong, "\n".join(outcome.wrong)


def test_a_burst_loses_nothing_and_the_watch_reads_it_all(bed: Bed, package: Path) -> None:
    judged(burst(bed, package, 30))


def test_copies_of_one_message_contain_once(bed: Bed, package: Path) -> None:
    judged(copies(bed, package, 15))


def test_an_account_that_takes_twenty_calls_a_second_is_survived(bed: Bed, package: Path) -> None:
    judged(throttled(bed, package, 15))


def test_memory_stays_flat(bed: Bed, package: Path) -> None:
    judged(one_process(bed, package, 50))
