"""An AWS Lambda function that scores the records of a Kafka event source mapping.

Name `serve.aws_lambda.function.handler` in the function's configuration. It takes the settings of a worker from the
environment. Lambda keeps nothing between calls and repeats a call that failed, so there is no window, no alarm and no
exactly-once here: docs/lambda.md.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from common.errors import DependencyDownError, UserError
from common.logs import configure_logs
from schemas.registry import SERVICE_TIMEOUT_S, registry_at, writer_schema_lookup
from serve.aws_lambda.event import batches_of, read_event
from worker.admission.compatibility import alarm_policy
from worker.admission.source import resolve_by_settings
from worker.config.pipeline import Pipeline, load_pipeline
from worker.config.settings import Settings, load_settings
from worker.encode.encoder import Encoder
from worker.encode.output_limits import OutputLimits
from worker.encode.prefixes import output_prefixes
from worker.kafka.client_config import admin_client, client_config, error_text, producer
from worker.kafka.producing import PRODUCER_DEFAULTS, PRODUCER_FIXED
from worker.model.contract import ModelFailedError
from worker.score.batch import Batch
from worker.score.outcome import Outcome
from worker.score.scorer import Scorer, scorer_of
from worker.score.windows import NoWindows
from worker.windows.partition import Partition

_LOG = structlog.get_logger(__name__)
_DELIVERED_WITHIN_S = 30.0


class Function(NamedTuple):
    """What a function keeps from one call to the next."""

    pipeline: Pipeline
    scorer: Scorer
    encoder: Encoder
    producer: Producer

    def __call__(self, event: Any) -> dict[str, Any]:
        """Score an event and publish the results.

        Returns:
            What Lambda has to repeat: by partition, the first offset whose results are not published.

        Raises:
            UserError: it is no event of the pipeline's input.
        """
        topic = self.pipeline.input.topic
        failures = []
        for batch in batches_of(read_event(event), topic):
            failed = self._first_failed(batch)
            if failed is not None:
                failures.append({"partition": f"{topic}-{batch.partition[0]}", "offset": failed})
        return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failures]}

    def _first_failed(self, batch: Batch) -> int | None:
        """The first offset of a partition's records whose results are not published; None if all are."""
        number, first = int(batch.partition[0]), int(batch.offset[0])
        try:
            outcome = self.scorer.process(batch, {number: Partition(number, first, first)})
        except (DependencyDownError, ModelFailedError) as error:  # the registry cannot give a schema now, for example
            _LOG.error("records not scored", partition=number, offset=first, reason=str(error))
            return first
        undelivered: dict[int, str] = {}
        for offset, record in self._records(outcome):

            def delivered(error: KafkaError | None, _message: Message, offset: int = offset) -> None:
                if error is not None:
                    undelivered[offset] = error.str()

            try:
                _produce(self.producer, record, delivered)
            except (KafkaException, BufferError) as error:
                undelivered[offset] = error_text(error)
        if self.producer.flush(_DELIVERED_WITHIN_S):
            self.producer.purge()  # their callbacks report them as not delivered
            self.producer.flush(_DELIVERED_WITHIN_S)
        if not undelivered:
            return None
        failed = min(undelivered)
        _LOG.error("results not published", partition=number, offset=failed, reason=undelivered[failed])
        return failed

    def _records(self, outcome: Outcome) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each record to publish, and the offset of the record that it is the result of."""
        outgoing = self.encoder.records(outcome)
        for (topic, partition), messages in outgoing.bulk.items():
            for offset, message in zip(outcome.scored.origin.offset.tolist(), messages, strict=True):
                yield offset, {"topic": topic, "partition": partition, **message}
        rows = sorted(rejection.row for rejection in outcome.rejections)
        for row, record in zip(rows, outgoing.records, strict=True):
            yield int(outcome.batch.offset[row]), record._asdict()


def _produce(to: Producer, record: dict[str, Any], delivered: Callable[[KafkaError | None, Message], None]) -> None:
    """Hand over one record, waiting once for room in the producer's queue."""
    wanted = {name: value for name, value in record.items() if value or name not in {"headers", "timestamp"}}
    try:
        to.produce(**wanted, on_delivery=delivered)
    except BufferError:
        to.flush(_DELIVERED_WITHIN_S)
        to.produce(**wanted, on_delivery=delivered)


def function_of(settings: Settings) -> Function:
    """Load the pipeline and its model.

    Raises:
        UserError: the user has to correct something, or the pipeline needs windows or alarms.
        DependencyDownError: a service does not answer.
    """
    pipeline = load_pipeline(settings.pipeline)
    model = resolve_by_settings(settings, settings.model_uri(pipeline.model), pipeline)
    registry = registry_at(settings.registry_url, timeout_s=SERVICE_TIMEOUT_S)
    policy = alarm_policy(model, pipeline)
    scorer = scorer_of(pipeline, model, policy, writer_schema_lookup(registry, pipeline.known_schemas))
    alarms = pipeline.outputs.alarms is not None
    if alarms or not isinstance(scorer.windows, NoWindows):
        raise UserError(
            f"pipeline {pipeline.name} needs {'alarms' if alarms else 'windows'}, and AWS Lambda keeps nothing "
            "between calls; run `hazardstream worker` for it"
        )
    config = client_config(settings.bootstrap_servers)
    limits = OutputLimits(admin_client(config), pipeline)
    encoder = Encoder(pipeline, output_prefixes(registry, pipeline), limits.of[pipeline.outputs.dead_letters.topic])
    return Function(pipeline, scorer, encoder, producer(config, PRODUCER_FIXED, PRODUCER_DEFAULTS))


@cache
def _function() -> Function:
    # Once for each process of the function, which Lambda keeps for many calls.
    settings = load_settings()
    configure_logs(settings.log_level)
    return function_of(settings)


def handler(event: Any, _context: object) -> dict[str, Any]:
    """The handler of the function; see `Function.__call__`."""
    return _function()(event)
