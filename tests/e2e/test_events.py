"""Findings and calls: what the rules say is done, what they don't say is not, and noise stays silent."""

import json
from pathlib import Path
from typing import Any

import pytest
from testbed.accounts import HUB, MEMBER
from testbed.bed import REPOSITORY, Bed
from testbed.findings import call, guardduty, ocsf, of_instance, of_user, security_hub, with_rules
from testbed.instances import make_instance, make_profile
from testbed.product import EXTERNAL_ID, Product, deploy_product, lead_to_proxy
from testbed.victims import make_function, make_role, make_user, unique

RULES = """
[[rule]]
name = "stolen"
title = "Credentials are in the wrong hands"
severity = 1
when = 'event_type = "guardduty" and type starts_with "UnauthorizedAccess:"'
action = "contain"
entities = "all"
owner = "responders"

[[rule]]
name = "looking"
title = "Somebody looks around"
severity = 3
when = 'event_type = "guardduty" and type starts_with ("Recon:", "UnauthorizedAccess:")'
action = "notify"
owner = "platform"

[[rule]]
name = "imported"
title = "A finding of Security Hub"
severity = 2
when = 'event_type = "securityhub" and Types starts_with "TTPs/"'
action = "contain"
entities = "all"

[[rule]]
name = "newer-format"
title = "A finding of Security Hub in OCSF"
severity = 2
when = 'event_type = "ocsf" and finding_info.types starts_with "TTPs/"'
action = "contain"
entities = "all"

[[rule]]
name = "command"
title = "A command was sent"
severity = 2
when = 'eventSource = "ssm.amazonaws.com" and eventName = "SendCommand"'
action = "contain"
entities = "principal"

[[rule]]
name = "list"
title = "Commands were listed"
severity = 3
when = 'eventSource = "ssm.amazonaws.com" and eventName = "ListCommands"'
action = "notify"

[[rule]]
name = "would"
title = "It would be contained"
severity = 2
when = 'event_type = "guardduty" and type starts_with "Policy:"'
action = "plan"
entities = "all"

[[suppress]]
name = "own-scanner"
when = 'event_type = "guardduty" and service.scanner = true'
reason = "it is ours"
expires = 2099-01-01
"""
STOLEN = "UnauthorizedAccess:IAMUser/TorIPCaller"


def deploy(bed: Bed, package: Path, name: str = "", **parameters: str) -> Product:
    """A product whose looks after a containment come soon: nothing here is about them."""
    product = deploy_product(bed, package, name or unique("lockdown"), **parameters)
    lead_to_proxy(bed, product.outputs["FunctionName"], CONFIRM_MILLISECONDS="100")
    return product


@pytest.fixture(scope="module")
def rules(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with this page's rules."""
    return with_rules(package, tmp_path_factory.mktemp("rules"), RULES)


@pytest.fixture(scope="module")
def automatic(bed: Bed, rules: Path) -> Product:
    """A product that acts by these rules, and that no test here makes brake."""
    return deploy(bed, rules, MaxAutomaticPerHour="500")


def handed(product: Product, event: dict[str, Any]) -> None:
    """Hands an event over, which must go well."""
    answer = product.invoke(event)
    assert answer["error"] is None, answer


def notified(product: Product, about: str) -> list[dict[str, Any]]:
    """The notices about events that name this."""
    return [notice.json for notice in product.mailbox.notices(about) if notice.stage == "Notified"]


# --- What the rules say ------------------------------------------------------------------------------------------------------


def test_a_finding_contains_a_user_whom_it_names_without_a_path(automatic: Product, bed: Bed) -> None:
    user = make_user(bed.endpoints, path="/division/")
    event = guardduty(STOLEN, of_user(user.name))
    handed(automatic, event)
    assert not user.allowed()
    assert sorted(automatic.mailbox.stages(user.name)) == ["Contained", "Notified", "Started"]
    [said] = notified(automatic, user.name)
    assert said["event"]["id"] == event["detail"]["id"] and said["accountId"] == MEMBER
    assert [rule["what"].split()[0] for rule in said["event"]["rules"]] == ["stolen", "looking"]
    assert said["event"]["severity"] == 1
    assert "is being contained" in said["entities"][0]["why"]
    [contained] = [n for n in automatic.mailbox.notices(user.name) if n.stage == "Contained"]
    assert "stolen" in contained.json["claimed"]["requested_by"] and STOLEN in contained.json["claimed"]["reason"]
    assert "lockdown publish" in contained.mail and automatic.outputs["TopicArn"] in contained.mail
    automatic.release(user.arn)
    assert user.allowed()


def test_a_finding_contains_an_instance_and_leaves_its_role_to_others(automatic: Product, bed: Bed) -> None:
    role = make_role(bed.endpoints)
    instance = make_instance(bed.endpoints, role=role)
    before = role.state()["attached"]
    profile = f"arn:aws:iam::{MEMBER}:instance-profile/{make_profile(bed.endpoints, role)}"
    handed(automatic, guardduty("UnauthorizedAccess:EC2/TorClient", of_instance(instance.id, profile)))
    assert "Contained" in automatic.mailbox.stages(instance.id) or "Partial" in automatic.mailbox.stages(instance.id)
    assert role.state()["attached"] == before and role.allowed()


def test_a_role_alone_is_found_by_its_instance_profile(automatic: Product, bed: Bed) -> None:
    role = make_role(bed.endpoints)
    profile = make_profile(bed.endpoints, role)
    arn = f"arn:aws:iam::{MEMBER}:instance-profile/{profile}"
    handed(automatic, security_hub({"Type": "AwsIamInstanceProfile", "Id": arn}))
    assert not role.allowed()


def test_the_user_of_an_access_key_is_found_and_contained(automatic: Product, bed: Bed) -> None:
    user = make_user(bed.endpoints)
    key = user.credentials.access_key_id
    handed(automatic, security_hub({"Type": "AwsIamAccessKey", "Id": f"AWS::IAM::AccessKey:{key}"}))
    assert user.arn in json.dumps(notified(automatic, key))
    assert not user.allowed()


def test_the_role_behind_a_call_is_contained_once_and_its_further_calls_are_told_of_once(automatic: Product, bed: Bed) -> None:
    role = make_role(bed.endpoints, path="/service-role/")
    event = call("ssm", "SendCommand", role=role.arn)
    handed(automatic, event)
    assert not role.allowed()
    stages = sorted(automatic.mailbox.stages(role.name))
    assert stages == ["Contained", "Notified", "Started"]
    handed(automatic, event)
    assert sorted(automatic.mailbox.stages(role.name)) == stages
    mark = bed.proxy.mark()
    for _ in range(3):
        handed(automatic, call("ssm", "SendCommand", role=role.arn, errorCode="AccessDenied"))
    said = notified(automatic, role.name)
    assert len(said) == 2 and "it is contained since" in said[-1]["entities"][0]["why"]
    assert not [c for c in automatic.calls_about(role.name, mark) if c["action"].startswith("Attach")]


def test_what_only_notifies_changes_nothing_and_carries_its_owners(automatic: Product, bed: Bed) -> None:
    user = make_user(bed.endpoints, Tags=[{"Key": "owner", "Value": "payments"}])
    event = guardduty("Recon:IAMUser/UserPermissions", of_user(user.name), severity=2)
    handed(automatic, event)
    assert user.allowed()
    [notice] = automatic.mailbox.notices(user.name)
    assert notice.stage == "Notified" and notice.topic == automatic.outputs["AuditTopicArn"]
    assert json.loads(notice.attributes["Owner"]) == ["payments", "platform"]
    assert notice.attributes["Severity"] == "3" and notice.attributes["AccountId"] == MEMBER
    assert "lookup-events" in notice.mail and "guardduty/home" in notice.mail
    assert f"--entity-arn '{user.arn}'" in notice.mail
    assert "nothing is done to it" in notice.mail


def test_a_finding_that_comes_again_is_told_of_again_only_if_it_got_worse(automatic: Product, bed: Bed) -> None:
    user = make_user(bed.endpoints)
    event = guardduty("Recon:IAMUser/UserPermissions", of_user(user.name), severity=2)
    for severity, times in [(2, 1), (2, 1), (1, 1), (5, 2), (5, 2)]:
        event["detail"]["severity"] = severity
        handed(automatic, event)
        assert len(notified(automatic, user.name)) == times, severity


@pytest.mark.parametrize("kind", ["finding", "call"])
def test_an_event_whose_notice_was_not_taken_is_told_by_the_next_delivery(automatic: Product, bed: Bed, kind: str) -> None:
    user = make_user(bed.endpoints)
    event = call("ssm", "ListCommands", user=user.arn)
    if kind == "finding":
        event = guardduty("Recon:IAMUser/UserPermissions", of_user(user.name), severity=2)
    refusal = {"fault": "refuse", "status": 403, "code": "AuthorizationError", "message": "not allowed"}
    with bed.proxy.rule(service="sns", action="Publish", contains=user.name, **refusal):
        assert automatic.invoke(event)["error"] == "RetryCanHelp"
    assert not notified(automatic, user.name)
    for _ in range(2):
        handed(automatic, event)
        assert len(notified(automatic, user.name)) == 1


def test_what_can_not_be_read_of_one_entity_keeps_no_other_open(automatic: Product, bed: Bed) -> None:
    first, second = make_user(bed.endpoints), make_user(bed.endpoints)
    event = security_hub(*({"Type": "AwsIamUser", "Id": user.arn} for user in (first, second)))
    trouble = {"fault": "refuse", "status": 500, "code": "InternalFailure", "message": "try again"}
    with bed.proxy.rule(service="iam", action="GetUser", contains=first.name, **trouble):
        assert automatic.invoke(event)["error"] == "RetryCanHelp"
    assert first.allowed() and not second.allowed()
    [said] = notified(automatic, first.name)
    assert "is tried again" in said["entities"][0]["why"]
    handed(automatic, event)
    assert not first.allowed() and not second.allowed()
    assert automatic.mailbox.stages(second.name).count("Contained") == 1
    assert len(notified(automatic, first.name)) == 1


def test_what_is_contained_in_part_is_not_called_contained(automatic: Product, bed: Bed) -> None:
    function = make_function(bed.endpoints)
    refusal = {"fault": "refuse", "status": 403, "code": "AccessDeniedException", "message": "not allowed"}
    with bed.proxy.rule(service="lambda", action="PutFunctionConcurrency", contains=function.name, **refusal):
        automatic.contain(function.arn)
    assert automatic.mailbox.stages(function.name)[-1] == "Partial"
    handed(automatic, guardduty(STOLEN, {"resourceType": "Lambda", "lambdaDetails": {"functionArn": function.arn}}))
    [said] = notified(automatic, function.name)
    assert "in part ONLY" in said["entities"][0]["why"]


def test_calls_that_are_alike_are_told_of_once_an_hour(automatic: Product, bed: Bed) -> None:
    user = make_user(bed.endpoints)
    for _ in range(3):
        handed(automatic, call("ssm", "ListCommands", user=user.arn))
    assert len(notified(automatic, user.name)) == 1


def test_a_plan_is_told_and_nothing_is_changed(automatic: Product, bed: Bed) -> None:
    user = make_user(bed.endpoints)
    handed(automatic, guardduty("Policy:IAMUser/RootCredentialUsage", of_user(user.name)))
    assert sorted(automatic.mailbox.stages(user.name)) == ["Notified", "Planned"]
    assert user.allowed()


# --- What makes it less ------------------------------------------------------------------------------------------------------


def noise(name: str) -> dict[str, dict[str, Any]]:
    """Events that nothing is done about, by why."""
    user = of_user(name)
    arn = f"arn:aws:iam::{MEMBER}:user/{name}"
    resource = {"Type": "AwsIamUser", "Id": arn}
    elsewhere = guardduty(STOLEN, user)
    elsewhere["source"] = "my.application"
    return {
        "a sample": guardduty(STOLEN, user, additionalInfo={"sample": True}),
        "archived": {**guardduty(STOLEN, user), "detail": {**guardduty(STOLEN, user)["detail"], "service": {"archived": True}}},
        "suppressed by us": guardduty(STOLEN, user, scanner=True),
        "no rule's": guardduty("Stealth:IAMUser/PasswordPolicyChange", user),
        "not by AWS": elsewhere,
        "resolved": security_hub(resource, Workflow={"Status": "RESOLVED"}),
        "suppressed there": security_hub(resource, Workflow={"Status": "SUPPRESSED"}),
        "somebody else's custom action": security_hub(resource, custom_action="TicketPlease"),
        "another call": call("s3", "GetObject", user=arn),
    }


@pytest.mark.parametrize("kind", noise("x"))
def test_noise_is_silent_and_nobody_is_asked(automatic: Product, bed: Bed, kind: str) -> None:
    user = make_user(bed.endpoints)
    mark = bed.proxy.mark()
    handed(automatic, noise(user.name)[kind])
    assert automatic.mailbox.stages(user.name) == [] and user.allowed()
    assert not [c for c in automatic.calls_about(user.name, mark) if c["service"] != "dynamodb"]


def test_a_finding_that_anybody_may_have_written_only_notifies_and_says_why(automatic: Product, bed: Bed) -> None:
    user, other = make_user(bed.endpoints), make_user(bed.endpoints, HUB)
    own = f"arn:aws:securityhub:us-east-1:{MEMBER}:product/{MEMBER}/default"
    for product, victim, why in [(own, user, "TrustedProducts"), ("", other, "another account")]:
        resource = {"Type": "AwsIamUser", "Id": victim.arn}
        handed(automatic, security_hub(resource, product=product) if product else security_hub(resource))
        [said] = notified(automatic, victim.name)
        assert why in said["entities"][0]["why"]
        assert victim.allowed()


@pytest.mark.parametrize("tag", ["never", "notify"])
def test_a_tag_makes_it_less_and_one_that_holds_a_containment_back_is_trouble(automatic: Product, bed: Bed, tag: str) -> None:
    tags = [{"Key": "entity-lockdown", "Value": tag}]
    for victim, event in [
        (user := make_user(bed.endpoints, Tags=tags), guardduty(STOLEN, of_user(user.name))),
        (role := make_role(bed.endpoints, Tags=tags), call("ssm", "SendCommand", role=role.arn)),
    ]:
        handed(automatic, event)
        assert victim.allowed() and automatic.mailbox.stages(victim.name) == ["Notified"]
        trouble = automatic.mailbox.on_topic(automatic.outputs["FailureTopicArn"], victim.name)
        assert len(trouble) == (tag == "never")


def test_the_tags_of_a_function_and_of_an_instance_count_too(automatic: Product, bed: Bed) -> None:
    function = make_function(bed.endpoints)
    function.client().tag_resource(Resource=function.arn, Tags={"entity-lockdown": "never"})
    instance = make_instance(bed.endpoints)
    ec2 = bed.endpoints.client("ec2", MEMBER)
    ec2.create_tags(Resources=[instance.id], Tags=[{"Key": "entity-lockdown", "Value": "never"}])
    lambda_details = {"resourceType": "Lambda", "lambdaDetails": {"functionArn": function.arn}}
    for name, resource in [(function.name, lambda_details), (instance.id, of_instance(instance.id))]:
        handed(automatic, guardduty(STOLEN, resource))
        assert automatic.mailbox.stages(name) == ["Notified"], name
    assert function.allowed()


def test_the_guard_can_not_be_overridden_by_a_rule(automatic: Product, bed: Bed) -> None:
    mark = bed.proxy.mark()
    handed(automatic, call("ssm", "SendCommand", role=automatic.member_role))
    name = automatic.member_role.rsplit("/", 1)[-1]
    [said] = [said for said in notified(automatic, name) if name in said["entities"][0]["what"]]
    assert "lock the responders out" in said["entities"][0]["why"]
    assert not [c for c in automatic.calls_about(name, mark) if c["action"].startswith("Attach")]


def test_the_brake_stops_the_twenty_first_and_no_person(bed: Bed, rules: Path) -> None:
    product = deploy(bed, rules)
    users = [make_user(bed.endpoints, account) for account in [HUB, MEMBER] * 10] + [make_user(bed.endpoints)]
    for user in users:
        handed(product, guardduty(STOLEN, of_user(user.name), account=user.account))
    assert [user.allowed() for user in users] == [False] * 20 + [True]
    trouble = product.mailbox.on_topic(product.outputs["FailureTopicArn"], users[-1].name)
    assert len(trouble) == 1 and "the brake holds: 20 containments" in trouble[0].text
    product.contain(users[-1].arn)
    assert not users[-1].allowed()


def test_one_account_is_braked_at_half(bed: Bed, rules: Path) -> None:
    product = deploy(bed, rules, MaxAutomaticPerHour="2")
    users = [make_user(bed.endpoints) for _ in range(2)]
    for user in users:
        handed(product, guardduty(STOLEN, of_user(user.name)))
    assert [user.allowed() for user in users] == [False, True]
    [said] = notified(product, users[1].name)
    assert f"in account {MEMBER}" in said["entities"][0]["why"]


def test_broken_rules_contain_nothing_say_so_once_and_keep_the_event(bed: Bed, package: Path, tmp_path: Path) -> None:
    broken = with_rules(package, tmp_path, RULES.replace('action = "contain"', 'action = "contian"', 1))
    product = deploy(bed, broken)
    user = make_user(bed.endpoints)
    event = guardduty(STOLEN, of_user(user.name))
    answer = product.invoke(event)
    assert answer["error"] == "RetryCanHelp", answer
    product.invoke(event, asynchronously=True)
    assert user.name in product.dead_letter(seconds=90)
    [said] = [notice.json for notice in product.mailbox.notices("can't be loaded")]
    assert said["stage"] == "Failed" and "contian" in said["summary"] and "test.toml" in said["summary"]
    assert user.allowed()
    product.contain(user.arn)
    assert not user.allowed()


def test_an_event_that_lacks_what_makes_one_is_kept(automatic: Product) -> None:
    event = guardduty(STOLEN, of_user("x"))
    event["detail"] = {"type": "x"}
    assert automatic.invoke(event)["error"] == "BrokenEvent"


# --- People ------------------------------------------------------------------------------------------------------------------


def test_what_a_person_sends_on_is_contained_without_a_rule(automatic: Product, bed: Bed) -> None:
    user = make_user(bed.endpoints, Tags=[{"Key": "entity-lockdown", "Value": "never"}])
    resource = {"Type": "AwsIamUser", "Id": user.arn}
    handed(automatic, security_hub(resource, custom_action="EntityLockdown", Types=["Software and Configuration Checks"]))
    assert not user.allowed()
    assert "Contained" in automatic.mailbox.stages(user.name)
    handed(automatic, security_hub(resource, custom_action="EntityLockdown", Workflow={"Status": "RESOLVED"}))
    refused = [n for n in automatic.mailbox.notices("a resolved finding") if n.stage == "Refused"]
    assert refused


def test_a_custom_action_that_only_notifies_contains_nothing(bed: Bed, rules: Path) -> None:
    product = deploy(bed, rules, CustomAction="notify")
    user = make_user(bed.endpoints)
    handed(product, security_hub({"Type": "AwsIamUser", "Id": user.arn}, custom_action="EntityLockdown"))
    assert product.mailbox.stages(user.name) == ["Notified"] and user.allowed()


def test_a_soar_gets_its_answer(automatic: Product, bed: Bed) -> None:
    user = make_user(bed.endpoints)
    asked = {"arn": user.arn, "externalId": EXTERNAL_ID, "reason": "playbook 7", "incidentId": "INC-7"}
    plan = automatic.invoke({**asked, "action": "plan"})["payload"]
    assert plan["stage"] == "Planned" and plan["steps"] and user.allowed()
    contained = automatic.invoke(asked)["payload"]
    assert contained["stage"] == "Contained" and contained["entity"] == user.arn
    assert contained["claimed"] == {"reason": "playbook 7", "incident": "INC-7"}
    assert contained["done"] and not user.allowed()
    assert automatic.invoke(asked)["payload"]["stage"] == "Unchanged"
    released = automatic.invoke({**asked, "action": "release"})["payload"]
    assert released["stage"] == "Released" and user.allowed()
    for wrong, words in [
        ({**asked, "externalId": "guess"}, "without the right ExternalId"),
        ({"arn": user.arn}, "without the right ExternalId"),
        ({**asked, "acton": "plan"}, "accepted are"),
        ({**asked, "arn": "nonsense"}, "Accepted are"),
    ]:
        refused = automatic.invoke(wrong)["payload"]
        assert refused["stage"] == "Refused" and words in refused["summary"], refused
        assert EXTERNAL_ID not in json.dumps(refused)


# --- Security Hub's console -----------------------------------------------------------------------------------------------------


def test_a_finding_is_noted_what_became_of_it_and_a_failure_to_do_so_changes_nothing(automatic: Product, bed: Bed) -> None:
    user = make_user(bed.endpoints)
    event = security_hub({"Type": "AwsIamUser", "Id": user.arn}, Note={"Text": "ask Ada", "UpdatedBy": "bob"})
    finding = event["detail"]["findings"][0]["Id"]
    answer = json.dumps({"ProcessedFindings": [], "UnprocessedFindings": []})
    with bed.proxy.rule(fault="lose", service="securityhub", contains=finding, body=answer):
        handed(automatic, event)
    [update] = bed.proxy.calls(0, service="securityhub", contains=finding)
    assert (update["action"], update["status"], update["account"]) == ("BatchUpdateFindings", 200, MEMBER)
    assert f"{user.arn}: Contained" in update["text"] and "ask Ada" in update["text"] and "NOTIFIED" in update["text"]
    other = make_user(bed.endpoints)
    refusal = {"fault": "refuse", "status": 403, "code": "AccessDeniedException", "message": "not allowed"}
    with bed.proxy.rule(service="securityhub", **refusal):
        handed(automatic, security_hub({"Type": "AwsIamUser", "Id": other.arn}))
    assert not other.allowed()


def test_a_finding_in_the_newer_format_contains_and_is_commented_on(automatic: Product, bed: Bed) -> None:
    user = make_user(bed.endpoints)
    event = ocsf("AWS::IAM::User", user.arn)
    finding, mark = event["detail"]["findings"][0]["metadata"]["uid"], bed.proxy.mark()
    answer = json.dumps({"ProcessedFindings": [], "UnprocessedFindings": []})
    with bed.proxy.rule(fault="lose", service="securityhub", contains=finding, body=answer):
        handed(automatic, event)
    assert "Contained" in automatic.mailbox.stages(user.name) and not user.allowed()
    [update] = bed.proxy.calls(mark, service="securityhub", contains=finding)
    assert (update["action"], update["status"], update["account"]) == ("BatchUpdateFindingsV2", 200, MEMBER)
    asked = json.loads(update["text"].partition("\n")[2])
    assert asked["MetadataUids"] == [finding] and asked["StatusId"] == 2
    assert f"{user.arn}: Contained" in asked["Comment"]


def test_nothing_is_written_back_where_that_is_off(bed: Bed, rules: Path) -> None:
    product = deploy(bed, rules, WriteBack="no")
    user = make_user(bed.endpoints)
    event = security_hub({"Type": "AwsIamUser", "Id": user.arn})
    handed(product, event)
    assert not user.allowed()
    assert not bed.proxy.calls(0, service="securityhub", contains=event["detail"]["findings"][0]["Id"])


# --- Files ---------------------------------------------------------------------------------------------------------------------

EVENTS = REPOSITORY / "tests" / "events"
CUSTODIAN = REPOSITORY.parent / "shared" / "data" / "events" / "cloud-custodian"


def rows(heading: str) -> dict[str, str]:
    """A table of tests/events/README.md: what is said of each file."""
    section = (EVENTS / "README.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if ".json" in line]
    return {file: said for file, said in cells}


@pytest.fixture(scope="module")
def shipped(bed: Bed, package: Path) -> Product:
    """A product with the shipped rules and a custom action that only notifies: the entities of these files exist nowhere."""
    return deploy(bed, package, CustomAction="notify")


@pytest.mark.parametrize(
    ("folder", "heading"), [(EVENTS, "What the function does: events of this project"),
                            (CUSTODIAN, "What the function does: envelopes of Cloud Custodian")]
)
def test_each_envelope_is_handled_as_its_table_says(shipped: Product, folder: Path, heading: str) -> None:
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder}")
    found = {}
    for file in sorted(folder.glob("*.json")):
        event = json.loads(file.read_text())
        if not isinstance(event, dict) or "detail-type" not in event:
            continue
        before = len(shipped.mailbox.notices())
        # An id of the event's own: several of these files share one, and the second would be the first come again.
        event["id"] = file.name
        for n, finding in enumerate([event["detail"], *event["detail"].get("findings", [])]):
            finding.update({key: f"{file.name}/{n}" for key in ("id", "Id", "eventID") if key in finding})
        answer = shipped.invoke(event)
        stages = [notice.stage for notice in shipped.mailbox.notices()[before:]]
        found[file.name] = answer["error"] or ", ".join(stages) or "silent"
    assert found == rows(heading), "\n".join(f"| {file} | {said} |" for file, said in found.items())
