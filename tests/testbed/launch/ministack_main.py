"""Starts ministack with what it leaves out of IAM, Lambda and SQS filled in.

Run by path, not as a module: functions inherit the emulator's environment, and so it gets no PYTHONPATH.
"""

import callers
import concurrency
import deliveries
import deny_all
import iam_resources
import lambda_actions
import late_changes
import missing_condition_keys
import orphan_watch
import principal_arn
import queue_mappings
import simulate_with_context
from ministack import app


def main() -> None:
    """Fills the gaps, then hands over to ministack."""
    orphan_watch.install()
    callers.install()
    concurrency.install()
    deliveries.install()
    deny_all.install()
    iam_resources.install()
    lambda_actions.install()
    late_changes.install()
    missing_condition_keys.install()
    principal_arn.install()
    queue_mappings.install()
    simulate_with_context.install()
    # As root it would also listen on 443, for a service that the bed doesn't use.
    app._port_is_bindable = lambda *_: False
    app.main()


if __name__ == "__main__":
    main()
