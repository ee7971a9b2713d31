"""What a worker would say to a dead letter's record if it came again now; only `late` and duplicates it cannot tell."""

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


class Judge:
    """Decodes and validates as a worker does.

    Args:
        source: the pipeline's input.
        writer_schema_of: see `schemas.registry.writer_schema_lookup`.
        stamped_anew: whether the input topic gives a record the broker's time (`LogAppendTime`).
    """

    def __init__(self, source: Input, writer_schema_of: WriterSchemaOf, *, stamped_anew: bool) -> None:
        self._reader = source.avro_schema
        self._decode = Decoder(source, self._reader, writer_schema_of)
        self._validate = Validator(source)
        self._model, self._utc_offset_ms = source.record_model, source.utc_offset_ms
        self._writer_schema_of, self._stamped_anew = writer_schema_of, stamped_anew

    def rejections(self, letters: Sequence[Letter]) -> list[Rejection]:
        """Those that would be dead letters again, by row.

        Raises:
            DependencyDownError: the schema registry has to be asked and does not answer.
        """
        readings, rejected = self._decode(
            [letter.value for letter in letters], framed({i: letter.headers for i, letter in enumerate(letters)})
        )
        now_ms = time.time_ns() // 1_000_000
        # A copy of a record without a timestamp gets one when it is sent.
        stamps = [now_ms if self._stamped_anew else letter.timestamp_ms or now_ms for letter in letters]
        keys = TextColumn.of([letter.key or b"" for letter in letters])
        return rejected + self._validate(readings, keys, np.array(stamps, np.int64))[1]

    def violations(self, letter: Letter) -> list[str]:
        """Rules of the record's Pydantic model that it breaks: field, rule and value; empty where it is no record."""
        try:
            self._model.model_validate(
                decode(letter.value or b"", self._writer_schema_of, self._reader, letter.headers, self._utc_offset_ms)
            )
        except ValidationError as error:
            return [fault.words for fault in faults(error)]
        except UnreadableValueError:
            pass
        return []
