"""What is known of a model besides its files: its task, classes, threshold, error band and metrics."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from common.validation_errors import fault_texts
from worker.model.contract import Task

TAG_PREFIX = "hazardstream."
"""Of tags of a run, a version or a logged model that say a fact, for example `hazardstream.threshold`."""
# Metrics that say the error band, the first one found: our own name, and those that MLflow and its users give.
_ERROR_BANDS = ("error_band", "test_mae", "test_mean_absolute_error", "mean_absolute_error", "mae")


class Facts(BaseModel):
    """Facts about a model; None where it is not known.

    Attributes:
        classes: names of the classes, in the order of the model's columns.
        threshold: probability from which a reading counts as positive.
        error_band: mean absolute error in the test data.
        metrics: results of the training, by name.
    """

    model_config = ConfigDict(frozen=True)

    task: Task | None = None
    classes: tuple[str, ...] | None = None
    threshold: FiniteFloat | None = Field(None, ge=0, le=1)
    error_band: FiniteFloat | None = Field(None, ge=0)
    metrics: dict[str, float] = {}

    def over(self, other: "Facts") -> "Facts":
        """These facts, and those of another source where these do not say."""
        own = {name: value for name, value in self if value is not None}
        return other.model_copy(update=own | {"metrics": other.metrics | self.metrics})

    def with_error_band(self) -> "Facts":
        """The same, with the error band from the metrics where nothing else says it."""
        if self.error_band is not None:
            return self
        found = [self.metrics[name] for name in _ERROR_BANDS if name in self.metrics]
        return self.model_copy(update={"error_band": next((band for band in found if 0 <= band < float("inf")), None)})


NO_FACTS = Facts()


def facts_from_metadata(metadata: Mapping[str, Any]) -> Facts:
    """Facts in the `metadata` that a model was logged with; `test_mae` means the same as `error_band`.

    Raises:
        ValueError: one of them is not what it should be.
    """
    known = {name: metadata[name] for name in Facts.model_fields if name in metadata}
    if "classes" in known and isinstance(known["classes"], list):
        known["classes"] = [str(each) for each in known["classes"]]
    numbers = {n: float(metadata[n]) for n in _ERROR_BANDS if isinstance(metadata.get(n), int | float)}
    try:
        given = Facts.model_validate(known)
    except ValidationError as error:
        raise ValueError(f"metadata: {fault_texts(error)}") from error
    return given.over(Facts(metrics=numbers)).with_error_band()


def facts_from_tags(tags: Mapping[str, str], metrics: Mapping[str, float]) -> Facts:
    """Facts in the tags of a run, a version or a logged model, and its metrics.

    Raises:
        ValueError: a tag is not what it should be.
    """
    known: dict[str, Any] = {
        name: tags[TAG_PREFIX + name] for name in Facts.model_fields if name != "metrics" and TAG_PREFIX + name in tags
    }
    try:
        if "classes" in known:
            known["classes"] = tuple(map(str, json.loads(known["classes"])))
        given = Facts.model_validate(known | {"metrics": dict(metrics)})
    except ValidationError as error:
        raise ValueError(f"tags {TAG_PREFIX}*: {fault_texts(error)}") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f'tag {TAG_PREFIX}classes is not a JSON list such as ["no", "yes"]: {error}') from error
    return given
