"""When the publisher replaces its producer: after a request without an answer, and at no other time.

The first test also fails if a later client library words its log differently: then every transaction looks unanswered.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import NewTopic

from common.errors import DependencyDownError
from local.kafka import Gate, kafka_cluster
from local.process import free_ports
from tests.kafka_proxy import Api, KafkaProxy, Rule
from worker.kafka.client_config import admin_client, client_config
from worker.kafka.publisher import TransactionalPublisher
from worker.kafka.records import Outgoing, Record

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180), pytest.mark.xdist_group("producer_renewal")]
TIMEOUT_MS = 3000
# So long that a busy machine answers in time: where no request is lost, none may look lost.
PATIENT_MS = 60_000


class Rig:
    """A publisher on a broker behind a proxy."""

    def __init__(self, proxy: KafkaProxy, timeout_ms: int) -> None:
        self.proxy, self.renewals, self.waits = proxy, 0, list[str]()
        config = client_config(f"127.0.0.1:{proxy.ports[0]}")
        self.consumer = Consumer(config | {"group.id": "renewal"})
        self.publisher = TransactionalPublisher(
            config, self.consumer, "renewal", timeout_ms, self.waits.append, self._renewed
        )
        self.publisher.open()

    def _renewed(self) -> None:
        self.renewals += 1

    def commit(self, times: int = 1) -> None:
        for _ in range(times):
            records = [Record("out", 0, b"key", b"value", [], 0)]
            self.publisher.commit(Outgoing({}, records), [TopicPartition("in", 0, 1)])

    def close(self) -> None:
        self.publisher.close()
        self.consumer.close()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaProxy]:
    inner = free_ports(1)
    with closing(KafkaProxy(inner)) as proxy:
        directory = tmp_path_factory.mktemp("renewal")
        gates = [Gate(inner, proxy.ports)]
        late = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": "10000"}
        with kafka_cluster(directory, nodes=1, gates=gates, settings=late) as cluster:
            admin = admin_client(client_config(cluster.bootstrap))
            for created in admin.create_topics([NewTopic("in", 1, 1), NewTopic("out", 1, 1)]).values():
                created.result()
            yield proxy


@contextmanager
def rig_behind(proxy: KafkaProxy, timeout_ms: int = TIMEOUT_MS) -> Iterator[Rig]:
    proxy.apply([])
    with closing(Rig(proxy, timeout_ms)) as rig:
        yield rig


def test_an_undisturbed_producer_is_kept(proxy: KafkaProxy) -> None:
    with rig_behind(proxy, PATIENT_MS) as rig:
        rig.commit(times=30)
        assert rig.renewals == 0


@pytest.mark.parametrize(
    ("api", "cut"),
    [
        (Api.END_TXN, True),
        (Api.END_TXN, False),  # until the client gives up waiting by itself
        (Api.ADD_PARTITIONS_TO_TXN, True),
        (Api.ADD_OFFSETS_TO_TXN, True),
        (Api.TXN_OFFSET_COMMIT, True),
        (Api.PRODUCE, True),
    ],
)
def test_a_request_without_an_answer_renews_the_producer_once(proxy: KafkaProxy, api: Api, cut: bool) -> None:
    with rig_behind(proxy) as rig:
        rig.commit(times=2)
        (caught,) = rig.proxy.apply([Rule(api, "drop_response", cut=cut)])
        rig.commit()
        assert caught.caught.is_set()
        assert rig.renewals == 0, "the transaction itself is finished with the producer it began with"
        rig.commit(times=5)
        assert rig.renewals == 1


def test_connections_that_end_while_nothing_is_asked_renew_nothing(proxy: KafkaProxy) -> None:
    """As brokers end those that are idle, all the time."""
    with rig_behind(proxy, PATIENT_MS) as rig:
        rig.commit(times=2)
        rig.proxy.reset_all()
        rig.commit(times=2)
        assert rig.renewals == 0


def test_a_renewal_that_the_broker_does_not_answer_is_waited_for_and_begins_nothing(proxy: KafkaProxy) -> None:
    with rig_behind(proxy) as rig:
        rig.commit(times=2)
        # Never delivered. The client waits 2.9 s for each answer, and the publisher 5 s for the client.
        unheard = Rule(Api.INIT_PRODUCER_ID, "hold", cut=False, ends=99)
        rig.proxy.apply([Rule(Api.END_TXN, "drop_response"), unheard, unheard])
        rig.commit()
        with pytest.raises(DependencyDownError, match="init_transactions"):
            rig.commit()
        rig.commit(times=3)
        assert rig.renewals == 1
