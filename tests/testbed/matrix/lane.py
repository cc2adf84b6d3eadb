"""A lane: a product of its own, whose function only one trial at a time uses, so that lanes run side by side in one bed."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..accounts import HUB
from ..bed import Bed
from ..product import EXTERNAL_ID, Product, deploy_product, lead_to_proxy
from ..victims import unique
from .points import Point
from .subjects import Subject

LEASE_MS = 2000
"""Long enough for a holder that lives to renew it on a busy machine."""
ATTEMPT_MS = 4000
"""Long enough for a machine that has much else to do: the emulators' own slowness is no fault to try."""
QUIET_SECONDS = LEASE_MS / 1000 + 2.5
"""A wake-up comes after the lease, up to a second late: a run is recorded alone after so long."""
DELIVERIES = 3
"""How often Lambda delivers an event at most."""
PAUSE_SECONDS = 1.0
"""Between two deliveries; Lambda's first pause is a minute."""
UNDISTURBED_TRIES = 3
"""How often a run is recorded at most."""
END_SECONDS = 120.0
"""Within what the wake-ups have finished, or told that they can't: eight leases and a half, SQS, which comes up to a second late, and
their work between. Work that is under way gets twice as long: a busy machine is no defect."""
FINAL = {"Contained", "Partial", "Failed", "Unchanged", "Refused", "Released"}


@dataclass(frozen=True)
class Lane:
    """One product and its name, which its calls hold."""

    product: Product
    name: str

    @property
    def bed(self) -> Bed:
        """The bed that it runs in."""
        return self.product.bed

    def event(self, subject: Subject, action: str) -> dict[str, Any]:
        """A message as SNS hands it over."""
        return self.product.event({"Arn": subject.arn, "Action": action, "ExternalId": EXTERNAL_ID})

    def deliver(self, event: dict[str, Any], times: int = DELIVERIES) -> str | None:
        """Hands an event over until it doesn't fail, at most as often as Lambda does; returns the last error."""
        error = None
        for _ in range(times):
            answer = self.product.invoke(event)
            error = f"{answer['error']}: {answer['payload'].get('errorMessage')}" if answer["error"] else None
            if error is None:
                break
            time.sleep(PAUSE_SECONDS)
        return error

    def wait_for_end(
        self, subject: Subject, event: dict[str, Any], mark: int, *, silent: bool = False, at_most: float | None = None
    ) -> None:
        """Waits until nobody works on a subject and its final notice is out (`silent`: there will be none), `at_most` so long.

        A delivery may end before: one that finds a wake-up at work leaves it to it.
        """
        began = time.monotonic()
        while True:
            works = any("holder" in item for item in self.items(subject)[0])
            if not works and (silent or self.finals(subject, event, mark)):
                return
            waited = time.monotonic() - began
            if at_most is not None and waited > at_most:
                return
            if waited > END_SECONDS and not works:
                return
            if waited > 2 * END_SECONDS:
                raise TimeoutError(f"{subject.names[0]} is still worked on after {waited:.0f} s")
            time.sleep(0.3)

    def calls(self, mark: int, **match: str) -> list[dict[str, Any]]:
        """This function's calls after a mark: its sessions' names hold the product's, or what it calls in the hub does."""
        return self.bed.proxy.calls(mark, contains=self.name, **match)

    def fresh_process(self) -> None:
        """The next event finds no process: it starts as the recorded run did."""
        for process in self.product.processes():
            kill(process)

    def finals(self, subject: Subject, event: dict[str, Any], mark: int) -> list[dict[str, Any]]:
        """The final notices about a subject and a message that SNS took, each with its mail."""
        message = event["Records"][0]["Sns"]["MessageId"]
        found = self.notices(subject, mark)
        return [notice for notice in found if notice["stage"] in FINAL and notice["json"].get("messageId") == message]

    def notices(self, subject: Subject, mark: int) -> list[dict[str, Any]]:
        """The notices about a subject that SNS took after a mark, each with its mail; one to both topics counts once."""
        found: list[dict[str, Any]] = []
        for call in self.calls(mark, service="sns", action="Publish"):
            notice = notice_of(call)
            if call["status"] == 200 and call["by"] == "aws" and notice and notice["json"].get("entity") == subject.arn:
                if all(notice["json"] != other["json"] for other in found):
                    found.append(notice)
        return found

    def items(self, subject: Subject) -> tuple[list[dict[str, Any]], list[str]]:
        """The records of a subject in the journal, and the keys of the changes that hold its name."""
        items = [item for item in self.product.journal() if subject.names[0] in str(item)]
        keys = {item["pk"]["S"]: item for item in items}
        records = [item for key, item in keys.items() if key.startswith("record/") and key.endswith(subject.names[0])]
        return records, [key for key in keys if key.startswith("change/")]

    def forget(self, subject: Subject) -> None:
        """Deletes the records of a subject whose trial is over, so that the journal stays small."""
        table = self.bed.endpoints.client("dynamodb", HUB)
        for record in self.items(subject)[0]:
            table.delete_item(TableName=self.product.outputs["JournalTableName"], Key={"pk": record["pk"]})

    @contextmanager
    def dying_at(self, point: Point, subject: Subject, event: dict[str, Any], *, after: bool) -> Iterator[bool]:
        """Hands an event to a fresh process, which is killed at a call, before it or after it took effect.

        Yields whether it was. It wasn't if it didn't make the call, or if another one made it first, to which a wake-up had
        led: then that one is killed, and the event has its answer in the ordinary way.
        """
        self.fresh_process()
        rule = self.bed.proxy.add_rule(
            fault="hold_after" if after else "hold", skip=point.occurrence, count=1, **point.rule(subject, self.name)
        )
        with ThreadPoolExecutor(1) as pool:
            invoked = pool.submit(self.product.invoke, event)
            try:
                if port := self._held(rule, invoked):
                    for process in self.product.processes():
                        if is_of(process, port):
                            kill(process)
            finally:
                self.bed.proxy.remove_rule(rule)
            yield invoked.result()["error"] == "Runtime.ExitError"

    def _held(self, rule: int, invoked: Future[Any]) -> int | None:
        """The port of the connection on which a call is held, as soon as one is."""
        while True:
            ended = invoked.done()
            for held in (r["held"] for r in self.bed.proxy.rules() if r["id"] == rule and r["held"]):
                return int(held[0])
            if ended:
                return None
            time.sleep(0.02)


def make_lane(bed: Bed, package: Path) -> Lane:
    """Deploys a product whose leases and attempts are short."""
    name = unique("matrix")
    product = deploy_product(bed, package, name, SettleSeconds="1")
    lead_to_proxy(
        bed, product.outputs["FunctionName"], LEASE_MILLISECONDS=str(LEASE_MS), ATTEMPT_MILLISECONDS=str(ATTEMPT_MS),
        JOURNAL_MILLISECONDS="2000",
    )
    return Lane(product, name)


T = TypeVar("T")


def undisturbed(work: Callable[[], T]) -> T:
    """What comes of a run that nothing is done to; again if it ends badly, since a busy machine disturbs too, and that is printed."""
    for _ in range(UNDISTURBED_TRIES - 1):
        try:
            return work()
        except RuntimeError as error:
            print(f"\n  recorded again: {error}", flush=True)
    return work()


def kill(process: int) -> None:
    """SIGKILL, and waits for the end."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return
    deadline = time.monotonic() + 5
    while _runs(process) and time.monotonic() < deadline:
        time.sleep(0.01)


def is_of(process: int, port: int) -> bool:
    """Whether a process holds the connection from a local port."""
    sockets = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
               if int(line.split()[1].rpartition(":")[2], 16) == port}
    try:
        opened = [os.readlink(entry) for entry in Path(f"/proc/{process}/fd").iterdir()]
    except OSError:
        return False
    return any(f"socket:[{socket}]" in opened for socket in sockets if socket != "0")


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def notice_of(call: dict[str, Any]) -> dict[str, Any] | None:
    """The notice that a call publishes, if it does."""
    if (call["service"], call["action"]) != ("sns", "Publish"):
        return None
    parts = json.loads(call["params"]["Message"])
    notice = json.loads(parts["default"])
    return {"stage": notice["stage"], "json": notice, "mail": parts.get("email", "")}
