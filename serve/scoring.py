"""Scores the rows of one request, with the worker's own stages. Nothing is remembered from one request to the next."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import ValidationError

from common.arrays import Float, Int
from schemas.codec import encode
from schemas.conversions import iso_to_ms
from schemas.errors import InvalidValueError
from schemas.load import parsed
from schemas.registry import writer_schema_lookup
from schemas.wire import fingerprint, single_object_prefix
from serve.answers import Answer, described, with_readings
from serve.forms import request_form
from serve.problems import Detail, ProblemError, unfit
from worker.admission.compatibility import alarm_policy
from worker.config.pipeline import Pipeline
from worker.model.contract import Features, Model, ModelFailedError, Prediction, Task
from worker.score.batch import Batch
from worker.score.predict import predict
from worker.score.readings import Rejection
from worker.score.scorer import scorer_of
from worker.windows.partition import Partition

Messages = tuple[list[bytes | None], list[bytes]]
"""Keys and values."""


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
            return _of_one_kind(self.form.validate_json(body))
        except ValidationError as error:
            raise unfit(error) from error

    def check(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """As `read`, for a request that is parsed already."""
        try:
            return _of_one_kind(self.form.validate_python(request))
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

    def score_all(self, requests: Sequence[Mapping[str, Any]], now_ms: int) -> list[Answer | ProblemError]:
        """Score requests that `form` has read, in one go: their rows do not see each other.

        Args:
            requests: with either readings or rows each.
            now_ms: takes the place of the Kafka timestamp of each reading.

        Returns:
            For each request its answer, or why it cannot be scored.
        """
        found: dict[int, Answer | ProblemError] = {}
        messages, rows = dict[int, Messages](), dict[int, Features]()
        for at, request in enumerate(requests):
            try:
                if "rows" in request:
                    rows[at] = features_of(self.model, request["rows"])
                else:
                    messages[at] = self._messages(request["readings"])
            except ProblemError as problem:
                found[at] = problem
        try:
            found |= self._score_rows(rows, requests) | self._score_readings(messages, requests, now_ms)
        except ModelFailedError as error:
            if len(requests) > 1:  # find those that it fails on
                return [self.score_all([request], now_ms)[0] for request in requests]
            found[0] = ProblemError(503, "model_failed", str(error))
        return [found[at] for at in range(len(requests))]

    def _score_rows(
        self, rows: Mapping[int, Features], requests: Sequence[Mapping[str, Any]]
    ) -> dict[int, Answer | ProblemError]:
        found: dict[int, Answer | ProblemError] = {}
        for at, features in rows.items():
            predicted = predict(self.model, features)
            if predicted.refused:
                details = [Detail(at=f"rows.{row}", message=why) for row, why in sorted(predicted.refused.items())]
                text = f"rows cannot be scored; {details[0].at}: {details[0].message}"
                found[at] = ProblemError(422, "rejected", text, details)
                continue
            each = self._described(features, predicted.prediction, requests[at])
            found[at] = Answer([{"row": row} | its for row, its in enumerate(each)], len(features))
        return found

    def _score_readings(
        self, messages: Mapping[int, Messages], requests: Sequence[Mapping[str, Any]], now_ms: int
    ) -> dict[int, Answer | ProblemError]:
        """Each request is a partition of its own, so its readings meet no others."""
        if not messages:
            return {}
        sizes = np.array([len(values) for _, values in messages.values()])
        first = dict(zip(messages, (np.cumsum(sizes) - sizes).tolist(), strict=True))
        n = int(sizes.sum())
        batch = Batch(
            [key for keys, _ in messages.values() for key in keys],
            [value for _, values in messages.values() for value in values],
            np.repeat(np.array(list(messages), np.int64), sizes),
            np.arange(n),
            np.full(n, now_ms),
            np.zeros(n, np.int64),
        )
        outcome = self._scorer.process(batch, {at: Partition(at, 0, 0) for at in messages})
        rejections: dict[int, list[Rejection]] = {}
        for rejection in sorted(outcome.rejections, key=lambda one: one.row):
            rejections.setdefault(int(batch.partition[rejection.row]), []).append(rejection)
        found: dict[int, Answer | ProblemError] = {}
        for at, (_, values) in messages.items():
            if at in rejections:
                found[at] = _rejected(rejections[at], first[at], len(values))
                continue
            mine = np.flatnonzero(outcome.scored.origin.partition == at)
            if requests[at].get("predict") == "last" and self.pipeline.input.key_field is not None:
                mine = mine[_last_of_each([outcome.scored.origin.keys[row] for row in mine.tolist()])]
            scored = outcome.scored
            each = self._described(scored.features.take(mine), scored.prediction.take(mine), requests[at])
            found[at] = Answer(with_readings(self.pipeline, scored, mine, first[at], each), len(values))
        return found

    def _described(
        self, features: Features, prediction: Prediction, request: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        explain = bool(request.get("explain", False))
        return described(self.model, self.threshold, features, prediction, explain=explain)

    def _messages(self, readings: Sequence[dict[str, Any]]) -> Messages:
        """The readings as keys and values of messages.

        Raises:
            ProblemError: a reading does not fit the schema.
        """
        values, faults = list[bytes](), list[Detail]()
        for row, reading in enumerate(readings):
            try:
                values.append(encode(self._timed(reading), self._schema, self._prefix))
            except (ValueError, InvalidValueError) as error:
                faults.append(Detail(at=f"readings.{row}", message=str(error)))
        if faults:
            text = f"a reading does not fit the schema: {faults[0].message}"
            raise ProblemError(422, "invalid_request", text, faults)
        key = self.pipeline.input.key_field
        return [None if key is None else reading[key].encode() for reading in readings], values

    def _timed(self, reading: dict[str, Any]) -> dict[str, Any]:
        """A reading with its time in ms, if that is a text."""
        source = self.pipeline.input
        time = None if source.time_field is None else reading.get(source.time_field)
        if not isinstance(time, str):
            return reading
        return reading | {source.time: iso_to_ms(time, source.utc_offset_ms)}


def _of_one_kind(request: dict[str, Any]) -> dict[str, Any]:
    if ("readings" in request) == ("rows" in request):
        raise ProblemError(422, "invalid_request", "give either `readings` or `rows`")
    return request


def features_of(model: Model, rows: Sequence[Mapping[str, Any]]) -> Features:
    """Finished features as the model takes them; inputs that a row lacks are missing."""
    numbers: Float = np.array(
        [[row.get(name) for name in model.numeric] for row in rows],
        np.float64,  # None becomes NaN
    ).reshape(len(rows), len(model.numeric))
    texts = {name: np.array([row.get(name) for row in rows], object) for name in model.categorical}
    return Features(numbers, texts)


def _last_of_each(keys: Sequence[bytes]) -> Int:
    return np.array(sorted({key: at for at, key in enumerate(keys)}.values()), np.int64)


def _rejected(rejections: Sequence[Rejection], first_row: int, readings: int) -> ProblemError:
    """A worker would make these readings dead letters."""
    details = [
        Detail(at=f"readings.{one.row - first_row}", message=one.message, reason=one.reason) for one in rejections
    ]
    text = f"{len(details)} of {readings} readings cannot be scored; {details[0].at}: {details[0].message}"
    return ProblemError(422, "rejected", text, details)
