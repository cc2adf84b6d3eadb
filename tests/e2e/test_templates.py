"""What the templates promise, read from the templates themselves: no emulator, so also what emulators don't enforce."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml
from testbed.bed import REPOSITORY

HUB = "entity-lockdown.yaml"
MEMBER = "member-role.yaml"
TEMPLATES = (HUB, MEMBER)

# Actions that AWS judges without a resource: "*" is the only Resource that they can have.
WITHOUT_RESOURCE = {
    "iam:GetAccountSummary", "lambda:ListFunctions", "lambda:ListEventSourceMappings",
    "ec2:DescribeInstanceAttribute", "ec2:DescribeInstances", "ec2:DescribeNetworkAcls", "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSecurityGroups", "ec2:DescribeSnapshots", "ec2:DescribeSubnets", "ec2:DescribeVpcEndpoints",
    "autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances",
    "cloudtrail:LookupEvents",
}

Statement = dict[str, Any]


def template(name: str) -> dict[str, Any]:
    """The template as JSON would have it: `!Ref x` is `{"Ref": "x"}`, and so on."""
    return json.loads(json.dumps(cfn_yaml.load(str(REPOSITORY / "cloudformation" / name))))


def resources(name: str, kind: str) -> dict[str, dict[str, Any]]:
    return {id: r for id, r in template(name)["Resources"].items() if r["Type"] == kind}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(document: dict[str, Any]) -> list[Statement]:
    """A policy's statements, those under a condition included."""
    found = []
    for entry in document["Statement"]:
        found += [b for b in entry["Fn::If"][1:] if "Effect" in b] if "Fn::If" in entry else [entry]
    return found


def role_statements(name: str, role: str) -> list[Statement]:
    """What a role may do; a managed policy on it would be overlooked, so there must be none."""
    properties = template(name)["Resources"][role]["Properties"]
    assert "ManagedPolicyArns" not in properties
    return [s for policy in properties["Policies"] for s in statements(policy["PolicyDocument"])]


def actions(found: list[Statement], effect: str = "Allow") -> set[str]:
    return {action for s in found if s["Effect"] == effect for action in as_list(s["Action"])}


def statement(found: list[Statement], sid: str) -> Statement:
    return next(s for s in found if s["Sid"] == sid)


def resource_policies(name: str) -> Iterator[tuple[str, list[Statement]]]:
    """Every policy of a topic, queue or key."""
    for kind in ("AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy"):
        for id, resource in resources(name, kind).items():
            yield id, statements(resource["Properties"]["PolicyDocument"])
    for id, resource in resources(name, "AWS::KMS::Key").items():
        yield id, statements(resource["Properties"]["KeyPolicy"])


def test_both_templates_make_the_same_member_role() -> None:
    hub, member = (template(name)["Resources"]["MemberRole"]["Properties"] for name in TEMPLATES)
    # The one thing that each says in its own words: who the function is.
    own_words = json.dumps(hub).replace('{"Fn::GetAtt": ["FunctionRole", "Arn"]}', '{"Ref": "FunctionRoleArn"}')
    hub = json.loads(own_words)
    for trust in (hub, member):
        del trust["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]
    assert hub == member


def test_the_member_role_trusts_an_account_and_in_it_the_functions_role_alone() -> None:
    for name in TEMPLATES:
        [trust] = template(name)["Resources"]["MemberRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert ":root" in json.dumps(trust["Principal"])
        assert list(trust["Condition"]) == ["ArnEquals"]
        assert list(trust["Condition"]["ArnEquals"]) == ["aws:PrincipalArn"]


def test_the_member_role_may_do_exactly_what_the_steps_declare() -> None:
    binary = Path(os.environ.get("LOCKDOWN_BIN", REPOSITORY / "target" / "debug" / "lockdown"))
    if not binary.is_file():
        pytest.fail(f"{binary} is missing: run `make tools`, or set LOCKDOWN_BIN")
    output = subprocess.run([binary, "permissions", "--json"], capture_output=True, text=True, check=True).stdout
    declared = {permission["action"] for permission in json.loads(output)}
    granted = actions(role_statements(MEMBER, "MemberRole"))
    assert granted - declared == set(), "granted, though no step declares it"
    assert declared - granted == set(), "declared by a step, but not granted"


def test_the_member_role_attaches_and_bounds_with_deny_all_alone() -> None:
    deny_all = {"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/AWSDenyAll"}
    found = role_statements(MEMBER, "MemberRole")
    for s in found:
        touched = {a for a in as_list(s["Action"]) if s["Effect"] == "Allow"}
        if touched & {f"iam:{verb}{kind}Policy" for verb in ("Attach", "Detach") for kind in ("User", "Role")}:
            assert s["Condition"] == {"ArnEquals": {"iam:PolicyARN": deny_all}}
        if touched & {f"iam:Delete{kind}PermissionsBoundary" for kind in ("User", "Role")}:
            assert s["Condition"] == {"ArnEquals": {"iam:PermissionsBoundary": deny_all}}
    condition, with_former, without = statement(found, "SetBoundary")["Condition"]["ArnLike"][
        "iam:PermissionsBoundary"
    ]["Fn::If"]
    assert condition == "HasFormerBoundaries"
    assert "AWSDenyAll,${Former}" in json.dumps(with_former)
    assert without == [deny_all]


def test_the_member_role_writes_inline_policies_only_when_it_may() -> None:
    writing = {f"iam:{verb}{kind}Policy" for verb in ("Put", "Delete") for kind in ("User", "Role")}
    [policy] = template(MEMBER)["Resources"]["MemberRole"]["Properties"]["Policies"]
    entries = policy["PolicyDocument"]["Statement"]
    [conditional] = [entry["Fn::If"] for entry in entries if "Fn::If" in entry]
    assert conditional[0] == "MayWriteInline"
    assert conditional[2] == {"Ref": "AWS::NoValue"}
    assert set(conditional[1]["Action"]) == writing
    assert not writing & actions([entry for entry in entries if "Effect" in entry])


def test_the_member_role_can_never_change_itself_or_the_functions_role() -> None:
    for name, function in ((HUB, {"Fn::GetAtt": ["FunctionRole", "Arn"]}), (MEMBER, {"Ref": "FunctionRoleArn"})):
        deny = statement(role_statements(name, "MemberRole"), "NeverOurOwnRoles")
        itself = {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${MemberRoleName}"}
        assert (deny["Effect"], deny["Action"], deny["Resource"]) == ("Deny", "iam:*", [itself, function])
        assert "Condition" not in deny


def test_the_member_role_makes_tags_and_changes_only_security_groups_of_ours() -> None:
    found = role_statements(MEMBER, "MemberRole")
    ours = ["isolation", "untracking"]
    made = [s for s in found if "ec2:CreateSecurityGroup" in as_list(s["Action"])]
    for s in made:
        if "vpc/" not in json.dumps(s["Resource"]):
            assert s["Condition"] == {"StringEquals": {"aws:RequestTag/entity-lockdown": ours}}
    for s in found:
        if "ec2:CreateTags" in as_list(s["Action"]):
            of = "CreateSnapshots" if "snapshot/" in json.dumps(s["Resource"]) else "CreateSecurityGroup"
            assert s["Condition"] == {"StringEquals": {"ec2:CreateAction": of}}
        if any("SecurityGroupIngress" in a or "SecurityGroupEgress" in a for a in as_list(s["Action"])):
            assert s["Condition"] == {"StringEquals": {"aws:ResourceTag/entity-lockdown": ours}}


def test_the_member_role_makes_snapshots_only_as_evidence() -> None:
    made = [s for s in role_statements(MEMBER, "MemberRole") if "ec2:CreateSnapshots" in as_list(s["Action"])]
    [snapshots] = [s for s in made if "snapshot/" in json.dumps(s["Resource"])]
    assert snapshots["Condition"] == {"StringEquals": {"aws:RequestTag/entity-lockdown": "evidence"}}


def test_the_member_role_sizes_groups_and_never_says_what_they_launch_where() -> None:
    [sizing] = [
        s for s in role_statements(MEMBER, "MemberRole") if "autoscaling:UpdateAutoScalingGroup" in as_list(s["Action"])
    ]
    keys = ("MaxSize", "LaunchConfigurationName", "LaunchTemplateVersionSpecified", "VPCZoneIdentifiers")
    assert sizing["Condition"] == {"Null": {f"autoscaling:{key}": "true" for key in keys}}


def test_only_the_function_stores_wake_ups_and_they_reach_it_one_by_one() -> None:
    [store, _] = dict(resource_policies(HUB))["WakeQueuePolicy"]
    assert (store["Effect"], store["Principal"], store["Action"]) == ("Deny", "*", "sqs:SendMessage")
    assert store["Condition"] == {"ArnNotEquals": {"aws:PrincipalArn": {"Fn::GetAtt": ["FunctionRole", "Arn"]}}}
    found = template(HUB)["Resources"]
    mapping, queue = found["WakeUp"]["Properties"], found["WakeQueue"]["Properties"]
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": ["WakeQueue", "Arn"]} and mapping["BatchSize"] == 1
    assert queue["VisibilityTimeout"] >= found["Function"]["Properties"]["Timeout"], "Lambda refuses the mapping else"


def test_the_watch_is_the_rules_own_and_can_be_turned_off() -> None:
    found = template(HUB)["Resources"]
    rule, permission = found["WatchRule"], found["WatchPermission"]
    assert rule["Condition"] == permission["Condition"] == "Watches"
    assert rule["Properties"]["Targets"][0]["Input"] == '{"watch":true}'
    assert permission["Properties"]["SourceArn"] == {"Fn::GetAtt": ["WatchRule", "Arn"]}
    assert template(HUB)["Parameters"]["WatchMinutes"]["AllowedValues"][0] == 0


def test_the_function_becomes_no_role_but_the_member_role() -> None:
    assuming = [s for s in role_statements(HUB, "FunctionRole") if any("sts:" in a for a in as_list(s["Action"]))]
    assert [(s["Effect"], s["Action"], s["Resource"]) for s in assuming] == [
        ("Allow", "sts:AssumeRole", {"Fn::Sub": "arn:${AWS::Partition}:iam::*:role/${MemberRoleName}"})
    ]


def test_the_function_publishes_to_its_two_topics_and_lists_open_records_alone() -> None:
    found = role_statements(HUB, "FunctionRole")
    [tell] = [s for s in found if "sns:Publish" in as_list(s["Action"])]
    assert tell["Resource"] == [{"Ref": "AuditTopic"}, {"Ref": "FailureTopic"}]
    of_journal = {a for a in actions(found) if a.startswith("dynamodb:")}
    assert "dynamodb:Scan" not in of_journal
    [listing] = [s for s in found if "dynamodb:Query" in as_list(s["Action"])]
    assert listing["Resource"] == {"Fn::Sub": "${Journal.Arn}/index/open"} and listing["Action"] == "dynamodb:Query"
    assert not any(action.startswith(("iam:", "lambda:", "ec2:")) for action in actions(found))


def test_nothing_is_allowed_wholesale_but_the_keys_administration() -> None:
    for name in TEMPLATES:
        roles = [(id, role_statements(name, id)) for id in resources(name, "AWS::IAM::Role")]
        for id, found in [*roles, *resource_policies(name)]:
            wholesale = {a for a in actions(found) if a == "*" or a.endswith(":*")}
            assert wholesale <= ({"kms:*"} if id == "Key" else set()), (name, id)
    [administration] = [s for s in dict(resource_policies(HUB))["Key"] if s["Action"] == "kms:*"]
    assert administration["Principal"] == {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}


def test_every_right_of_a_role_names_its_resources_where_aws_can_judge_them() -> None:
    for name in TEMPLATES:
        for id in resources(name, "AWS::IAM::Role"):
            for s in role_statements(name, id):
                if "*" in as_list(s["Resource"]):
                    assert set(as_list(s["Action"])) <= WITHOUT_RESOURCE, (name, id, s["Sid"])


def test_every_topic_and_queue_has_a_policy_that_denies_plain_http_to_everybody() -> None:
    covered = set()
    for kind, of, everything in (
        ("AWS::SNS::TopicPolicy", "Topics", {"sns:Publish", "sns:Subscribe"}),
        ("AWS::SQS::QueuePolicy", "Queues", {"sqs:*"}),
    ):
        for id, resource in resources(HUB, kind).items():
            [target] = resource["Properties"][of]
            [deny] = [
                s for s in statements(resource["Properties"]["PolicyDocument"])
                if s.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
            ]
            assert (deny["Effect"], deny["Principal"]) == ("Deny", "*"), id
            assert everything <= set(as_list(deny["Action"])), id
            assert target["Ref"] in json.dumps(deny["Resource"]), id
            covered.add(target["Ref"])
    assert covered == {*resources(HUB, "AWS::SNS::Topic"), *resources(HUB, "AWS::SQS::Queue")}


def test_only_the_function_can_be_subscribed_to_the_requests() -> None:
    found = dict(resource_policies(HUB))["RequestTopicPolicy"]
    denied = [s["Condition"]["StringNotEquals"] for s in found if s["Action"] == "sns:Subscribe"]
    assert denied == [{"sns:Protocol": "lambda"}, {"sns:Endpoint": {"Fn::GetAtt": ["Function", "Arn"]}}]
    subscribed = {
        id: s["Properties"]["Protocol"] for id, s in resources(HUB, "AWS::SNS::Subscription").items()
        if s["Properties"]["TopicArn"] == {"Ref": "RequestTopic"}
    }
    assert subscribed == {"RequestSubscription": "lambda"}


def test_what_nobody_carried_out_reaches_the_queue_and_never_a_mailbox() -> None:
    queue = {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}
    found = template(HUB)["Resources"]
    assert found["FunctionRetries"]["Properties"]["DestinationConfig"] == {"OnFailure": {"Destination": queue}}
    assert found["RequestSubscription"]["Properties"]["RedrivePolicy"] == {"deadLetterTargetArn": queue}
    for id, alarm in resources(HUB, "AWS::CloudWatch::Alarm").items():
        properties = alarm["Properties"]
        # On events, and back to OK without them: else a second message would mail nothing.
        assert (properties["Statistic"], properties["Period"]) == ("Sum", 60), id
        assert properties["TreatMissingData"] == "notBreaching", id
        assert properties["AlarmActions"] == [{"Ref": "FailureTopic"}], id


def test_what_holds_the_way_back_outlives_the_stack() -> None:
    found = template(HUB)["Resources"]
    for id in ("Journal", "Key", "DeadLetterQueue", "FunctionLog"):
        assert (found[id]["DeletionPolicy"], found[id]["UpdateReplacePolicy"]) == ("Retain", "Retain"), id
    journal = found["Journal"]["Properties"]
    assert journal["DeletionProtectionEnabled"] is True
    assert journal["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert "TableName" not in journal


def test_the_key_encrypts_topics_queue_journal_and_environment() -> None:
    found = template(HUB)["Resources"]
    key = ({"Ref": "Key"}, {"Fn::GetAtt": ["Key", "Arn"]})
    for topic in resources(HUB, "AWS::SNS::Topic").values():
        assert topic["Properties"]["KmsMasterKeyId"] in key
    for queue in resources(HUB, "AWS::SQS::Queue").values():
        assert queue["Properties"]["KmsMasterKeyId"] in key
    assert found["Journal"]["Properties"]["SSESpecification"]["KMSMasterKeyId"] in key
    assert found["Function"]["Properties"]["KmsKeyArn"] in key


def test_secrets_are_never_shown_and_never_leave_the_functions_environment() -> None:
    hub = template(HUB)
    for secret in ("ExternalId", "ReleaseExternalId"):
        assert hub["Parameters"][secret]["NoEcho"] is True
        assert json.dumps(hub["Resources"]).count(f'{{"Ref": "{secret}"}}') == 1
        assert f'"{secret}"' not in json.dumps(hub["Outputs"])


def test_every_parameter_says_what_it_is_and_what_it_takes() -> None:
    constraints = {"AllowedPattern", "AllowedValues", "MinValue", "MinLength"}
    for name in TEMPLATES:
        for id, parameter in template(name)["Parameters"].items():
            assert parameter["Description"], (name, id)
            assert constraints & parameter.keys(), (name, id)
            assert ("AllowedPattern" in parameter) == ("ConstraintDescription" in parameter), (name, id)


def test_no_template_names_a_partition() -> None:
    for name in TEMPLATES:
        body = template(name)
        assert "arn:aws:" not in json.dumps([body["Resources"], body["Outputs"]]), name
