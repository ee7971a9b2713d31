"""Local times are read with the pipeline's offset from UTC."""

import pytest

from schemas.codec import encode
from schemas.load import parsed
from schemas.resolution import without
from schemas.wire import confluent_prefix
from tests.flagship import PIPELINE, flagship_schema
from tests.harness import START_MS, reading
from worker.config.inputs_outputs import Input
from worker.score.decode import Decoder

SOURCE = PIPELINE.input
READER = flagship_schema("SensorReading")


def test_a_time_zone_comes_from_the_pipeline() -> None:
    local = {**READER, "fields": [*READER["fields"]]}
    local["fields"][2] = {"name": "ts", "type": {"type": "long", "logicalType": "local-timestamp-micros"}}
    value = encode(
        reading("m", 1000 * (START_MS + 7_200_000)), parsed(without(local, "logicalType")), confluent_prefix(1)
    )
    for offset, outcome in (("+02:00", START_MS), ("Z", START_MS + 7_200_000), (None, "incompatible_schema")):
        source = SOURCE.model_copy(update={"utc_offset": offset})
        readings, rejections = Decoder(source, lambda _: local)([value, value])
        assert [*readings.ts.tolist(), *(r.reason for r in rejections)] == [outcome] * 2


@pytest.mark.parametrize("offset", ["Europe/Paris", "2", "+2:00", "+24:00", "UTC"])
def test_an_offset_that_may_change_or_is_none_is_refused(offset: str) -> None:
    with pytest.raises(ValueError, match="utc_offset"):
        Input.model_validate(SOURCE.model_dump(by_alias=True) | {"utc_offset": offset})
