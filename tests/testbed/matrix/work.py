"""Trials side by side: one thread for each lane, from one list."""

import itertools
import os
import queue
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from .lane import Lane

S = TypeVar("S")

ALL = os.environ.get("MATRIX") == "all"
"""`MATRIX=all`: every trial; otherwise a sample that is the same each time."""


def sample(trials: Sequence[S], count: int) -> list[S]:
    """So many of the trials, evenly spread, all of them with `MATRIX=all`; `MATRIX_PART=n/m` takes every m-th from the n-th.

    `MATRIX_ONLY` repeats those alone whose line, as it is printed when they fail, holds this text.
    """
    only = os.environ.get("MATRIX_ONLY")
    if only:
        return [trial for trial in trials if only in str(trial)]
    chosen = list(trials)
    if not ALL and len(chosen) > count:
        chosen = [chosen[(2 * n + 1) * len(chosen) // (2 * count)] for n in range(count)]
    part = os.environ.get("MATRIX_PART")
    if part:
        nth, of = (int(number) for number in part.split("/"))
        # What runs side by side is recorded in another order each time: the parts are to be of one whole.
        chosen = sorted(chosen, key=str)[nth - 1 :: of]
    return chosen


class Trial(Protocol):
    """What can go wrong in it is noted."""

    failures: list[str]


T = TypeVar("T", bound=Trial)

PROGRESS = 20
"""After so many trials it is printed how many there were (to be seen with pytest's `-s`)."""
SLOW_SECONDS = 60
"""A trial that takes longer is printed: what waits for many wake-ups, or a machine that has too much to do."""


def each(lanes: Sequence[Lane], trials: Sequence[T], work: Callable[[Lane, T], None]) -> None:
    """Does the work for each trial, as many at once as there are lanes; an exception is that trial's failure."""
    waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
    for trial in trials:
        waiting.put(trial)
    done = itertools.count(1)

    def drain(lane: Lane) -> None:
        while True:
            try:
                trial = waiting.get_nowait()
            except queue.Empty:
                return
            began = time.monotonic()
            try:
                work(lane, trial)
            except Exception:  # noqa: BLE001
                trial.failures.append(f"the trial broke off: {traceback.format_exc(limit=4)}")
            if (took := time.monotonic() - began) > SLOW_SECONDS:
                print(f"  {took:.0f} s: {trial}", flush=True)
            for failure in trial.failures:
                print(f"  FAILED {trial}: {failure}", flush=True)
            if (number := next(done)) % PROGRESS == 0:
                print(f"  {number} of {len(trials)} tried", flush=True)

    threads = [threading.Thread(target=drain, args=(lane,), daemon=True) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def conclude(what: str, began: float, trials: Sequence[Trial], met: int, missed: Sequence[object]) -> None:
    """Prints what was tried, how many points were `met` and which were `missed`; no failure, and few that are missed, or it fails.

    One may be: where a machine is slow a wake-up gets to a point first.
    """
    failures = [f"{trial}: {failure}" for trial in trials for failure in trial.failures]
    took = time.monotonic() - began
    print(f"\n{what}; {met} of {met + len(missed)} met, {len(failures)} failures; {took:.0f} s")
    for one in missed:
        print(f"  not met: {one}")
    assert not failures, "\n".join(failures)
    assert met and len(missed) <= max(1, met // 10)
