"""The demo: four victims are locked down by one message each, and released again, on emulated AWS. Told as a story.

    make demo

`PACKAGE_ZIP` is the function's package, `PROXY_BIN` the bed's proxy, `LOCKDOWN_BIN` the command (the Makefile sets all three);
`KEEP_BED=1` leaves the logs.
It checks itself: exit code 0 means that everything was as it should be, 1 that something was not, 2 that it could not begin,
130 that it was interrupted. Whatever happens, it leaves nothing running.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from botocore.exceptions import ClientError
from rich.markup import escape
from rich.table import Table

from .accounts import HUB, MEMBER, REGION
from .bed import REPOSITORY, Bed, proxy_binary, running_bed
from .clients import Credentials, Endpoints
from .instances import Instance, make_instance, make_vpc
from .product import EXTERNAL_ID, Product, deploy_product
from .story import Story
from .victims import DENIALS, Function, make_function, make_role, make_user

SETTLE_SECONDS = 5
"""The template's default is 60: too long for a story, and the emulator tracks no connections."""

PATIENCE_SECONDS = 30.0
"""How long a victim is watched until it is locked or open again."""

REASON = "key found in a public repository"
REQUESTED_BY = "demo"


@dataclass(frozen=True)
class Answer:
    """What AWS answers a victim."""

    allowed: bool
    text: str

    def __str__(self) -> str:
        return self._coloured(self.text)

    def short(self) -> str:
        """The HTTP status alone."""
        return self._coloured(self.text.partition(" ")[0])

    def _coloured(self, text: str) -> str:
        return f"[green]{text}[/]" if self.allowed else f"[red]{text}[/]"


@dataclass
class Victim:
    """An entity to lock, and what its own credentials (or its callers) get."""

    label: str
    arn: str
    name: str
    ask: Callable[[], Answer]
    asks: str
    """What `ask` does, in words."""
    state: Callable[[], Any]
    before: Any = None
    answers: dict[str, Answer] = field(default_factory=dict)
    """By the moment: `before`, `contained`, `released`."""
    deny_seconds: float = float("nan")
    end_seconds: float = float("nan")
    restored: bool = False


def answer(call: Callable[[], Any]) -> Answer:
    """What AWS answers a call: allowed, or refused in which way. Any other error is raised."""
    try:
        call()
    except ClientError as error:
        code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code in DENIALS or code == "TooManyRequestsException":
            return Answer(False, f"{status} {code.removesuffix('Exception')}")
        raise
    return Answer(True, "200 allowed")


def list_queues(endpoints: Endpoints, credentials: Credentials) -> Answer:
    """What `sqs:ListQueues` answers these credentials."""
    return answer(lambda: endpoints.client("sqs", credentials).list_queues())


def invoke(function: Function, alias: str) -> Answer:
    """What an invocation by an alias answers."""
    return answer(lambda: function.client().invoke(FunctionName=function.name, Qualifier=alias)["Payload"].read())


# --- The story ---------------------------------------------------------------------------------------------------------------


def tell(story: Story, bed: Bed, package: Path) -> None:
    """All chapters but the first, which starts the bed."""
    product = deployed(story, bed, package)
    victims, instance, bystander = make_victims(story, bed)
    for victim in victims:
        victim.answers["before"], victim.before = victim.ask(), victim.state()
        story.expect(victim.answers["before"].allowed, f"{victim.label}: {victim.asks}: {victim.answers['before']}")
    others = bystander.groups()
    show_message(story, product, victims[0])
    for victim in victims:
        lock(story, product, victim, settles=victim is victims[-1])
    isolated(story, bed, victims[-1], instance, bystander, others)
    status(story, product, victims)
    release(story, product, victims)
    summary(story, victims)


def deployed(story: Story, bed: Bed, package: Path) -> Product:
    """Deploys both templates."""
    story.chapter(
        "The two templates",
        f"The hub goes into account {HUB}, the member role into account {MEMBER}, by CloudFormation. One parameter is not as "
        f"you would have it: SettleSeconds is {SETTLE_SECONDS}, not 60.",
    )
    with story.working("deploy cloudformation/entity-lockdown.yaml and cloudformation/member-role.yaml"):
        product = deploy_product(bed, package, SettleSeconds=str(SETTLE_SECONDS))
    story.say(f"  Requests go to [bold]{product.outputs['TopicArn']}[/]")
    return product


def make_victims(story: Story, bed: Bed) -> tuple[list[Victim], Instance, Instance]:
    """A user, a role, a function, an instance, and another instance with the same role."""
    story.chapter(
        "Four victims",
        f"All live in account {MEMBER}, and all have AdministratorAccess. This is what they get before anything happens:",
    )
    endpoints = bed.endpoints
    with story.working("make a user, a role, a function and two instances"):
        user = make_user(endpoints, prefix="alice")
        role = make_role(endpoints, path="/service-role/", prefix="builder")
        session = role.session("intruder")
        function = make_function(endpoints, reserved=5, queue=True)
        alias = function.alias("live")
        vpc, shared = make_vpc(endpoints), make_role(endpoints, prefix="web-server")
        instance = make_instance(endpoints, vpc, interfaces=2, role=shared)
        bystander = make_instance(endpoints, vpc, role=shared)
        own = instance.session()
    victims = [
        Victim("IAM user", user.arn, user.name, lambda: list_queues(endpoints, user.credentials),
               "sqs:ListQueues with its access key", user.state),
        Victim("IAM role", role.arn, role.name, lambda: list_queues(endpoints, session),
               "sqs:ListQueues with a session from before", role.state),
        Victim("Lambda function", alias, function.name, lambda: invoke(function, "live"),
               "invocation by its alias", function.state),
        Victim("EC2 instance", instance.arn, instance.id, lambda: list_queues(endpoints, own),
               "sqs:ListQueues with its role's credentials", instance.state),
    ]
    return victims, instance, bystander


def show_message(story: Story, product: Product, victim: Victim) -> None:
    """What is published."""
    story.chapter(
        "One message each",
        "Locking is publishing one SNS message. Its attributes say all; the ExternalId is the shared secret of the deployment:",
    )
    shown = {**attributes(victim.arn, "contain"), "ExternalId": {"DataType": "String", "StringValue": "(the secret)"}}
    story.say("")
    story.console.print(f"  aws sns publish --topic-arn {product.outputs['TopicArn']} \\", markup=False, soft_wrap=True)
    story.console.print("    --message 'see attributes' --message-attributes '{", markup=False)
    lines = [f'      "{name}": {json.dumps(value)}' for name, value in shown.items()]
    story.console.print(",\n".join(lines) + "}'", markup=False, soft_wrap=True)


def attributes(arn: str | list[str], action: str) -> dict[str, dict[str, str]]:
    """The message attributes of a request."""
    one = isinstance(arn, str)
    texts = {"Action": action, "ExternalId": EXTERNAL_ID, "Reason": REASON, "RequestedBy": REQUESTED_BY}
    return {
        "Arn": {"DataType": "String" if one else "String.Array", "StringValue": arn if one else json.dumps(arn)},
        **{name: {"DataType": "String", "StringValue": text} for name, text in texts.items()},
    }


def lock(story: Story, product: Product, victim: Victim, *, settles: bool) -> None:
    """Publishes the message, watches the victim until it is refused, and shows the mails."""
    story.chapter(f"Lock the {victim.label}", f"[bold]{escape(victim.arn)}[/]")
    began = time.monotonic()
    message = product.publish_raw(attributes(victim.arn, "contain"), wait=False)
    with story.working("message published; asking again and again with the victim's own credentials") as work:
        victim.deny_seconds = watch(product.bed, message, victim, began, work.tick)
    denied = f"{victim.asks}: {victim.ask()}, {victim.deny_seconds:.2f} s after the message"
    story.expect(victim.deny_seconds < PATIENCE_SECONDS, denied)
    if settles and not delivered(product.bed, message):
        story.mail(product.mailbox.wait(victim.name, "Started"))
        with story.working("the settle, as step 8 of the mail says; then the interfaces are closed") as work:
            while not delivered(product.bed, message):
                work.tick()
                time.sleep(0.1)
    product.bed.wait_for_delivery(message)
    if not product.mailbox.notices(message=message):
        raise RuntimeError("the function has ended without a word: does the package run here? KEEP_BED=1 keeps its log")
    victim.end_seconds = time.monotonic() - began
    victim.answers["contained"] = victim.ask()
    notices = product.mailbox.notices(message=message)
    for notice in notices:
        if notice.stage != "Started":
            story.mail(notice, whole=victim.label == "IAM user")
        elif not settles:
            story.say(f"  [blue]Mail: {escape(notice.subject)}[/] [dim](sent beside the work, not before it)[/]")
    stages = [notice.stage for notice in notices]
    story.expect(stages == ["Started", "Contained"], f"the mails are Started, then Contained ({', '.join(stages) or 'none'})")
    story.expect(not victim.answers["contained"].allowed, f"after the last mail: {victim.answers['contained']}")


def watch(bed: Bed, message: str, victim: Victim, began: float, tick: Callable[[], None]) -> float:
    """Asks until the victim is refused; the seconds since the message, or no number if it never was."""
    ends = began + PATIENCE_SECONDS
    while time.monotonic() < ends:
        if not victim.ask().allowed:
            return time.monotonic() - began
        if delivered(bed, message):
            ends = min(ends, time.monotonic() + 2)
        tick()
        time.sleep(0.02)
    return float("nan")


def delivered(bed: Bed, message: str) -> bool:
    """Whether the function has ended."""
    with suppress(TimeoutError):
        bed.wait_for_delivery(message, 0)
        return True
    return False


def isolated(
    story: Story, bed: Bed, victim: Victim, instance: Instance, bystander: Instance, others: dict[str, list[str]]
) -> None:
    """The instance's network, and the instance beside it."""
    story.chapter(
        "The instance, and the one beside it",
        "An instance is denied and cut off. Another one with the same role must notice nothing.",
    )
    now = instance.groups()
    ids = sorted({group for groups in now.values() for group in groups})
    found = bed.endpoints.client("ec2", MEMBER, instance.region).describe_security_groups(GroupIds=ids)["SecurityGroups"]
    rules = [rule for group in found for rule in group["IpPermissions"] + group["IpPermissionsEgress"]]
    table = Table("interface", "security groups before", "now", box=None, header_style="bold", pad_edge=True)
    for interface, groups in now.items():
        table.add_row(interface, ", ".join(victim.before["groups"][interface]), ", ".join(groups))
    story.console.print(table)
    story.expect(len(ids) == 1 and not rules, "every interface is in one group, without any rule, in or out, IPv4 or IPv6")
    beside = list_queues(bed.endpoints, bystander.session())
    story.expect(beside.allowed, f"the other instance of the same role: sqs:ListQueues: {beside}")
    story.expect(bystander.groups() == others, "the other instance keeps its security groups")


def status(story: Story, product: Product, victims: list[Victim]) -> None:
    """What the command says is open."""
    story.chapter(
        "What is open", "A responder who comes later asks the journal, with credentials of the hub's account: lockdown status",
    )
    command = [str(command_binary()), "status", "--table", product.outputs["JournalTableName"]]
    bed, root = product.bed, Credentials.root(HUB)
    environment = {
        "AWS_ENDPOINT_URL": bed.endpoints.aws, "SSL_CERT_FILE": str(bed.certificates.ca), "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": root.access_key_id, "AWS_SECRET_ACCESS_KEY": root.secret_access_key,
        "COLUMNS": str(story.console.width),
    }
    said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    story.console.print((said.stdout + said.stderr).partition("\n\n")[0], markup=False, soft_wrap=True)
    listed = sum(victim.name in said.stdout for victim in victims)
    story.expect(said.returncode == 0 and listed == len(victims), f"all {len(victims)} are listed, {listed} found")


def release(story: Story, product: Product, victims: list[Victim]) -> None:
    """Releases all four with one message."""
    story.chapter(
        "Release",
        "One message can name several entities. This one releases all four; everything goes back to what the journal holds.",
    )
    with story.working("one message with four ARNs"):
        message = product.publish_raw(attributes([victim.arn for victim in victims], "release"))
    notices = product.mailbox.notices(message=message)
    for victim in victims:
        own = [notice for notice in notices if victim.name in notice.subject]
        if own and victim is victims[-1]:
            story.mail(own[-1])
        elif own:
            story.say(f"  [green]Mail: {escape(own[-1].subject)}[/]")
        story.expect([notice.stage for notice in own] == ["Released"], f"{victim.label}: the mail says Released")
    for victim in victims:
        victim.answers["released"], victim.restored = victim.ask(), victim.state() == victim.before
        story.expect(victim.answers["released"].allowed, f"{victim.label}: {victim.asks}: {victim.answers['released']}")
        story.expect(victim.restored, f"{victim.label}: its state equals the one before")


def summary(story: Story, victims: list[Victim]) -> None:
    """One line a victim."""
    story.chapter("What it came to")
    table = Table(header_style="bold", box=None, pad_edge=False)
    for column in ("victim", "before", "contained", "released", "state"):
        table.add_column(column)
    for column in ("denied after", "last mail after"):
        table.add_column(column, justify="right")
    for victim in victims:
        table.add_row(
            victim.label,
            *(victim.answers[moment].short() for moment in ("before", "contained", "released")),
            "[green]as before[/]" if victim.restored else "[red]changed[/]",
            f"{victim.deny_seconds:.2f} s", f"{victim.end_seconds:.2f} s",
        )
    story.console.print(table)
    story.say(
        "[dim]Seconds since the message was published, on this machine and its emulated AWS. The first victim's have the function's "
        f"cold start in them, the instance's last mail the settle of {SETTLE_SECONDS} s.[/]"
    )


# --- Begin and end -----------------------------------------------------------------------------------------------------------


def command_binary() -> Path:
    """`LOCKDOWN_BIN`, or cargo's debug build."""
    return Path(os.environ.get("LOCKDOWN_BIN", proxy_binary().with_name("lockdown")))


def cannot_begin(problem: str) -> NoReturn:
    """Ends with the reason."""
    print(f"error: {problem}", file=sys.stderr)
    sys.exit(2)


def main() -> int:
    """Runs the story and returns the exit code."""
    package = Path(os.environ.get("PACKAGE_ZIP", REPOSITORY / "target" / "lambda" / "entity-lockdown.zip"))
    for needed, target in ((package, "make package"), (proxy_binary(), "make tools"), (command_binary(), "make tools")):
        if not needed.is_file():
            cannot_begin(f"{needed} is missing: run `make demo`, or `{target}` first")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    story, began, keep = Story(), time.monotonic(), "KEEP_BED" in os.environ
    try:
        story.chapter(
            "An AWS of its own",
            "Everything below runs on this machine: emulators stand in for AWS, with IAM enforced. No real account is touched.",
        )
        with ExitStack() as parts:
            with story.working("start the emulators, and the proxy between the function and them"):
                bed = parts.enter_context(running_bed(keep_folder=keep))
            # Registered last, so run first: nothing interrupts the clean-up.
            parts.callback(ignore_signals)
            if keep:
                story.say(f"  Logs: {bed.folder}")
            tell(story, bed, package)
    except KeyboardInterrupt:
        story.say("\n[bold red]Interrupted.[/] Everything that was started is stopped.")
        return 130
    except Exception as error:
        story.say(f"\n[bold red]The demo broke off:[/] {escape(f'{type(error).__name__}: {error}')}")
        story.say("Everything that was started is stopped. KEEP_BED=1 keeps the logs.")
        return 1
    verdict = f"{story.expectations - len(story.failures)} of {story.expectations} expectations held"
    story.say(f"\nCleaned up: nothing of this runs any more. [bold]{verdict}[/], {time.monotonic() - began:.0f} s.")
    for failure in story.failures:
        story.say(f"  [bold red]NOT[/]  {failure}")
    return 1 if story.failures else 0


def ignore_signals() -> None:
    """Lets nothing interrupt what follows."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
