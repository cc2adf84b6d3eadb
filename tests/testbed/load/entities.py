"""Entities of all kinds in the numbers that a load needs, and whether each is locked."""

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from ..accounts import HUB, MEMBER
from ..bed import Bed
from ..instances import Instance, Vpc, make_instance, make_vpc
from ..self_check import DENY_ALL
from ..victims import Function, Role, User, make_function, make_role, make_user
from ..watching import is_isolated

Entity = User | Role | Function | Instance

SHARES = {User: 9, Role: 8, Function: 2, Instance: 1}
"""How many of twenty are of each kind."""
AT_ONCE = 8
"""Threads that make them."""

T = TypeVar("T")
S = TypeVar("S")


def progress(items: Iterable[T], total: int, what: str) -> Iterable[T]:
    """A bar for what takes long, where somebody looks."""
    return track(items, what, total=total, disable=not sys.stderr.isatty(), console=Console(stderr=True))


def side_by_side(work: Callable[[S], T], items: Sequence[S], at_once: int, what: str) -> list[T]:
    """Does the work for all items, so many at once."""
    with ThreadPoolExecutor(at_once) as pool:
        return list(progress(pool.map(work, items), len(items), what))


def make_users(bed: Bed, count: int, account: str = MEMBER) -> list[User]:
    """So many users."""
    return side_by_side(lambda _: make_user(bed.endpoints, account), range(count), AT_ONCE, f"{count} users")


def make_entities(bed: Bed, count: int) -> list[Entity]:
    """So many entities of all kinds: users and roles in the member account and the hub's, the others in the member account."""
    kinds = [kind for kind, share in SHARES.items() for _ in range(share)]
    vpc = make_vpc(bed.endpoints)

    def make(number: int) -> Entity:
        account = (MEMBER, HUB)[number % 2]
        kind = kinds[number * 7 % len(kinds)]
        if kind is User:
            return make_user(bed.endpoints, account)
        if kind is Role:
            return make_role(bed.endpoints, account)
        return make_function(bed.endpoints) if kind is Function else make_instance(bed.endpoints, vpc)

    return side_by_side(make, range(count), AT_ONCE, f"{count} entities")


def last_part(arn: str) -> str:
    """The name at the end of an ARN or of a record's key."""
    return arn.replace(":", "/").rsplit("/", 1)[-1]


def is_locked(entity: Entity) -> bool:
    """Whether all that contains an entity is in force, as AWS shows it."""
    if isinstance(entity, User | Role):
        return DENY_ALL in entity.state()["attached"]
    if isinstance(entity, Function):
        return entity.reserved() == 0 and is_locked(entity.role)
    denied = bool(entity.role and entity.role.state()["inline"])
    vpc = Vpc(entity.endpoints, entity.described()[0]["VpcId"], "", entity.region)
    return denied and is_isolated(vpc, entity)
