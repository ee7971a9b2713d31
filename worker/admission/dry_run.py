"""A dry run of a model: generated rows go through all stages of a worker, before the model is used.

The author of a model chose its golden rows or its example. The rows here are generated: within the declared ranges of
the pipeline's record and at both ends, with single values missing and with all of them missing, in windows of every
length, at the pace of short windows and at that of aggregates over days. A model that would stop a worker in mid-stream
fails here instead.
"""

from dataclasses import replace

import numpy as np

from common.arrays import Float
from schemas.text_column import NullableText, TextColumn
from worker.admission.compatibility import alarm_policy, require_fit, sample_rows
from worker.alarms.state_machine import AlarmPolicy
from worker.config.pipeline import Pipeline
from worker.encode.encoder import Encoder
from worker.model.contract import Features, Model, ModelFailedError
from worker.model.monotone import sign_faults
from worker.model.package import ModelPackage
from worker.model.package_files import PackageError
from worker.score.batch import columns_only
from worker.score.columns import GivenReadings
from worker.score.feature_plan import plan_for
from worker.score.outcome import Outcome
from worker.score.readings import Readings
from worker.score.scorer import Scorer
from worker.windows.partition import Partition

_SEED = 20261125
_RANDOM_ROWS, _ALONE, _EXPLAINED = 256, 16, 8  # exact explanations take milliseconds a row
_RANDOM_KEYS, _MISSING_SHARE = 4, 0.1
_MOST_READINGS = 100_000
_AGGREGATED_STEPS = 24  # half of them fill the longest window, so that readings leave it, too
_START_MS, _PERIOD_MS = 1_700_000_000_000, 10_000
_UNBOUNDED = 1e6  # where a field declares no range
_LOWEST = 1e-9  # nearly every score reaches a setpoint this low


def dry_run(model: Model, pipeline: Pipeline | None) -> None:
    """Check that all kinds of rows get a score, an explanation, an alarm state and output records.

    Args:
        model: loaded.
        pipeline: whose records the model will score; None: only the model is checked.

    Raises:
        PackageError: a stage fails.
    """
    rng = np.random.default_rng(_SEED)
    try:
        if isinstance(model, ModelPackage):  # of a plain model, this was checked when it was loaded
            _check_features(model, _feature_rows(model, rng))
            _check_signs(model)
        model.contributions(sample_rows(model).take(slice(0, _EXPLAINED)))
        if pipeline is not None:
            require_fit(model, pipeline)
            _check_records(model, pipeline, rng)
    except ModelFailedError as error:
        raise PackageError("wrong_output", f"{error} (in the check before use)") from error
    except PackageError:
        raise
    except Exception as error:  # a stage may raise anything on an unexpected score
        raise PackageError(
            "wrong_output",
            f"model {model.name} {model.version}: a stage of the worker fails on its scores: "
            f"{type(error).__name__}: {error}",
        ) from error


def _feature_rows(package: ModelPackage, rng: np.random.Generator) -> Float:
    """Golden rows, random rows between their extremes, the extremes, rows with one and with all features missing."""
    golden, count = package.golden, len(package.spec.names)
    known = np.where(np.isnan(golden).all(axis=0), 0.0, golden)
    low, high = np.nanmin(known, axis=0), np.nanmax(known, axis=0)
    drawn = low + (high - low) * rng.random((_RANDOM_ROWS, count))
    gaps = np.where(rng.random(drawn.shape) < _MISSING_SHARE, np.nan, drawn)
    lacking_one = np.where(np.eye(count, dtype=np.bool_), np.nan, drawn[:1])
    return np.concatenate((golden, drawn, gaps, lacking_one, low[None], high[None], np.full((1, count), np.nan)))


def _check_features(package: ModelPackage, rows: Float) -> None:
    scaled = package.scaled(rows)
    if scaled.shape != rows.shape:
        raise PackageError(
            "bad_scaler", f"model {package.name}: its scaler turns shape {rows.shape} into shape {scaled.shape}"
        )
    # For a missing value it may put in a number.
    if (wrong := np.isinf(scaled) | (np.isnan(scaled) & ~np.isnan(rows))).any():
        row, at = np.argwhere(wrong)[0].tolist()
        raise PackageError(
            "bad_scaler",
            f"model {package.name}: its scaler turns {package.spec.names[at]} = {rows[row, at]} into {scaled[row, at]}",
        )
    probability = package.score(rows)
    alone = np.concatenate([package.score(row[None]) for row in rows[:_ALONE]])
    if not np.array_equal(alone, probability[:_ALONE]):
        raise PackageError(
            "wrong_output", f"model {package.name}: the probability of a row depends on the other rows of its batch"
        )
    package.contributions(Features(rows[-_EXPLAINED:], {}))
    if package.reference is not None:
        package.reference.bins(rows, probability)


def _check_signs(package: ModelPackage) -> None:
    if fault := next(sign_faults(package.spec, package.booster, package.scaler), None):
        raise PackageError("wrong_signs", f"model {package.name} {package.version}: {fault}")


def _check_records(model: Model, pipeline: Pipeline, rng: np.random.Generator) -> None:
    policy = alarm_policy(model, pipeline)
    values = _sensor_rows(model, pipeline, rng)
    paces = _paces(model, pipeline, len(values))
    outcomes = [_score(model, pipeline, policy, values, pace) for pace in paces]
    if isinstance(model, ModelPackage):
        _check_features(model, outcomes[0].scored.features.numbers[-_RANDOM_ROWS:])
    if policy is not None:  # again with a policy that raises as many alarms as possible, to encode their records too
        outcomes.append(_score(model, pipeline, _eager(policy), values[:2], paces[0]))
    if not len(outcomes[0].scored.origin.keys):
        why = outcomes[0].rejections[0].message if outcomes[0].rejections else "no record is valid"
        raise PackageError(
            "wrong_signature",
            f"model {model.name} {model.version} scores none of the generated records, whose values are within what "
            f"{pipeline.input.record.name} declares: {why}",
        )
    encoder = Encoder(pipeline, {}, 1 << 20)
    for outcome in outcomes:
        encoder.records(replace(outcome, rejections=[]))


def _eager(policy: AlarmPolicy) -> AlarmPolicy:
    """The policy with a setpoint that nearly every score reaches, without delays."""
    lowest = min(policy.priorities, key=lambda priority: policy.priorities[priority])
    changes = {"setpoint": _LOWEST, "deadband": 0.0, "on_delay_ms": 0, "off_delay_ms": 0, "immediate": None}
    return AlarmPolicy.model_validate(
        policy.model_dump() | changes | {"priorities": policy.priorities | {lowest: _LOWEST}}
    )


def _sensor_rows(model: Model, pipeline: Pipeline, rng: np.random.Generator) -> Float:
    """Raw sensor values, shape [steps, keys, sensors]: one step more than a window holds."""
    sensors = pipeline.input.sensors()
    rules = [pipeline.input.rules(sensor) for sensor in sensors]
    low = np.maximum([rule.low for rule in rules], -_UNBOUNDED)
    high = np.minimum([rule.high for rule in rules], _UNBOUNDED)
    low, high = np.minimum(low, high), np.maximum(low, high)
    flags = [rule.kind == "flag" for rule in rules]
    low[flags], high[flags] = 0.0, 1.0
    keys = _RANDOM_KEYS + 3 + len(sensors)
    spec = plan_for(model, pipeline).spec
    steps = 1 if spec is None else min(spec.max_readings + 1, max(_MOST_READINGS // keys, 1))
    steps = steps if pipeline.layout is None else max(steps, _AGGREGATED_STEPS)
    values = low + (high - low) * rng.random((steps, keys, len(sensors)))
    whole = [rule.kind in {"whole", "flag"} for rule in rules]
    values[..., whole] = np.round(values[..., whole])
    gaps = values[:, :_RANDOM_KEYS]
    gaps[rng.random(gaps.shape) < _MISSING_SHARE] = np.nan
    values[:, _RANDOM_KEYS] = low
    values[:, _RANDOM_KEYS + 1] = high
    values[::2, _RANDOM_KEYS + 2], values[1::2, _RANDOM_KEYS + 2] = low, high
    for at in range(len(sensors)):
        values[:, _RANDOM_KEYS + 3 + at, at] = np.nan
    return np.asarray(values, np.float64)


def _paces(model: Model, pipeline: Pipeline, steps: int) -> list[int]:
    """Times between two readings of a key, ms, at which windows are filled."""
    spec, layout, paces = plan_for(model, pipeline).spec, pipeline.layout, []
    if spec is not None:
        paces.append(max(min(spec.period_ms or _PERIOD_MS, spec.max_span_ms // (steps + 1)), 1))
    if layout is not None:
        paces.append(layout.longest_ms // (steps // 2))
    return paces or [_PERIOD_MS]


def _texts(model: Model, pipeline: Pipeline, steps: int, keys: int) -> dict[str, NullableText]:
    """Text columns, shape [steps * keys] each; some are missing, and a key has another one in each step.

    They are the symbols of an enum, or texts that the model or aggregates know.
    """
    known, found = sample_rows(model).categories, {}
    selections = () if pipeline.layout is None else pipeline.layout.selections
    for name in pipeline.input.categories():
        rules = pipeline.input.rules(name)
        texts = {str(value) for each in selections for field, value in each.where if field == name}
        texts |= {text for text in known.get(name, ()) if text is not None}
        choice = rules.symbols or tuple(sorted(texts or {"a"}))
        present = np.full(steps * keys, fill_value=True)
        if rules.nullable:
            present[:: int(1 / _MISSING_SHARE)] = False
        column = TextColumn.of([choice[(s + k) % len(choice)].encode() for s in range(steps) for k in range(keys)])
        found[name] = NullableText(column, present)
    return found


def _score(model: Model, pipeline: Pipeline, policy: AlarmPolicy | None, values: Float, period_ms: int) -> Outcome:
    steps, keys, sensors = values.shape
    names = [f"key-{at}".encode() for at in range(keys)]
    batch_keys = names * steps
    ts = np.repeat(_START_MS + period_ms * np.arange(steps), keys)
    flat = values.reshape(-1, sensors)
    text, rows = TextColumn.of(batch_keys), np.arange(len(flat))
    readings = Readings(rows, text, TextColumn.of([b"group"] * len(flat)), ts, flat, ~np.isnan(flat))
    readings = replace(readings, categories=_texts(model, pipeline, steps, keys))
    decode = GivenReadings()
    decode.readings = readings
    scorer = Scorer(decode, pipeline, model, policy)
    scorer.alarms.assign(0, {})
    batch = columns_only(batch_keys, np.zeros(len(flat), np.int64), rows, ts)
    return scorer.process(batch, {0: Partition(0, 0, 0)})
