"""The command `lockdown` as a responder uses it, against the deployed product."""

import json
import os
import shlex
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import botocore
import pytest
from testbed.accounts import HUB, MEMBER, REGION
from testbed.bed import Bed
from testbed.command import DONE, FAILED, NOT_FOUND, OUT_OF_REACH, PARTIAL, TIMED_OUT, USAGE, Command
from testbed.product import EXTERNAL_ID, Product
from testbed.victims import User, make_user, unique

WRONG = "wrong-horse-battery-staple"


@pytest.fixture
def command(product: Product) -> Command:
    return Command(product)


@pytest.fixture
def user(bed: Bed) -> User:
    return make_user(bed.endpoints)


# --- The whole way -----------------------------------------------------------------------------------------------------------


def test_a_responder_locks_looks_and_releases(command: Command, user: User) -> None:
    before = user.state()
    ran = command.publish(user.arn, more=("--wait", "--reason", "key leaked", "--incident-id", "INC-7", "--requested-by", "Ada"))
    assert ran.code == DONE, ran
    assert "message " in ran.out and f"Contained: {user.arn}" in ran.out
    assert not user.allowed()

    listed = command.run("status", "--json").json()
    [mine] = [one for one in listed if one["entity"] == user.arn]
    assert (mine["status"], mine["left"], mine["claimed"]["reason"]) == ("contained", [], "key leaked")
    text = command.run("status")
    assert user.arn in text.out and mine["releaseCommand"] in text.out

    for name in (user.arn, mine["containmentId"]):
        shown = command.run("show", name)
        assert shown.code == DONE
        for part in (user.arn, "INC-7", "Ada", "attach AWSDenyAll", '"attached":false', "History", "contain: Contained"):
            assert part in shown.out, part
    record = command.run("show", user.arn, "--json").json()
    assert record["containment"] == mine["containmentId"]

    # The command that notice and status give is the one that works.
    line = shlex.split(mine["releaseCommand"])
    assert line[0] == "lockdown"
    released = command.run(*line[1:], "--wait")
    assert released.code == DONE and f"Released: {user.arn}" in released.out, released
    assert user.allowed() and user.state() == before
    assert user.arn not in command.run("status").out
    assert "released" in command.run("show", user.arn).out
    closed = command.run("show", mine["containmentId"])
    assert closed.code == NOT_FOUND and "by its entity's ARN" in closed.err


def test_the_json_of_a_publication_says_how_each_request_ended(command: Command, user: User) -> None:
    done = command.publish(user.arn, more=("--wait", "--json")).json()
    [message], [result] = done["messages"], done["results"]
    assert message["entities"] == [user.arn] and result["messageId"] == message["messageId"]
    assert (result["entity"], result["end"]) == (user.arn, "Contained")


def test_thirty_entities_go_in_two_messages(command: Command, bed: Bed) -> None:
    users = [make_user(bed.endpoints) for _ in range(30)]
    ran = command.publish(*[user.arn for user in users], more=("--wait", "--json"))
    assert ran.code == DONE, ran
    done = ran.json()
    assert [len(message["entities"]) for message in done["messages"]] == [25, 5]
    assert {result["end"] for result in done["results"]} == {"Contained"} and len(done["results"]) == 30
    assert not any(user.allowed() for user in users)
    assert command.publish(*[user.arn for user in users], action="release", more=("--wait",)).code == DONE
    assert all(user.allowed() for user in users)


def test_a_plan_is_published_and_not_followed(command: Command, user: User) -> None:
    assert command.publish(user.arn, action="plan").code == DONE
    # Nothing waited for it.
    ends = time.monotonic() + 30
    while not command.product.mailbox.stages(user.name) and time.monotonic() < ends:
        time.sleep(0.1)
    assert command.product.mailbox.stages(user.name) == ["Planned"] and user.allowed()
    ran = command.publish(user.arn, action="plan", more=("--wait",))
    assert ran.code == USAGE and "mail" in ran.err
    assert command.product.mailbox.stages(user.name) == ["Planned"]


# --- How it ends -------------------------------------------------------------------------------------------------------------


def test_a_failed_containment_ends_with_its_own_code(command: Command) -> None:
    arn = f"arn:aws:iam::{MEMBER}:user/{unique('nobody')}"
    ran = command.publish(arn, more=("--wait",))
    assert ran.code == FAILED and f"Failed: {arn}" in ran.out


def test_a_release_in_part_ends_with_its_own_code_and_says_what_is_left(command: Command, user: User) -> None:
    assert command.publish(user.arn, more=("--wait",)).code == DONE
    with command.product.bed.proxy.rule(fault="lose", action="DetachUserPolicy", contains=user.name):
        ran = command.publish(user.arn, action="release", more=("--wait",))
    assert ran.code == PARTIAL and "NOT done: detach AWSDenyAll" in ran.out, ran
    [mine] = [one for one in command.run("status", "--json").json() if one["entity"] == user.arn]
    assert mine["status"] == "releasing" and "detach AWSDenyAll" in mine["left"][0]
    assert command.publish(user.arn, action="release", more=("--wait",)).code == DONE
    assert user.allowed()


def test_waiting_sees_the_work_go_on(command: Command, user: User) -> None:
    """The message is in the journal before the command asks: its end comes seconds later."""
    with command.product.bed.proxy.rule(fault="delay", action="ListAttachedUserPolicies", contains=user.name, ms=1500):
        ran: list[Ran] = []
        wait = threading.Thread(target=lambda: ran.append(command.publish(user.arn, more=("--wait", "--timeout", "60"))))
        wait.start()
        wait.join(90)
    assert ran and ran[0].code == DONE and f"Contained: {user.arn}" in ran[0].out


def test_a_wrong_secret_is_never_confirmed_and_the_timeout_says_what_may_be(command: Command, user: User) -> None:
    ran = command.with_environment(LOCKDOWN_EXTERNAL_ID=WRONG).publish(user.arn, more=("--wait", "--timeout", "3"))
    assert ran.code == TIMED_OUT, ran
    assert "no record" in ran.out and "Refused" in ran.out and user.allowed()


def test_a_protected_user_is_told_by_mail_and_the_timeout_says_so(command: Command, bed: Bed) -> None:
    user = make_user(bed.endpoints, prefix="protected")
    ran = command.publish(user.arn, more=("--wait", "--timeout", "2"))
    assert ran.code == TIMED_OUT and "protected" in ran.out and user.allowed()


# --- What goes wrong before --------------------------------------------------------------------------------------------------


def published(command: Command, mark: int) -> list[dict[str, Any]]:
    return command.product.bed.proxy.calls(mark, service="sns", action="Publish")


@pytest.mark.parametrize("arn", ["alice", "arn:aws:iam::222222222222:group/admins", "arn:aws-cn:iam::222222222222:user/alice"])
def test_a_bad_arn_among_good_ones_publishes_nothing(command: Command, user: User, arn: str) -> None:
    mark = command.product.bed.proxy.mark()
    ran = command.publish(user.arn, arn)
    assert ran.code == USAGE and f"`{arn}`" in ran.err and "nothing was published" in ran.err
    assert user.arn not in ran.err
    assert user.allowed() and not published(command, mark)


def test_without_a_secret_and_a_terminal_it_says_where_to_put_it(command: Command, user: User) -> None:
    ran = command.with_environment(LOCKDOWN_EXTERNAL_ID="").publish(user.arn)
    assert ran.code == USAGE and "LOCKDOWN_EXTERNAL_ID" in ran.err and "--external-id-file" in ran.err


def test_the_secret_may_come_from_a_file_or_standard_input(command: Command, user: User, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(EXTERNAL_ID + "\n")
    bare = command.with_environment(LOCKDOWN_EXTERNAL_ID="")
    assert bare.publish(user.arn, more=("--wait", "--external-id-file", str(file))).code == DONE
    line = ("publish", "--topic-arn", command.product.outputs["TopicArn"], "--action", "release", "--entity-arn", user.arn)
    assert bare.run(*line, "--wait", "--external-id-file", "-", stdin=EXTERNAL_ID).code == DONE
    assert user.allowed()


def test_credentials_and_names_that_do_not_work_are_told_apart(command: Command, user: User) -> None:
    none = command.with_environment(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="").run("status")
    assert none.code == OUT_OF_REACH and "no AWS credentials" in none.err
    away = command.with_environment(AWS_ENDPOINT_URL="https://127.0.0.1:1").run("status")
    assert away.code == OUT_OF_REACH and "was not reached" in away.err
    no_authority = command.with_environment(SSL_CERT_FILE="/dev/null").run("status")
    assert no_authority.code == USAGE and "SSL_CERT_FILE" in no_authority.err
    public = str(Path(botocore.__file__).parent / "cacert.pem")
    stranger = command.with_environment(SSL_CERT_FILE=public).run("status")
    assert stranger.code == OUT_OF_REACH and "certificate" in stranger.err.lower(), stranger
    nowhere = command.with_environment(AWS_REGION="").run("status")
    assert nowhere.code == USAGE and "--region" in nowhere.err
    no_table = command.run("status", "--table", "no-such-table")
    assert no_table.code == NOT_FOUND and "no-such-table" in no_table.err
    no_topic = command.run("publish", "--topic-arn", f"arn:aws:sns:{REGION}:{HUB}:no-such-topic", "--entity-arn", user.arn)
    assert no_topic.code == NOT_FOUND and "no-such-topic" in no_topic.err
    nothing = command.run("show", user.arn)
    assert nothing.code == NOT_FOUND and "never contained" in nothing.err
    assert command.run("show", "alice").code == USAGE
    for ran in (none, away, stranger, no_table, no_topic, nothing):
        assert "::" not in ran.err.replace("iam::", "").replace("arn:aws:sns::", ""), "a Rust path in an error"


def responder(command: Command, *statements: dict[str, Any]) -> Command:
    """The command with the credentials of a user of the hub who may do this and nothing else."""
    user, iam = make_user(command.product.bed.endpoints, HUB), command.product.bed.endpoints.client("iam", HUB)
    iam.detach_user_policy(UserName=user.name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    if statements:
        document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **one} for one in statements]}
        iam.put_user_policy(UserName=user.name, PolicyName="may", PolicyDocument=json.dumps(document))
    key = user.credentials
    return command.with_environment(AWS_ACCESS_KEY_ID=key.access_key_id, AWS_SECRET_ACCESS_KEY=key.secret_access_key)


def test_who_lacks_a_right_is_told_which(command: Command, user: User) -> None:
    nobody = responder(command)
    for ran, right in (
        (nobody.publish(user.arn), "sns:Publish"), (nobody.run("status"), "dynamodb:Query"),
        (nobody.run("show", user.arn), "dynamodb:GetItem"),
    ):
        assert ran.code == OUT_OF_REACH and right in ran.err and "member role" not in ran.err, ran
    assert user.allowed()


def test_the_rights_that_the_help_names_are_enough(command: Command, user: User) -> None:
    table = f"arn:aws:dynamodb:{REGION}:{HUB}:table/{command.product.outputs['JournalTableName']}"
    reader = responder(
        command, {"Action": "sns:Publish", "Resource": command.product.outputs["TopicArn"]},
        {"Action": "dynamodb:GetItem", "Resource": table}, {"Action": "dynamodb:Query", "Resource": f"{table}/index/open"},
        {"Action": ["kms:Decrypt", "kms:GenerateDataKey*"], "Resource": "*"},
    )
    assert reader.publish(user.arn, more=("--wait",)).code == DONE
    assert user.arn in reader.run("status").out
    assert reader.run("show", user.arn).code == DONE
    assert reader.publish(user.arn, action="release", more=("--wait",)).code == DONE


# --- Records that the journal lacks ------------------------------------------------------------------------------------------


def unjournalled(command: Command, user: User, folder: Path) -> Path:
    """Contains a user while the journal is out of reach; the log's lines in a file, as the aws command exports them."""
    product = command.product
    with product.bed.proxy.rule(fault="cut", service="dynamodb"):
        product.contain(user.arn)
        # The journal takes its two seconds, and SNS doesn't wait for that.
        contained = product.mailbox.wait(user.name, "Contained")
    assert not user.allowed() and "UNJOURNALLED" in contained.mail
    logs = product.bed.endpoints.client("logs", HUB)
    groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    events = [event for group in groups for event in logs.filter_log_events(logGroupName=group)["events"]]
    mine = [event for event in events if "unjournalled" in event["message"] and user.name in event["message"]]
    assert mine
    file = folder / "lines.json"
    file.write_text(json.dumps({"events": mine}, default=str))
    return file


def test_an_unjournalled_containment_is_imported_and_then_released(command: Command, user: User, tmp_path: Path) -> None:
    before, file = user.state(), unjournalled(command, user, tmp_path)
    assert command.run("show", user.arn).code == NOT_FOUND
    asks = command.run("journal", "import", str(file))
    assert asks.code == USAGE and "--yes" in asks.err and command.run("show", user.arn).code == NOT_FOUND
    done = command.run("journal", "import", str(file), "--yes")
    assert done.code == DONE and f"Imported: {user.arn}" in done.out, done
    assert "imported by an operator" in command.run("show", user.arn).out
    assert user.arn in command.run("status").out
    again = command.run("journal", "import", str(file), "--yes")
    assert again.code == DONE and "Not needed" in again.out
    assert command.publish(user.arn, action="release", more=("--wait",)).code == DONE
    assert user.allowed() and user.state() == before
    late = command.run("journal", "import", str(file), "--yes", "--merge")
    assert "Imported" not in late.out and user.arn not in command.run("status").out


def test_a_release_that_found_nothing_is_made_good_by_an_import(command: Command, user: User, tmp_path: Path) -> None:
    before, file = user.state(), unjournalled(command, user, tmp_path)
    assert command.publish(user.arn, action="release", more=("--wait",)).code == DONE
    assert not user.allowed()
    refused = command.run("journal", "import", str(file), "--yes")
    assert refused.code == FAILED and "--merge" in refused.err
    assert command.run("journal", "import", str(file), "--yes", "--merge").code == DONE
    assert command.publish(user.arn, action="release", more=("--wait",)).code == DONE
    assert user.allowed() and user.state() == before


def test_the_state_before_survives_a_second_containment(command: Command, user: User, tmp_path: Path) -> None:
    """The second message found the first one's work as "so before"; without the import its release would leave it."""
    before, file = user.state(), unjournalled(command, user, tmp_path)
    assert command.publish(user.arn, more=("--wait",)).code == DONE
    assert command.run("journal", "import", str(file), "--yes", "--merge").code == DONE
    assert command.publish(user.arn, action="release", more=("--wait",)).code == DONE
    assert user.allowed() and user.state() == before


def test_an_import_may_be_confirmed_on_a_terminal_or_not(command: Command, user: User, tmp_path: Path) -> None:
    file = unjournalled(command, user, tmp_path)
    no = command.on_terminal("journal", "import", str(file), answers={"[y/N]": "n"})
    assert no.code == FAILED and command.run("show", user.arn).code == NOT_FOUND
    yes = command.on_terminal("journal", "import", str(file), answers={"[y/N]": "y"})
    assert yes.code == DONE and command.run("show", user.arn).code == DONE


def test_a_file_without_a_record_is_refused(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("nothing of the kind")
    assert command.run("journal", "import", str(file), "--yes").code == USAGE
    assert command.run("journal", "import", str(tmp_path / "none"), "--yes").code == NOT_FOUND


# --- Terminals ---------------------------------------------------------------------------------------------------------------


def test_the_secret_can_be_typed_and_is_not_shown(command: Command, user: User) -> None:
    bare = command.with_environment(LOCKDOWN_EXTERNAL_ID="")
    line = ("publish", "--topic-arn", command.product.outputs["TopicArn"], "--entity-arn", user.arn, "--wait")
    ran = bare.on_terminal(*line, answers={"ExternalId of this deployment": EXTERNAL_ID})
    assert ran.code == DONE and "Contained" in ran.out, ran
    assert EXTERNAL_ID not in ran.out and not user.allowed()


def test_a_terminal_gets_a_table_that_fits_it_and_colours_only_if_wanted(command: Command, user: User) -> None:
    command.product.contain(user.arn)
    colourful = command.on_terminal("status", columns=140)
    assert "ENTITY" in colourful.out and "\x1b[" in colourful.out
    plain = command.with_environment(NO_COLOR="1").on_terminal("status", columns=140)
    assert "ENTITY" in plain.out and "\x1b[" not in plain.out
    narrow = command.on_terminal("status", columns=50)
    assert "ENTITY" not in narrow.out and user.arn in narrow.out


def test_a_reader_that_goes_away_is_no_failure(command: Command, user: User) -> None:
    line = [str(command.binary), "publish", "--topic-arn", command.product.outputs["TopicArn"], "--entity-arn", user.arn, "--wait"]
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run(line, env=command.environment(), stdout=write, stderr=subprocess.PIPE, timeout=60)
    os.close(write)
    assert (ran.returncode, ran.stderr) == (DONE, b"") and not user.allowed()
