"""What the worker needs of a model, whatever its format. Each format is a class of its own (worker/model/backends/)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from common.arrays import Float, Int, Texts
from worker.alarms.state_machine import AlarmPolicy
from worker.config.task import Task as Task  # noqa: PLC0414 - users of this contract import it from here
from worker.model.assessable import Assessable
from worker.model.package_files import PackageError
from worker.model.reference import Reference
from worker.windows.feature_spec import FeatureSpec

DEFAULT_THRESHOLD = 0.5
InputType = Literal["double", "float", "long", "integer", "boolean", "string"]


class ModelInput(NamedTuple):
    """One column that a model takes; its type as in an MLflow signature.

    Attributes:
        required: whether the model cannot score a row in which it is missing. Such a reading becomes a dead letter and
            is never given to the model. Backends whose models handle missing values (XGBoost) say False, whatever the
            signature says.
    """

    name: str
    type: InputType
    required: bool

    @property
    def categorical(self) -> bool:
        """Whether the column holds texts; all other types are numbers (a boolean is 0 or 1)."""
        return self.type == "string"


@dataclass(frozen=True)
class Features:
    """The inputs of n rows.

    Attributes:
        numbers: shape [n, numeric inputs], in the order of `Model.numeric`; NaN where missing.
        categories: by name of the input, texts of shape [n]; None where missing.
    """

    numbers: Float
    categories: dict[str, Texts]

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.numbers)

    def take(self, rows: Any) -> "Features":
        """Some of the rows: numbers of rows, or a mask."""
        return Features(self.numbers[rows], {name: texts[rows] for name, texts in self.categories.items()})

    def by_name(self, numeric: Sequence[str]) -> dict[str, Float | Texts]:
        """All columns, shape [n] each, given the names of the numeric ones (`Model.numeric`)."""
        return {name: self.numbers[:, at] for at, name in enumerate(numeric)} | self.categories


class Prediction(NamedTuple):
    """What a model says of n rows.

    Attributes:
        value: shape [n], finite but in rows of `unscored`. Binary: probability of the positive class. Multiclass:
            probability of the most probable class. Regression: the predicted value, in the target's own unit.
        label: multiclass: index in `Model.classes` of the most probable class, shape [n]. Otherwise None: for binary
            models the threshold decides, which the pipeline may change.
        probabilities: multiclass: of each class, shape [n, classes]; otherwise None.
        unscored: rows that this model cannot score, although it works: why. Each becomes a dead letter. An example is a
            text that a one-hot encoder does not know.
    """

    value: Float
    label: Int | None = None
    probabilities: Float | None = None
    unscored: Mapping[int, str] = MappingProxyType({})

    def take(self, rows: Int) -> "Prediction":
        """Some of the rows, all of them scored."""
        label = None if self.label is None else self.label[rows]
        return Prediction(self.value[rows], label, None if self.probabilities is None else self.probabilities[rows])


class Contributions(NamedTuple):
    """Why a model gave its values: `value = link(bias + sum of parts)`, exactly.

    Attributes:
        parts: shape [n, inputs], in the order of `Model.inputs`. Binary: in log-odds. Regression: in the target's unit.
        bias: shape [n], the value without any input, in the same unit.
    """

    parts: Float
    bias: Float


@dataclass(frozen=True, kw_only=True, eq=False)
class Model(ABC):
    """A loaded model, ready to score. Nothing about it changes, and threads may share it.

    Attributes:
        name: written into predictions, as `version` is.
        digest: SHA-256 over all that makes the model, in hex: what has failed or passed a check is known by it.
        origin: where it was read from: a path or a URI.
        inputs: the columns it takes, in its own order.
        classes: binary: the negative class, then the positive one. Multiclass: all of them. Regression: none.
        threshold: binary: value from which a reading counts as positive; None: `DEFAULT_THRESHOLD`.
        error_band: regression: mean absolute error in the test data, in the target's unit; None if not known.
        metrics: results of its training, for people.
        spec: the features, where the model brings them (a hazardstream package does); None: the pipeline says them, or
            the inputs are fields of the record.
        policy: alarm policy, where the model brings one.
        reference: histograms of its training data, for drift; None: drift cannot be watched.
        assessable: which readings it can judge; None: all.
    """

    name: str
    version: str
    digest: str
    origin: Path | str
    task: Task
    inputs: tuple[ModelInput, ...]
    classes: tuple[str, ...] = ()
    threshold: float | None = None
    error_band: float | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    spec: FeatureSpec | None = None
    policy: AlarmPolicy | None = None
    reference: Reference | None = None
    assessable: Assessable | None = None

    @property
    def numeric(self) -> tuple[str, ...]:
        """Names of the inputs that are numbers, in the order of the columns of `Features.numbers`."""
        return tuple(each.name for each in self.inputs if not each.categorical)

    @property
    def categorical(self) -> tuple[str, ...]:
        """Names of the inputs that are texts."""
        return tuple(each.name for each in self.inputs if each.categorical)

    def threshold_under(self, policy: AlarmPolicy | None) -> float:
        """Value from which a reading counts as positive: the alarm setpoint where there are alarms."""
        if policy is not None:
            return policy.setpoint
        return DEFAULT_THRESHOLD if self.threshold is None else self.threshold

    @abstractmethod
    def predict(self, features: Features) -> Prediction:
        """Score rows. What a row gets must not depend on the other rows.

        Args:
            features: at least one row, with every input; values that are not missing are finite.

        Raises:
            ModelFailedError: the model fails, or does not give one finite value for each row.
        """

    def contributions(self, features: Features) -> Contributions | None:
        """What each input contributes to the prediction of each row; None: this kind of model cannot say it exactly.

        Raises:
            ModelFailedError: the model fails, or gives values that are not finite.
        """
        del features
        return None


class ModelFailedError(PackageError):
    """A model that passed the check fails while it scores; another version has to take over.

    Attributes:
        model: the one that failed.
    """

    def __init__(self, model: Model, text: str) -> None:
        super().__init__("failed_in_use", f"model {model.name} {model.version} {text}")
        self.model = model
