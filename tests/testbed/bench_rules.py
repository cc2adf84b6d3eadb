"""Measures `lockdown rules test`: how fast, how that grows with the number of rules, and how much memory it takes.

Makes CloudTrail up (compact, as CloudTrail stores it, one file of `{"Records": [...]}`), and rules up beside the shipped ones, runs
the command pinned to one processor, and prints a table; with --json the same for programs. `make bench` has it at its end. Rates are of processor time, so that a
busy machine falsifies them less; parsing, rules and entities are all in them.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from .bed import REPOSITORY
from .story import make_console

MEGABYTES = 200
BESIDE = (0, 10, 100, 1000, 10000)
"""How many rules are tried beside the shipped ones."""
SERVICES = ["ec2", "iam", "s3", "ssm", "sts", "lambda", "rds", "kms", "logs", "ecr", *(f"service{n}" for n in range(90))]
VERBS = ["Create", "Delete", "Put", "Update", "Describe", "List", "Get", "Start", "Stop", "Attach", "Detach", "Modify"]
ACCOUNT = "222222222222"


def record(dice: random.Random) -> dict[str, Any]:
    """One record of CloudTrail, about 1.4 KB."""
    service, role = dice.choice(SERVICES), f"role-{dice.randrange(200)}"
    name = dice.choice(VERBS) + f"Thing{dice.randrange(400)}"
    return {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole",
            "principalId": f"AROAEXAMPLEEXAMPLE{dice.randrange(1000):03}:session",
            "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/session-{dice.randrange(10**9)}",
            "accountId": ACCOUNT,
            "accessKeyId": f"ASIAEXAMPLE{dice.randrange(10**9):09}",
            "sessionContext": {
                "sessionIssuer": {
                    "type": "Role",
                    "principalId": "AROAEXAMPLEEXAMPLE000",
                    "arn": f"arn:aws:iam::{ACCOUNT}:role/service-role/{role}",
                    "accountId": ACCOUNT,
                    "userName": role,
                },
                "attributes": {"creationDate": "2026-11-22T10:00:00Z", "mfaAuthenticated": "false"},
            },
        },
        "eventTime": f"2026-11-{dice.randrange(1, 29):02}T{dice.randrange(24):02}:{dice.randrange(60):02}:00Z",
        "eventSource": f"{service}.amazonaws.com",
        "eventName": name,
        "awsRegion": dice.choice(["eu-west-1", "us-east-1"]),
        "sourceIPAddress": f"198.51.100.{dice.randrange(256)}",
        "userAgent": "aws-sdk-java/2.20 Linux/5.10 OpenJDK_64-Bit_Server_VM/17 exec-env/AWS_Lambda_java17 io/sync http/Apache",
        "requestParameters": {
            "filterSet": {"items": [{"name": "tag:role", "valueSet": {"items": [{"value": f"web-{dice.randrange(99)}"}]}}]},
            "maxResults": dice.randrange(1000),
            "description": 'a text with "quotes" and \\ in it',
        },
        "responseElements": None if name.startswith(("Describe", "List", "Get")) else {"requestId": "r", "_return": True},
        "requestID": f"{dice.getrandbits(128):032x}",
        "eventID": f"{dice.getrandbits(128):032x}",
        "readOnly": name.startswith(("Describe", "List", "Get")),
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Management",
        "tlsDetails": {
            "tlsVersion": "TLSv1.3",
            "cipherSuite": "TLS_AES_128_GCM_SHA256",
            "clientProvidedHostHeader": f"{service}.eu-west-1.amazonaws.com",
        },
    }


def write_events(path: Path, size: int) -> int:
    """Writes a file of about so many bytes; how many records it has."""
    dice = random.Random(20261122)
    # A thousand records in turn: to make each one up would take longer than to read them all.
    texts = [json.dumps(record(dice), separators=(",", ":")) for _ in range(1000)]
    written = count = 0
    with path.open("w", encoding="utf-8") as file:
        file.write('{"Records":[')
        while written < size:
            text = texts[count % len(texts)]
            file.write(("," if count else "") + text)
            written += len(text) + 1
            count += 1
        file.write("]}")
    return count


def conditions(count: int) -> Iterator[str]:
    """So many conditions of the kinds that teams write."""
    dice = random.Random(count)
    for number in range(count):
        service, name = dice.choice(SERVICES), dice.choice(VERBS) + f"Thing{dice.randrange(4000)}"
        source = f'eventSource = "{service}.amazonaws.com"'
        match number % 10:
            case 6:
                verb = dice.choice(VERBS)
                yield f"when = '{source} and (eventName starts_with \"{verb}Rare\" or eventName like \"*{verb}Rare*\")'"
            case 7:
                yield (
                    f"when = 'eventName in (\"{name}\", \"{name}X\") and not userIdentity.arn like \"*role/admin*\" "
                    f"and sourceIPAddress cidr (\"10.0.0.0/8\", \"192.168.0.0/16\")'"
                )
            case 8:
                yield f"when = 'event_type = \"guardduty\" and type starts_with \"Kind{number}:EC2/\" and severity >= 7'"
            case 9:
                detail = {"eventName": [name], "userIdentity": {"type": ["IAMUser"]}}
                yield f"pattern = '{json.dumps({'source': [f'aws.{service}'], 'detail': detail})}'"
            case _:
                yield f"when = 'event_type = \"cloudtrail\" and {source} and eventName = \"{name}\"'"


def write_rules(folder: Path, count: int) -> None:
    """The shipped rules, and so many more."""
    shutil.copytree(REPOSITORY / "rules", folder)
    rules = (
        f'[[rule]]\nname = "made-up-{number}"\ntitle = "t"\nseverity = 3\n{condition}\naction = "notify"\n'
        for number, condition in enumerate(conditions(count))
    )
    (folder / "made-up.toml").write_text("\n".join(rules), encoding="utf-8")


def run(command: Path, rules: Path, events: Path) -> dict[str, Any]:
    """Runs the command once: its answer, its processor time in seconds, its peak memory in MiB."""
    out_read, out_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(out_write, 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        os.execv(command, [str(command), "rules", "test", "--json", "--rules", str(rules), "--events", str(events)])
    os.close(out_write)
    with os.fdopen(out_read) as out:
        answer = out.read()
    _, status, usage = os.wait4(child, 0)
    if status != 0:
        raise RuntimeError(f"{command} ended with {os.waitstatus_to_exitcode(status)}")
    return {
        **json.loads(answer),
        "seconds": usage.ru_utime + usage.ru_stime,
        "peakMiB": usage.ru_maxrss / 1024,
    }


def measure(command: Path, megabytes: int = MEGABYTES, numbers: Sequence[int] = BESIDE) -> dict[str, Any]:
    """Runs the command with each number of rules beside the shipped ones, over so many MB of events."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        events = Path(folder) / "events.json"
        count = write_events(events, megabytes * 1_000_000)
        size = events.stat().st_size
        for number in numbers:
            rules = Path(folder) / f"rules-{number}"
            write_rules(rules, number)
            result = run(command.resolve(), rules, events)
            if result["events"] != count or result["skipped"]:
                raise RuntimeError(f"{result['events']} of {count} events were read, {result['skipped']} skipped")
            rows.append(
                {
                    "rules": number,
                    "megabytesPerSecond": round(size / 1e6 / result["seconds"]),
                    "microsecondsPerEvent": round(result["seconds"] * 1e6 / count, 2),
                    "peakMiB": round(result["peakMiB"], 1),
                }
            )
    return {"events": count, "megabytes": round(size / 1e6), "rows": rows}


def table(measured: dict[str, Any]) -> Table:
    """The same for people."""
    found = Table(title=f"rules: {measured['events']} events, {measured['megabytes']} MB, one processor", title_justify="left", box=None)
    for heading in ("rules beside the shipped", "MB/s", "µs per event", "peak memory (MiB)"):
        found.add_column(heading, justify="right")
    for row in measured["rows"]:
        found.add_row(*(str(row[key]) for key in ("rules", "megabytesPerSecond", "microsecondsPerEvent", "peakMiB")))
    return found


def main() -> None:
    """Measures, and prints."""
    parser = argparse.ArgumentParser(prog="python -m tests.testbed.bench_rules", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", type=Path, help="the command `lockdown`, built with --release")
    parser.add_argument("--megabytes", type=int, default=MEGABYTES, help=f"how many MB of events (default {MEGABYTES})")
    parser.add_argument("--rules", type=int, nargs="+", default=BESIDE, help="how many rules beside the shipped")
    parser.add_argument("--json", action="store_true", help="for programs")
    args = parser.parse_args()
    try:
        measured = measure(args.command, args.megabytes, args.rules)
    except RuntimeError as error:
        sys.exit(f"error: {error}")
    if args.json:
        print(json.dumps(measured, indent=2))
    else:
        make_console().print(table(measured))


if __name__ == "__main__":
    main()
