"""How SNS hands a message to a function: on a thread of its own, and as often as a test asks.

An event that finds no room in the function waits for it, as in Lambda's own queue, where that costs none of the three attempts
(Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous invocation"); ministack drops it.

The file `deliveries.json` in the emulator's temporary folder may say of a topic, by its ARN: `copies`, how often each message is
handed over at once (SNS delivers at least once), and `attempts`, how often Lambda tries each before it goes where failures go. Without
it both are one: a test sees what each attempt brings, but for one that failed since a call timed out. Once a message has been handed
over for the last time, a line with its id goes to the file `deliveries`.
"""

import contextlib
import contextvars
import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from ministack.services import lambda_svc, sns

LOOK_EVERY = 0.1
"""Seconds between two looks for room."""
PAUSE = 2.0
"""Seconds between two attempts, minutes on AWS."""

SLOW, SLOW_ATTEMPTS = "TimedOut", 3
"""Where a test has asked for nothing, a message that fails because these machines were slow is handed over so often."""

FOLDER = Path(tempfile.gettempdir())


def install() -> None:
    """Takes the place of the delivery to Lambda."""
    sns._deliver_to_lambda = _deliver


def _deliver(endpoint: str, envelope: str, topic: str, subscription: str, message: str, *_: Any) -> None:
    record = {"EventVersion": "1.0", "EventSubscriptionArn": subscription, "EventSource": "aws:sns", "Sns": json.loads(envelope)}
    asked = _asked(topic)
    copy = (_hand_over, endpoint, {"Records": [record]}, asked.get("attempts"))
    threads = [threading.Thread(target=contextvars.copy_context().run, args=copy, daemon=True) for _ in range(asked.get("copies", 1))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        with (FOLDER / "deliveries").open("a") as lines:
            lines.write(f"{message}\n")


def _asked(topic: str) -> dict[str, int]:
    with contextlib.suppress(FileNotFoundError):
        asked: dict[str, int] = json.loads((FOLDER / "deliveries.json").read_text()).get(topic, {})
        return asked
    return {}


def _hand_over(endpoint: str, event: dict[str, Any], attempts: int | None) -> None:
    function, config, name = lambda_svc._get_func_record_for_ref(endpoint)
    if not function or not config:
        return
    result: dict[str, Any] = {}
    for attempt in range(attempts or SLOW_ATTEMPTS):
        time.sleep(PAUSE * attempt)
        result = _when_there_is_room(lambda_svc._execution_record_for_config(function, config), event)
        if not result.get("error"):
            return
        if attempts is None and SLOW not in str(result):
            break
        print(f"deliveries: attempt {attempt + 1} of {name} failed: {str(result)[:500]}", flush=True)
    if attempts and attempts > 1:
        settings = function.get("event_invoke_config") or (function.get("event_invoke_configs") or {}).get("$LATEST") or {}
        target = ((settings.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination")
        lambda_svc._route_async_failure(target or config["DeadLetterConfig"]["TargetArn"], name, event, result)


def _when_there_is_room(record: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
    while True:
        result: dict[str, Any] = lambda_svc._execute_function_with_config_scope(record, event)
        if not result.get("throttle"):
            return result
        time.sleep(LOOK_EVERY)
