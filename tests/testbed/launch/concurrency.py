"""Reserved concurrency holds for all versions and aliases of a function (Lambda Developer Guide, "Reserved concurrency").

ministack looks for it in the record of the version that is invoked, and keeps it in the unpublished version's alone.
"""

from typing import Any

from ministack.services import lambda_svc


def install() -> None:
    """Wraps what finds the limit of an invocation."""
    find = lambda_svc._reserved_concurrency

    def find_with_function(record: dict[str, Any] | None, config: dict[str, Any]) -> int | None:
        function = lambda_svc._functions.get(config.get("FunctionName", ""))
        return find(function or record or {}, config)

    lambda_svc._reserved_concurrency = find_with_function
