"""Records of what champion and challenger make of the same readings."""

from collections.abc import Iterable

import numpy as np

from common.arrays import Int
from schemas.columnar_encoder import Column, encode_columns
from schemas.text_column import TextColumn
from schemas.wire import single_object_prefix
from worker.alarms.alarms import MODEL, Transition
from worker.config.inputs_outputs import Output
from worker.config.pipeline import Pipeline
from worker.encode.encoder import in_bulk
from worker.encode.shadow import ShadowScored
from worker.kafka.records import Bulk
from worker.score.outcome import Outcome


class ShadowRecords:
    """Encodes them.

    Args:
        pipeline: names the fields of identity and time.
        output: topic and schema.
        prefix: wire-format prefix; None: single-object encoding.
    """

    def __init__(self, pipeline: Pipeline, output: Output, prefix: bytes | None) -> None:
        self._source, self._topic = pipeline.input, output.topic
        self._schema = output.avro_schema
        self._prefix = prefix or single_object_prefix(self._schema)

    def __call__(self, outcome: Outcome, shadowed: ShadowScored) -> Bulk:
        """The records of a batch."""
        rows, scored, source = shadowed.rows, outcome.scored, self._source
        readings, origin, champion = scored.readings.take(rows), scored.origin.take(rows), scored.probability[rows]
        columns: dict[str, Column] = {
            source.key: readings.key,
            source.group: readings.group,
            source.time: readings.ts,
            "model_name": outcome.model.name,
            "champion_version": outcome.model.version,
            "challenger_version": shadowed.challenger.model.version,
            "champion_probability": champion,
            "challenger_probability": shadowed.probability,
            "champion_positive": outcome.positive[rows],
            "challenger_positive": shadowed.positive,
            "champion_alarm": _transitions(outcome.alarms.transitions, rows),
            "challenger_alarm": _transitions(shadowed.alarms.transitions, np.arange(len(rows))),
            "source_partition": origin.partition,
            "source_offset": origin.offset,
        }
        values = encode_columns(self._schema, columns, len(rows), self._prefix)
        return in_bulk(self._topic, origin, values)


def _transitions(transitions: Iterable[Transition], rows: Int) -> Column:
    """The transition that was made at each of these rows, or an empty text."""
    made = {t.row: t.kind.encode() for t in transitions if t.rule == MODEL}
    return TextColumn.of([made.get(row, b"") for row in rows.tolist()]) if made else ""
