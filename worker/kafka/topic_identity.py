"""Which topics stand behind the names: their ids and numbers of partitions, as the broker has them now.

A topic that was deleted and created again has its old name and another id. The client library goes on at its old
offset in the new topic and tells nobody, so a batch may be committed only once the id was asked for *after* its
messages had been fetched. The question is put before a batch is scored and answered before it is committed.
"""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ClusterMetadata, TopicDescription

from common.errors import DependencyDownError, RecreatedError
from worker.kafka.client_config import error_text

if TYPE_CHECKING:
    from concurrent.futures import Future

_TIMEOUT_S = 5.0
_PAUSE_S = 0.1
_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"  # of brokers before 2.8


class Identity(NamedTuple):
    """A topic as it is now; `topic_id` is empty where the broker has none."""

    topic_id: str
    partitions: int


def identities(admin: AdminClient, topics: Iterable[str]) -> dict[str, Identity]:
    """What stands behind these names; a topic that does not exist is left out.

    Raises:
        DependencyDownError: no broker answers.
    """
    names = sorted(set(topics))
    known = _metadata(admin)
    if _is_mock(known):
        return {n: Identity("", len(known.topics[n].partitions)) for n in names if n in known.topics}
    found = {}
    for name, asked in admin.describe_topics(TopicCollection(names), request_timeout=_TIMEOUT_S).items():
        try:
            found[name] = _identity(asked.result())
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise DependencyDownError("broker", f"{name}: {error_text(error, admin)}") from error
    return found


def topic_id_of(admin: AdminClient, topic: str) -> str:
    """Id of the topic of this name as it is now; empty where there is none, or the broker has no ids.

    Raises:
        DependencyDownError: no broker answers.
    """
    found = identities(admin, {topic}).get(topic)
    return "" if found is None else found.topic_id


class TopicWatch:
    """Whether a topic is still the one that it was.

    Attributes:
        topic_id: of the topic that it was; empty where the broker has none, or none was looked up yet.
    """

    def __init__(self, admin: AdminClient, topic: str) -> None:
        self.topic_id = ""
        self._admin, self._topic = admin, topic
        self._mock: bool | None = None
        self._asked: Future[TopicDescription] | None = None

    def begin(self, topic_id: str) -> None:
        """Hold what comes now against this id; what was asked for before is of no interest any more."""
        self.topic_id, self._asked = topic_id, None

    def ask(self) -> None:
        """Put the question; the answer is not waited for.

        Raises:
            DependencyDownError: no broker answers. Only the first call waits for one.
        """
        if self._mock is None:
            self._mock = _is_mock(_metadata(self._admin))
        if not self._mock:
            asked = self._admin.describe_topics(TopicCollection([self._topic]), request_timeout=_TIMEOUT_S)
            self._asked = asked[self._topic]

    def confirm(self) -> None:
        """Take the answer: what was fetched before `ask` is of the topic that it was.

        Raises:
            RecreatedError: it may be of another one.
            DependencyDownError: no broker answers, or the topic does not exist.
        """
        if self._answer() != self.topic_id != "":
            raise RecreatedError(f"{self._topic} was deleted and created again")

    def glance(self) -> None:
        """As `confirm`, where nothing waits for it: take the answer if there is one, and ask again.

        Raises:
            RecreatedError, DependencyDownError: as of `confirm`.
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
                # A broker went away in the middle: the next one knows, too.
                if time.monotonic() > deadline:
                    raise DependencyDownError("broker", f"{self._topic}: {error_text(error, self._admin)}") from error
                time.sleep(_PAUSE_S)


def _identity(described: TopicDescription) -> Identity:
    topic_id = str(described.topic_id)
    return Identity("" if topic_id == _NO_ID else topic_id, len(described.partitions))


def _metadata(admin: AdminClient) -> ClusterMetadata:
    try:
        return admin.list_topics(timeout=_TIMEOUT_S)
    except KafkaException as error:
        raise DependencyDownError("broker", error_text(error, admin)) from error


def _is_mock(known: ClusterMetadata) -> bool:
    """Whether this is the client library's mock cluster (demo without Kafka's jars), which cannot describe topics."""
    return (known.cluster_id or "").startswith("mockCluster")
