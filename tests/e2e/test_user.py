"""An IAM user from the message to the mail to the release, by the real templates and the real package."""

import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from testbed.accounts import MEMBER
from testbed.bed import Bed
from testbed.product import EXTERNAL_ID, Product, lead_to_proxy
from testbed.self_check import DENY_ALL
from testbed.victims import User, make_user

FULL = {"fault": "refuse", "service": "iam", "status": 409, "code": "LimitExceeded", "message": "Cannot exceed quota"}
WRITES = ("Attach", "Detach", "Put", "Delete", "Update", "Create")


@pytest.fixture
def user(bed: Bed) -> User:
    """A user who may do everything."""
    return make_user(bed.endpoints)


def attributes(user: User, action: str = "contain") -> dict[str, str]:
    """The attributes of an ordinary message."""
    return {"Arn": user.arn, "Action": action, "ExternalId": EXTERNAL_ID}


def open_records(product: Product, about: str) -> list[str]:
    """What the journal's index of open containments lists about a name."""
    return [item["pk"]["S"] for item in product.journal() if "open" in item and about in str(item)]


# --- Contain, release ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/division/team/"])
def test_a_user_is_locked_by_one_message_and_put_back_by_another(product: Product, bed: Bed, path: str) -> None:
    user = make_user(bed.endpoints, path=path)
    before = user.state()
    assert user.allowed()
    product.contain(user.arn)
    assert product.mailbox.stages(user.name) == ["Started", "Contained"]
    assert not user.allowed()
    assert open_records(product, user.name)
    product.release(user.arn)
    assert product.mailbox.stages(user.name) == ["Started", "Contained", "Released"]
    assert user.allowed() and user.state() == before
    assert not open_records(product, user.name)


def test_no_call_of_a_containment_is_denied(product: Product, user: User) -> None:
    mark = product.bed.proxy.mark()
    product.contain(user.arn)
    product.release(user.arn)
    calls = product.calls_about(user.name, mark)
    assert calls and {call["code"] for call in calls} == {None}
    assert not product.bed.proxy.calls(mark, status=403)


def test_the_notice_says_all_that_a_tired_person_needs(product: Product, user: User) -> None:
    claims = {"Reason": "key found on a paste site", "IncidentId": "INC-7", "RequestedBy": "Ada"}
    product.contain(user.arn, **claims)
    contained = product.mailbox.notices(user.name)[-1]
    assert len(contained.subject) <= 99
    assert all(word in contained.subject for word in ("Contained", user.name, MEMBER))
    assert contained.attributes["Stage"] == "Contained" and contained.attributes["AccountId"] == MEMBER
    assert set(contained.attributes) == {"Stage", "Action", "EntityType", "AccountId", "ContainmentId"}
    for text in (contained.mail, contained.text):
        assert all(claim in text for claim in claims.values())
        assert "lockdown publish" in text and "release" in text
        assert EXTERNAL_ID not in text


def test_a_plan_changes_nothing(product: Product, user: User) -> None:
    mark, before = product.bed.proxy.mark(), user.state()
    product.publish(user.arn, action="plan")
    assert product.mailbox.stages(user.name) == ["Planned"]
    assert user.allowed() and user.state() == before
    actions = {call["action"] for call in product.bed.proxy.calls(mark, service="iam")}
    assert not [action for action in actions if action.startswith(WRITES)]
    assert "AWSDenyAll" in product.mailbox.notices(user.name)[0].mail


def test_a_user_of_the_hub_account_is_locked_too(product: Product, bed: Bed) -> None:
    user = make_user(bed.endpoints, "111111111111")
    product.contain(user.arn)
    assert product.mailbox.stages(user.name)[-1] == "Contained" and not user.allowed()
    product.release(user.arn)
    assert user.allowed()


def test_keys_are_made_inactive_where_that_was_chosen(another: Callable[..., Product], user: User) -> None:
    product = another(AccessKeys="deactivate")
    product.contain(user.arn)
    assert product.mailbox.stages(user.name)[-1] == "Contained"
    assert set(user.state()["keys"].values()) == {"Inactive"}
    product.release(user.arn)
    assert DENY_ALL not in user.state()["attached"]


# --- Full quotas -----------------------------------------------------------------------------------------------------------


def test_a_user_with_a_full_managed_quota_is_locked_and_put_back(product: Product, user: User) -> None:
    before = user.state()
    with product.bed.proxy.rule(action="AttachUserPolicy", contains=user.name, **FULL):
        product.contain(user.arn)
    assert product.mailbox.stages(user.name)[-1] == "Contained" and not user.allowed()
    assert len(user.state()["inline"]) == 1
    product.release(user.arn)
    assert product.mailbox.stages(user.name)[-1] == "Released"
    assert user.allowed() and user.state() == before


def test_ten_policies_are_a_full_quota(product: Product, user: User) -> None:
    iam = product.bed.endpoints.client("iam", MEMBER)
    document = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'
    for number in range(9):
        arn = iam.create_policy(PolicyName=f"{user.name}-{number}", PolicyDocument=document)["Policy"]["Arn"]
        iam.attach_user_policy(UserName=user.name, PolicyArn=arn)
    before = user.state()
    product.contain(user.arn)
    assert product.mailbox.stages(user.name)[-1] == "Contained" and not user.allowed()
    product.release(user.arn)
    assert user.allowed() and user.state() == before


def test_a_user_with_both_quotas_full_is_locked_and_put_back(product: Product, user: User) -> None:
    before = user.state()
    with (
        product.bed.proxy.rule(action="AttachUserPolicy", contains=user.name, **FULL),
        product.bed.proxy.rule(action="PutUserPolicy", contains=user.name, **FULL),
    ):
        product.contain(user.arn)
    assert product.mailbox.stages(user.name)[-1] == "Contained" and not user.allowed()
    assert user.state()["boundary"] == DENY_ALL
    product.release(user.arn)
    assert product.mailbox.stages(user.name)[-1] == "Released"
    assert user.allowed() and user.state() == before


def test_a_former_boundary_comes_back_where_the_member_role_may_write_it(another: Callable[..., Product], bed: Bed) -> None:
    former = "arn:aws:iam::aws:policy/AdministratorAccess"
    user = make_user(bed.endpoints, PermissionsBoundary=former)
    product, before = another(FormerBoundaries="arn:aws:iam::aws:policy/Administrator*"), user.state()
    with (
        bed.proxy.rule(action="AttachUserPolicy", contains=user.name, **FULL),
        bed.proxy.rule(action="PutUserPolicy", contains=user.name, **FULL),
    ):
        product.contain(user.arn)
    assert product.mailbox.stages(user.name)[-1] == "Contained" and not user.allowed()
    product.release(user.arn)
    assert product.mailbox.stages(user.name)[-1] == "Released"
    assert user.allowed() and user.state() == before


def test_a_foreign_boundary_is_left_and_the_stage_is_the_truth(product: Product, bed: Bed) -> None:
    user = make_user(bed.endpoints, PermissionsBoundary="arn:aws:iam::aws:policy/AdministratorAccess")
    before = user.state()
    with (
        bed.proxy.rule(action="AttachUserPolicy", contains=user.name, **FULL),
        bed.proxy.rule(action="PutUserPolicy", contains=user.name, **FULL),
    ):
        product.contain(user.arn)
    # Without the right to put the former boundary back, the step must not be taken at all.
    assert product.mailbox.stages(user.name)[-1] in ("Partial", "Failed")
    assert user.state() == before


# --- Truth -------------------------------------------------------------------------------------------------------------------


def test_a_change_that_is_lost_for_good_is_never_called_contained(product: Product, user: User) -> None:
    lost = {"fault": "lose", "service": "iam", "contains": user.name}
    with (
        product.bed.proxy.rule(action="AttachUserPolicy", **lost),
        product.bed.proxy.rule(action="PutUserPolicy", **lost),
        product.bed.proxy.rule(action="PutUserPermissionsBoundary", **lost),
    ):
        product.contain(user.arn)
    stages = product.mailbox.stages(user.name)
    assert stages[-1] in ("Partial", "Failed") and "Contained" not in stages
    assert user.allowed()


def test_a_change_that_is_lost_once_is_made_again(product: Product, user: User) -> None:
    with product.bed.proxy.rule(fault="lose", action="AttachUserPolicy", contains=user.name, count=1):
        product.contain(user.arn)
    assert product.mailbox.stages(user.name)[-1] == "Contained" and not user.allowed()


def test_a_release_that_is_lost_is_never_called_released(product: Product, user: User) -> None:
    product.contain(user.arn)
    with product.bed.proxy.rule(fault="lose", action="DetachUserPolicy", contains=user.name):
        product.release(user.arn)
    assert "Released" not in product.mailbox.stages(user.name)
    assert not user.allowed() and open_records(product, user.name)
    product.release(user.arn)
    assert product.mailbox.stages(user.name)[-1] == "Released" and user.allowed()


def test_what_an_intruder_takes_off_is_put_on_again_by_the_next_message(product: Product, user: User) -> None:
    before = user.state()
    product.contain(user.arn)
    product.bed.endpoints.client("iam", MEMBER).detach_user_policy(UserName=user.name, PolicyArn=DENY_ALL)
    product.contain(user.arn)
    assert product.mailbox.stages(user.name)[-1] == "Contained" and not user.allowed()
    product.release(user.arn)
    assert user.allowed() and user.state() == before


def test_a_user_who_was_denied_before_stays_denied_after_the_release(product: Product, user: User) -> None:
    product.bed.endpoints.client("iam", MEMBER).attach_user_policy(UserName=user.name, PolicyArn=DENY_ALL)
    before = user.state()
    product.contain(user.arn)
    product.release(user.arn)
    assert user.state() == before and not user.allowed()


# --- Messages again and again ----------------------------------------------------------------------------------------------


def test_the_same_message_twice_is_carried_out_once(product: Product, user: User) -> None:
    event = product.event(attributes(user))
    assert [product.invoke(event)["error"] for _ in range(2)] == [None, None]
    assert product.mailbox.stages(user.name) == ["Started", "Contained"]


def test_twenty_copies_at_once_end_in_one_containment(product: Product, user: User) -> None:
    event, before = product.event(attributes(user)), user.state()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: product.invoke(event), range(20)))
    assert {answer["error"] for answer in answers} == {None}
    assert product.mailbox.stages(user.name) == ["Started", "Contained"]
    assert not user.allowed()
    product.release(user.arn)
    assert user.state() == before and user.allowed()


def test_copies_of_a_published_message_are_carried_out_once(product: Product, bed: Bed, user: User) -> None:
    mark = bed.proxy.mark()
    with bed.deliveries(product.outputs["TopicArn"], copies=20):
        message = product.contain(user.arn)
    assert len(product.calls_about(user.name, mark, action="GetUser")) >= 20, "all of them came"
    assert len(product.calls_about(user.name, mark, action="AttachUserPolicy")) == 1
    assert product.mailbox.stages(user.name, message) == ["Started", "Contained"] and not user.allowed()


def test_a_published_message_that_fails_is_tried_again(product: Product, bed: Bed, user: User) -> None:
    mark, attempts = bed.proxy.mark(), 4
    with bed.proxy.rule(fault="throttle", action="GetUser", contains=user.name, count=attempts):
        with bed.deliveries(product.outputs["TopicArn"], attempts=2):
            product.contain(user.arn)
    looks = product.calls_about(user.name, mark, action="GetUser")
    assert [call["code"] for call in looks[: attempts + 1]] == ["Throttling"] * attempts + [None]
    assert product.mailbox.stages(user.name) == ["Started", "Contained"] and not user.allowed()


def test_a_copy_gives_up_silently_while_the_one_before_it_works(another: Callable[..., Product], bed: Bed, user: User) -> None:
    product, mark = another(), bed.proxy.mark()
    lead_to_proxy(bed, product.outputs["FunctionName"], WAIT_MILLISECONDS="1000")
    event, other = product.event(attributes(user)), product.event(attributes(user))
    with bed.proxy.rule(fault="delay", action="AttachUserPolicy", contains=user.name, ms=9000), ThreadPoolExecutor(3) as pool:
        first = pool.submit(product.invoke, event)
        wait_for_call(product, user, "AttachUserPolicy")
        began = time.monotonic()
        copy, another_message = pool.submit(product.invoke, event), pool.submit(product.invoke, other)
        assert copy.result()["error"] is None and time.monotonic() - began >= 1
        assert another_message.result()["error"], "it is another request, which must not be lost"
        assert not first.done() and product.mailbox.stages(user.name) == ["Started"]
        assert first.result()["error"] is None
    assert product.mailbox.stages(user.name) == ["Started", "Contained"]
    assert len(product.calls_about(user.name, mark, action="AttachUserPolicy")) == 1


def test_a_copy_after_the_release_changes_nothing(product: Product, user: User) -> None:
    event, before = product.event(attributes(user)), user.state()
    product.invoke(event)
    product.release(user.arn)
    product.invoke(event)
    assert product.mailbox.stages(user.name) == ["Started", "Contained", "Released"]
    assert user.state() == before and user.allowed()


def test_a_second_containment_without_drift_is_unchanged(product: Product, user: User) -> None:
    product.contain(user.arn)
    product.contain(user.arn)
    assert product.mailbox.stages(user.name)[-1] == "Unchanged"


def test_a_request_older_than_the_last_one_is_stale(product: Product, user: User) -> None:
    product.contain(user.arn)
    product.release(user.arn)
    product.invoke(product.event(attributes(user), at="2026-01-01T00:00:00.000Z"))
    refused = product.mailbox.notices(user.name)[-1]
    assert refused.stage == "Refused" and "stale" in refused.mail and user.allowed()


def test_a_release_during_the_containment_wins(product: Product, user: User) -> None:
    before = user.state()
    with product.bed.proxy.rule(fault="delay", action="ListAttachedUserPolicies", contains=user.name, ms=700):
        with ThreadPoolExecutor(2) as pool:
            contained = pool.submit(product.contain, user.arn)
            wait_for_call(product, user, "AttachUserPolicy")
            pool.submit(product.release, user.arn).result()
            contained.result()
    assert product.mailbox.stages(user.name)[-1] == "Released"
    assert user.state() == before and user.allowed()


# --- Failures ----------------------------------------------------------------------------------------------------------------


def test_throttling_fails_the_invocation_and_the_next_delivery_goes_on(product: Product, user: User) -> None:
    event = product.event(attributes(user))
    with product.bed.proxy.rule(fault="throttle", action="GetUser", contains=user.name):
        assert product.invoke(event)["error"]
    assert product.mailbox.stages(user.name) == []
    assert product.invoke(event)["error"] is None
    assert product.mailbox.stages(user.name) == ["Started", "Contained"] and not user.allowed()


BUSY = {"fault": "refuse", "status": 409, "code": "ConcurrentModification", "action": "GetUser"}
"""A failure that passes, and that the SDK doesn't try again itself."""


def test_what_passes_is_waited_for_in_the_same_invocation(another: Callable[..., Product], bed: Bed, user: User) -> None:
    product = another()
    lead_to_proxy(bed, product.outputs["FunctionName"], PERSIST_MILLISECONDS="20000")
    with bed.proxy.rule(**BUSY, contains=user.name, count=2):
        assert product.invoke(product.event(attributes(user)))["error"] is None
    assert product.mailbox.stages(user.name) == ["Started", "Contained"] and not user.allowed()


def test_what_does_not_pass_holds_nothing_up_and_is_told_at_the_last_try(
    another: Callable[..., Product], bed: Bed, user: User
) -> None:
    product, other, mark = another(), make_user(bed.endpoints), bed.proxy.mark()
    lead_to_proxy(bed, product.outputs["FunctionName"], PERSIST_MILLISECONDS="3000")
    event = product.event({**attributes(user), "Arn": json.dumps([user.arn, other.arn])})
    event["Records"][0]["Sns"]["MessageAttributes"]["Arn"]["Type"] = "String.Array"
    with bed.proxy.rule(**BUSY, contains=user.name):
        for told in ([], [], ["Failed"]):
            assert product.invoke(event)["error"] == "RetryCanHelp" and product.mailbox.stages(user.name) == told
    tries = product.calls_about(user.name, mark, action="GetUser")
    [denied] = product.calls_about(other.name, mark, action="AttachUserPolicy")
    assert len(tries) == 6 and denied["start_ms"] < tries[1]["start_ms"]
    assert product.mailbox.stages(other.name) == ["Started", "Contained"] and user.allowed()


def test_an_answer_that_is_cut_off_after_the_change_does_no_harm(product: Product, user: User) -> None:
    before = user.state()
    with product.bed.proxy.rule(fault="cut_after", action="AttachUserPolicy", contains=user.name, count=1):
        product.contain(user.arn)
    assert product.mailbox.stages(user.name)[-1] == "Contained" and not user.allowed()
    product.release(user.arn)
    assert user.state() == before


def test_a_journal_out_of_reach_stops_nothing_and_is_said(product: Product, user: User) -> None:
    with product.bed.proxy.rule(fault="cut", service="dynamodb"):
        product.contain(user.arn)
    assert not user.allowed()
    assert "UNJOURNALLED" in product.mailbox.notices(user.name)[-1].mail


def test_notices_that_fail_stop_nothing(product: Product, user: User) -> None:
    with product.bed.proxy.rule(fault="refuse", service="sns", action="Publish", status=403, code="AuthorizationError"):
        product.contain(user.arn)
    assert not user.allowed()


def wait_for_call(product: Product, user: User, action: str) -> None:
    """Waits until the function has made a call about the user."""
    deadline = time.monotonic() + 20
    while not product.calls_about(user.name, action=action):
        assert time.monotonic() < deadline, f"no {action} came"
        time.sleep(0.02)


def test_a_function_that_is_killed_resumes_with_the_next_delivery(another: Callable[..., Product], user: User) -> None:
    product, before = another(), user.state()
    event = product.event(attributes(user))
    late = {"fault": "delay", "action": "AttachUserPolicy", "contains": user.name, "ms": 9000, "count": 1}
    with product.bed.proxy.rule(**late), ThreadPoolExecutor(1) as pool:
        first = pool.submit(product.invoke, event)
        wait_for_call(product, user, "AttachUserPolicy")
        [process] = product.processes()
        os.kill(process, signal.SIGKILL)
        assert first.result()["error"] == "Runtime.ExitError"
    assert open_records(product, user.name)
    assert product.invoke(event)["error"] is None
    assert product.mailbox.stages(user.name)[-1] == "Contained" and not user.allowed()
    product.release(user.arn)
    assert user.state() == before and user.allowed()


def test_a_request_that_fails_for_good_is_in_the_dead_letter_queue_and_mailed(
    another: Callable[..., Product], user: User
) -> None:
    product = another()
    with product.bed.proxy.rule(fault="cut", action="GetUser", contains=user.name):
        product.invoke(product.event(attributes(user)), asynchronously=True)
        assert product.mailbox.wait(user.name, "Failed", seconds=90).subject.startswith("Failed")
        assert user.name in product.dead_letter(seconds=30)
    tries = product.calls_about(user.name, action="GetUser")
    assert len(tries) >= 3 and product.mailbox.stages(user.name).count("Failed") == 1


def test_a_user_who_does_not_exist_fails_and_is_not_retried(product: Product) -> None:
    arn = f"arn:aws:iam::{MEMBER}:user/nobody-of-this-name"
    assert product.invoke(product.event({"Arn": arn, "Action": "contain", "ExternalId": EXTERNAL_ID}))["error"] is None
    failed = product.mailbox.notices("nobody-of-this-name")[-1]
    assert failed.stage == "Failed" and arn in failed.mail


def test_an_account_without_the_member_role_is_named_with_the_remedy(product: Product) -> None:
    product.contain("arn:aws:iam::333333333333:user/someone")
    failed = product.mailbox.notices("333333333333")[-1]
    assert failed.stage == "Failed"
    assert all(word in failed.mail for word in (product.member_role.rpartition("/")[2], "333333333333", "member-role.yaml"))


# --- Bad input ---------------------------------------------------------------------------------------------------------------

WRONG = "wrong-horse-battery-staple"


@pytest.mark.parametrize("external_id", [
    {"DataType": "String", "StringValue": WRONG}, {"DataType": "Binary", "BinaryValue": EXTERNAL_ID.encode()}, None,
])
def test_without_the_external_id_nothing_is_called_but_one_notice(
    another: Callable[..., Product], user: User, external_id: dict[str, str] | None
) -> None:
    product = another()
    mark = product.bed.proxy.mark()
    message = {"Arn": {"DataType": "String", "StringValue": user.arn}}
    if external_id:
        message["ExternalId"] = external_id
    for _ in range(3):
        product.publish_raw(message, body="free text of the message")
    # Other products on this bed still look at what they contained. What this one asks names its stack (its table, its topics,
    # the role it would assume) or the user.
    stack = product.outputs["FunctionName"].partition("-Function-")[0]
    calls = product.calls_about(stack, mark) + product.calls_about(user.name, mark)
    assert {(call["service"], call["action"]) for call in calls} == {("sns", "Publish")}
    [refused] = product.mailbox.notices()
    assert refused.stage == "Refused"
    for text in (refused.subject, refused.mail, refused.text, log_of(product)):
        assert not [word for word in (WRONG, EXTERNAL_ID, user.name, "free text") if word in text]
    assert user.allowed() and not product.journal()


def log_of(product: Product) -> str:
    """All that the function has logged."""
    logs = product.bed.endpoints.client("logs", "111111111111")
    groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    events = [logs.filter_log_events(logGroupName=group)["events"] for group in groups]
    text = "\n".join(event["message"] for found in events for event in found)
    assert "requestId" in text, "no log was found, so its silence would prove nothing"
    return text


@pytest.mark.parametrize("arn", [
    None, "", "alice", "arn:aws:iam::222222222222:group/admins", "arn:aws:iam::222222222222:root",
    "arn:aws:lambda:us-east-1:222222222222:layer:x:1", "arn:aws:ec2:us-east-1:222222222222:volume/vol-1",
    "arn:aws:iam::2222:user/alice", "arn:aws-cn:iam::222222222222:user/alice", "arn:aws:iam::222222222222:user/a\u0000b",
    "arn:aws:iam::222222222222:user/" + "a" * 5000, "arn:aws:iam::222222222222:user/",
], ids=lambda arn: str(arn)[:60].replace("\0", "NUL"))
def test_what_is_no_arn_of_an_entity_is_refused_with_what_is_accepted(
    another: Callable[..., Product], arn: str | None
) -> None:
    # A product of its own, with nothing contained: to reach IAM at all it would have to assume its member role first.
    product = another()
    message = {"Action": "contain", "ExternalId": EXTERNAL_ID, **({} if arn is None else {"Arn": arn})}
    event, mark = product.event(message), product.bed.proxy.mark()
    assert product.invoke(event)["error"] is None
    assert refused_since(product, mark)
    role = product.member_role.rpartition("/")[2]
    assert not product.calls_about(role, mark, service="sts")


def refused_since(product: Product, mark: int) -> bool:
    """Whether a refusal has been mailed."""
    published = product.bed.proxy.calls(mark, service="sns", action="Publish")
    return any(call["params"]["Subject"].startswith("Refused") for call in published)


def test_one_bad_arn_among_several_is_refused_and_the_others_done(product: Product, bed: Bed, user: User) -> None:
    other = make_user(bed.endpoints)
    mark = product.bed.proxy.mark()
    product.contain(user.arn, "arn:aws:iam::222222222222:group/admins", other.arn)
    assert refused_since(product, mark)
    assert not user.allowed() and not other.allowed()
    assert product.mailbox.stages(user.name)[-1] == product.mailbox.stages(other.name)[-1] == "Contained"


def test_more_than_25_are_refused(product: Product, user: User) -> None:
    mark = product.bed.proxy.mark()
    product.contain(user.arn, *[f"arn:aws:iam::{MEMBER}:user/u{number}" for number in range(25)])
    assert refused_since(product, mark) and user.allowed()


def test_a_wrong_path_is_refused_with_the_real_arn(product: Product, bed: Bed) -> None:
    user = make_user(bed.endpoints, path="/real/")
    product.contain(user.arn.replace("/real/", "/other/"))
    refused = product.mailbox.notices(user.name)[-1]
    assert refused.stage == "Refused" and user.arn in refused.mail and user.allowed()


def test_a_protected_user_is_refused(product: Product, bed: Bed) -> None:
    user = make_user(bed.endpoints, prefix="protected")
    product.contain(user.arn)
    assert product.mailbox.stages(user.name) == ["Refused"] and user.allowed()


def test_names_are_protected_in_any_case(product: Product, bed: Bed) -> None:
    user, mark = make_user(bed.endpoints, prefix="PROTECTED"), product.bed.proxy.mark()
    product.contain(user.arn)
    assert refused_since(product, mark) and user.allowed()


def test_an_unknown_action_is_refused(product: Product, user: User) -> None:
    mark = product.bed.proxy.mark()
    product.publish(user.arn, action="destroy")
    assert refused_since(product, mark) and user.allowed()


def test_a_release_of_what_was_never_contained_is_unchanged(product: Product, user: User) -> None:
    product.release(user.arn)
    assert product.mailbox.stages(user.name) == ["Unchanged"]


def test_a_second_release_is_unchanged(product: Product, user: User) -> None:
    product.contain(user.arn)
    product.release(user.arn)
    product.release(user.arn)
    assert product.mailbox.stages(user.name)[-2:] == ["Released", "Unchanged"]


@pytest.mark.parametrize("event", [{}, {"Records": []}, {"Records": [{"EventSource": "aws:s3"}]}, [], "text", None])
def test_what_is_no_sns_event_is_an_error_that_names_the_shape(product: Product, event: object) -> None:
    answer = product.invoke(event)
    assert answer["error"] and "SNS" in str(answer["payload"])
