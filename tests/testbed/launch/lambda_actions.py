"""The actions that AWS judges Lambda's calls by (Service Authorization Reference, "Actions defined by AWS Lambda").

ministack guesses them from the path: it takes any call about a reserved concurrency for the setting of one, and changing or
deleting an event source mapping for nothing that needs a right.
"""

from ministack.core import iam_actions

NAMES = {"Invoke": "InvokeFunction", "InvokeWithResponseStream": "InvokeFunction", "InvokeAsync": "InvokeAsync"}
"""Of operations whose action has another name."""


def install() -> None:
    """Asks botocore's model first."""
    guess = iam_actions._lambda_action
    iam_actions._BOTOCORE_SERVICE_MAP["lambda"] = ["lambda"]

    def of_model(method: str, path: str) -> str | None:
        operation = iam_actions._match_rest_action("lambda", method, path, {})
        return NAMES.get(operation, operation) if operation else guess(method, path)

    iam_actions._lambda_action = of_model
