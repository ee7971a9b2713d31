"""Scores the rows of one request, with the worker's own stages. Nothing is remembered from one request to the next."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import structlog
from pydantic import ValidationError

from common.arrays import Float, Int
from serve.answers import Answer, described, with_readings
from serve.forms import REQUEST_FIELDS, request_form
from serve.problems import Detail, ProblemError, unfit
from worker.admission.compatibility import alarm_policy
from worker.config.alarm_section import overrides
from worker.config.pipeline import Pipeline
from worker.model.contract import Features, Model, ModelFailedError, Prediction, Task
from worker.score.assess import Assessor
from worker.score.batch import columns_only
from worker.score.columns import GivenReadings, columns_of
from worker.score.predict import predict
from worker.score.readings import Rejection
from worker.score.scorer import Scorer
from worker.windows.partition import Partition

_LOG = structlog.get_logger(__name__)
_KINDS = {"readings", "rows"}
Records = list[dict[str, Any]]
"""Readings with all fields of the reader schema."""


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
        alarms = alarm_policy(model, pipeline) if model.policy or overrides(pipeline.alarm) else None
        self.threshold = model.threshold_under(alarms)
        # Its state stays empty: `Scorer.process` changes nothing, and nothing is merged. It raises no alarms, which
        # need the state of a key.
        self._columns = GivenReadings()
        self._scorer = Scorer(self._columns, pipeline, model, None)
        self._assess = Assessor(model, pipeline.topology)
        fields = pipeline.input.reader_schema["fields"]
        self._defaults = {field["name"]: field["default"] for field in fields if "default" in field}
        identity = set(pipeline.input.identity_fields.values()) - {each.name for each in model.inputs}
        self._fields = {
            "": REQUEST_FIELDS,
            "readings": [field["name"] for field in fields],
            "rows": [each.name for each in model.inputs],
        }
        self._names = {
            name for field in fields if field["name"] in identity for name in (field["name"], *field.get("aliases", ()))
        }

    def read(self, request: Any) -> dict[str, Any]:
        """Read a request.

        Args:
            request: parsed JSON.

        Raises:
            ProblemError: 422.
        """
        try:
            if isinstance(request, dict) and request.keys() >= _KINDS:
                raise _not_one_kind()
            read = self.form.validate_python(request)
        except ValidationError as error:
            raise unfit(error, self._fields) from error
        if _KINDS.isdisjoint(read):
            raise _not_one_kind()
        return read

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
        rows, readings = dict[int, Features](), dict[int, Records]()
        for at, request in enumerate(requests):
            if "rows" in request:
                rows[at] = features_of(self.model, request["rows"])
            else:
                readings[at] = [self._defaults | reading for reading in request["readings"]]
        try:
            found = self._score_rows(rows, requests) | self._score_readings(readings, requests, now_ms)
        except ModelFailedError as error:
            if len(requests) > 1:  # find those that it fails on
                return [self.score_all([request], now_ms)[0] for request in requests]
            _LOG.warning("the model failed", reason=str(error))
            found = {0: ProblemError(503, "model_failed", "the model fails on this request; the log has details")}
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
            reason = self._assess.of_rows(features)
            each = self._described(features, predicted.prediction, reason, requests[at])
            found[at] = Answer([{"row": row} | its for row, its in enumerate(each)], len(features))
        return found

    def _score_readings(
        self, readings: Mapping[int, Records], requests: Sequence[Mapping[str, Any]], now_ms: int
    ) -> dict[int, Answer | ProblemError]:
        """Each request is a partition of its own, so its readings meet no others."""
        if not readings:
            return {}
        sizes = np.array([len(records) for records in readings.values()])
        first = dict(zip(readings, (np.cumsum(sizes) - sizes).tolist(), strict=True))
        records = [record for some in readings.values() for record in some]
        key, row = self.pipeline.input.key_field, np.arange(len(records))
        keys = [record[key].encode() if key else None for record in records]
        self._columns.readings = columns_of(self.pipeline.input, row, records)
        batch = columns_only(keys, np.repeat(np.array(list(readings), np.int64), sizes), row, np.full(len(row), now_ms))
        outcome = self._scorer.process(batch, {at: Partition(at, 0, 0) for at in readings})
        rejections: dict[int, list[Rejection]] = {}
        for rejection in sorted(outcome.rejections, key=lambda one: one.row):
            rejections.setdefault(int(batch.partition[rejection.row]), []).append(rejection)
        found: dict[int, Answer | ProblemError] = {}
        for at, records in readings.items():
            if at in rejections:
                found[at] = _rejected(rejections[at], first[at], len(records))
                continue
            mine = np.flatnonzero(outcome.scored.origin.partition == at)
            if requests[at].get("predict") == "last" and self.pipeline.input.key_field is not None:
                mine = mine[_last_of_each([outcome.scored.origin.keys[row] for row in mine.tolist()])]
            scored = outcome.scored
            features, prediction = scored.features.take(mine), scored.prediction.take(mine)
            each = self._described(features, prediction, scored.reason[mine], requests[at])
            found[at] = Answer(with_readings(self.pipeline, scored, mine, first[at], each), len(records))
        return found

    def _described(
        self, features: Features, prediction: Prediction, reason: Int, request: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        explain, reasons = bool(request.get("explain", False)), self._assess.texts(reason)
        return described(self.model, self.threshold, features, prediction, reasons, explain=explain)


def _not_one_kind() -> ProblemError:
    return ProblemError(422, "invalid_request", "give either `readings` or `rows`")


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
