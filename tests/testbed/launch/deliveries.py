"""Says when SNS has handed a message to a function and the function has ended: a published message runs on a thread of its own.

A line with the message's id goes to the file `deliveries` in the emulator's temporary folder.
"""

import tempfile
from pathlib import Path
from typing import Any

from ministack.services import sns


def install() -> None:
    """Wraps the delivery to Lambda."""
    deliver, ended = sns._deliver_to_lambda, Path(tempfile.gettempdir()) / "deliveries"

    def deliver_and_say(endpoint: str, envelope: str, topic: str, subscription: str, message: str, *rest: Any) -> None:
        try:
            deliver(endpoint, envelope, topic, subscription, message, *rest)
        finally:
            with ended.open("a") as lines:
                lines.write(f"{message}\n")

    sns._deliver_to_lambda = deliver_and_say
