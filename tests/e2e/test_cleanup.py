"""`lockdown cleanup`: what goes, what stays, and what is said of either. Each test cleans a region that nobody else uses."""

import itertools
import os
import shlex
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from testbed.accounts import HUB, MEMBER, REGION
from testbed.bed import Bed
from testbed.clients import Credentials
from testbed.command import DONE, FAILED, NOT_FOUND, OUT_OF_REACH, PARTIAL, USAGE, Command, Ran
from testbed.instances import Instance, Vpc, make_instance, make_vpc
from testbed.product import Product, deploy_product
from testbed.victims import make_role, make_user, unique

REGIONS = itertools.cycle([
    "eu-west-1", "eu-west-2", "eu-west-3", "eu-north-1", "ca-central-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
    "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "sa-east-1", "us-west-1", "us-west-2", "us-east-2",
])
EVERYTHING = {"Protocol": "-1", "RuleAction": "deny"}


@dataclass(frozen=True)
class Place:
    """A region of the member account, and what a cleanup may find in it."""

    bed: Bed
    region: str

    def ec2(self) -> Any:
        return self.bed.endpoints.client("ec2", MEMBER, self.region)

    def group(self, vpc: Vpc, name: str, tag: str | None) -> str:
        """A group with this name, and with this value of our tag."""
        tags = [{"ResourceType": "security-group", "Tags": [{"Key": "entity-lockdown", "Value": tag}]}] if tag else []
        made = self.ec2().create_security_group(
            GroupName=name, Description="for a test", VpcId=vpc.id, TagSpecifications=tags
        )
        return str(made["GroupId"])

    def ours(self, vpc: Vpc, purpose: str) -> str:
        """A group of ours, as a containment makes it."""
        return self.group(vpc, f"entity-lockdown-{purpose}", purpose)

    def interface(self, vpc: Vpc, group: str) -> str:
        """An interface in a group."""
        made = self.ec2().create_network_interface(SubnetId=vpc.subnet, Groups=[group])
        return str(made["NetworkInterface"]["NetworkInterfaceId"])

    def groups(self) -> set[str]:
        """The ids of all groups."""
        return {group["GroupId"] for group in self.ec2().describe_security_groups()["SecurityGroups"]}

    def entries(self, vpc: Vpc) -> list[tuple[int, bool, str, str]]:
        """Number, direction, verdict and range of all entries of a VPC's network ACLs."""
        acls = self.ec2().describe_network_acls(Filters=[{"Name": "vpc-id", "Values": [vpc.id]}])["NetworkAcls"]
        return sorted(
            (entry["RuleNumber"], entry["Egress"], entry["RuleAction"], entry.get("CidrBlock") or entry["Ipv6CidrBlock"])
            for acl in acls for entry in acl["Entries"]
        )

    def acl(self, vpc: Vpc) -> str:
        """The one network ACL of a VPC."""
        [acl] = self.ec2().describe_network_acls(Filters=[{"Name": "vpc-id", "Values": [vpc.id]}])["NetworkAcls"]
        return str(acl["NetworkAclId"])

    def terminate(self, instance: Instance) -> None:
        """Ends an instance with its interfaces, which containment has protected against that."""
        self.ec2().modify_instance_attribute(InstanceId=instance.id, DisableApiTermination={"Value": False})
        self.ec2().terminate_instances(InstanceIds=[instance.id])
        left = [{"Name": "network-interface-id", "Values": instance.interfaces}]
        for interface in self.ec2().describe_network_interfaces(Filters=left)["NetworkInterfaces"]:
            self.ec2().delete_network_interface(NetworkInterfaceId=interface["NetworkInterfaceId"])


@dataclass(frozen=True)
class Cleaner:
    """The command with credentials of the member account, and a profile that may read the journal."""

    command: Command
    place: Place

    def run(self, *more: str) -> Ran:
        """Without the journal."""
        return self.command.with_environment(LOCKDOWN_TABLE="").run("cleanup", "--region", self.place.region, *more)

    def with_journal(self, *more: str) -> Ran:
        """With the journal, by the profile `hub`."""
        return self.command.run("cleanup", "--region", self.place.region, "--journal-profile", "hub", *more)


@pytest.fixture(scope="module")
def cutting(bed: Bed, package: Path) -> Product:
    """A product that cuts every interface off at its subnet's edge."""
    return deploy_product(bed, package, unique("lockdown"), NetworkAcl="always", SettleSeconds="0")


@pytest.fixture
def place(bed: Bed) -> Iterator[Place]:
    """The next region."""
    yield Place(bed, next(REGIONS))


@pytest.fixture
def clean(cutting: Product, place: Place, tmp_path: Path) -> Cleaner:
    config = tmp_path / "config"
    config.write_text(f"[profile hub]\naws_access_key_id = {HUB}\naws_secret_access_key = test\nregion = {REGION}\n")
    command = Command(cutting, {
        "AWS_ACCESS_KEY_ID": MEMBER, "AWS_ENDPOINT_URL_EC2": place.bed.proxy.url, "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"), "AWS_REGION": "", "PATH": "",
    })
    return Cleaner(command, place)


@pytest.fixture
def vpc(place: Place) -> Vpc:
    """A VPC with two subnets, so that a subnet's edge stands between an instance and something."""
    vpc = make_vpc(place.bed.endpoints, place.region)
    place.ec2().create_subnet(VpcId=vpc.id, CidrBlock="10.0.1.0/24")
    return vpc


def results(ran: Ran, kind: str, key: str) -> dict[str, str]:
    """What became of each group or entry."""
    return {row[key]: row["result"] for row in ran.json()[kind]}


# --- Security groups ---------------------------------------------------------------------------------------------------------


def test_unused_groups_go_used_ones_and_strangers_stay_and_a_dry_run_changes_nothing(
    clean: Cleaner, place: Place, vpc: Vpc
) -> None:
    unused, used = place.ours(vpc, "untracking"), place.ours(vpc, "isolation")
    second = place.group(vpc, "entity-lockdown-isolation-2", "isolation")
    interface = place.interface(vpc, used)
    for name, tag in (("entity-lockdown-untracking-2", None), ("web", "isolation"), ("entity-lockdown-isolation-3", "own")):
        place.group(vpc, name, tag)
    before = place.groups()

    dry = clean.run("--dry-run", "--json")
    assert dry.code == DONE and dry.json()["dryRun"] is True, dry
    assert results(dry, "groups", "id") == {unused: "would-delete", second: "would-delete", used: "kept"}
    assert place.groups() == before
    text = clean.run("--dry-run")
    assert "would delete" in text.out and "Nothing was changed" in text.out and interface in text.out

    done = clean.run("--json")
    assert done.code == DONE, done
    assert results(done, "groups", "id") == {unused: "deleted", second: "deleted", used: "kept"}
    assert [row["usedBy"] for row in done.json()["groups"] if row["id"] == used] == [[interface]]
    assert place.groups() == before - {unused, second}
    assert [word for word in ("open containments", "network ACL entries") if word in str(done.json()["notLookedAt"])]
    again = clean.run()
    assert again.code == DONE and "0 deleted, 1 kept, 0 failed" in again.out


def test_a_group_that_another_groups_rules_name_stays_and_its_own_rules_do_not_count(
    clean: Cleaner, place: Place, vpc: Vpc
) -> None:
    named, own = place.ours(vpc, "isolation"), place.ours(vpc, "untracking")
    other = vpc.group()
    for group, peer in ((other, named), (own, own)):
        rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "UserIdGroupPairs": [{"GroupId": peer}]}
        place.ec2().authorize_security_group_egress(GroupId=group, IpPermissions=[rule])
    ran = clean.run("--json")
    assert results(ran, "groups", "id") == {named: "kept", own: "deleted"} and ran.code == DONE
    assert other in clean.run().out


def test_what_aws_does_not_delete_is_said_with_its_word_and_a_deletion_is_read_back(
    clean: Cleaner, place: Place, vpc: Vpc
) -> None:
    group = place.ours(vpc, "isolation")
    dependent = {"action": "DeleteSecurityGroup", "contains": group, "status": 400, "code": "DependencyViolation"}
    with place.bed.proxy.rule(fault="refuse", message="resource has a dependent object", **dependent):
        ran = clean.run()
    assert ran.code == DONE and "DependencyViolation" in ran.out and "kept" in ran.out, ran
    with place.bed.proxy.rule(fault="lose", action="DeleteSecurityGroup", contains=group):
        lost = clean.run()
    assert lost.code == FAILED and "FAILED" in lost.out and group in place.groups(), lost


def test_a_group_that_an_open_containment_may_need_stays_where_the_journal_is_known(
    clean: Cleaner, place: Place, vpc: Vpc, cutting: Product
) -> None:
    instance = make_instance(place.bed.endpoints, vpc, with_role=False)
    cutting.contain(instance.arn)
    place.terminate(instance)
    spare = place.ours(make_vpc(place.bed.endpoints, place.region), "isolation")
    [isolation] = [row["id"] for row in clean.run("--dry-run", "--json").json()["groups"] if row["id"] != spare]
    ran = clean.with_journal("--json")
    assert results(ran, "groups", "id") == {isolation: "kept", spare: "deleted"}, ran
    assert instance.id in str(ran.json()["groups"])
    cutting.release(instance.arn)
    assert results(clean.with_journal("--json"), "groups", "id") == {isolation: "deleted"}


# --- Network ACL entries -----------------------------------------------------------------------------------------------------


def test_entries_of_an_instance_that_is_gone_go_and_all_others_stay(
    clean: Cleaner, place: Place, vpc: Vpc, cutting: Product
) -> None:
    start = place.entries(vpc)
    gone, alive = (make_instance(place.bed.endpoints, vpc, with_role=False) for _ in range(2))
    cutting.contain(gone.arn)
    cut = set(place.entries(vpc)) - set(start)
    cutting.contain(alive.arn)
    address = next(cidr for _, _, _, cidr in cut if cidr.endswith("/32"))
    acl = place.acl(vpc)
    for egress in (False, True):
        place.ec2().create_network_acl_entry(
            NetworkAclId=acl, RuleNumber=77, Egress=egress, CidrBlock=address, **EVERYTHING
        )
    place.terminate(gone)
    before = place.entries(vpc)
    assert cut and cut < set(before)

    blind = clean.run("--json")
    assert blind.json()["entries"] == [] and "--table" in str(blind.json()["notLookedAt"])
    dry = clean.with_journal("--dry-run", "--json")
    assert dry.code == DONE and place.entries(vpc) == before
    rows = {(row["cidr"], row["result"]) for row in dry.json()["entries"]}
    assert {(cidr, "would-delete") for *_, cidr in cut} < rows
    done = clean.with_journal("--json")
    assert done.code == DONE, done
    assert {row["result"] for row in done.json()["entries"]} == {"deleted", "kept"}
    assert set(place.entries(vpc)) == set(before) - cut

    # The journal is as it was; the release that the command names closes the record.
    [todo] = done.json()["toRelease"]
    assert todo["entity"] == gone.arn and todo["releaseCommand"] in clean.with_journal().out
    hub = Command(cutting)
    assert gone.arn in hub.run("status").out
    released = hub.run(*shlex.split(todo["releaseCommand"])[1:], "--wait")
    assert released.code == DONE and gone.arn not in hub.run("status").out
    assert alive.arn in hub.run("status").out and set(place.entries(vpc)) == set(before) - cut
    cutting.release(alive.arn)


def test_an_entry_that_is_no_longer_ours_stays(clean: Cleaner, place: Place, vpc: Vpc, cutting: Product) -> None:
    start = set(place.entries(vpc))
    instance = make_instance(place.bed.endpoints, vpc, with_role=False)
    cutting.contain(instance.arn)
    number, *_, address = next(entry for entry in set(place.entries(vpc)) - start if entry[3].endswith("/32"))
    place.ec2().replace_network_acl_entry(
        NetworkAclId=place.acl(vpc), RuleNumber=number, Egress=True, CidrBlock=address, Protocol="-1", RuleAction="allow"
    )
    place.terminate(instance)
    assert clean.with_journal().code == DONE
    assert set(place.entries(vpc)) - start == {(number, True, "allow", address)}
    cutting.release(instance.arn)


def test_a_deletion_of_an_entry_that_is_lost_or_refused_is_never_called_done(
    clean: Cleaner, place: Place, vpc: Vpc, cutting: Product
) -> None:
    instance = make_instance(place.bed.endpoints, vpc, with_role=False)
    cutting.contain(instance.arn)
    place.terminate(instance)
    acl = place.acl(vpc)
    with place.bed.proxy.rule(fault="lose", action="DeleteNetworkAclEntry", contains=acl):
        lost = clean.with_journal("--json")
    assert "deleted" not in results(lost, "entries", "cidr").values() and lost.code == PARTIAL, lost
    refusal = {"action": "DeleteNetworkAclEntry", "contains": acl, "status": 403, "code": "UnauthorizedOperation"}
    with place.bed.proxy.rule(fault="refuse", message="not you", **refusal):
        denied = clean.with_journal()
    for part in ("ec2:DeleteNetworkAclEntry", acl, "UnauthorizedOperation", "FAILED", "Cleaning takes"):
        assert part in denied.out, part
    cutting.release(instance.arn)


def test_open_containments_of_regions_that_were_not_named_are_said(
    clean: Cleaner, place: Place, vpc: Vpc, cutting: Product
) -> None:
    instance = make_instance(place.bed.endpoints, vpc, with_role=False)
    cutting.contain(instance.arn)
    elsewhere = Cleaner(clean.command, Place(place.bed, next(REGIONS)))
    ran = elsewhere.with_journal()
    assert ran.code == DONE and "Nothing of ours" in ran.out and place.region in ran.out.partition("Not looked at")[2], ran
    cutting.release(instance.arn)


# --- Who may, and how it is called -------------------------------------------------------------------------------------------


def member(clean: Cleaner, *actions: str) -> Cleaner:
    """The command as somebody of the member account who may do this and nothing else."""
    endpoints, proxy = clean.place.bed.endpoints, clean.place.bed.proxy
    role, iam = make_role(endpoints), endpoints.client("iam", MEMBER)
    iam.detach_role_policy(RoleName=role.name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    if actions:
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        document = str({"Version": "2012-10-17", "Statement": [statement]}).replace("'", '"')
        iam.put_role_policy(RoleName=role.name, PolicyName="may", PolicyDocument=document)
    # By way of the proxy, which then knows whose the session is.
    sts = endpoints.client("sts", make_user(endpoints).credentials, endpoint=proxy.url)
    session = Credentials.of_session(sts.assume_role(RoleArn=role.arn, RoleSessionName="own")["Credentials"])
    token = session.session_token or ""
    command = clean.command.with_environment(
        AWS_ACCESS_KEY_ID=session.access_key_id, AWS_SECRET_ACCESS_KEY=session.secret_access_key, AWS_SESSION_TOKEN=token
    )
    return Cleaner(command, clean.place)


def test_without_credentials_or_rights_it_says_which(clean: Cleaner, place: Place, vpc: Vpc) -> None:
    group = place.ours(vpc, "isolation")
    none = Cleaner(clean.command.with_environment(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY=""), place).run()
    assert none.code == OUT_OF_REACH and "no AWS credentials" in none.err
    nobody = member(clean).run()
    assert nobody.code == OUT_OF_REACH and "ec2:DescribeSecurityGroups" in nobody.out and "member role" not in nobody.out, nobody
    reads = ("ec2:DescribeSecurityGroups", "ec2:DescribeNetworkInterfaces")
    reader = member(clean, *reads).run()
    assert reader.code == OUT_OF_REACH and "ec2:DeleteSecurityGroup" in reader.out and group in reader.out, reader
    assert group in place.groups()
    assert member(clean, *reads, "ec2:DeleteSecurityGroup").run().code == DONE and group not in place.groups()


def test_one_failure_among_others_has_a_code_of_its_own(clean: Cleaner, place: Place, vpc: Vpc) -> None:
    bad, good = place.ours(vpc, "isolation"), place.ours(vpc, "untracking")
    refusal = {"action": "DeleteSecurityGroup", "contains": bad, "status": 400, "code": "InvalidParameterValue"}
    with place.bed.proxy.rule(fault="refuse", message="no", **refusal):
        ran = clean.run("--json")
    assert ran.code == PARTIAL and results(ran, "groups", "id") == {bad: "failed", good: "deleted"}, ran


def test_nothing_is_deleted_where_the_journal_that_was_named_can_not_be_read(
    clean: Cleaner, place: Place, vpc: Vpc
) -> None:
    group = place.ours(vpc, "isolation")
    region, line = ("--region", place.region), ("cleanup", "--region", place.region)
    no_table = clean.command.run(*line, "--table", "no-such-table", "--journal-profile", "hub")
    assert no_table.code == NOT_FOUND and "no-such-table" in no_table.err and "--journal-profile" in no_table.err
    no_profile = clean.command.run(*line, "--journal-profile", "elsewhere", "--journal-region", REGION)
    assert no_profile.code == OUT_OF_REACH and "`elsewhere`" in no_profile.err, no_profile
    neither = clean.command.run(*line, "--journal-profile", "elsewhere")
    assert neither.code == USAGE and "`elsewhere`" in neither.err and "--journal-region" in neither.err
    nowhere = clean.command.run(*line)
    assert nowhere.code == USAGE and "--journal-region" in nowhere.err
    for words in ((), ("--region", "nowhere"), (*region, "--journal-profile", "hub", "--table")):
        assert clean.command.run("cleanup", *words).code == USAGE
    assert clean.command.with_environment(AWS_ENDPOINT_URL="https://127.0.0.1:1").run(*line).code == OUT_OF_REACH
    assert group in place.groups()


def test_a_region_is_left_alone_where_the_journal_is_lost_on_the_way(clean: Cleaner, place: Place) -> None:
    """It is read again for each region, since a containment may have begun meanwhile."""
    places = [place, Place(place.bed, next(REGIONS))]
    groups = {one.region: one.ours(make_vpc(place.bed.endpoints, one.region), "isolation") for one in places}
    first, second = sorted(groups)
    command = clean.command.with_environment(AWS_ENDPOINT_URL_DYNAMODB=place.bed.proxy.url)
    with place.bed.proxy.rule(fault="refuse", service="dynamodb", action="Query", skip=1, status=400, code="AccessDenied"):
        ran = command.run("cleanup", "--region", *groups, "--journal-profile", "hub", "--json")
    found = {row["region"]: row["result"] for row in ran.json()["groups"]}
    assert ran.code == PARTIAL and found == {first: "deleted", second: "failed"}, ran
    assert groups[second] in Place(place.bed, second).groups()


def test_a_profile_that_only_the_aws_command_knows_is_asked_of_it(
    clean: Cleaner, place: Place, vpc: Vpc, tmp_path: Path
) -> None:
    group = place.ours(vpc, "isolation")
    (tmp_path / "config").write_text(
        f"[profile sso]\nregion = {REGION}\nsso_session = s\nsso_account_id = {HUB}\nsso_role_name = reader\n"
        "[sso-session s]\nsso_region = us-east-1\nsso_start_url = https://example.com/start\n"
    )
    aws = tmp_path / "aws"
    aws.write_text(f"""#!/bin/sh
[ "$*" = "configure export-credentials --profile sso --format process" ] || exit 2
echo '{{"Version": 1, "AccessKeyId": "{HUB}", "SecretAccessKey": "test"}}'
""")
    line = ("cleanup", "--region", place.region, "--journal-profile", "sso", "--json")
    without = clean.command.run(*line)
    assert without.code == OUT_OF_REACH and "aws sso login --profile sso" in without.err and group in place.groups(), without
    aws.chmod(stat.S_IRWXU)
    path = f"{tmp_path}:{os.environ['PATH']}"
    ran = clean.command.with_environment(PATH=path).run(*line)
    assert ran.code == DONE and "--table" not in str(ran.json()["notLookedAt"]) and group not in place.groups(), ran


def test_a_terminal_gets_a_table_with_colours_or_paragraphs(clean: Cleaner, place: Place, vpc: Vpc) -> None:
    group = place.ours(vpc, "isolation")
    line = ("cleanup", "--region", place.region, "--dry-run")
    command = clean.command.with_environment(LOCKDOWN_TABLE="")
    wide = command.on_terminal(*line, columns=140)
    assert wide.code == DONE and "REGION" in wide.out and "\x1b[" in wide.out
    narrow = command.on_terminal(*line, columns=60)
    assert "REGION" not in narrow.out and f"({group})" in narrow.out
