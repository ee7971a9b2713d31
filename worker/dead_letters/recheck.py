"""What a worker would make of a dead letter's record now, except whether it is late or a duplicate."""

import time
from collections.abc import Sequence

import numpy as np
from pydantic import ValidationError

from common.validation_errors import faults
from schemas.codec import decode
from schemas.errors import UnreadableValueError
from schemas.text_column import TextColumn
from worker.config.inputs_outputs import Input
from worker.encode.dead_letter import Letter
from worker.score.batch import framed
from worker.score.decode import Decoder, WriterSchemaOf
from worker.score.readings import Rejection
from worker.score.validate import Validator


class Recheck:
    """Decodes and validates as a worker does.

    Args:
        source: the pipeline's input.
        writer_schema_of: see `schemas.registry.writer_schema_lookup`.
        log_append_time: whether the input topic has `LogAppendTime`, so that a copy gets a new Kafka timestamp.
    """

    def __init__(self, source: Input, writer_schema_of: WriterSchemaOf, *, log_append_time: bool) -> None:
        self._reader = source.avro_schema
        self._decode = Decoder(source, writer_schema_of)
        self._validate = Validator(source)
        self._model, self._utc_offset_ms = source.record_model, source.utc_offset_ms
        self._writer_schema_of, self._log_append_time = writer_schema_of, log_append_time

    def rejections(self, letters: Sequence[Letter]) -> list[Rejection]:
        """The letters that would be dead letters again, by row.

        Raises:
            DependencyDownError: the schema registry has to be asked and does not answer.
        """
        readings, rejected = self._decode(
            [letter.value for letter in letters], framed({i: letter.headers for i, letter in enumerate(letters)})
        )
        now_ms = time.time_ns() // 1_000_000
        # A copy of a record without a timestamp gets one when it is sent.
        stamps = [now_ms if self._log_append_time else letter.timestamp_ms or now_ms for letter in letters]
        keys = TextColumn.of([letter.key or b"" for letter in letters])
        return rejected + self._validate(readings, keys, np.array(stamps, np.int64))[1]

    def violations(self, letter: Letter) -> list[str]:
        """The rules of the record model that it breaks: field, rule and value. Empty where it cannot be decoded."""
        try:
            self._model.model_validate(
                decode(letter.value or b"", self._writer_schema_of, self._reader, letter.headers, self._utc_offset_ms)
            )
        except ValidationError as error:
            return [str(fault) for fault in faults(error)]
        except UnreadableValueError:
            pass
        return []
