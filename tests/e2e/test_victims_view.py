"""The victim's view: real credentials of every entity, before, in the window while no deny holds yet, and after `Contained`."""

import threading
from collections.abc import Callable

from testbed.accounts import MEMBER
from testbed.bed import Bed
from testbed.cast import Cast
from testbed.instances import make_instance
from testbed.intruder import Campaign, Outcome, run, wait_until
from testbed.product import Product, lead_to_proxy

GUARDED = {"detach the deny from itself", "open our isolation group", "take the tag off our group"}
"""What the guard policy stops whenever it is tried."""
OURS_ALONE = ("delete its boundary", "user with a boundary: key")
"""What it stops as long as the boundary is ours."""
STILL_OF_USE = {"user", "role", "function with another role", "password of the user"}
"""What an intruder makes in the window and keeps: containment of an entity touches nothing else. README.md says to look for it."""


def refused(campaign: Campaign, phase: str, *, guarded: bool) -> set[str]:
    """The actions that were refused with every credential."""
    of = [t for t in campaign.tried if t.phase == phase and t.guarded is guarded]
    return {t.action for t in of} - {t.action for t in of if t.outcome.succeeded}


def ruleless(cast: Cast) -> bool:
    """Whether each interface is in groups without any rule, and cut off from the NAT gateway."""
    groups = {group for groups in cast.instance.groups().values() for group in groups}
    found = cast.bed.endpoints.client("ec2", MEMBER).describe_security_groups(GroupIds=sorted(groups))["SecurityGroups"]
    through = (cast.network.flows_through(interface, cast.network.nat_interface) for interface in cast.instance.interfaces)
    return not any(g["IpPermissions"] or g["IpPermissionsEgress"] for g in found) and not any(through)


def test_once_it_is_called_contained_no_credential_of_it_gets_anything_done(bed: Bed, another: Callable[..., Product]) -> None:
    product = another()
    campaign = run(bed, product)
    print(campaign.table())
    free, bound = campaign.casts[False], campaign.casts[True]

    # Before, and while no deny holds yet, all of it can be done: so that what is refused afterwards says something.
    for phase in ("before", "in the window"):
        assert [t for t in campaign.tried if t.phase == phase and not t.guarded and not t.outcome.succeeded] == []
        assert refused(campaign, phase, guarded=True) == GUARDED
        others = {(t.action, t.holder) for t in campaign.tried if t.phase == phase and t.guarded and not t.outcome.succeeded}
        beyond = {(action, holder) for action, holder in others if action not in GUARDED}
        assert beyond == ({OURS_ALONE} if phase == "in the window" else set())
    done = [t for t in campaign.tried if t.phase == "in the window" and t.outcome is Outcome.DONE]
    assert {t.action for t in done if not t.guarded} == {t.action for t in campaign.tried}

    # After, nothing.
    assert [t for t in campaign.tried if t.phase == "after" and t.outcome.succeeded] == []

    # What had been undone in the window was made again, and said. The group without its tag: see the test below.
    last = {name: product.mailbox.notices(name)[1] for cast in (free, bound) for name in cast.names}
    stages = {name: notice.stage for name, notice in last.items()}
    assert {name for name, stage in stages.items() if stage != "Contained"} <= {free.instance.id}
    assert ruleless(bound)
    assert ruleless(free) or stages[free.instance.id] == "Partial"
    for undone in (free.user, free.inline, free.bounded, free.role, free.function, bound.inline, bound.bounded, bound.function):
        assert "had been undone" in last[undone.name].json["summary"]
    assert "had been undone" in last[bound.instance.id].json["summary"]
    for kept in (bound.user, bound.role):
        assert "had been undone" not in last[kept.name].json["summary"], "nobody could detach it"

    # What was made in the window and is left: as much as README.md admits, and no key of a contained user among it.
    assert {left.kind for _, left in campaign.left if left.works() is not False} == STILL_OF_USE
    assert {left.kind for _, left in campaign.left if left.works() is False} == {"key of a contained user"}


def test_an_instance_whose_isolation_group_lost_its_tag_in_the_window_is_isolated_in_another_one(
    another: Callable[..., Product], bed: Bed
) -> None:
    product, instance = another(), make_instance(bed.endpoints)
    lead_to_proxy(bed, product.outputs["FunctionName"], CONFIRM_MILLISECONDS="4000")
    before, [interface], ec2 = instance.groups(), instance.interfaces, instance.ec2()
    message = threading.Thread(target=product.contain, args=[instance.arn])
    message.start()

    def isolation() -> list[str]:
        found = ec2.describe_security_groups(GroupIds=instance.groups()[interface])["SecurityGroups"]
        return [g["GroupId"] for g in found if g["GroupName"] == "entity-lockdown-isolation"]

    wait_until(lambda: bool(isolation()), 60, "isolated")
    [group] = isolation()
    ec2.delete_tags(Resources=[group], Tags=[{"Key": "entity-lockdown"}])
    ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=before[interface])
    message.join()
    assert product.invoke({"watch": True})["error"] is None
    final = product.mailbox.stages(instance.id)
    assert (instance.groups()[interface] != before[interface], final[1]) == (True, "Contained"), final
