"""Ids and partition counts of topics, as the broker has them now.

A topic that was deleted and created again has the same name and another id. The client library silently continues at
its old offset in the new topic. So a batch may only be committed if the id was requested *after* its messages had been
fetched, and is unchanged. The request is sent before a batch is scored, and its answer is awaited before the commit.
"""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, TopicDescription

from common.errors import DependencyDownError, RecreatedError
from worker.kafka.client_config import error_text, is_mock, topic_partitions

if TYPE_CHECKING:
    from concurrent.futures import Future

_TIMEOUT_S = 5.0
_PAUSE_S = 0.1
_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"  # of brokers before 2.8


class Identity(NamedTuple):
    """A topic as it is now; `topic_id` is empty if the broker has no topic ids."""

    topic_id: str
    partitions: int


def identities(admin: AdminClient, topics: Iterable[str]) -> dict[str, Identity]:
    """Look topics up by name; those that do not exist are left out.

    Raises:
        DependencyDownError: no broker answers.
    """
    names = sorted(set(topics))
    if is_mock(admin, _TIMEOUT_S):
        known = topic_partitions(admin, _TIMEOUT_S)
        return {n: Identity("", known[n]) for n in names if n in known}
    found = {}
    for name, asked in admin.describe_topics(TopicCollection(names), request_timeout=_TIMEOUT_S).items():
        try:
            found[name] = _identity(asked.result())
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise DependencyDownError("broker", f"{name}: {error_text(error, admin)}") from error
    return found


def topic_id_of(admin: AdminClient, topic: str) -> str:
    """Id of a topic; empty if it does not exist, or the broker has no topic ids.

    Raises:
        DependencyDownError: no broker answers.
    """
    found = identities(admin, {topic}).get(topic)
    return "" if found is None else found.topic_id


class TopicWatch:
    """Notices when a topic was deleted and created again.

    Attributes:
        topic_id: that is expected; empty if the broker has no topic ids, or none was looked up yet.
    """

    def __init__(self, admin: AdminClient, topic: str) -> None:
        self.topic_id = ""
        self._admin, self._topic = admin, topic
        self._mock: bool | None = None
        self._asked: Future[TopicDescription] | None = None

    def begin(self, topic_id: str) -> None:
        """Expect this id from now on; earlier requests are dropped."""
        self.topic_id, self._asked = topic_id, None

    def ask(self) -> None:
        """Send a request, without waiting for the answer.

        Raises:
            DependencyDownError: no broker answers. Only the first call waits for one.
        """
        if self._mock is None:
            self._mock = is_mock(self._admin, _TIMEOUT_S)
        if not self._mock:
            asked = self._admin.describe_topics(TopicCollection([self._topic]), request_timeout=_TIMEOUT_S)
            self._asked = asked[self._topic]

    def confirm(self) -> None:
        """Wait for the answer: messages fetched before `ask` are of the expected topic.

        Raises:
            RecreatedError: they may be of another topic.
            DependencyDownError: no broker answers, or the topic does not exist.
        """
        if self._answer() != self.topic_id != "":
            raise RecreatedError(f"{self._topic} was deleted and created again")

    def glance(self) -> None:
        """As `confirm`, but without waiting: check the answer if it is there, and ask again.

        Raises:
            RecreatedError, DependencyDownError: see `confirm`.
        """
        if self._asked is not None and self._asked.done():
            self.confirm()
        self.ask()

    def _answer(self) -> str:
        deadline = time.monotonic() + _TIMEOUT_S
        while True:
            if self._asked is None:
                self.ask()
            asked, self._asked = self._asked, None
            if asked is None:
                return ""
            try:
                return _identity(asked.result()).topic_id
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise DependencyDownError(
                        "topics", f"there is no topic {self._topic}; `hazardstream topics create` creates it"
                    ) from error
                # A broker went away: ask the next one.
                if time.monotonic() > deadline:
                    raise DependencyDownError("broker", f"{self._topic}: {error_text(error, self._admin)}") from error
                time.sleep(_PAUSE_S)


def _identity(described: TopicDescription) -> Identity:
    topic_id = str(described.topic_id)
    return Identity("" if topic_id == _NO_ID else topic_id, len(described.partitions))
