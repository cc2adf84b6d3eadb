"""Queues that feed functions, and encrypted queues, as AWS judges them. ministack reads any queue for any function.

- The function's role must be allowed to receive, delete and describe, and to decrypt if the queue has a key of the customer's
  (AWS Lambda Developer Guide, "Using Lambda with Amazon SQS"): without, the mapping isn't made, or gets no more messages.
- The queue's visibility timeout must not be shorter than the function's (same page): the mapping isn't made.
- Whoever sends to a queue with a key of the customer's needs that key (Amazon SQS Developer Guide, "Key management").
"""

from collections.abc import Callable, Iterator
from typing import Any

from ministack.core.iam_evaluator import caller_arn
from ministack.core.responses import error_response_json
from ministack.services import lambda_svc, sqs
from ministack.services.cloudformation import provisioners
from simulate_with_context import decide

# In the order in which AWS complains.
READING = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")


def _key(queue: dict[str, Any]) -> str:
    """The customer's key of a queue as an ARN; empty if SQS's own key, or none, encrypts it."""
    key, (_, _, _, region, account, _) = str(queue["attributes"].get("KmsMasterKeyId") or ""), _arn_of(queue)
    if not key or key == "alias/aws/sqs":
        return ""
    kind = "" if key.startswith("alias/") else "key/"
    return key if key.startswith("arn:") else f"arn:aws:kms:{region}:{account}:{kind}{key}"


def _arn_of(queue: dict[str, Any]) -> list[str]:
    return str(queue["attributes"]["QueueArn"]).split(":", 5)


def _may_use_key(role: str, action: str, queue: dict[str, Any]) -> bool:
    key, account = _key(queue), role.split(":")[4]
    context = {"kms:viaservice": f"sqs.{_arn_of(queue)[3]}.amazonaws.com", "kms:calleraccount": account}
    return not key or decide(role, account, action, key, context) == "allowed"


def missing_right(function: dict[str, Any], arn: str) -> str:
    """The first right that a function's role lacks to be fed from a queue; empty if none."""
    role, queue = str(function.get("Role", "")), sqs._queue_by_arn(arn)
    if queue is None or ":role/" not in role:
        return ""
    for action in READING:
        if decide(role, role.split(":")[4], f"sqs:{action}", arn, {}) != "allowed":
            return f"call {action} on SQS"
    return "" if _may_use_key(role, "kms:Decrypt", queue) else "call Decrypt on KMS"


def complaint(function: dict[str, Any], arn: str) -> str:
    """Why AWS would not make this mapping; empty if it would."""
    queue = sqs._queue_by_arn(arn)
    if queue is None:
        return ""
    if right := missing_right(function, arn):
        return f"The provided execution role does not have permissions to {right}"
    visible, timeout = int(queue["attributes"].get("VisibilityTimeout", "30")), int(function.get("Timeout", 3))
    if visible < timeout:
        return f"Queue visibility timeout: {visible} seconds is less than Function timeout: {timeout} seconds"
    return ""


def _function(name: str) -> dict[str, Any]:
    record = provisioners._lambda_function_for_cfn_ref(name)[0]
    return dict((record or {}).get("config") or {})


def _install_mappings() -> None:
    create, provision, every = lambda_svc._create_esm, provisioners._lambda_esm_create, lambda_svc._iter_all_esms

    def create_if_allowed(data: dict[str, Any]) -> Any:
        if reason := complaint(_function(data.get("FunctionName", "")), data.get("EventSourceArn", "")):
            return error_response_json("InvalidParameterValueException", reason, 400)
        return create(data)

    def provision_if_allowed(logical: str, props: dict[str, Any], stack: str) -> Any:
        if reason := complaint(_function(props.get("FunctionName", "")), props.get("EventSourceArn", "")):
            raise ValueError(reason)
        return provision(logical, props, stack)

    def those_that_may_read() -> Iterator[Any]:
        for account, region, mapping in every():
            arn = mapping.get("EventSourceArn", "")
            record = lambda_svc._functions.get_scoped(account, region, mapping["FunctionName"])
            if ":sqs:" in arn and record and missing_right(record["config"], arn):
                continue
            yield account, region, mapping

    lambda_svc._create_esm = create_if_allowed
    lambda_svc._iter_all_esms = those_that_may_read
    provisioners._RESOURCE_HANDLERS["AWS::Lambda::EventSourceMapping"]["create"] = provision_if_allowed


def _install_sending(name: str) -> None:
    send: Callable[[dict[str, Any], str], dict[str, Any]] = sqs._HANDLERS[name]

    def send_if_the_key_may_be_used(data: dict[str, Any], url: str) -> dict[str, Any]:
        caller = caller_arn()
        _, assumed, rest = caller.partition(":assumed-role/")
        if assumed:
            queue = sqs._get_q(data.get("QueueUrl", url))
            role = f"arn:aws:iam::{caller.split(':')[4]}:role/{rest.split('/')[0]}"
            for action in ("kms:GenerateDataKey", "kms:Decrypt"):
                if not _may_use_key(role, action, queue):
                    message = f"User: {caller} is not authorized to perform: {action} on resource: {_key(queue)}"
                    raise sqs._Err("KmsAccessDenied", message)
        return send(data, url)

    sqs._HANDLERS[name] = send_if_the_key_may_be_used


def install() -> None:
    """Wraps the making and the polling of mappings, and the sending of messages."""
    _install_mappings()
    for name in ("SendMessage", "SendMessageBatch"):
        _install_sending(name)
