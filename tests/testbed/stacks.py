"""CloudFormation stacks, to the end or with the reason of their failure."""

import time
from typing import Any


class StackFailed(RuntimeError):
    """The stack didn't come up; the message names the resources and their reasons."""


def deploy_stack(client: Any, name: str, template: str, parameters: dict[str, str], seconds: float = 60.0) -> dict[str, str]:
    """Creates a stack of a template, waits for it, and returns its outputs by name.

    `template` is its text, of which CloudFormation takes 51,200 bytes, or the URL of an object in S3.
    """
    client.create_stack(
        StackName=name,
        **{"TemplateURL" if template.startswith("https://") else "TemplateBody": template},
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        stack = client.describe_stacks(StackName=name)["Stacks"][0]
        if stack["StackStatus"] == "CREATE_COMPLETE":
            return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        if not stack["StackStatus"].endswith("IN_PROGRESS"):
            break
        time.sleep(0.1)
    events = client.describe_stack_events(StackName=name)["StackEvents"]
    reasons = [
        f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', event['ResourceStatus'])}"
        for event in events
        if "FAILED" in event["ResourceStatus"]
    ]
    raise StackFailed(f"{name} is {stack['StackStatus']}\n" + "\n".join(reasons or [stack.get("StackStatusReason", "")]))
