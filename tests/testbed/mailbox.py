"""Notices as they arrive: a queue beside the mail subscriptions, for mail itself can't be read on the bed.

The queue gets the JSON of a notice; its mail text is in the Publish call that the proxy has recorded.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

from .accounts import HUB
from .bed import Bed


@dataclass(frozen=True)
class Notice:
    """One notice."""

    topic: str
    subject: str
    attributes: dict[str, str]
    text: str
    """What goes to programs: the JSON."""
    mail: str
    """What goes to people."""

    @property
    def stage(self) -> str:
        """`Started`, `Contained`, `Partial`, ..."""
        return self.attributes.get("Stage", "")

    @property
    def json(self) -> dict[str, Any]:
        """The notice as programs read it."""
        parsed: dict[str, Any] = json.loads(self.text)
        return parsed


class Mailbox:
    """Collects the notices of some topics."""

    def __init__(self, bed: Bed, name: str, topics: list[str]) -> None:
        self._bed = bed
        self._sqs = bed.endpoints.client("sqs", HUB)
        self._url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = {
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
                "Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": topics}},
            }],
        }
        self._sqs.set_queue_attributes(QueueUrl=self._url, Attributes={"Policy": json.dumps(policy)})
        sns = bed.endpoints.client("sns", HUB)
        for topic in topics:
            sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        self._topics = topics
        self._notices: list[Notice] = []
        self._mails: dict[str, str] = {}
        self._read = bed.proxy.mark()

    def notices(self, about: str = "", message: str = "") -> list[Notice]:
        """All notices so far in their order that hold the texts, such as an entity's name or a message id.

        Trouble goes to both topics; such a pair counts as one notice.
        """
        self._drain()
        found: list[Notice] = []
        told: dict[str, set[str]] = {}
        for notice in self._notices:
            if about in notice.subject + notice.text and message in notice.text:
                topics = told.setdefault(notice.text, set())
                if not topics - {notice.topic}:
                    found.append(notice)
                    topics.add(notice.topic)
        return found

    def on_topic(self, topic: str, about: str = "") -> list[Notice]:
        """The notices of one topic."""
        self._drain()
        return [n for n in self._notices if n.topic == topic and about in n.subject + n.text]

    def stages(self, about: str = "", message: str = "") -> list[str]:
        """Their stages."""
        return [notice.stage for notice in self.notices(about, message)]

    def wait(self, about: str, stage: str, seconds: float = 30.0) -> Notice:
        """The newest notice of a stage, waiting for it: for what runs asynchronously."""
        deadline = time.monotonic() + seconds
        while True:
            found = [notice for notice in self.notices(about) if notice.stage == stage]
            if found:
                return found[-1]
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {stage} about {about}; there are {self.stages(about)}")
            time.sleep(0.1)

    def _drain(self) -> None:
        while messages := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            self._read_mails()
            for message in messages:
                self._notices.append(self._notice(json.loads(message["Body"])))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])

    def _read_mails(self) -> None:
        """The mail texts of the Publish calls since the last time, by the text for programs; of texts that are alike, the newest."""
        after, self._read = self._read, self._bed.proxy.mark()
        for call in self._bed.proxy.calls(after, service="sns", action="Publish"):
            if call["params"].get("TopicArn") not in self._topics:
                continue
            try:
                parts = json.loads(call["params"].get("Message", ""))
            except ValueError:
                continue
            if isinstance(parts, dict):
                mail = str(parts.get("email", parts.get("default", "")))
                self._mails.update({parts[key]: mail for key in ("default", "sqs") if key in parts})

    def _notice(self, envelope: dict[str, Any]) -> Notice:
        text = envelope["Message"]
        attributes = {name: value["Value"] for name, value in envelope.get("MessageAttributes", {}).items()}
        return Notice(
            topic=envelope["TopicArn"], subject=envelope.get("Subject") or "", attributes=attributes, text=text,
            mail=self._mails.get(text, ""),
        )
