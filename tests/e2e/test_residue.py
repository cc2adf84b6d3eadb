"""What stays open after the cut is known, said with its reason, and never called contained; what is cut is not cried over."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from testbed.bed import Bed
from testbed.instances import Instance, launch, make_interface
from testbed.mailbox import Notice
from testbed.networks import Network, make_network
from testbed.product import Product

NO_EDGE = "no subnet's edge stands in between, where a network ACL could cut them off"


@dataclass(frozen=True)
class Way:
    """One way past an instance's own subnet, whether it stays open, and as what the mail names it."""

    name: str
    make: Callable[[Network], str]
    """Makes it; returns the interface that packets go through, where it has one."""
    open: bool
    words: str

    def why(self, network: Network) -> str:
        """The reason that the mail gives."""
        return NO_EDGE if self.words in WITHOUT_SUBNET else f"within its own subnet {network.subnet} network ACLs filter nothing"


WITHOUT_SUBNET = ("an egress-only internet gateway", "a gateway endpoint of DynamoDB")


def nothing(made: str) -> str:
    """There is no interface in any subnet."""
    return ""


WAYS = [
    Way("egress-only gateway", lambda n: nothing(n.egress_only_route()), True, "an egress-only internet gateway"),
    Way("gateway endpoint of DynamoDB", lambda n: nothing(n.gateway_endpoint("dynamodb")), True, "a gateway endpoint of DynamoDB"),
    Way("gateway endpoint of S3", lambda n: nothing(n.gateway_endpoint("s3")), False, "gateway endpoint"),
    Way("PrivateLink in its subnet", lambda n: n.interface_endpoint(), True, "an interface endpoint (PrivateLink)"),
    Way("PrivateLink in another", lambda n: n.interface_endpoint(n.private[1]), False, "PrivateLink"),
    Way("load balancer in its subnet", lambda n: n.aws_interface(subnet=n.subnet), True, "a network load balancer"),
    Way("load balancer in another", lambda n: n.aws_interface(), False, "load balancer"),
    Way("Lambda in its subnet", lambda n: n.aws_interface("lambda", n.subnet), True, "the interface of Lambda functions"),
    Way("firewall in its subnet", lambda n: n.firewall_route(n.subnet)[1], True, "a firewall endpoint"),
    Way("firewall in another", lambda n: n.firewall_route()[1], False, "firewall"),
    Way("transit gateway in another", lambda n: n.transit_gateway_route()[1], False, "transit gateway"),
    Way("NAT gateway in another", lambda n: n.nat_interface, False, "NAT gateway"),
]


@dataclass(frozen=True)
class Case:
    """A contained instance, and what was said of it."""

    network: Network
    instance: Instance
    middle: str
    before: bool
    """Whether packets passed through the middle before."""
    notice: Notice


def make_victim(bed: Bed) -> tuple[Network, Instance]:
    """An instance with one interface in a private subnet, in a network of its own."""
    network = make_network(bed.endpoints, acls="tiers")
    return network, launch(network, [make_interface(network, network.subnet)])


@pytest.fixture(scope="module")
def cases(product: Product, bed: Bed) -> Iterator[dict[str, Case]]:
    """An instance for each way, for a trunk and for an interface of AWS's own: all contained by one message."""
    victims, middles = {}, {}
    for way in WAYS:
        network, instance = victims[way.name] = make_victim(bed)
        middle = way.make(network)
        middles[way.name] = (middle, bool(middle) and network.flows_through(instance.interfaces[0], middle))
    with ExitStack() as rules:
        for name, rule in (("trunk", {"fault": "interface_type", "value": "trunk"}), ("managed", {"fault": "requester_managed"})):
            victims[name] = make_victim(bed)
            middles[name] = ("", False)
            rules.enter_context(bed.proxy.rule(**rule, contains=victims[name][1].interfaces[0]))
        product.contain(*(instance.arn for _, instance in victims.values()))
    notices = {name: product.mailbox.notices(instance.id)[-1] for name, (_, instance) in victims.items()}
    yield {name: Case(*victims[name], *middles[name], notices[name]) for name in victims}


@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
def test_a_way_that_is_always_tracked_is_cut_or_said_to_stay_open(cases: dict[str, Case], way: Way) -> None:
    case = cases[way.name]
    [interface], residue = case.instance.interfaces, case.notice.json["residue"]
    if case.middle:
        assert case.before, "it led through before"
        assert case.network.flows_through(interface, case.middle) == way.open
    if not way.open:
        assert case.notice.stage == "Contained" and residue == [] and way.words not in case.notice.mail
        return
    assert case.notice.stage == "Partial"
    sentence = (
        f"Connections of the interface {interface} through {way.words} are always tracked and go on for as long as they are "
        f"active: {way.why(case.network)}"
    )
    assert residue == [sentence] and sentence in case.notice.mail


def test_branches_of_a_trunk_go_on_and_are_said_to(cases: dict[str, Case]) -> None:
    case = cases["trunk"]
    [sentence] = case.notice.json["residue"]
    assert case.notice.stage == "Partial" and sentence in case.notice.mail
    assert sentence.startswith(f"The interface {case.instance.interfaces[0]} is a trunk: branch interfaces on it")


def test_an_interface_that_aws_manages_is_left_and_said_to_be(cases: dict[str, Case]) -> None:
    case = cases["managed"]
    [sentence] = case.notice.json["residue"]
    assert case.notice.stage == "Partial" and sentence in case.notice.mail
    assert case.instance.interfaces[0] in sentence and "can't be changed: its traffic goes on" in sentence


def test_all_of_them_are_released(product: Product, cases: dict[str, Case]) -> None:
    product.release(*(case.instance.arn for case in cases.values()))
    assert {name: product.mailbox.stages(case.instance.id)[-1] for name, case in cases.items()} == dict.fromkeys(cases, "Released")
    for case in cases.values():
        assert not any(entry["RuleNumber"] < 100 for acl in case.network.acls().described() for entry in acl["Entries"])
