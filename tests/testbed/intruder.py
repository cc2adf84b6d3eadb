"""The victim's view: what an intruder with real credentials of each entity gets done, before, in the window and after.

    PACKAGE_ZIP=... PROXY_BIN=... .venv/bin/python -m tests.testbed.intruder

The window is between the message and `Contained`. Every deny is attached and none holds yet, which on AWS takes some seconds: the
intruder has all rights and sees what was done. It is tried with and without the guard policy (cloudformation/guard-scp.yaml).
"""

import io
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Table

from .bed import REPOSITORY, Bed, running_bed
from .cast import Cast, Holder, make_cast
from .guard_policy import guard_statements
from .intruder_actions import ACTIONS, Action, Attempt, Left
from .product import Product, deploy_product, lead_to_proxy
from .self_check import DENY_ALL
from .victims import DENIALS, unique

PHASES = ("before", "in the window", "after")
STOPPED = {"TooManyRequestsException", "429"}
NOTHING = {"NoSuchEntity", "InvalidNetworkAclEntry.NotFound"}
INVALID = {"InvalidClientTokenId", "AuthFailure"}
FULL = {"fault": "refuse", "service": "iam", "status": 409, "code": "LimitExceeded", "message": "Cannot exceed quota"}


class Outcome(Enum):
    """What came of one attempt."""

    DONE = "done"
    NOTHING = "nothing"
    """Not refused, but there was nothing to undo."""
    REFUSED = "refused"

    @property
    def succeeded(self) -> bool:
        """Whether it was not refused."""
        return self is not Outcome.REFUSED


def outcome(attempt: Callable[[], object]) -> Outcome:
    """Tries it; an error that is neither a refusal nor an absence is raised."""
    try:
        attempt()
    except ClientError as error:
        code = str(error.response["Error"]["Code"])
        if code in DENIALS | STOPPED | INVALID:
            return Outcome.REFUSED
        if code in NOTHING:
            return Outcome.NOTHING
        raise
    return Outcome.DONE


@dataclass(frozen=True)
class Tried:
    """One cell of the table."""

    action: str
    holder: str
    phase: str
    guarded: bool
    outcome: Outcome


@dataclass
class Campaign:
    """Both casts, what was tried, and what is left of it."""

    product: Product
    casts: dict[bool, Cast]
    """By whether the guard policy binds them."""
    tried: list[Tried] = field(default_factory=list)
    left: list[tuple[bool, Left]] = field(default_factory=list)
    window_seconds: float = 0.0

    def phase(self, phase: str) -> None:
        """Tries everything with everything: the casts side by side, within one an attempt must see what the last one left."""
        with ThreadPoolExecutor(len(self.casts)) as pool:
            for found, left in pool.map(lambda guarded: self._on(phase, guarded), self.casts):
                self.tried.extend(found)
                self.left.extend(left)

    def _on(self, phase: str, guarded: bool) -> tuple[list[Tried], list[tuple[bool, Left]]]:
        cast, found, left = self.casts[guarded], [], []
        for holder in cast.holders:
            attempt = Attempt(cast, holder, holder.get())
            for action in actions_of(holder):
                if phase != "in the window" and action.prepare:
                    action.prepare(attempt)
                came = outcome(lambda: action.attempt(attempt))  # noqa: B023
                found.append(Tried(action.name, holder.name, phase, guarded, came))
                if phase == "before":
                    attempt.undo()
            left += [(guarded, one) for one in attempt.left]
        return found, left

    def contain_and_use_the_window(self) -> None:
        """Publishes a message for each cast, and tries everything once all is locked and before it is confirmed."""
        names = [principal.name for cast in self.casts.values() for principal in cast.principals]
        proxy, rules = self.product.bed.proxy, []
        for cast in self.casts.values():
            rules += [proxy.add_rule(action="AttachUserPolicy", contains=u.name, **FULL) for u in (cast.inline, cast.bounded)]
            rules.append(proxy.add_rule(action="PutUserPolicy", contains=cast.bounded.name, **FULL))
        # Each in a message of its own: a function works on eight entities at once.
        messages = [threading.Thread(target=self.product.contain, args=cast.arns, daemon=True) for cast in self.casts.values()]
        with self.product.bed.late(*names):
            for message in messages:
                message.start()
            self._wait_for_locks()
            began = time.monotonic()
            self.phase("in the window")
            self.window_seconds = time.monotonic() - began
            stages = {name: self.product.mailbox.stages(name) for cast in self.casts.values() for name in cast.names}
            early = [name for name, seen in stages.items() if seen != ["Started"]]
            if early:
                raise RuntimeError(f"the window had closed before everything was tried: {early}")
        for cast in self.casts.values():
            for name in cast.names:
                wait_until(lambda name=name: len(self.product.mailbox.stages(name)) > 1, 90, f"the final notice about {name}")
        for rule in rules:
            proxy.remove_rule(rule)

    def _wait_for_locks(self, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while open_yet := [lock for cast in self.casts.values() for lock in unlocked(cast)]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not locked within {seconds:.0f} s: {open_yet}")
            time.sleep(0.1)

    def named(self, left: Left) -> bool:
        """Whether any notice names what was made in the window."""
        return bool(self.product.mailbox.notices(left.name))

    def counts(self) -> Counter[tuple[str, bool, bool]]:
        """How many attempts, by phase, guard policy, and whether they succeeded."""
        return Counter((t.phase, t.guarded, t.outcome.succeeded) for t in self.tried)

    def remains(self) -> Counter[tuple[bool, str, bool | None, bool]]:
        """What was made in the window, counted by guard policy, kind, whether it is of use now, and whether a notice names it."""
        return Counter((guarded, left.kind, left.works(), self.named(left)) for guarded, left in self.left)

    def table(self) -> str:
        """As text: a mark for each phase in each cell."""
        marks = {Outcome.DONE: "X", Outcome.NOTHING: "o", Outcome.REFUSED: "-"}
        found = {(t.action, t.holder, t.guarded, t.phase): marks[t.outcome] for t in self.tried}
        console = Console(file=io.StringIO(), width=170, force_terminal=False)
        holders = [holder.name for holder in self.casts[False].holders]
        for guarded in self.casts:
            title = f"{'With' if guarded else 'Without'} the guard policy: before, in the window, after"
            table = Table(title=title, title_justify="left")
            table.add_column("action")
            for holder in holders:
                table.add_column(holder, justify="center", max_width=12)
            for action in ACTIONS:
                cells = ["".join(found.get((action.name, holder, guarded, phase), "") for phase in PHASES) for holder in holders]
                table.add_row(action.name, *cells)
            console.print(table)
        console.print("X done   o not refused, but nothing was there   - refused")
        for guarded in self.casts:
            for phase in PHASES:
                done, refused = (self.counts()[phase, guarded, succeeded] for succeeded in (True, False))
                console.print(f"{'with' if guarded else 'without'} guard, {phase}: {done} of {done + refused} succeeded")
        console.print("Made in the window, and not undone by containment:")
        for (guarded, kind, works, named), number in sorted(self.remains().items(), key=str):
            use = {True: "still of use", False: "denied as well", None: "of no use that can be tried here"}[works]
            said = "named in a notice" if named else "named in no notice"
            console.print(f"{'with' if guarded else 'without'} guard: {number} x {kind}: {use}, {said}")
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()


def actions_of(holder: Holder) -> list[Action]:
    """What is tried with these credentials."""
    return [action for action in ACTIONS if action.kind in holder.can]


def wait_until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Waits until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.1)


def unlocked(cast: Cast) -> list[str]:
    """Which locks were not made yet, as AWS describes it."""
    groups = {group for groups in cast.instance.groups().values() for group in groups}
    state = {principal.name: principal.state() for principal in cast.principals}
    denied = {
        "interfaces": groups == {cast.isolation}, "concurrency": cast.function.reserved() == 0,
        "inline deny": state[cast.inline.name]["inline"], "boundary": state[cast.bounded.name]["boundary"] == DENY_ALL,
        **{p.name: DENY_ALL in state[p.name]["attached"] for p in (cast.user, cast.role, cast.function.role)},
    }
    return [lock for lock, made in denied.items() if not made]


def run(bed: Bed, product: Product) -> Campaign:
    """The whole of it. The pause before the product looks again is the window: as long as trying everything takes."""
    guard = guard_statements(
        TargetIds="222222222222", MemberRoleName=product.member_role.rpartition("/")[2],
        BreakGlassPrincipals="arn:aws:iam::*:role/break-glass-*",
    )
    campaign = Campaign(product, {False: make_cast(bed), True: make_cast(bed, guard)})
    began = time.monotonic()
    campaign.phase("before")
    # All of it once more, and the time between the first lock and the last one, an instance's.
    window = 8 + (time.monotonic() - began)
    lead_to_proxy(bed, product.outputs["FunctionName"], CONFIRM_MILLISECONDS=str(round(window * 1000)))
    campaign.contain_and_use_the_window()
    campaign.phase("after")
    return campaign


def main() -> int:
    """Prints the table; 1 if anything succeeded after `Contained`."""
    package = Path(os.environ.get("PACKAGE_ZIP", REPOSITORY / "target" / "lambda" / "entity-lockdown.zip"))
    with running_bed() as bed:
        campaign = run(bed, deploy_product(bed, package, unique("lockdown")))
        print(campaign.table())
    return int(any(t.phase == "after" and t.outcome.succeeded for t in campaign.tried))


if __name__ == "__main__":
    sys.exit(main())
