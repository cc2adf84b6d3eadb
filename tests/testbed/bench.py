"""Measures what the packaged function itself takes: its start, its first message, later ones, memory, calls, connections.

    make bench                     tables, beside the goals; at the end how fast rules are tried (bench_rules.py)
    make -s bench JSON=1           the same as JSON
    make bench PEER_CMD='COMMAND'  another handler beside it, in alternating runs, and the ratios

The function runs by itself, fed through a Runtime API of the bench's own, against an endpoint of the bench's own (endpoint/)
that answers at once, or after 20 ms, in plain HTTP and in TLS; each service has an address of its own. A message is an IAM
user's containment. Times begin when the Runtime API hands the event out; a deny is in force when its call is answered. The
pauses of 5 s in which IAM's changes come to hold are set to nothing, so that an invocation's end can be told.

`PACKAGE_ZIP` is the package, `ENDPOINT_BIN` the endpoint (the Makefile sets both). `RUNS` is how often each case is measured,
`QUIET_SECONDS` how long each run waits for an idle machine; how many began on a busy one is told.
`PEER_CMD` gets the same environment; it must speak Lambda's Runtime API. `RULES_COMMAND` is the command `lockdown`, built with
--release; without it rules are left out.
"""

import json
import os
import shlex
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore
from rich.table import Table

from . import bench_rules
from .accounts import HUB, MEMBER, REGION
from .endpoint_process import Endpoint, endpoint_binary
from .measuring import begin, unpack
from .product import EXTERNAL_ID, sns_event
from .round_trips import Call, chain
from .runtime_api import Handled, Runtime
from .story import make_console

RUNS = int(os.environ.get("RUNS", "20"))
MESSAGES = ("first message", "later message")
LATER = 5
"""Messages after the first one, in each run."""

QUIET_SECONDS = float(os.environ.get("QUIET_SECONDS", "1"))
"""How long each run waits for the machine to be idle."""

IDLE = 0.9
"""What counts as idle: this part of all processors, over `LOOK_SECONDS`."""

LOOK_SECONDS = 0.1

DELAY_MS = 20.0
COUNTING_DELAY_MS = 100.0
"""Where round trips are counted: what runs side by side overlaps for certain, also on a busy machine."""

INTERFACES = (1, 10)
INSTANCE_RUNS = 3

REST_SECONDS = 0.01
"""Before each message: the function waits for it, as most do, and what the one before left is done."""

DENIES = ("AttachUserPolicy", "PutUserPolicy", "PutUserPermissionsBoundary", "PutRolePolicy", "AttachRolePolicy")
TOPIC = f"arn:aws:sns:{REGION}:{HUB}:requests"


@dataclass(frozen=True)
class Case:
    """How the endpoint is reached, and how long it takes."""

    name: str
    scheme: str
    delay_ms: float


CASES = (
    Case("plain, at once", "http", 0.0), Case("TLS, at once", "https", 0.0),
    Case("plain, 20 ms", "http", DELAY_MS), Case("TLS, 20 ms", "https", DELAY_MS),
)


@dataclass(frozen=True)
class Handler:
    """One program to measure."""

    name: str
    command: list[str]


class Bench:
    """What all runs share."""

    def __init__(self, endpoint: Endpoint, folder: Path) -> None:
        self.endpoint = endpoint
        self._log = folder / "handler.log"
        # What a function loads on AWS: the whole bundle, with the bench's own authority in it.
        self._authorities = folder / "bundle.pem"
        bundle = Path(botocore.__file__).parent / "cacert.pem"
        self._authorities.write_bytes(endpoint.certificates.ca.read_bytes() + bundle.read_bytes())

    def start(self, handler: Handler, scheme: str, **more: str) -> Runtime:
        """Starts a handler with the environment that Lambda and the hub's template would give it."""
        return Runtime(
            handler.command,
            {
                "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
                "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION,
                "AWS_ACCESS_KEY_ID": "ASIAFUNCTION", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token",
                "AWS_LAMBDA_FUNCTION_NAME": "bench", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128", "AWS_LAMBDA_LOG_STREAM_NAME": "bench",
                "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/bench", "_HANDLER": "bootstrap",
                "SSL_CERT_FILE": str(self._authorities), "AWS_CA_BUNDLE": str(self._authorities),
                "EXTERNAL_ID": EXTERNAL_ID, "MEMBER_ROLE_NAME": "EntityLockdownMemberRole",
                "FUNCTION_ROLE_ARN": f"arn:aws:iam::{HUB}:role/entity-lockdown-function",
                "REQUEST_TOPIC_ARN": f"arn:aws:sns:{REGION}:{HUB}:requests",
                "AUDIT_TOPIC_ARN": f"arn:aws:sns:{REGION}:{HUB}:audit",
                "FAILURE_TOPIC_ARN": f"arn:aws:sns:{REGION}:{HUB}:failure",
                "JOURNAL_TABLE": "journal",
                "WAKE_QUEUE_URL": f"https://sqs.{REGION}.amazonaws.com/{HUB}/wake",
                "SETTLE_SECONDS": "1", "CONFIRM_MILLISECONDS": "0",
                **self.endpoint.urls(scheme), **more,
            },
            self._log,
        )

    def contain(self, runtime: Runtime, arn: str) -> tuple[Handled, list[dict[str, Any]]]:
        """Hands one message over; when it was handled, and the calls that it led to."""
        time.sleep(REST_SECONDS)
        before = len(self.endpoint.log()["calls"])
        handled = runtime.handle(sns_event(TOPIC, {"ExternalId": EXTERNAL_ID, "Action": "contain", "Arn": arn}))
        # The last call's answer can be older than its line in the log.
        time.sleep(REST_SECONDS)
        log = self.endpoint.log()
        if log["complaints"]:
            raise RuntimeError("these would be figures of nothing: " + "; ".join(sorted(set(log["complaints"]))))
        return handled, log["calls"][before:]

    def run(self, handler: Handler, case: Case) -> dict[str, float]:
        """One process from its start to its last message: its figures."""
        self.endpoint.reset(delay_ms=case.delay_ms)
        with self.start(handler, case.scheme) as runtime:
            figures: dict[str, float] = {
                "start to ready (ms)": runtime.ready_seconds * 1000,
                "processor of it (ms)": runtime.processor_ms(),
            }
            first = self._message(runtime, MESSAGES[0], "u0")
            more = [self._message(runtime, MESSAGES[1], f"u{n}") for n in range(1, LATER + 1)]
            figures |= first | {name: statistics.median(one[name] for one in more) for name in more[0]}
            figures["peak memory (MB)"] = runtime.peak_memory() / 1e6
            for service, count in self.endpoint.log()["connections"].items():
                figures[f"connections to {service}"] = count
        return figures

    def _message(self, runtime: Runtime, which: str, user: str) -> dict[str, float]:
        processor = runtime.processor_ms()
        handled, calls = self.contain(runtime, f"arn:aws:iam::{MEMBER}:user/{user}")
        deny = next((call for call in calls if call["action"] in DENIES and call["about"] == user), None)
        if deny is None:
            raise RuntimeError(f"the user {user} was never denied: these would be figures of nothing")
        return {
            f"{which}: deny arrives (ms)": (deny["came"] - handled.handed) / 1e6,
            f"{which}: deny in force (ms)": (deny["answered"] - handled.handed) / 1e6,
            f"{which}: invocation ends (ms)": (handled.answered - handled.handed) / 1e6,
            f"{which}: processor (ms)": runtime.processor_ms() - processor,
            f"{which}: calls": len(calls),
        }

    def chains(self, handler: Handler) -> dict[str, list[str]]:
        """The calls one after the other to a user's deny, in a process's first message and in its second."""
        self.endpoint.reset(delay_ms=COUNTING_DELAY_MS)
        with self.start(handler, "http") as runtime:
            found = {}
            for which in MESSAGES:
                _, calls = self.contain(runtime, f"arn:aws:iam::{MEMBER}:user/{which.split()[0]}")
                found[which] = chain_to(calls, lambda call: call["action"] in DENIES)
        return found

    def instance(self, handler: Handler, interfaces: int) -> dict[str, Any]:
        """The round trips to an instance's deny, and to the isolation of its last interface."""
        self.endpoint.reset(delay_ms=COUNTING_DELAY_MS, interfaces=interfaces)
        with self.start(handler, "http") as runtime:
            _, calls = self.contain(runtime, f"arn:aws:ec2:{REGION}:{MEMBER}:instance/i-0123456789abcdef0")
        modified = [call for call in calls if call["action"] == "ModifyNetworkInterfaceAttribute"]
        moved = [call for call in modified if call["about"] == "isolation"]
        if len(moved) != interfaces:
            raise RuntimeError(f"{len(moved)} of {interfaces} interfaces were isolated: figures of nothing")
        return {
            "deny": chain_to(calls, lambda call: call["action"] in DENIES),
            "isolation": chain_to(calls, lambda call: call is moved[-1]),
            "calls": len(calls),
        }


def idle() -> float:
    """The part of all processors that was idle while it looked."""

    def times() -> list[int]:
        # proc(5), `stat`: the fourth and fifth numbers are the time spent idle and waiting for a disk.
        return [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]

    before = times()
    time.sleep(LOOK_SECONDS)
    spent = [now - then for then, now in zip(before, times(), strict=True)]
    return (spent[3] + spent[4]) / max(sum(spent), 1)


def quiet() -> bool:
    """Waits for an idle machine; whether it came to be one."""
    deadline = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < deadline:
        if idle() >= IDLE:
            return True
    return False


def chain_to(calls: list[dict[str, Any]], is_last: Callable[[dict[str, Any]], bool]) -> list[str]:
    """The calls one after the other up to this one."""
    seen = [Call(f"{call['service']}:{call['action']}", call["came"], call["answered"], call) for call in calls]
    return chain(seen, lambda call: is_last(call.about))


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median, least and most."""
    values = list(values)
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def measure(bench: Bench, handlers: list[Handler], say: Callable[[str], None]) -> dict[str, Any]:
    """All figures: of each handler its cases, the handlers taking turns; then the instances."""
    runs: dict[str, dict[str, list[dict[str, float]]]] = {handler.name: {} for handler in handlers}
    service_us: list[float] = []
    disturbed = 0
    for case in CASES:
        say(f"{case.name}: {RUNS} runs")
        for handler in handlers * RUNS:
            disturbed += not quiet()
            runs[handler.name].setdefault(case.name, []).append(bench.run(handler, case))
            if not case.delay_ms:
                service_us += [(call["answered"] - call["came"]) / 1000 for call in bench.endpoint.log()["calls"]]
    say("round trips")
    chains = {handler.name: bench.chains(handler) for handler in handlers}
    for name, cases in runs.items():
        for case in (case for case in CASES if case.delay_ms):
            for run in cases[case.name]:
                for which in MESSAGES:
                    trips = len(chains[name][which])
                    run[f"{which}: round trips to the deny"] = trips
                    run[f"{which}: deny above their {case.delay_ms:.0f} ms each (%)"] = (
                        run[f"{which}: deny in force (ms)"] / (trips * case.delay_ms) - 1
                    ) * 100
    ours = handlers[0]
    return {
        "cores": os.cpu_count(),
        "runs": RUNS,
        "runs_on_a_busy_machine": disturbed,
        "endpoint_us_a_call": spread(service_us),
        "figures": {
            name: {
                case: {figure: spread(run.get(figure, 0) for run in of) for figure in of[0]} for case, of in cases.items()
            }
            for name, cases in runs.items()
        },
        "chains": chains,
        # The shortest chain: a longer one comes of calls side by side that a busy machine has pulled apart.
        "instance": {
            n: min((bench.instance(ours, n) for _ in range(INSTANCE_RUNS)), key=lambda run: len(run["isolation"]))
            for n in INTERFACES
        },
    }


GOALS = {
    "start to ready (ms)": "35, the generator seeded and the CAs loaded",
    "first message: deny in force (ms)": "12 with TLS, at once",
    "later message: deny in force (ms)": "2 at once",
    f"first message: deny above their {DELAY_MS:.0f} ms each (%)": "5",
    f"later message: deny above their {DELAY_MS:.0f} ms each (%)": "5",
    "first message: round trips to the deny": "4",
    "later message: round trips to the deny": "3",
    "peak memory (MB)": "16",
    **{f"connections to {service}": "1" for service in ("STS", "DYNAMODB", "IAM", "SNS", "SQS")},
}
"""The most that is wanted, as issue and README say."""


def shown(value: dict[str, float] | None) -> str:
    """A figure for people: the median, and from where to where."""
    if value is None:
        return ""
    digits = 0 if all(float(one).is_integer() for one in value.values()) else 1
    median, least, most = (f"{value[name]:.{digits}f}" for name in ("median", "min", "max"))
    return median if least == most else f"{median} ({least} to {most})"


def ratio(one: dict[str, float] | None, other: dict[str, float] | None) -> str:
    """How many times the other's median this one is."""
    return f"{one['median'] / other['median']:.2f}" if one and other and other["median"] > 0 else ""


def tables(measured: dict[str, Any]) -> Iterable[Table]:
    """For people."""
    names = list(measured["figures"])
    for name in names:
        table = Table(title=f"{name}: medians of {measured['runs']} runs", box=None, header_style="bold", title_justify="left")
        for column in ("figure", *(case.name for case in CASES), "goal"):
            table.add_column(column)
        cases = measured["figures"][name]
        for figure in ordered(cases):
            table.add_row(figure, *(shown(cases[case.name].get(figure)) for case in CASES), GOALS.get(figure, ""))
        yield table
    for peer in names[1:]:
        table = Table(title=f"{names[0]} : {peer}, medians", box=None, header_style="bold", title_justify="left")
        for column in ("figure", *(case.name for case in CASES)):
            table.add_column(column)
        ours, theirs = measured["figures"][names[0]], measured["figures"][peer]
        for figure in ordered(ours):
            pairs = [(ours[case.name].get(figure), theirs[case.name].get(figure)) for case in CASES]
            if "%" not in figure:
                table.add_row(figure, *(ratio(one, other) for one, other in pairs))
        yield table
    table = Table(title="an instance", box=None, header_style="bold", title_justify="left")
    for column in ("interfaces", "round trips to the deny", "to the isolation of the last interface", "calls"):
        table.add_column(column)
    for number, of in measured["instance"].items():
        table.add_row(str(number), str(len(of["deny"])), str(len(of["isolation"])), str(of["calls"]))
    yield table


def ordered(cases: dict[str, dict[str, Any]]) -> list[str]:
    """All figures of all cases, as they come in a case with a delay, where they are all."""
    return list(dict.fromkeys(figure for case in reversed(CASES) for figure in cases[case.name]))


def main() -> int:
    """Measures, and prints."""
    package, as_json = begin("bench", endpoint_binary())
    folder = Path(tempfile.mkdtemp(prefix="lockdown-bench-"))
    endpoint = None
    try:
        handlers = [Handler("entity-lockdown", [str(unpack(package, folder))])]
        if peer := shlex.split(os.environ.get("PEER_CMD", "")):
            handlers.append(Handler("peer", peer))
        endpoint = Endpoint(endpoint_binary(), folder)
        measured = measure(Bench(endpoint, folder), handlers, lambda what: print(what, file=sys.stderr))
        if command := os.environ.get("RULES_COMMAND"):
            print("rules", file=sys.stderr)
            measured["rules"] = bench_rules.measure(Path(command))
    except RuntimeError as error:
        sys.exit(f"error: {error}")
    finally:
        if endpoint:
            endpoint.child.stop()
        if "KEEP_BED" not in os.environ:
            shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        print(json.dumps(measured, indent=2))
        return 0
    console = make_console()
    for table in tables(measured):
        console.print(table, "")
    if "rules" in measured:
        console.print(bench_rules.table(measured["rules"]), "")
    for which, calls in measured["chains"][handlers[0].name].items():
        console.print(f"{which}: {' > '.join(calls)}")
    endpoint_us = measured["endpoint_us_a_call"]
    console.print(
        f"{measured['cores']} cores; {measured['runs_on_a_busy_machine']} of {RUNS * len(CASES) * len(handlers)} runs "
        f"began on a busy machine; the endpoint itself takes {endpoint_us['median'] / 1000:.3f} ms a call"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
