"""PyFlink: the DataStream API with a keyed process function, then a vectorised UDF for the model, exactly once.

https://nightlies.apache.org/flink/flink-docs-stable/docs/dev/python/datastream/intro_to_datastream_api/,
…/python/table/udfs/vectorized_python_udfs/, …/connectors/datastream/kafka/
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyflink.common import ByteArraySchema, Configuration, Row, Types, WatermarkStrategy
from pyflink.datastream import KeyedProcessFunction, MapFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.datastream.connectors.base import DeliveryGuarantee
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
)
from pyflink.datastream.state import ValueStateDescriptor
from pyflink.table import DataTypes, StreamTableEnvironment
from pyflink.table.expressions import col
from pyflink.table.udf import FunctionContext, ScalarFunction, udf

from benchmarks.peers.job import Codec, Scorer, Task, Window, read_task

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
KEYED = Types.TUPLE([Types.STRING(), BYTES])
FEATURES = Types.ROW_NAMED(
    ["reading", "length", "features"], [BYTES, Types.INT(), Types.PRIMITIVE_ARRAY(Types.DOUBLE())]
)
SCORED = Types.ROW([BYTES, Types.INT(), Types.DOUBLE()])


class ByModule(MapFunction):
    """Adds the module to each reading."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def open(self, _: RuntimeContext) -> None:
        """Parse the schema, on the worker."""
        self._codec = Codec(self._task)

    def map(self, value: bytes) -> tuple[str, bytes]:
        """Module and value."""
        return self._codec.decode(value)["module_id"], value


class Windows(KeyedProcessFunction):
    """Keeps the window of a module in keyed state, and returns the features of each reading."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def open(self, context: RuntimeContext) -> None:
        """Open the state."""
        self._codec = Codec(self._task)
        self._state = context.get_state(ValueStateDescriptor("window", BYTES))

    def process_element(self, came: tuple[str, bytes], _: KeyedProcessFunction.Context) -> Iterator[Row]:
        """One reading."""
        reading = self._codec.decode(came[1])
        window = Window(self._task.spec, self._task.divisors, self._state.value())
        window.add(reading["ts"], self._codec.sensors(reading))
        self._state.update(bytes(window))
        yield Row(came[1], len(window), window.features())


class Predict(ScalarFunction):
    """The model on a batch of rows."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def open(self, _: FunctionContext) -> None:
        """Load the model, on the worker."""
        self._scorer = Scorer(self._task)

    def eval(self, features: pd.Series) -> pd.Series:
        """Probability of each."""
        return pd.Series(self._scorer.score(np.stack(features.to_list())).astype(np.float64))


class Encode(MapFunction):
    """Avro out."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def open(self, _: RuntimeContext) -> None:
        """Parse the schema, on the worker."""
        self._codec = Codec(self._task)

    def map(self, scored: Row) -> bytes:
        """One prediction."""
        value, length, probability = scored
        return self._codec.encode(self._codec.decode(value), probability, length)


def main(file: str) -> None:
    """Run until killed."""
    task = read_task(file)
    settings: dict[str, Any] = {
        "pipeline.jars": ";".join(jar.as_uri() for jar in Path(task.jars).glob("*.jar")),
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        "parallelism.default": "2",
        # A bundle ends with one call to the JVM for each changed key: larger ones than the default of 1,000 are faster.
        "python.fn-execution.bundle.size": "20000",
        "python.fn-execution.bundle.time": "3000",
        "python.state.cache.size": "10000",
        "execution.checkpointing.interval": "3s",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "taskmanager.memory.managed.size": "512m",
        "rest.port": str(task.port),
        "rest.bind-address": "127.0.0.1",
    }
    config = Configuration()
    for name, value in settings.items():
        config.set_string(name, value)
    environment = StreamExecutionEnvironment.get_execution_environment(config)
    tables = StreamTableEnvironment.create(environment)
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(task.bootstrap)
        .set_topics(task.source)
        .set_group_id(task.group)
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_value_only_deserializer(ByteArraySchema())
        .build()
    )
    sink = (
        KafkaSink.builder()
        .set_bootstrap_servers(task.bootstrap)
        .set_record_serializer(
            KafkaRecordSerializationSchema.builder()
            .set_topic(task.sink)
            .set_value_serialization_schema(ByteArraySchema())
            .build()
        )
        .set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE)
        .set_transactional_id_prefix(task.group)
        .set_property("transaction.timeout.ms", "30000")
        .build()
    )
    predict = udf(Predict(task), result_type=DataTypes.DOUBLE(), func_type="pandas")
    features = (
        environment.from_source(source, WatermarkStrategy.no_watermarks(), "readings")
        .map(ByModule(task), KEYED)
        .key_by(lambda came: came[0], Types.STRING())
        .process(Windows(task), FEATURES)
    )
    scored = tables.from_data_stream(features).select(col("reading"), col("length"), predict(col("features")))
    tables.to_data_stream(scored).map(Encode(task), BYTES).sink_to(sink)
    environment.execute(task.group)
