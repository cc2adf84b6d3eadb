"""What comes at a bad moment: several requests for the same things, crashes in between, AWS that refuses, and an intruder at work.

Whatever the order of events: what is to be locked ends locked, what is released ends as it was, and no notice says more than
is true.
"""

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from testbed.accounts import HUB, MEMBER, REGION
from testbed.bed import Bed
from testbed.instances import Instance, Vpc, make_instance, make_vpc
from testbed.product import EXTERNAL_ID, Product, lead_to_proxy
from testbed.self_check import DENY_ALL
from testbed.victims import User, make_function, make_role, make_user, unique

FULL = {"fault": "refuse", "service": "iam", "status": 409, "code": "LimitExceeded", "message": "Cannot exceed quota"}
DENIED = {"fault": "refuse", "status": 403, "code": "AccessDenied", "message": "an explicit deny in a service control policy"}
ATTEMPTS = 3
"""How often Lambda delivers an event at most."""


@pytest.fixture
def user(bed: Bed) -> User:
    """A user who may do everything."""
    return make_user(bed.endpoints)


@pytest.fixture
def vpc(bed: Bed) -> Vpc:
    """A VPC that nobody else uses."""
    return make_vpc(bed.endpoints)


def attributes(arn: str, action: str = "contain") -> dict[str, str]:
    """The attributes of an ordinary message."""
    return {"Arn": arn, "Action": action, "ExternalId": EXTERNAL_ID}


def event_for(product: Product, *arns: str, action: str = "contain") -> dict[str, Any]:
    """One message that names several entities."""
    event = product.event(attributes(json.dumps(arns), action))
    event["Records"][0]["Sns"]["MessageAttributes"]["Arn"]["Type"] = "String.Array"
    return event


def deliver(product: Product, event: dict[str, Any]) -> None:
    """Hands an event over again for as long as it fails, as Lambda does, and no more often than Lambda does."""
    for _ in range(ATTEMPTS):
        answer = product.invoke(event)
        if answer["error"] is None:
            return
    raise AssertionError(f"the event fails for good: {answer}")


def stages(product: Product, entity: str) -> list[str]:
    """The stages of an entity's own notices: those of others name it where it is affected."""
    return [notice.stage for notice in product.mailbox.notices(entity) if notice.json.get("entity") == entity]


def open_records(product: Product, about: str) -> list[str]:
    """What the journal's index of open containments lists about a name."""
    return [item["pk"]["S"] for item in product.journal() if "open" in item and about in str(item)]


def changes(product: Product, about: str) -> list[str]:
    """The journal's items of changes on resources that a name is in: none is left once all is released."""
    return [item["pk"]["S"] for item in product.journal() if item["pk"]["S"].startswith("change/") and about in str(item)]


def wait_for_call(product: Product, about: str, action: str, mark: int, *, ended: bool = False) -> dict[str, Any]:
    """Waits until the function has made a call, or until it has its answer, and returns the newest such call."""
    deadline = time.monotonic() + 30
    while True:
        calls = product.calls_about(about, mark, action=action)
        if calls and (calls[-1]["end_ms"] or not ended):
            return calls[-1]
        assert time.monotonic() < deadline, f"no {action} about {about} came"
        time.sleep(0.02)


def release_command(mail: str) -> str:
    """The line of a mail that is there to be pasted."""
    [command] = [line.strip() for line in mail.splitlines() if line.strip().startswith("lockdown publish")]
    return command


def rules_of(bed: Bed, instance: Instance) -> list[Any]:
    """All rules of all groups that an instance's interfaces are in: none, if it is cut off."""
    ids = sorted({group for groups in instance.groups().values() for group in groups})
    found = bed.endpoints.client("ec2", MEMBER).describe_security_groups(GroupIds=ids)["SecurityGroups"]
    assert found
    return [rule for group in found for rule in group["IpPermissions"] + group["IpPermissionsEgress"]]


def moves(product: Product, interface: str, mark: int) -> list[str]:
    """The groups that an interface was given, in order."""
    calls = product.calls_about(interface, mark)
    return [c["params"]["SecurityGroupId.1"] for c in calls if "SecurityGroupId.1" in c["params"] and not c["code"]]


# --- Many at once ------------------------------------------------------------------------------------------------------------


def test_sixteen_functions_with_one_role_are_contained_by_one_message_and_none_is_passed_over(
    product: Product, bed: Bed
) -> None:
    role = make_role(bed.endpoints, path="/service-role/")
    functions = [make_function(bed.endpoints, role=role) for _ in range(16)]
    arns, before = [function.arn for function in functions], role.state()
    deliver(product, event_for(product, *arns))
    assert [stages(product, arn)[-1] for arn in arns] == ["Contained"] * 16
    assert {function.reserved() for function in functions} == {0} and not role.allowed()
    deliver(product, event_for(product, *arns, action="release"))
    assert [stages(product, arn)[-1] for arn in arns] == ["Released"] * 16
    assert {function.reserved() for function in functions} == {None} and role.state() == before
    # Now each has a record already.
    deliver(product, event_for(product, *arns))
    assert [stages(product, arn)[-1] for arn in arns] == ["Contained"] * 16
    assert {function.reserved() for function in functions} == {0} and not role.allowed()


def test_twenty_copies_of_one_release_at_once_end_in_one_release(product: Product, user: User) -> None:
    before = user.state()
    product.contain(user.arn)
    event = product.event(attributes(user.arn, "release"))
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: product.invoke(event), range(20)))
    assert {answer["error"] for answer in answers} == {None}
    assert product.mailbox.stages(user.name) == ["Started", "Contained", "Released"]
    assert user.allowed() and user.state() == before


def test_two_releases_at_once_leave_nothing_locked_behind(product: Product, bed: Bed) -> None:
    role = make_role(bed.endpoints)
    first, second = (make_function(bed.endpoints, role=role) for _ in range(2))
    before = (first.state(), second.state())
    product.contain(first.arn, second.arn)
    one, other = (product.event(attributes(first.arn, "release")) for _ in range(2))
    mark = bed.proxy.mark()
    slow = {"fault": "delay", "action": "GetRole", "contains": role.name, "ms": 1500}
    with bed.proxy.rule(**slow), ThreadPoolExecutor(2) as pool:
        begun = pool.submit(deliver, product, one)
        wait_for_call(product, role.name, "GetRole", mark)
        joined = pool.submit(deliver, product, other)
        begun.result(), joined.result()
    assert stages(product, first.arn).count("Released") == 1
    assert first.allowed() and not second.allowed() and not role.allowed()
    deliver(product, product.event(attributes(second.arn, "release")))
    assert stages(product, second.arn)[-1] == "Released"
    assert role.allowed() and (first.state(), second.state()) == before
    assert not open_records(product, role.name) and not changes(product, role.name)


def test_a_deny_that_a_release_takes_off_between_survey_and_record_is_put_on_again(product: Product, bed: Bed) -> None:
    role = make_role(bed.endpoints)
    function, before = make_function(bed.endpoints, role=role), role.state()
    product.contain(role.arn)
    mark = bed.proxy.mark()
    slow = {"fault": "delay", "action": "GetFunctionConcurrency", "contains": function.name, "ms": 3000, "count": 1}
    with bed.proxy.rule(**slow), ThreadPoolExecutor(1) as pool:
        contained = pool.submit(deliver, product, product.event(attributes(function.arn)))
        # The survey has seen the role with its deny, and still waits for the concurrency.
        wait_for_call(product, role.name, "ListAttachedRolePolicies", mark, ended=True)
        product.release(role.arn)
        contained.result()
    assert stages(product, function.arn)[-1] == "Contained"
    assert not role.allowed() and not function.allowed()
    product.release(function.arn)
    assert role.allowed() and role.state() == before


def test_a_release_that_dies_after_undoing_does_not_open_what_another_containment_has_joined(
    another: Callable[..., Product], bed: Bed
) -> None:
    product, role = another(), make_role(bed.endpoints)
    function, before = make_function(bed.endpoints, role=role), role.state()
    product.contain(role.arn)
    event, mark = product.event(attributes(role.arn, "release")), bed.proxy.mark()
    slow = {"fault": "delay", "action": "DetachRolePolicy", "contains": role.name, "ms": 9000, "count": 1}
    with bed.proxy.rule(**slow), ThreadPoolExecutor(1) as pool:
        released = pool.submit(product.invoke, event)
        wait_for_call(product, role.name, "DetachRolePolicy", mark)
        product.contain(function.arn)
        assert stages(product, function.arn)[-1] == "Contained"
        joined = bed.proxy.mark()
        with bed.proxy.rule(fault="delay", action="ListAttachedRolePolicies", contains=role.name, ms=20_000, count=1):
            wait_for_call(product, role.name, "ListAttachedRolePolicies", joined)
            for process in product.processes():
                os.kill(process, signal.SIGKILL)
            assert released.result()["error"] == "Runtime.ExitError"
    product.lapse(role.name)
    deliver(product, event)
    assert not role.allowed() and not function.allowed()
    product.release(function.arn)
    assert role.allowed() and role.state() == before
    assert not open_records(product, role.name) and not changes(product, role.name)


def test_a_containment_after_a_release_that_failed_half_way_holds_its_changes_again(product: Product, bed: Bed) -> None:
    role = make_role(bed.endpoints)
    function, before = make_function(bed.endpoints, role=role), role.state()
    product.contain(role.arn)
    with bed.proxy.rule(action="DetachRolePolicy", contains=role.name, **DENIED):
        product.release(role.arn)
    assert stages(product, role.arn)[-1] == "Partial" and not role.allowed()
    product.contain(role.arn)
    assert stages(product, role.arn)[-1] in ("Contained", "Unchanged")
    product.contain(function.arn)
    product.release(function.arn)
    assert not role.allowed(), "its own containment is still open"
    product.release(role.arn)
    assert role.allowed() and role.state() == before and not changes(product, role.name)


def test_a_release_that_finds_nothing_is_not_overtaken_by_the_older_containment(product: Product, user: User) -> None:
    older = product.event(attributes(user.arn), at="2026-01-01T00:00:00.000Z")
    newer = product.event(attributes(user.arn, "release"), at="2026-01-01T00:00:05.000Z")
    before, mark = user.state(), product.bed.proxy.mark()
    slow = {"fault": "delay", "service": "sns", "action": "Publish", "contains": user.name, "ms": 2500, "count": 1}
    with product.bed.proxy.rule(**slow), ThreadPoolExecutor(1) as pool:
        released = pool.submit(deliver, product, newer)
        wait_for_call(product, user.name, "Publish", mark)
        deliver(product, older)
        released.result()
    assert user.allowed() and user.state() == before
    assert not open_records(product, user.name)


def test_a_stale_release_does_not_stop_a_containment_in_its_settle(
    another: Callable[..., Product], bed: Bed, vpc: Vpc
) -> None:
    product, instance = another(SettleSeconds="5"), make_instance(bed.endpoints, vpc)
    before, mark = instance.state(), bed.proxy.mark()
    with ThreadPoolExecutor(1) as pool:
        contained = pool.submit(product.invoke, product.event(attributes(instance.arn)))
        deadline = time.monotonic() + 30
        while not moves(product, instance.interfaces[0], mark):
            assert time.monotonic() < deadline, "the interface was never moved"
            time.sleep(0.02)
        deliver(product, product.event(attributes(instance.arn, "release"), at="2026-01-01T00:00:00.000Z"))
        assert contained.result()["error"] is None
    assert sorted(product.mailbox.stages(instance.id)) == ["Contained", "Refused", "Started"]
    assert rules_of(bed, instance) == [] and not instance.allowed()
    product.release(instance.arn)
    assert instance.state() == before


# --- The journal in trouble --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nth", [0, 1, 2])
@pytest.mark.parametrize("known", [False, True], ids=["new", "released"])
def test_a_write_that_meets_another_transaction_is_made_again(
    product: Product, user: User, known: bool, nth: int
) -> None:
    if known:
        product.contain(user.arn)
        product.release(user.arn)
    met = {
        "fault": "refuse", "service": "dynamodb", "action": "TransactWriteItems", "contains": user.name, "status": 400,
        "code": "TransactionCanceledException", "skip": nth, "count": 1,
        "message": "Transaction cancelled, please refer cancellation reasons for specific reasons [None, TransactionConflict]",
    }
    with product.bed.proxy.rule(**met):
        deliver(product, product.event(attributes(user.arn)))
    assert product.mailbox.stages(user.name)[-2:] == ["Started", "Contained"] and not user.allowed()
    assert open_records(product, user.name)
    product.release(user.arn)
    assert product.mailbox.stages(user.name)[-1] == "Released" and user.allowed()


@pytest.mark.parametrize("nth", [0, 1, 2])
@pytest.mark.parametrize("fault", ["hold", "hold_after"], ids=["lost", "in force"])
def test_a_write_without_an_answer_is_made_up_for_and_told_once(product: Product, user: User, fault: str, nth: int) -> None:
    before = user.state()
    unanswered = {"fault": fault, "service": "dynamodb", "action": "TransactWriteItems", "contains": user.name}
    with product.bed.proxy.rule(**unanswered, skip=nth, count=1):
        product.contain(user.arn)
    assert stages(product, user.arn) == ["Started", "Contained"] and not user.allowed()
    assert "UNJOURNALLED" not in product.mailbox.notices(user.name)[-1].mail
    [record] = [item for item in product.journal() if item["pk"]["S"].startswith("record/") and user.name in str(item)]
    assert '"ended":"Contained"' in record["record"]["S"] and "holder" not in record
    product.release(user.arn)
    assert stages(product, user.arn)[-1] == "Released" and user.state() == before and not changes(product, user.name)


@pytest.mark.parametrize(("code", "message"), [
    ("ValidationException", "Item size has exceeded the maximum allowed size"),
    ("TransactionCanceledException",
     "Transaction cancelled, please refer cancellation reasons for specific reasons [ValidationError, None]"),
])
def test_a_record_that_the_journal_does_not_take_stops_nothing_and_is_said(
    product: Product, user: User, code: str, message: str
) -> None:
    refused = {"fault": "refuse", "status": 400, "code": code, "message": message}
    with product.bed.proxy.rule(service="dynamodb", action="TransactWriteItems", contains=user.name, **refused):
        deliver(product, product.event(attributes(user.arn)))
    assert not user.allowed()
    contained = product.mailbox.notices(user.name)[-1]
    assert contained.stage == "Contained" and "UNJOURNALLED" in contained.mail


def logged_records(product: Product, entity: str) -> list[dict[str, Any]]:
    """The records of an entity that the function has written to its log, oldest first."""
    logs = product.bed.endpoints.client("logs", HUB)
    groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    events = [event for group in groups for event in logs.filter_log_events(logGroupName=group)["events"]]
    lines = [line for event in events for line in event["message"].splitlines() if '"unjournalled":true' in line]
    records = [json.loads(json.loads(line)["record"]) for line in lines if entity in line]
    return [record for record in records if record["entity"] == entity]


def test_what_is_changed_without_the_journal_is_in_the_log_with_the_state_before_though_a_retry_follows(
    product: Product, bed: Bed
) -> None:
    function = make_function(bed.endpoints, reserved=7)
    event = product.event(attributes(function.arn))
    # A failure that a retry can help, of the kind that the SDK doesn't retry itself.
    met = {"fault": "refuse", "status": 409, "code": "ConcurrentModification", "contains": function.role.name}
    with bed.proxy.rule(service="dynamodb", **DENIED), bed.proxy.rule(action="AttachRolePolicy", **met):
        product.invoke(event)
    assert function.reserved() == 0 and function.role.allowed()
    deliver(product, event)
    assert stages(product, function.arn)[-1] == "Contained" and not function.role.allowed()
    steps = [step for record in logged_records(product, function.arn) for step in record["steps"]]
    assert {"reserved": 7} in [step["before"] for step in steps if step["step"]["change"] == "concurrency"]


def test_what_is_not_done_without_the_journal_is_said_once_by_an_invocation(
    another: Callable[..., Product], bed: Bed, user: User
) -> None:
    product = another()
    lead_to_proxy(bed, product.outputs["FunctionName"], PERSIST_MILLISECONDS="15000")
    met = {"fault": "refuse", "status": 409, "code": "ConcurrentModification", "contains": user.name}
    with bed.proxy.rule(service="dynamodb", contains=user.name, **DENIED), bed.proxy.rule(action="AttachUserPolicy", **met):
        assert product.invoke(product.event(attributes(user.arn)))["error"] == "RetryCanHelp"
    assert stages(product, user.arn) == ["Started", "Failed"] and user.allowed()


# --- AWS refuses a part ------------------------------------------------------------------------------------------------------


def test_where_the_isolation_group_cannot_be_made_the_instance_is_never_opened(
    product: Product, bed: Bed, vpc: Vpc
) -> None:
    instance = make_instance(bed.endpoints, vpc)
    before, mark = instance.groups(), bed.proxy.mark()
    full = {"fault": "refuse", "status": 400, "code": "SecurityGroupLimitExceeded", "message": "The maximum was reached"}
    with bed.proxy.rule(service="ec2", action="CreateSecurityGroup", contains="entity-lockdown-isolation", **full):
        product.contain(instance.arn)
    assert moves(product, instance.interfaces[0], mark) == [] and instance.groups() == before
    partial = product.mailbox.notices(instance.id)[-1]
    assert partial.stage == "Partial" and "SecurityGroupLimitExceeded" in partial.mail and not instance.allowed()
    product.contain(instance.arn)
    assert product.mailbox.stages(instance.id)[-1] == "Contained" and rules_of(bed, instance) == []
    product.release(instance.arn)
    assert instance.groups() == before and instance.allowed()


def test_a_policy_that_the_partition_lacks_is_replaced_by_an_inline_one(product: Product, user: User) -> None:
    before = user.state()
    absent = {"fault": "refuse", "service": "iam", "status": 404, "code": "NoSuchEntity"}
    message = f"Policy {DENY_ALL} does not exist or is not attachable."
    with product.bed.proxy.rule(action="AttachUserPolicy", contains=user.name, message=message, **absent):
        product.contain(user.arn)
    assert product.mailbox.stages(user.name)[-1] == "Contained" and not user.allowed()
    assert len(user.state()["inline"]) == 1
    product.release(user.arn)
    assert product.mailbox.stages(user.name)[-1] == "Released" and user.state() == before


def test_a_release_without_the_former_boundary_never_says_released_while_the_deny_is_left(
    another: Callable[..., Product], bed: Bed
) -> None:
    iam, name = bed.endpoints.client("iam", MEMBER), unique("boundary")
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    former = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(document))["Policy"]["Arn"]
    user, product = make_user(bed.endpoints, PermissionsBoundary=former), another(FormerBoundaries=former)
    before = user.state()
    full = [bed.proxy.add_rule(action=action, contains=user.name, **FULL) for action in ("AttachUserPolicy", "PutUserPolicy")]
    product.contain(user.arn)
    for rule in full:
        bed.proxy.remove_rule(rule)
    assert product.mailbox.stages(user.name)[-1] == "Contained" and user.state()["boundary"] == DENY_ALL
    gone = {"fault": "refuse", "service": "iam", "status": 404, "code": "NoSuchEntity"}
    message = f"Scope ARN: {former} does not exist or is not attachable."
    with bed.proxy.rule(action="PutUserPermissionsBoundary", contains=user.name, message=message, **gone):
        product.release(user.arn)
    partial = product.mailbox.notices(user.name)[-1]
    assert partial.stage == "Partial" and former in partial.mail
    assert user.state()["boundary"] == DENY_ALL and open_records(product, user.name)
    product.release(user.arn)
    assert product.mailbox.stages(user.name)[-1] == "Released" and user.state() == before


def test_keys_that_cannot_be_listed_keep_nothing_from_being_locked(another: Callable[..., Product], user: User) -> None:
    product = another(AccessKeys="deactivate")
    with product.bed.proxy.rule(service="iam", action="ListAccessKeys", contains=user.name, **DENIED):
        product.contain(user.arn)
    partial = product.mailbox.notices(user.name)[-1]
    assert partial.stage == "Partial" and "iam:ListAccessKeys" in partial.mail and not user.allowed()
    product.release(user.arn)
    assert user.allowed()


def test_a_profile_that_cannot_be_read_keeps_the_network_from_nothing(product: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc)
    before = instance.state()
    with bed.proxy.rule(service="iam", action="GetInstanceProfile", **DENIED):
        product.contain(instance.arn)
    partial = product.mailbox.notices(instance.id)[-1]
    assert partial.stage == "Partial" and "iam:GetInstanceProfile" in partial.mail
    assert rules_of(bed, instance) == []
    product.release(instance.arn)
    assert instance.state() == before


def test_a_profile_whose_role_was_taken_out_is_partial_since_its_sessions_go_on(
    product: Product, bed: Bed, vpc: Vpc
) -> None:
    instance = make_instance(bed.endpoints, vpc)
    assert instance.role
    iam, session = bed.endpoints.client("iam", MEMBER), instance.session()
    [profile] = iam.list_instance_profiles_for_role(RoleName=instance.role.name)["InstanceProfiles"]
    iam.remove_role_from_instance_profile(InstanceProfileName=profile["InstanceProfileName"], RoleName=instance.role.name)
    product.contain(instance.arn)
    partial = product.mailbox.notices(instance.id)[-1]
    assert instance.role.allowed(session), "nothing tells which role it was"
    assert partial.stage == "Partial" and profile["InstanceProfileName"] in partial.mail.partition("STAYS OPEN")[2]
    assert rules_of(bed, instance) == []


def test_a_survey_that_fails_on_what_is_contained_says_that_the_containment_stands(product: Product, user: User) -> None:
    product.contain(user.arn)
    with product.bed.proxy.rule(service="iam", action="GetUser", contains=user.name, **DENIED):
        product.contain(user.arn)
    last = product.mailbox.notices(user.name)[-1]
    assert last.stage in ("Partial", "Failed") and "iam:GetUser" in last.mail
    assert "NOT contained" not in last.mail and "stands" in last.mail
    assert open_records(product, user.name) and not user.allowed()
    product.release(user.arn)
    assert user.allowed()


def test_notices_that_are_slow_do_not_hold_the_deny_up(product: Product, user: User) -> None:
    event, mark = event_for(product, "no-arn-1", "no-arn-2", "no-arn-3", user.arn), product.bed.proxy.mark()
    with product.bed.proxy.rule(fault="delay", service="sns", action="Publish", ms=4000):
        deliver(product, event)
    calls = product.bed.proxy.calls(mark)
    refusals = [call for call in calls if call["action"] == "Publish" and call["params"]["Subject"].startswith("Refused")]
    [attached] = [call for call in calls if call["action"] == "AttachUserPolicy" and user.name in call["text"]]
    assert refusals and attached["end_ms"] < min(call["end_ms"] for call in refusals)
    assert product.mailbox.stages(user.name)[-1] == "Contained"


# --- An intruder at work -----------------------------------------------------------------------------------------------------


def test_an_open_group_with_our_tag_is_not_taken_for_isolation(product: Product, bed: Bed, vpc: Vpc) -> None:
    instance = make_instance(bed.endpoints, vpc, with_role=False)
    ec2, [interface] = bed.endpoints.client("ec2", MEMBER), instance.interfaces
    bait = vpc.group()
    ec2.authorize_security_group_ingress(
        GroupId=bait, IpPermissions=[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    )
    ec2.create_tags(Resources=[bait], Tags=[{"Key": "entity-lockdown", "Value": "isolation"}])
    ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=[bait])
    product.contain(instance.arn)
    assert product.mailbox.stages(instance.id)[-1] == "Contained"
    assert rules_of(bed, instance) == [] and bait not in instance.groups()[interface]
    product.release(instance.arn)
    assert instance.groups() == {interface: [bait]}


def test_a_path_that_a_shell_would_run_is_quoted_in_the_release_command(
    product: Product, bed: Bed, tmp_path: Path
) -> None:
    role = make_role(bed.endpoints, path="/it's$(touch${IFS}pwned)`touch${IFS}pwned`;touch${IFS}pwned;\"|/")
    product.contain(role.arn)
    contained = product.mailbox.notices(role.name)[-1]
    assert contained.stage == "Contained"
    for text in (release_command(contained.mail), contained.json["releaseCommand"]):
        words = shlex.split(text)
        assert words[words.index("--entity-arn") + 1] == role.arn
        # What a shell makes of it: every word on a line, and nothing run.
        ran = subprocess.run(["sh", "-c", f"printf '%s\\n' {text}"], cwd=tmp_path, capture_output=True, text=True, timeout=10)
        assert ran.stdout.splitlines() == words and not list(tmp_path.iterdir())
    product.release(role.arn)
    assert role.allowed()


def test_a_function_made_anew_under_the_name_gets_its_own_concurrency_back(product: Product, bed: Bed) -> None:
    function = make_function(bed.endpoints, reserved=7)
    product.contain(function.arn)
    function.client().delete_function(FunctionName=function.name)
    product.release(function.arn)
    assert stages(product, function.arn)[-1] == "Released" and not changes(product, function.name)
    anew = make_function(bed.endpoints, role=function.role, reserved=3, name=function.name)
    before = anew.state()
    product.contain(anew.arn)
    assert stages(product, function.arn)[-1] == "Contained" and anew.reserved() == 0
    product.release(anew.arn)
    assert stages(product, function.arn)[-1] == "Released" and anew.state() == before


def test_a_wrong_path_does_not_hide_the_right_one_in_the_same_message(product: Product, bed: Bed) -> None:
    role = make_role(bed.endpoints, path="/service-role/")
    product.contain(role.arn.replace("/service-role/", "/"), role.arn)
    assert "Contained" in stages(product, role.arn) and not role.allowed()
    product.release(role.arn)
    assert role.allowed()


# --- Size --------------------------------------------------------------------------------------------------------------------


def test_a_notice_about_hundreds_of_changes_keeps_the_release_command(product: Product, bed: Bed) -> None:
    """The mappings are the proxy's invention: to make so many would take longer than to disable them."""
    function = make_function(bed.endpoints)
    source = f"arn:aws:sqs:{REGION}:{MEMBER}:{'a-queue-with-a-long-name-' * 3}"
    mappings = [
        {"UUID": f"00000000-0000-4000-8000-{number:012d}", "State": "Enabled", "FunctionArn": function.arn,
         "EventSourceArn": f"{source}{number}"}
        for number in range(420)
    ]
    listed = {"action": "ListEventSourceMappings", "body": json.dumps({"EventSourceMappings": mappings})}
    disabled = {"contains": "00000000-0000-4000-8000", "body": json.dumps({"UUID": "x", "State": "Disabled"})}
    with (
        bed.proxy.rule(fault="lose", service="lambda", **listed),
        bed.proxy.rule(fault="lose", service="lambda", action="UpdateEventSourceMapping", **disabled),
        bed.proxy.rule(fault="lose", service="lambda", action="GetEventSourceMapping", **disabled),
    ):
        deliver(product, product.event(attributes(function.arn)))
        contained = product.mailbox.notices(function.name)[-1]
        assert contained.stage == "Contained" and function.reserved() == 0 and not function.role.allowed()
        for text in (release_command(contained.mail), contained.json["releaseCommand"]):
            assert shlex.split(text)[-4:] == ["--action", "release", "--entity-arn", function.arn]


def test_an_inline_policy_that_fails_as_well_is_given_up_when_awsdenyall_is_attached(product: Product, bed: Bed) -> None:
    user = make_user(bed.endpoints)
    before, event = user.state(), product.event({"Arn": user.arn, "Action": "contain", "ExternalId": EXTERNAL_ID})
    broken = {"fault": "refuse", "service": "iam", "status": 500, "code": "ServiceFailure", "message": "no", "contains": user.name}
    with bed.proxy.rule(action="PutUserPolicy", **broken):
        with bed.proxy.rule(action="AttachUserPolicy", **broken):
            # The inline policy goes beside it from the second try on.
            assert [product.invoke(event)["error"] for _ in range(2)] == ["RetryCanHelp"] * 2
        assert user.allowed()
        assert product.invoke(event)["error"] is None
    assert product.mailbox.stages(user.name) == ["Started", "Contained"]
    assert "inline" in product.mailbox.notices(user.name)[-1].mail and not user.allowed()
    product.release(user.arn)
    assert user.state() == before and user.allowed()
