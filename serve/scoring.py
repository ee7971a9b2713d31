"""Scores the rows of one request, with the worker's own stages. Nothing is remembered from one request to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from common.arrays import Float, Int
from schemas.codec import encode
from schemas.conversions import iso_to_ms
from schemas.errors import InvalidValueError
from schemas.load import parsed
from schemas.registry import writer_schema_lookup
from schemas.wire import fingerprint, single_object_prefix
from serve.forms import request_form
from serve.problems import Detail, ProblemError, unfit
from worker.admission.compatibility import alarm_policy
from worker.config.pipeline import Pipeline
from worker.model.contract import Features, Model, ModelFailedError, Prediction, Task
from worker.score.batch import Batch
from worker.score.outcome import Outcome
from worker.score.predict import predict
from worker.score.readings import Readings
from worker.score.scorer import scorer_of
from worker.windows.partition import Partition


@dataclass(frozen=True)
class Answer:
    """The result of a request: its predictions, in the order of their rows, and how many rows it had."""

    predictions: list[dict[str, Any]]
    rows: int


class RequestScorer:
    """Scores requests with one model.

    Attributes:
        pipeline: whose readings are scored.
        model: that scores.
        threshold: of binary models: probability from which a row counts as positive.
        form: reads a request.
    """

    def __init__(self, pipeline: Pipeline, model: Model, max_rows: int) -> None:
        self.pipeline, self.model = pipeline, model
        self.form = request_form(pipeline, model, max_rows)
        alarms = alarm_policy(model, pipeline) if model.policy or pipeline.alarm else None
        self.threshold = model.threshold_under(alarms)
        # Its state stays empty: `Scorer.process` changes nothing, and nothing is merged. It raises no alarms, which
        # need the state of a key.
        schema = pipeline.input.reader_schema
        self._scorer = scorer_of(pipeline, model, None, writer_schema_lookup(None, {fingerprint(schema): schema}))
        identity = set(pipeline.input.identity_fields.values()) - {each.name for each in model.inputs}
        self._names = {
            name
            for field in schema["fields"]
            if field["name"] in identity
            for name in (field["name"], *field.get("aliases", ()))
        }
        self._schema, self._prefix = parsed(schema), single_object_prefix(schema)

    def read(self, body: bytes) -> dict[str, Any]:
        """Read the body of a request.

        Raises:
            ProblemError: 400 or 422.
        """
        try:
            return self.form.validate_json(body)
        except ValidationError as error:
            raise unfit(error) from error

    def check(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """As `read`, for a request that is parsed already."""
        try:
            return self.form.validate_python(request)
        except ValidationError as error:
            raise unfit(error) from error

    def is_reading(self, row: Mapping[str, Any]) -> bool:
        """Whether a row has the key or the time of a reading, which no model takes as a feature."""
        return not self._names.isdisjoint(row)

    @property
    def shown(self) -> dict[str, str]:
        """The model, as each answer names it."""
        return {"name": self.model.name, "version": self.model.version, "task": self.model.task}

    def details(self) -> dict[str, Any]:
        """All that is known of the model."""
        model = self.model
        return self.shown | {
            "digest": model.digest,
            "inputs": [each._asdict() for each in model.inputs],
            "classes": list(model.classes),
            "threshold": self.threshold if model.task is Task.BINARY else None,
            "error_band": model.error_band,
            "features": model.spec and model.spec.model_dump(mode="json"),
            "metrics": model.metrics,
        }

    def score(self, request: Mapping[str, Any], now_ms: int) -> Answer:
        """Score a request that `form` has read.

        Args:
            request: with either readings or rows.
            now_ms: takes the place of the Kafka timestamp of each reading.

        Raises:
            ProblemError: rows cannot be scored.
        """
        if ("readings" in request) == ("rows" in request):
            raise ProblemError(422, "invalid_request", "give either `readings` or `rows`")
        explain = bool(request.get("explain", False))
        try:
            if "rows" in request:
                return self._rows(request["rows"], explain=explain)
            return self._readings(request["readings"], now_ms, last=request.get("predict") == "last", explain=explain)
        except ModelFailedError as error:
            raise ProblemError(503, "model_failed", str(error)) from error

    def _rows(self, rows: Sequence[Mapping[str, Any]], *, explain: bool) -> Answer:
        features = features_of(self.model, rows)
        predicted = predict(self.model, features)
        if predicted.refused:
            details = [Detail(at=f"rows.{row}", message=why) for row, why in sorted(predicted.refused.items())]
            raise ProblemError(
                422, "rejected", f"rows cannot be scored; {details[0].at}: {details[0].message}", details
            )
        found = self._described(features, predicted.prediction, explain=explain)
        return Answer([{"row": at, **each} for at, each in enumerate(found)], len(rows))

    def _readings(self, readings: Sequence[dict[str, Any]], now_ms: int, *, last: bool, explain: bool) -> Answer:
        outcome = self._scorer.process(self._batch(readings, now_ms), {0: Partition(0, 0, 0)})
        if outcome.rejections:
            raise _rejected(outcome)
        scored, source = outcome.scored, self.pipeline.input
        keyed = last and source.key_field is not None
        at = _last_of_each(scored.origin.keys) if keyed else np.arange(len(scored.origin.keys))
        found = self._described(scored.features.take(at), scored.prediction.take(at), explain=explain)
        columns = {
            "row": scored.readings.row[at].tolist(),
            **self._identity(scored.readings, at),
            "readings_in_window": scored.in_window[at].tolist(),
            "imputed": _names(scored.imputed[at], source.sensors()),
            "masked": _names(scored.masked[at], (*source.sensors(), *source.categories())),
        }
        told = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return Answer([mine | its for mine, its in zip(told, found, strict=True)], len(readings))

    def _identity(self, readings: Readings, at: Int) -> dict[str, list[Any]]:
        """Key, group and time, as far as the record has fields of them."""
        source, found = self.pipeline.input, dict[str, list[Any]]()
        if source.key_field is not None:
            found[source.key_field] = [readings.key[i] for i in at.tolist()]
        if source.group_field is not None:
            found[source.group_field] = [readings.group[i] for i in at.tolist()]
        if source.time_field is not None:
            found[source.time_field] = readings.ts[at].tolist()
        return found

    def _batch(self, readings: Sequence[dict[str, Any]], now_ms: int) -> Batch:
        """The readings as messages that arrive now."""
        values, faults = list[bytes](), list[Detail]()
        for row, reading in enumerate(readings):
            try:
                values.append(encode(self._timed(reading), self._schema, self._prefix))
            except (ValueError, InvalidValueError) as error:
                faults.append(Detail(at=f"readings.{row}", message=str(error)))
        if faults:
            raise ProblemError(
                422, "invalid_request", f"a reading does not fit the schema: {faults[0].message}", faults
            )
        n = len(readings)
        key = self.pipeline.input.key_field
        keys: list[bytes | None] = [None if key is None else reading[key].encode() for reading in readings]
        zeros = np.zeros(n, np.int64)
        return Batch(keys, list(values), zeros, np.arange(n), np.full(n, now_ms), zeros)

    def _timed(self, reading: dict[str, Any]) -> dict[str, Any]:
        """A reading with its time in ms, if that is a text."""
        source = self.pipeline.input
        time = None if source.time_field is None else reading.get(source.time_field)
        if not isinstance(time, str):
            return reading
        return reading | {source.time: iso_to_ms(time, source.utc_offset_ms)}

    def _described(self, features: Features, prediction: Prediction, *, explain: bool) -> list[dict[str, Any]]:
        model, value = self.model, prediction.value.tolist()
        found: list[dict[str, Any]]
        if model.task is Task.BINARY:
            found = [{"probability": p, "positive": p >= self.threshold, "threshold": self.threshold} for p in value]
        elif model.task is Task.REGRESSION:
            found = [{"value": v, "error_band": model.error_band} for v in value]
        else:
            found = _multiclass(model, prediction)
        if explain and (parts := model.contributions(features)) is not None:
            names = [each.name for each in model.inputs]
            for each, mine, bias in zip(found, parts.parts.tolist(), parts.bias.tolist(), strict=True):
                each |= {"contributions": dict(zip(names, mine, strict=True)), "bias": bias}
        return found


def features_of(model: Model, rows: Sequence[Mapping[str, Any]]) -> Features:
    """Finished features as the model takes them; inputs that a row lacks are missing."""
    numbers: Float = np.array(
        [[row.get(name) for name in model.numeric] for row in rows],
        np.float64,  # None becomes NaN
    ).reshape(len(rows), len(model.numeric))
    texts = {name: np.array([row.get(name) for row in rows], object) for name in model.categorical}
    return Features(numbers, texts)


def _multiclass(model: Model, prediction: Prediction) -> list[dict[str, Any]]:
    if prediction.label is None or prediction.probabilities is None:
        raise ModelFailedError(model, "gives no class")
    return [
        {
            "predicted_class": model.classes[label],
            "probability": p,
            "probabilities": dict(zip(model.classes, of, strict=True)),
        }
        for label, p, of in zip(
            prediction.label.tolist(), prediction.value.tolist(), prediction.probabilities.tolist(), strict=True
        )
    ]


def _last_of_each(keys: Sequence[bytes]) -> Int:
    return np.array(sorted({key: at for at, key in enumerate(keys)}.values()), np.int64)


def _names(flags: NDArray[np.bool_], names: Sequence[str]) -> list[list[str]]:
    if not flags.any():
        return [[] for _ in range(len(flags))]
    return [[name for name, flag in zip(names, row, strict=True) if flag] for row in flags.tolist()]


def _rejected(outcome: Outcome) -> ProblemError:
    """A worker would make these readings dead letters."""
    found = sorted(outcome.rejections, key=lambda rejection: rejection.row)
    details = [Detail(at=f"readings.{one.row}", message=one.message, reason=one.reason) for one in found]
    first = found[0]
    return ProblemError(
        422,
        "rejected",
        f"{len(found)} of {len(outcome.batch)} readings cannot be scored; readings.{first.row}: {first.message}",
        details,
    )
