"""A Lambda function from the message to the mail to the release, alone and with others that share its role."""

import json
import time
from collections.abc import Callable
from itertools import permutations

import pytest
from testbed.accounts import MEMBER
from testbed.bed import Bed
from testbed.product import EXTERNAL_ID, Product
from testbed.self_check import DENY_ALL
from testbed.victims import Function, make_function, make_role

WRITES = ("Attach", "Detach", "Put", "Delete", "Update", "Create")


@pytest.fixture
def function(bed: Bed) -> Function:
    """A function with a role at a path, and a queue that feeds it."""
    return make_function(bed.endpoints, queue=True)


def open_records(product: Product, about: str) -> list[str]:
    """What the journal's index of open containments lists about a name."""
    return [item["pk"]["S"] for item in product.journal() if "open" in item and about in str(item)]


# --- Contain, release ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reserved", [None, 7])
def test_a_function_is_stopped_by_one_message_and_put_back_by_another(
    product: Product, bed: Bed, reserved: int | None
) -> None:
    function = make_function(bed.endpoints, reserved=reserved, queue=True)
    before, session = function.state(), function.role.session()
    assert function.allowed() and function.role.allowed(session)
    product.contain(function.arn)
    assert product.mailbox.stages(function.name) == ["Started", "Contained"]
    assert not function.allowed() and function.reserved() == 0
    assert not function.role.allowed(session) and not function.role.allowed()
    assert set(function.mapping_states().values()) == {"Disabled"}
    assert open_records(product, function.name)
    product.release(function.arn)
    assert product.mailbox.stages(function.name) == ["Started", "Contained", "Released"]
    assert function.allowed() and function.role.allowed(session) and function.state() == before
    assert not open_records(product, function.name)


def test_a_qualifier_means_the_whole_function(product: Product, function: Function) -> None:
    alias, before = function.alias("live"), function.state()
    assert alias.endswith(":live")
    ways = ("$LATEST", "live", "1")
    assert all(function.allowed(way) for way in ways)
    product.contain(alias)
    assert product.mailbox.stages(function.name)[-1] == "Contained"
    assert not any(function.allowed(way) for way in ways) and not function.role.allowed()
    product.release(f"{function.arn}:1")
    assert product.mailbox.stages(function.name)[-1] == "Released"
    assert all(function.allowed(way) for way in ways) and function.state() == before


def test_a_qualifier_that_does_not_exist_still_means_the_function(product: Product, function: Function) -> None:
    product.contain(f"{function.arn}:gone")
    contained = product.mailbox.notices(function.name)[-1]
    assert contained.stage == "Contained" and "does not exist" in contained.mail and not function.allowed()


def test_the_role_of_the_named_version_is_denied_too(product: Product, bed: Bed, function: Function) -> None:
    alias, newer = function.alias("live"), make_role(bed.endpoints)
    function.client().update_function_configuration(FunctionName=function.name, Role=newer.arn)
    before = (function.state(), newer.state())
    product.contain(alias)
    assert product.mailbox.stages(function.name)[-1] == "Contained"
    assert not function.role.allowed() and not newer.allowed()
    product.release(alias)
    assert (function.state(), newer.state()) == before


def test_mappings_of_aliases_are_disabled_and_those_that_were_off_stay_off(product: Product, function: Function) -> None:
    function.alias("live")
    off, aliased = function.feed(enabled=False), function.feed(qualifier="live")
    before = function.state()
    assert before["mappings"][off] == "Disabled" and before["mappings"][aliased] == "Enabled"
    product.contain(function.arn)
    assert product.mailbox.stages(function.name)[-1] == "Contained"
    assert set(function.mapping_states().values()) == {"Disabled"}
    product.release(function.arn)
    assert function.state() == before


def test_a_function_of_another_region_is_found_there_and_its_namesake_left_alone(product: Product, bed: Bed) -> None:
    far, near = make_function(bed.endpoints, region="eu-west-1"), make_function(bed.endpoints)
    product.contain(far.arn)
    assert product.mailbox.stages(far.name)[-1] == "Contained"
    assert not far.allowed() and near.allowed()
    product.contain(near.arn.replace(":us-east-1:", ":eu-west-1:"))
    assert product.mailbox.stages(near.name)[-1] == "Failed" and near.allowed()
    product.release(far.arn)
    assert far.allowed()


def test_no_call_of_a_containment_is_denied(product: Product, bed: Bed) -> None:
    function = make_function(bed.endpoints, reserved=3, queue=True)
    mark = product.bed.proxy.mark()
    product.contain(function.arn)
    product.release(function.arn)
    calls = product.calls_about(function.name, mark)
    assert calls and {call["code"] for call in calls} == {None}
    assert not product.bed.proxy.calls(mark, status=403)


def test_the_notice_names_the_others_and_says_that_they_go_dark(product: Product, bed: Bed, function: Function) -> None:
    other = make_function(bed.endpoints, role=function.role)
    product.contain(function.arn)
    mail = product.mailbox.notices(function.name)[-1].mail
    affected = mail.partition("Also affected")[2]
    assert other.name in affected and "logs stop" in affected and "time limit (10 s)" in mail


def test_a_plan_changes_nothing(product: Product, function: Function) -> None:
    mark, before = product.bed.proxy.mark(), function.state()
    product.publish(function.arn, action="plan")
    assert product.mailbox.stages(function.name) == ["Planned"]
    assert function.allowed() and function.state() == before
    calls = [call for call in product.bed.proxy.calls(mark) if call["service"] in ("iam", "lambda")]
    assert calls and not [call for call in calls if call["action"].startswith(WRITES)]
    mail = product.mailbox.notices(function.name)[0].mail
    assert all(word in mail for word in ("AWSDenyAll", "reserved concurrency", function.mappings[0], function.role.name))


def test_a_function_that_was_stopped_before_stays_stopped_after_the_release(product: Product, bed: Bed) -> None:
    function = make_function(bed.endpoints, reserved=0)
    before = function.state()
    product.contain(function.arn)
    assert product.mailbox.stages(function.name)[-1] == "Contained"
    product.release(function.arn)
    assert function.state() == before and not function.allowed()


def test_a_second_containment_is_unchanged_and_one_after_drift_repairs(product: Product, function: Function) -> None:
    before = function.state()
    product.contain(function.arn)
    product.contain(function.arn)
    assert product.mailbox.stages(function.name)[-1] == "Unchanged"
    function.client().delete_function_concurrency(FunctionName=function.name)
    function.client().update_event_source_mapping(UUID=function.mappings[0], Enabled=True)
    product.contain(function.arn)
    assert product.mailbox.stages(function.name)[-1] == "Contained"
    assert not function.allowed() and set(function.mapping_states().values()) == {"Disabled"}
    product.release(function.arn)
    assert function.state() == before


def test_a_mapping_that_was_made_since_is_disabled_by_the_next_message_and_enabled_by_the_release(
    product: Product, bed: Bed, function: Function
) -> None:
    product.contain(function.arn)
    # AWS makes no mapping for a role that may not read the queue: the intruder takes the deny off first.
    bed.endpoints.client("iam", MEMBER).detach_role_policy(RoleName=function.role.name, PolicyArn=DENY_ALL)
    function.feed()
    product.contain(function.arn)
    assert not function.role.allowed()
    assert product.mailbox.stages(function.name)[-1] == "Contained"
    assert set(function.mapping_states().values()) == {"Disabled"}
    product.release(function.arn)
    assert set(function.mapping_states().values()) == {"Enabled"} and function.allowed()


# --- Roles that are shared ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_what_others_still_hold_stays_locked_in_whatever_order_they_are_released(
    product: Product, bed: Bed, order: tuple[int, ...]
) -> None:
    role = make_role(bed.endpoints, path="/service-role/")
    first, second = (make_function(bed.endpoints, role=role, reserved=reserved) for reserved in (None, 5))
    before = (first.state(), second.state())
    product.contain(first.arn, role.arn, second.arn)
    names = (first.name, role.name, second.name)
    assert "Contained" in product.mailbox.stages(first.name) and "Contained" in product.mailbox.stages(second.name)
    left = {0, 1, 2}
    for number in order:
        product.release((first.arn, role.arn, second.arn)[number])
        left -= {number}
        assert role.allowed() == (not left), (names[number], left)
        assert first.allowed() == (0 not in left) and second.allowed() == (2 not in left)
    assert (first.state(), second.state()) == before
    for name in names:
        assert not open_records(product, name)


def test_a_release_that_others_hold_back_says_so(product: Product, bed: Bed, function: Function) -> None:
    product.contain(function.arn)
    product.contain(function.role.arn)
    message = product.release(function.role.arn)
    [released] = product.mailbox.notices(message=message)
    assert released.stage == "Released" and function.name in released.mail and "STAYS LOCKED" in released.mail
    assert not function.role.allowed()
    product.release(function.arn)
    assert function.role.allowed()


def test_a_role_that_was_denied_before_stays_denied_after_all_are_released(product: Product, bed: Bed) -> None:
    role = make_role(bed.endpoints)
    bed.endpoints.client("iam", MEMBER).attach_role_policy(RoleName=role.name, PolicyArn=DENY_ALL)
    function, before = make_function(bed.endpoints, role=role), role.state()
    product.contain(function.arn)
    product.contain(role.arn)
    product.release(function.arn)
    product.release(role.arn)
    assert role.state() == before and not role.allowed()


# --- Truth -------------------------------------------------------------------------------------------------------------------


def test_a_lost_concurrency_is_never_called_contained(product: Product, function: Function) -> None:
    with product.bed.proxy.rule(fault="lose", action="PutFunctionConcurrency", contains=function.name):
        product.contain(function.arn)
    stages = product.mailbox.stages(function.name)
    assert stages[-1] == "Partial" and "Contained" not in stages
    assert function.allowed() and not function.role.allowed()
    product.contain(function.arn)
    assert product.mailbox.stages(function.name)[-1] == "Contained" and not function.allowed()


def test_a_lost_update_of_a_mapping_is_never_called_contained(product: Product, function: Function) -> None:
    [uuid] = function.mappings
    with product.bed.proxy.rule(fault="lose", action="UpdateEventSourceMapping", contains=uuid):
        product.contain(function.arn)
    assert product.mailbox.stages(function.name)[-1] == "Partial"
    assert not function.allowed() and not function.role.allowed()


def test_a_refused_concurrency_says_what_to_do_and_the_role_is_denied_all_the_same(
    product: Product, function: Function
) -> None:
    refused = {"fault": "refuse", "status": 400, "code": "InvalidParameterValueException", "message": "No."}
    with product.bed.proxy.rule(action="PutFunctionConcurrency", contains=function.name, **refused):
        product.contain(function.arn)
    partial = product.mailbox.notices(function.name)[-1]
    assert partial.stage == "Partial" and "provisioned concurrency" in partial.mail and not function.role.allowed()


def test_a_concurrency_that_cannot_be_put_back_is_partial_until_it_can(product: Product, bed: Bed) -> None:
    function = make_function(bed.endpoints, reserved=9)
    before = function.state()
    product.contain(function.arn)
    refused = {"fault": "refuse", "status": 400, "code": "InvalidParameterValueException", "message": "Below its minimum."}
    with product.bed.proxy.rule(action="PutFunctionConcurrency", contains=function.name, **refused):
        product.release(function.arn)
    partial = product.mailbox.notices(function.name)[-1]
    assert partial.stage == "Partial" and "unreserved concurrency" in partial.mail and function.role.allowed()
    assert not function.allowed() and open_records(product, function.name)
    product.release(function.arn)
    assert product.mailbox.stages(function.name)[-1] == "Released" and function.state() == before


def test_what_somebody_else_has_changed_since_is_left_unless_forced(product: Product, function: Function) -> None:
    product.contain(function.arn)
    function.client().put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=4)
    product.release(function.arn)
    assert product.mailbox.stages(function.name)[-1] == "Partial" and function.reserved() == 4
    product.release(function.arn, Force="true")
    assert product.mailbox.stages(function.name)[-1] == "Released" and function.reserved() is None


def test_a_function_without_its_role_is_stopped_and_the_stage_is_partial(product: Product, function: Function) -> None:
    iam = product.bed.endpoints.client("iam", MEMBER)
    for policy in function.role.state()["attached"]:
        iam.detach_role_policy(RoleName=function.role.name, PolicyArn=policy)
    iam.delete_role(RoleName=function.role.name)
    product.contain(function.arn)
    partial = product.mailbox.notices(function.name)[-1]
    assert partial.stage == "Partial" and function.role.arn in partial.mail.partition("STAYS OPEN")[2]
    assert function.reserved() == 0
    product.release(function.arn)
    assert product.mailbox.stages(function.name)[-1] == "Released" and function.reserved() is None


def test_a_role_made_anew_under_the_name_is_not_touched_by_the_release(product: Product, bed: Bed) -> None:
    function = make_function(bed.endpoints)
    product.contain(function.arn)
    iam, name = bed.endpoints.client("iam", MEMBER), function.role.name
    for policy in function.role.state()["attached"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=policy)
    iam.delete_role(RoleName=name)
    anew = make_role(bed.endpoints, path="/service-role/", name=name)
    assert anew.arn == function.role.arn
    iam.attach_role_policy(RoleName=name, PolicyArn=DENY_ALL)
    before = anew.state()
    product.release(function.arn)
    assert product.mailbox.stages(function.name)[-1] == "Released"
    assert anew.state() == before and function.reserved() is None


def test_a_function_deleted_since_is_released_saying_so(product: Product, function: Function) -> None:
    product.contain(function.arn)
    for uuid in function.mappings:
        function.client().delete_event_source_mapping(UUID=uuid)
    function.client().delete_function(FunctionName=function.name)
    product.release(function.arn)
    released = product.mailbox.notices(function.name)[-1]
    assert released.stage == "Released" and "no longer exists" in released.mail and function.role.allowed()


def test_what_cloudfront_may_run_is_residue(product: Product, function: Function) -> None:
    iam, name = product.bed.endpoints.client("iam", MEMBER), function.role.name
    trust = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    trust["Statement"][0]["Principal"]["Service"].append("edgelambda.amazonaws.com")
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))
    product.contain(function.arn)
    partial = product.mailbox.notices(function.name)[-1]
    assert partial.stage == "Partial" and "Lambda@Edge" in partial.mail.partition("STAYS OPEN")[2]
    assert not function.allowed() and not function.role.allowed()
    product.release(function.arn)
    assert product.mailbox.stages(function.name)[-1] == "Released" and function.allowed()


# --- Parts of the survey that fail -------------------------------------------------------------------------------------------


def test_functions_that_cannot_be_listed_keep_nothing_from_being_locked(product: Product, function: Function) -> None:
    denied = {"fault": "refuse", "status": 403, "code": "AccessDeniedException"}
    with product.bed.proxy.rule(action="ListFunctions", **denied):
        product.contain(function.arn)
    contained = product.mailbox.notices(function.name)[-1]
    assert contained.stage == "Contained" and "may be missing" in contained.mail and not function.allowed()


def test_functions_that_are_slow_to_list_do_not_hold_the_deny_up(product: Product, function: Function) -> None:
    with product.bed.proxy.rule(fault="delay", action="ListFunctions", ms=20_000):
        began = time.monotonic()
        product.contain(function.arn)
        assert time.monotonic() - began < 18
    assert product.mailbox.stages(function.name)[-1] == "Contained" and not function.allowed()


def test_mappings_that_cannot_be_listed_make_it_partial_and_the_rest_is_locked(product: Product, function: Function) -> None:
    denied = {"fault": "refuse", "status": 403, "code": "AccessDeniedException"}
    with product.bed.proxy.rule(action="ListEventSourceMappings", **denied):
        product.contain(function.arn)
    partial = product.mailbox.notices(function.name)[-1]
    assert partial.stage == "Partial" and "lambda:ListEventSourceMappings" in partial.mail
    assert not function.allowed() and not function.role.allowed()


@pytest.mark.parametrize("action", ["ListEventSourceMappings", "GetRole", "GetFunctionConcurrency"])
def test_throttling_of_a_part_locks_the_rest_and_the_next_delivery_brings_it(
    product: Product, function: Function, action: str
) -> None:
    event = product.event({"Arn": function.arn, "Action": "contain", "ExternalId": EXTERNAL_ID})
    before = function.state()
    with product.bed.proxy.rule(fault="throttle", action=action):
        assert product.invoke(event)["error"]
    assert not (function.allowed() and function.role.allowed())
    assert product.mailbox.stages(function.name) == ["Started"]
    assert product.invoke(event)["error"] is None
    assert product.mailbox.stages(function.name) == ["Started", "Contained"]
    assert not function.allowed() and not function.role.allowed()
    assert set(function.mapping_states().values()) == {"Disabled"}
    product.release(function.arn)
    assert function.state() == before


def test_an_update_that_meets_another_one_is_made_when_that_is_done(product: Product, function: Function) -> None:
    busy = {"fault": "refuse", "status": 400, "code": "ResourceInUseException", "count": 2}
    with product.bed.proxy.rule(action="UpdateEventSourceMapping", contains=function.mappings[0], **busy):
        product.contain(function.arn)
    assert product.mailbox.stages(function.name) == ["Started", "Contained"]
    assert set(function.mapping_states().values()) == {"Disabled"}


# --- What must not be touched, and what is not there -------------------------------------------------------------------------


def test_a_function_that_does_not_exist_fails_and_is_not_retried(product: Product) -> None:
    arn = f"arn:aws:lambda:us-east-1:{MEMBER}:function:nothing-of-this-name"
    assert product.invoke(product.event({"Arn": arn, "Action": "contain", "ExternalId": EXTERNAL_ID}))["error"] is None
    failed = product.mailbox.notices("nothing-of-this-name")[-1]
    assert failed.stage == "Failed" and arn in failed.mail


def test_the_function_itself_is_refused(product: Product) -> None:
    arn = f"arn:aws:lambda:us-east-1:111111111111:function:{product.outputs['FunctionName']}:live"
    message = product.contain(arn)
    [refused] = product.mailbox.notices(message=message)
    assert refused.stage == "Refused" and "never locks itself" in refused.mail


def test_a_function_with_a_protected_role_is_refused(another: Callable[..., Product], bed: Bed, function: Function) -> None:
    product, before = another(ProtectedArns=f"arn:aws:iam::*:role/*{function.role.name}"), function.state()
    product.contain(function.arn)
    refused = product.mailbox.notices(function.name)[-1]
    assert refused.stage == "Refused" and function.role.arn in refused.mail and "ProtectedArns" in refused.mail
    assert function.state() == before and function.allowed()
