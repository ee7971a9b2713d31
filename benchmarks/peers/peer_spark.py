"""Spark Structured Streaming: Avro by `from_avro`; windows and model by `applyInPandasWithState`, group by group.

https://spark.apache.org/docs/latest/streaming/structured-streaming-kafka-integration.html,
…/sql-data-sources-avro.html, …/api/python/…/applyInPandasWithState.html, …/tutorial/sql/arrow_pandas.html
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - as in its documentation
from pyspark.sql.avro.functions import from_avro, to_avro

from benchmarks.peers.job import Scorer, Task, read_task

# About 100 readings of a module at a time, because a group costs more than a reading. (20,000 give a third of the
# throughput.) In exchange, results wait for some seconds.
BATCH = 100_000
STATE = "window binary"
SCORED = """
    module_id string, rack_id string, ts long, hazard_probability double, readings_in_window int, imputed array<string>
"""


def main(file: str) -> None:
    """Run until killed."""
    task = read_task(file)
    readings = _readings(_session(task), task)
    scored = readings.groupBy("module_id").applyInPandasWithState(_scoring(task), SCORED, STATE, "append", "NoTimeout")
    (
        scored.select(F.col("module_id").alias("key"), _value(task).alias("value"))
        .writeStream.format("kafka")
        .option("kafka.bootstrap.servers", task.bootstrap)
        .option("topic", task.sink)
        .option("checkpointLocation", str(Path(task.directory, "checkpoint")))
        .start()
        .awaitTermination()
    )


def _session(task: Task) -> SparkSession:
    os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    return (
        SparkSession.builder.master("local[2]")
        .config("spark.jars", ",".join(str(jar) for jar in Path(task.jars).glob("*.jar")))
        .config("spark.sql.shuffle.partitions", 2)
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )


def _readings(spark: SparkSession, task: Task) -> DataFrame:
    return (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", task.bootstrap)
        .option("subscribe", task.source)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", BATCH)
        .load()
        .select(
            from_avro(
                F.expr(f"substring(value, {len(task.reading_prefix) // 2 + 1})"), json.dumps(task.reading_schema)
            ).alias("reading")
        )
        .select("reading.*")
        .withColumn("ts", F.unix_millis("ts"))
    )


def _scoring(task: Task) -> Callable[[tuple[str], Iterator[pd.DataFrame], Any], Iterator[pd.DataFrame]]:
    """Called by Spark with the readings and the state of a module."""
    spec = task.spec
    sensors, columns = spec["sensors"], ["ts", *spec["sensors"]]
    kept, width = spec["windows"][-1] - 1, len(columns)
    loaded: list[Scorer] = []  # one per Python worker, made at first use

    def windows(key: tuple[str], frames: Iterator[pd.DataFrame], state: Any) -> Iterator[pd.DataFrame]:
        new = pd.concat(frames).sort_values("ts")
        held = np.frombuffer(state.get[0] if state.exists else b"").reshape(-1, width)
        past = pd.DataFrame(held, columns=columns)
        scaled = new[sensors].astype(float) / task.divisors
        window = pd.concat([past, scaled.assign(ts=new["ts"])])[columns]
        state.update((window.tail(kept).to_numpy(np.float64).tobytes(),))
        filled = window[sensors].ffill(limit=kept)
        rolled = window[spec["rolling"]]
        statistics = {}
        for length in spec["windows"]:
            rolling = rolled.rolling(length, min_periods=1)
            statistics[length] = rolling.mean(), rolling.std()
        parts = [filled, filled[spec["differences"]].diff()]
        parts += [part[[name]] for name in spec["rolling"] for length in spec["windows"] for part in statistics[length]]
        missing = new[sensors].isna().to_numpy()
        if not loaded:
            loaded.append(Scorer(task))
        features = np.column_stack(parts)[len(past) :]
        yield pd.DataFrame(
            {
                "module_id": key[0],
                "rack_id": new["rack_id"].to_numpy(),
                "ts": new["ts"].to_numpy(),
                "hazard_probability": loaded[0].score(features).astype(np.float64),
                "readings_in_window": np.minimum(len(past) + 1 + np.arange(len(new)), kept + 1),
                "imputed": [[name for name, gone in zip(sensors, row, strict=True) if gone] for row in missing],
            }
        )

    return windows


def _value(task: Task) -> Column:
    """A prediction in the wire format."""
    prediction = F.struct(
        "module_id",
        "rack_id",
        F.timestamp_millis("ts").alias("ts"),
        "hazard_probability",
        (F.col("hazard_probability") >= task.threshold).alias("hazardous"),
        F.lit(task.threshold).alias("threshold"),
        F.lit("benchmark").alias("model_name"),
        F.lit("1").alias("model_version"),
        "readings_in_window",
        "imputed",
        F.array().cast("array<string>").alias("masked"),
        F.lit(-1).alias("source_partition"),
        F.lit(-1).cast("long").alias("source_offset"),
        F.current_timestamp().alias("scored_at"),
    )
    prefix = F.unhex(F.lit(task.prediction_prefix))
    return F.concat(prefix, to_avro(prediction, json.dumps(task.prediction_schema)))
