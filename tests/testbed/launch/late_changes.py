"""IAM's changes take seconds to hold everywhere: until then a principal is judged by what it was allowed before.

Source: IAM User Guide, "Changes that I make are not always immediately visible". ministack's changes hold at once. Users and
roles whose names are in the file `late` of the temporary folder (one a line) are judged by the policies and the boundary that
counted when they made their last call before; what lists and describes them shows the change at once, as on AWS.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ministack.core import iam_evaluator

LATE = Path(tempfile.gettempdir()) / "late"


def _is_late(name: str) -> bool:
    try:
        return name in LATE.read_text().split()
    except FileNotFoundError:
        return False


def _as_before(gather: Callable[..., Any], *, name_at: int) -> Callable[..., Any]:
    """`gather`, or what it gave last for a name that is late; before the name there may be the store that it is in."""
    seen: dict[tuple[int, str, str], Any] = {}

    def gathered(*arguments: Any) -> Any:
        name, account = arguments[name_at : name_at + 2]
        key = (id(arguments[0]) if name_at else 0, name, account)
        if key not in seen or not _is_late(name):
            seen[key] = gather(*arguments)
        return seen[key]

    return gathered


def install() -> None:
    """Wraps what gathers the policies and the boundary of a caller."""
    for function, name_at in (("_gather_user_policies", 0), ("_gather_role_policies", 0), ("_permissions_boundary", 1)):
        setattr(iam_evaluator, function, _as_before(getattr(iam_evaluator, function), name_at=name_at))
