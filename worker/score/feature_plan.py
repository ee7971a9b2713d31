"""Where the inputs of a model come from: which windows have to be kept, and which column becomes which input."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from common.arrays import Float
from common.environment import closest
from common.text import shown
from worker.config.features import Feature
from worker.config.pipeline import Pipeline
from worker.model.contract import Features, Model, ModelInput
from worker.model.package_files import PackageError
from worker.score.readings import Readings
from worker.windows.feature_spec import FeatureSpec
from worker.windows.keyed_state import rebuild_reach_ms

LEAST_READINGS = 60
"""How many readings back, at least, a value is filled from and a difference is taken."""
_ALIKE = 0.6


@dataclass(frozen=True)
class FeaturePlan:
    """How the inputs of a model are computed.

    Attributes:
        sensors: names of the columns of `Readings.values`.
        spec: features computed from windows; None: no feature needs a window, and the sensors are the features.
        columns: for each numeric input its column among the features, behind them the sensors, and behind these the
            aggregates; None: the inputs are the features.
        categories: name and field of each input that is a text.
    """

    sensors: tuple[str, ...]
    spec: FeatureSpec | None
    columns: tuple[int, ...] | None = None
    categories: tuple[tuple[str, str], ...] = ()

    def has_windows_of(self, other: "FeaturePlan") -> bool:
        """Whether models with these two plans can take over each other's windows."""
        return (self.sensors, self.spec) == (other.sensors, other.spec)

    def rebuild_reach_ms(self, max_future_ms: int) -> int:
        """See `worker.windows.keyed_state.rebuild_reach_ms`; 0 where nothing has to be rebuilt."""
        return 0 if self.spec is None else rebuild_reach_ms(self.spec, max_future_ms)

    def features(self, windowed: Float, readings: Readings, aggregates: Float | None = None) -> Features:
        """The inputs of n readings.

        Args:
            windowed: what their windows give, shape [n, f].
            readings: themselves.
            aggregates: those of the pipeline, shape [n, a]; None: there are none.
        """
        numbers = windowed
        if self.columns is not None:
            parts = [windowed] if self.spec is None else [windowed, readings.values]
            parts += [] if aggregates is None else [aggregates]
            numbers = np.concatenate(parts, axis=1)[:, self.columns]
        return Features(numbers, {name: readings.categories[field].objects() for name, field in self.categories})


def plan_for(model: Model, pipeline: Pipeline) -> FeaturePlan:
    """The plan by which a pipeline's records become the inputs of a model.

    Raises:
        PackageError: an input has no source, which the text names, or the predictions are for another task.
    """
    if model.task is not pipeline.expected_task:
        raise _unfit(model, f"is for {model.task}, and pipeline {pipeline.name} for {pipeline.expected_task}")
    sensors = pipeline.input.sensors()
    if model.spec is not None:
        if pipeline.features is not None:
            raise _unfit(model, f"brings its own features, and pipeline {pipeline.name} declares others; take them out")
        return FeaturePlan(sensors, model.spec)
    features = _own(model) if pipeline.features is None else pipeline.features
    _require_sources(model, pipeline, features)
    of = {feature.name: feature for feature in features}
    spec = _spec(features, sensors, pipeline.window_ms)
    places = _places(spec, sensors, [feature.name for feature in features if feature.as_aggregate()])
    columns = tuple(places[_column(of[name])] for name in model.numeric)
    unchanged = spec is None and columns == tuple(range(len(sensors)))
    categories = tuple((name, of[name].field or name) for name in model.categorical)
    return FeaturePlan(sensors, spec, None if unchanged else columns, categories)


def _own(model: Model) -> tuple[Feature, ...]:
    """Each input is the field of the same name."""
    return tuple(
        Feature(name=each.name, field=each.name, kind="category" if each.categorical else "value")
        for each in model.inputs
    )


def _spec(features: Sequence[Feature], sensors: tuple[str, ...], span_ms: int) -> FeatureSpec | None:
    """All that the features need of windows; None: nothing."""
    windowed = [each for each in features if each.windowed and each.as_aggregate() is None]
    if not windowed:
        return None
    lasts = {each.last for each in windowed if each.last is not None}
    if any(each.last is None for each in windowed):
        lasts.add(max([LEAST_READINGS, *lasts]))

    def fields(kinds: set[str], per: str | None = None) -> tuple[str, ...]:
        wanted = {each.field for each in windowed if each.kind in kinds and each.per == per}
        return tuple(sensor for sensor in sensors if sensor in wanted)

    return FeatureSpec(
        sensors=sensors,
        differences=fields({"difference"}, "reading"),
        rates=fields({"difference"}, "second"),
        rolling=fields({"mean", "std"}),
        windows=tuple(sorted(lasts)),
        max_span_ms=span_ms,
    )


def _column(feature: Feature) -> tuple[str, str]:
    """Where a feature is found (filled sensors, results of windows, sensors or aggregates), and its name there."""
    if feature.as_aggregate() is not None:
        return "aggregate", feature.name
    field = str(feature.field)
    if feature.kind == "difference":
        return "window", f"{field}_{'diff' if feature.per == 'reading' else 'rate'}"
    if feature.kind in {"mean", "std"}:
        return "window", f"{field}_{feature.kind}_{feature.last}"
    return ("filled" if feature.fill else "sensor"), field


def _places(spec: FeatureSpec | None, sensors: Sequence[str], aggregates: Sequence[str]) -> dict[tuple[str, str], int]:
    filled = [] if spec is None else spec.sensors
    windowed = [] if spec is None else spec.names[len(spec.sensors) :]
    named = (("filled", filled), ("window", windowed), ("sensor", sensors), ("aggregate", aggregates))
    return {place: at for at, place in enumerate((kind, name) for kind, names in named for name in names)}


def _require_sources(model: Model, pipeline: Pipeline, features: Sequence[Feature]) -> None:
    faults = [*_without_source(model, pipeline, features), *_unused(model, features)]
    if faults:
        raise _unfit(model, "; ".join(faults))


def _without_source(model: Model, pipeline: Pipeline, features: Sequence[Feature]) -> Iterator[str]:
    of = {feature.name: feature for feature in features}
    record, numbers, texts = pipeline.input.record.name, pipeline.input.sensors(), pipeline.input.categories()
    inputs = {each.name for each in model.inputs}

    def free(names: Iterable[str]) -> list[str]:
        return [name for name in names if name not in inputs]

    for each in model.inputs:
        feature = of.get(each.name)
        if feature is None:
            hint = _hint(each, free(of))
            yield f"takes {shown(each.name)!r}, and pipeline {pipeline.name} declares no such feature{hint}"
        elif each.categorical != (feature.kind == "category"):
            yield f"takes {shown(each.name)!r} as {_type(each)}, and the feature is a {feature.kind}"
        elif feature.kind == "value" and feature.field not in numbers:
            kind = "is a text" if feature.field in texts else f"is not there{_hint(each, free(numbers))}"
            yield f"takes {shown(each.name)!r} as a number, and in record {record} that field {kind}"
        elif feature.kind == "category" and feature.field not in texts:
            kind = "is a number" if feature.field in numbers else f"is not there{_hint(each, free(texts))}"
            yield f"takes {shown(each.name)!r} as a text, and in record {record} that field {kind}"


def _unused(model: Model, features: Sequence[Feature]) -> Iterator[str]:
    inputs = [each.name for each in model.inputs]
    for feature in features:
        if feature.name not in inputs:
            yield f"takes no {shown(feature.name)!r}, which the pipeline declares; take that feature out"


def _type(each: ModelInput) -> str:
    return "a text" if each.categorical else "a number"


def _hint(each: ModelInput, known: Sequence[str]) -> str:
    near = closest(each.name, known, _ALIKE)
    return f" (did you mean {shown(near)!r}?)" if near else ""


def _unfit(model: Model, text: str) -> PackageError:
    return PackageError("wrong_signature", f"model {model.name} {model.version} {text}")
