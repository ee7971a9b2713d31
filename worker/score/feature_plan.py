"""Where the inputs of a model come from: which windows have to be kept, and which column becomes which input."""

from dataclasses import dataclass

from common.arrays import Float
from common.environment import closest
from worker.config.pipeline import Pipeline
from worker.model.contract import Features, Model
from worker.model.package_files import PackageError
from worker.score.readings import Readings
from worker.windows.feature_spec import FeatureSpec
from worker.windows.keyed_state import rebuild_reach_ms


@dataclass(frozen=True)
class FeaturePlan:
    """How the inputs of a model are computed. Models with equal plans can take over each other's windows.

    Attributes:
        sensors: names of the columns of `Readings.values`.
        spec: features computed from windows; None: no feature needs a window, and the sensors are the features.
        columns: for each numeric input its column among the features; None: the inputs are the features.
    """

    sensors: tuple[str, ...]
    spec: FeatureSpec | None
    columns: tuple[int, ...] | None = None

    def rebuild_reach_ms(self, max_future_ms: int) -> int:
        """See `worker.windows.keyed_state.rebuild_reach_ms`; 0 where nothing has to be rebuilt."""
        return 0 if self.spec is None else rebuild_reach_ms(self.spec, max_future_ms)

    def features(self, windowed: Float, readings: Readings) -> Features:
        """The inputs of n readings.

        Args:
            windowed: their features, shape [n, f].
            readings: themselves.
        """
        del readings
        return Features(windowed if self.columns is None else windowed[:, self.columns], {})


def plan_for(model: Model, pipeline: Pipeline) -> FeaturePlan:
    """The plan by which a pipeline's records become the inputs of a model.

    Raises:
        PackageError: an input has no field.
    """
    sensors = pipeline.input.sensors()
    if model.spec is not None:
        return FeaturePlan(sensors, model.spec)
    lacking = [name for name in model.numeric if name not in sensors]
    if lacking:
        near = closest(lacking[0], sensors)
        raise PackageError(
            "wrong_signature",
            f"model {model.name} {model.version} takes {', '.join(map(repr, lacking))}, and record "
            f"{pipeline.input.record.name} of pipeline {pipeline.name} has no numeric field of that name"
            + (f"; did you mean {near!r}?" if near else ""),
        )
    columns = tuple(sensors.index(name) for name in model.numeric)
    return FeaturePlan(sensors, None, None if columns == tuple(range(len(sensors))) else columns)
