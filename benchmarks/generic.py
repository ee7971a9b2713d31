"""What the engine itself costs for any model on any topic, compared with the battery pipeline.

Processor time a reading of all stages in this process, less the time inside the model. No Kafka.

Example:
    python -m benchmarks.generic --json
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from confluent_kafka import Message

from benchmarks.harness import PARTITIONS
from benchmarks.model import write_model
from benchmarks.offline import messages, offline_scorer
from benchmarks.readings import PERIOD_MS, Readings, in_chunks
from common.cli_options import JsonOption
from common.terminal import say
from local.flagship import FLAGSHIP
from schemas.codec import decode, encode
from schemas.load import parsed
from schemas.registry import writer_schema_lookup
from schemas.wire import single_object_prefix
from worker.config.pipeline import Pipeline, load_pipeline
from worker.consume.message_columns import batch_of
from worker.encode.encoder import Encoder
from worker.kafka.records import Outgoing
from worker.model.contract import Features, InputType, Model, ModelInput, Prediction, Task
from worker.model.package import load_package
from worker.score.scorer import Scorer, scorer_of
from worker.windows.partition import Partition

KEYS, BATCH, ROUNDS = 1000, 1000, 5
LIMITS = {"plain": 1.5, "windows": 1.5, "plain, with texts": 3.0, "windows, with texts": 3.0}
"""The most that each kind of pipeline may cost, as a multiple of the battery pipeline."""
_FULL_WINDOWS = 60 * KEYS
"""Readings that come first: then every window is full, as in life."""
_NUMBERS = [f"number_{i}" for i in range(9)]
_TEXTS = {"plan": 3, "country": 40, "channel": 8}
"""Fields of texts, and how many different ones each has."""
_ROLLED, _LASTS = _NUMBERS[:4], (6, 30, 60)
_OF_WINDOWS = [
    *({"name": n, "fill": "true"} for n in _NUMBERS),
    *({"name": f"{n}_diff", "field": n, "kind": "difference"} for n in _ROLLED),
    *(
        {"name": f"{n}_{kind}_{last}", "field": n, "kind": kind, "last": str(last)}
        for n in _ROLLED
        for kind in ("mean", "std")
        for last in _LASTS
    ),
]


class Total(Model):
    """The sum of its numbers, and how many texts there are: next to no work."""

    def predict(self, features: Features) -> Prediction:
        """See `Model.predict`."""
        return Prediction(np.nansum(features.numbers, axis=1) + len(features.categories))


@dataclass
class Run:
    """A pipeline, and messages for it.

    Attributes:
        batches: gives messages of the readings with these numbers, a list for each batch.
        value: what `Total` must give for a reading without windows; None: it is another model, or has windows.
    """

    pipeline: Pipeline
    scorer: Scorer
    batches: Callable[[range], Iterator[list[Message]]]
    value: Callable[[int], float] | None = None
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Take the time of the model."""
        self._partitions = {number: Partition(number, 0, 0) for number in range(PARTITIONS)}
        for number in self._partitions:
            self.scorer.alarms.assign(number, {})
        self._encoder, self._in_model_s = Encoder(self.pipeline, {}, 1_000_000), 0.0
        model, predict = self.scorer.model, self.scorer.model.predict

        def clocked(features: Features) -> Prediction:
            started = time.thread_time()
            prediction = predict(features)
            self._in_model_s += time.thread_time() - started
            return prediction

        object.__setattr__(model, "predict", clocked)  # a model is frozen

    def us_a_reading(self, numbers: range) -> float:
        """Processor time, in microseconds, that these readings take outside of the model."""
        spent = self._in_model_s = 0.0
        for consumed in self.batches(numbers):
            started = time.thread_time()
            outcome = self.scorer.process(batch_of(consumed), self._partitions)
            outgoing = self._encoder.records(outcome)
            self.scorer.merge(outcome, self._partitions)
            spent += time.thread_time() - started
            self._check(consumed, outgoing)
        return (spent - self._in_model_s) / len(numbers) * 1e6

    def _check(self, consumed: list[Message], outgoing: Outgoing) -> None:
        made = sum(map(len, outgoing.bulk.values()))
        if made != len(consumed):
            self.faults.append(f"{made} predictions of {len(consumed)} readings")
        elif self.value is not None:
            (_, number), records = next(iter(outgoing.bulk.items()))
            schema, lookup = self.pipeline.records["predictions"].schema, self.pipeline.known_schemas
            found = decode(records[-1]["value"], writer_schema_lookup(None, lookup), schema)
            expected = self.value(found["source_offset"] * PARTITIONS + number)
            if not np.isclose(found["value"], expected, rtol=1e-12):
                self.faults.append(f"a prediction is {found['value']} and not {expected}")


def measure(readings: int, directory: Path) -> dict[str, Any]:
    """Microseconds a reading by kind of pipeline, and as multiples of the battery pipeline; medians of `ROUNDS`.

    Args:
        readings: in each round.
        directory: gets pipelines and a model.
    """
    runs = {"battery": _battery(directory, _FULL_WINDOWS + readings * ROUNDS)}
    runs |= {kind: _generic(directory / kind, kind) for kind in LIMITS}
    for run in runs.values():
        run.us_a_reading(range(_FULL_WINDOWS))
    spent: dict[str, list[float]] = {kind: [] for kind in runs}
    for turn in range(ROUNDS):  # in turns, so that other load on the machine affects all of them equally
        first = _FULL_WINDOWS + turn * readings
        for kind, run in runs.items():
            spent[kind].append(run.us_a_reading(range(first, first + readings)))
    us = {kind: round(median(times), 3) for kind, times in spent.items()}
    ratios = {kind: round(median(np.divide(spent[kind], spent["battery"]).tolist()), 2) for kind in LIMITS}
    faults = {kind: run.faults[:3] for kind, run in runs.items() if run.faults}
    beyond = {
        k: f"{ratios[k]} times the battery pipeline; allowed: {most}" for k, most in LIMITS.items() if ratios[k] > most
    }
    return {
        "readings": readings * ROUNDS,
        "engine_us": us,
        "ratio": ratios,
        "limits": LIMITS,
        "faults": faults | beyond,
    }


def _battery(directory: Path, readings: int) -> Run:
    pipeline = load_pipeline(FLAGSHIP)
    write_model(directory / "battery", pipeline)
    package, source = load_package(directory / "battery", version="1"), Readings.until_now(KEYS, readings)

    def batches(numbers: range) -> Iterator[list[Message]]:
        return (messages(source, some, pipeline.input.topic) for some in in_chunks(numbers, BATCH))

    return Run(pipeline, offline_scorer(pipeline, package)[0], batches)


def _generic(folder: Path, kind: str) -> Run:
    texts = _TEXTS if "texts" in kind else {}
    pipeline = _pipeline(folder, windows="windows" in kind, texts=list(texts))
    names = [each["name"] for each in _OF_WINDOWS] if "windows" in kind else _NUMBERS
    inputs = [(name, "double") for name in names] + [(name, "string") for name in texts]
    model = Total(
        name="total",
        version="1",
        digest="",
        origin=folder,
        task=Task.REGRESSION,
        inputs=tuple(ModelInput(name, type_, required=False) for name, type_ in _typed(inputs)),
    )
    schema = pipeline.input.avro_schema
    writer, prefix = parsed(schema), single_object_prefix(schema)
    start_ms = int(time.time() * 1000) - 3_600_000_000

    def message(number: int) -> Message:
        key, ts = number % KEYS, start_ms + number // KEYS * PERIOD_MS
        record = {"key": f"K{key:04}", "ts": ts, **{n: _number(number, i) for i, n in enumerate(_NUMBERS)}}
        record |= {name: f"{name}-{number * 7 % count}" for name, count in texts.items()}
        place = {"partition": number % PARTITIONS, "offset": number // PARTITIONS}
        value = encode(record, writer, prefix)
        return Message(topic=pipeline.input.topic, key=f"K{key:04}".encode(), value=value, timestamp=(1, ts), **place)

    def batches(numbers: range) -> Iterator[list[Message]]:
        return ([message(number) for number in some.tolist()] for some in in_chunks(numbers, BATCH))

    def value(number: int) -> float:
        return sum(_number(number, i) for i in range(len(_NUMBERS))) + len(texts)

    scorer = scorer_of(pipeline, model, None, writer_schema_lookup(None, pipeline.known_schemas))
    return Run(pipeline, scorer, batches, None if "windows" in kind else value)


def _number(number: int, column: int) -> float:
    return float((number * 31 + column * 7) % 997) / 10


def _typed(inputs: list[tuple[str, str]]) -> list[tuple[str, InputType]]:
    return [(name, "string" if type_ == "string" else "double") for name, type_ in inputs]


def _pipeline(folder: Path, *, windows: bool, texts: list[str]) -> Pipeline:
    fields: list[dict[str, Any]] = [
        {"name": "key", "type": "string"},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        *({"name": name, "type": ["null", "double"], "default": None} for name in _NUMBERS),
        *({"name": name, "type": ["null", "string"], "default": None} for name in texts),
    ]
    folder.mkdir()
    schema = {"type": "record", "name": "GenericReading", "namespace": "benchmark", "fields": fields}
    (folder / "GenericReading.avsc").write_text(json.dumps(schema, indent=1))
    features = [f"  - {{{', '.join(f'{k}: {v}' for k, v in each.items())}}}" for each in _OF_WINDOWS]
    features = ["features:", *features, *(f"  - {name}" for name in texts)] if windows else []
    lines = [
        "name: generic",
        "task: regression",
        "input: {topic: generic.readings, schema: GenericReading, key: key, time: ts}",
        "outputs: {predictions: {topic: generic.predictions}, dead_letters: {topic: generic.dead-letters}}",
        "model: none",
        *features,
    ]
    (folder / "pipeline.yaml").write_text("\n".join(lines))
    return load_pipeline(str(folder))


def main(
    readings: Annotated[int, typer.Option(min=BATCH, help="Readings in each round.")] = 20_000,
    as_json: JsonOption = False,
) -> None:
    """The engine's own processor time a reading, for any model on any topic, compared with the battery pipeline.

    Exit code 1 if a pipeline costs more than allowed, or a prediction is missing or wrong.

    Example: python -m benchmarks.generic --json
    """
    with tempfile.TemporaryDirectory(prefix="hazardstream-bench-") as directory:
        figures = measure(readings, Path(directory))
    if as_json:
        say(json.dumps(figures))
    else:
        for kind, us in figures["engine_us"].items():
            say(f"{kind:20} {us:8.3f} us a reading   {figures['ratio'].get(kind, 1.0):5.2f} times the battery pipeline")
        for kind, fault in figures["faults"].items():
            say(f"{kind}: {fault}")
    if figures["faults"]:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
