"""What moto does anew for every call though it never changes, done once: a third of its time when many tests share it.

Each request has its own thread and all take turns, so whatever one of them does holds the others up.
"""

import functools
import logging
from typing import Any

from moto import backends
from moto.core import responses
from moto.ec2.models.tags import EC2_PREFIX_TO_RESOURCE, TagBackend
from moto.ec2.utils import get_prefix


def install() -> None:
    """Keeps the lists of services and of each service's actions, looks tags up by their resource, and logs no requests."""
    # The proxy records every call; the lines here would be one lock more that all requests queue for.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    services = frozenset(backends.list_of_moto_modules())
    setattr(backends, "list_of_moto_modules", lambda: services)
    setattr(responses, "method_names_from_class", functools.cache(responses.method_names_from_class))
    setattr(TagBackend, "describe_tags", _by_resource(TagBackend.describe_tags))


def _by_resource(every: Any) -> Any:
    """`describe_tags`, without a look at all tags of the account for those of one resource."""

    def describe_tags(self: TagBackend, filters: dict[str, list[str]] | None = None) -> list[dict[str, str]]:
        ids = (filters or {}).get("resource-id", [])
        if not ids or len(filters or {}) > 1 or any(set("*?\\") & set(one) for one in ids):
            return list(every(self, filters))
        kinds = {one: EC2_PREFIX_TO_RESOURCE.get(get_prefix(one), "") for one in ids}
        return [
            {"resource_id": one, "key": key, "value": value, "resource_type": kind}
            for one, kind in kinds.items() for key, value in self.tags.get(one, {}).copy().items()
        ]

    return describe_tags
