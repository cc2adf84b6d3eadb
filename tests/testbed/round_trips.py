"""How many round trips lie between an event and a deny: calls side by side count as one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Call:
    """One call as an endpoint saw it; times in any unit, of one clock."""

    name: str
    began: float
    ended: float | None
    """Nothing while it is under way."""
    about: Any = None


def chain(calls: Sequence[Call], is_last: Callable[[Call], bool]) -> list[str]:
    """The longest chain of calls, each begun after the one before had ended, up to the first that is the last one.

    Of equally long ones that whose last call ended last, since that is what the next one waited for.
    """
    chains: list[tuple[float, list[str]]] = []
    for call in sorted(calls, key=lambda call: call.began):
        before = max(
            ((ended, names) for ended, names in chains if ended <= call.began),
            key=lambda one: (len(one[1]), one[0]), default=(0.0, []),
        )[1]
        names = [*before, call.name]
        if is_last(call):
            return names
        if call.ended is not None:
            chains.append((call.ended, names))
    raise RuntimeError("the function never made the call that was waited for")
