"""What spans of time tell, by example: the same at any sampling period, and never less for a higher reading."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from worker.windows.derived import AtEndOfRange, Gated, Greatest, Least, Limited, WeightedSum
from worker.windows.feature_spec import FeatureSpec
from worker.windows.offline import offline_features
from worker.windows.span_statistics import SpanKind
from worker.windows.time_spans import History, Span, span_features

START = 1_700_000_000_000
SPANS = tuple(Span(sensor="heat", kind=kind, over_ms=ms) for ms in (10_000, 60_000, 300_000) for kind in SpanKind)
FASTER = WeightedSum(name="faster", weights={"heat_rate_10s": 1, "heat_rate_1min": -1})


def spec(**changes: object) -> FeatureSpec:
    own = {"sensors": ("heat",), "differences": (), "rolling": (), "windows": (), "max_span_ms": 900_000}
    return FeatureSpec.model_validate(own | {"spans": SPANS, "derived": (FASTER,), "holds": 310} | changes)


def features(seconds: np.ndarray, heat: np.ndarray, of: FeatureSpec | None = None) -> list[dict[str, float]]:
    """Features of one key's readings, by name."""
    of = of or spec()
    values = np.asarray(heat, float).reshape(len(seconds), -1)
    ts, key = START + (1000 * np.asarray(seconds)).astype(np.int64), np.zeros(len(seconds), np.int64)
    found, rows = offline_features(of, key, ts, values, np.ones((1, values.shape[1])))
    assert len(rows) == len(seconds)
    return [dict(zip(of.names, row.tolist(), strict=True)) for row in found]


@pytest.mark.parametrize("period_s", [1, 5, 10, 60, 300])
def test_a_ramp_has_the_same_rate_at_any_sampling_period(period_s: int) -> None:
    seconds = np.arange(0, 900, period_s)

    last = features(seconds, 20 + seconds / 150)[-1]

    rates = [last[f"heat_rate_{over}"] for over in ("10s", "1min", "5min")]
    assert rates == pytest.approx([1 / 150] * 3)
    assert last["faster"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("period_s", [1, 2, 5, 10])
def test_heat_that_accelerates_is_faster_over_the_short_span(period_s: int) -> None:
    seconds = np.arange(0, 300, period_s)

    assert features(seconds, seconds**2 / 1000)[-1]["faster"] == pytest.approx(0.05, rel=0.02)
    assert features(seconds, -((300 - seconds) ** 2) / 1000)[-1]["faster"] == pytest.approx(-0.05, rel=0.02)


def test_a_dip_and_its_recovery_show_in_extremes() -> None:
    of = spec(
        derived=(
            WeightedSum(name="fall", weights={"heat_max_1min": 1, "heat": -1}),
            WeightedSum(name="recovery", weights={"heat": 1, "heat_min_1min": -1}),
        )
    )

    found = features(np.arange(5) * 10, np.array([3.8, 3.8, 2.5, 3.1, 3.6]), of)

    assert [row["fall"] for row in found] == pytest.approx([0, 0, 1.3, 0.7, 0.2])
    assert [row["recovery"] for row in found] == pytest.approx([0, 0, 0, 0.6, 1.1])


def test_readings_without_the_sensor_are_left_out_and_a_lost_sensor_ends_in_missing_rates() -> None:
    seconds, heat = np.arange(0, 100, 10), np.arange(0, 100, 10) / 10.0
    heat[[3, 5]] = np.nan

    found = features(seconds, heat)

    assert np.isnan(found[0]["heat_rate_10s"])
    assert found[5]["heat_rate_10s"] == pytest.approx(0.1)  # of the two newest values
    assert found[9]["heat_rate_1min"] == pytest.approx(0.1)
    lost = features(np.array([0, 10, 20, 1000]), np.array([1.0, 2.0, 3.0, np.nan]))[-1]
    assert all(np.isnan(value) for value in lost.values())


@settings(deadline=None)
@given(st.floats(-50, 400, width=32), st.floats(-50, 400, width=32), st.integers(11, 60), st.integers(0, 60))
def test_the_same_two_values_have_the_same_rate_to_the_bit_over_any_span(
    first: float, second: float, apart_s: int, since_s: int
) -> None:
    seconds = np.array([0, apart_s, apart_s + since_s])

    for row in features(seconds, np.array([first, second, np.nan]))[1:]:
        assert row["heat_rate_10s"] == row["heat_rate_1min"] == row["heat_rate_5min"]


def test_a_gap_is_the_time_between_the_two_newest_values_or_since_the_newest() -> None:
    of = spec(spans=(Span(sensor="heat", kind=SpanKind.GAP, over_ms=600_000),), derived=())
    seconds, heat = np.array([0, 10, 310, 310, 320, 640, 930]), np.array([1.0, 1.0, 1.0, 2.0, *[np.nan] * 3])

    gaps = [row["heat_gap_10min"] for row in features(seconds, heat, of)]

    assert gaps == pytest.approx([0, 10, 300, 300, 300, 330, np.nan], nan_ok=True)


def test_a_gap_of_a_single_value_is_as_long_as_the_window_can_tell() -> None:
    of = spec(spans=(Span(sensor="heat", kind=SpanKind.GAP, over_ms=600_000),), derived=())

    gaps = [row["heat_gap_10min"] for row in features(np.array([0, 100, 250]), np.array([np.nan, np.nan, 1.0]), of)]

    assert gaps == pytest.approx([np.nan, np.nan, 250], nan_ok=True)


def test_the_first_value_is_the_oldest_one_before_the_reading_so_a_rise_since_then_can_be_told() -> None:
    of = spec(
        spans=(Span(sensor="heat", kind=SpanKind.FIRST, over_ms=60_000),),
        derived=(WeightedSum(name="risen", weights={"heat": 1, "heat_first_1min": -1}),),
    )
    seconds, heat = np.array([0, 30, 60, 90, 300]), np.array([20.0, 21.0, 25.0, 40.0, 90.0])

    found = features(seconds, heat, of)

    assert [row["heat_first_1min"] for row in found] == pytest.approx([np.nan, 20, 20, 21, np.nan], nan_ok=True)
    assert found[3]["risen"] == pytest.approx(19)


def test_a_reading_with_an_earlier_time_knows_nothing_of_later_ones() -> None:
    found = features(np.array([0, 10, 30, 20]), np.array([0.0, 1.0, 99.0, 2.0]))

    assert found[-1]["heat_rate_10s"] == pytest.approx(0.1)
    assert found[-1]["heat_max_1min"] == 2


def test_what_memory_holds_before_a_window_changes_no_bit() -> None:
    def bits(before: float) -> bytes:
        values = np.array([[before, before, 20, 20, *[before, 20] * 15]])
        position, readings = 2 * np.arange(16) + 3, np.array([2] + [1] * 15)
        history = History(START + 10_000 * np.arange(34), values, position, readings, 2)
        return span_features(SPANS, ("heat",), history).tobytes()

    assert bits(-np.nan) == bits(np.inf) == bits(0.0)


reading = st.tuples(st.integers(1, 90), st.one_of(st.none(), st.floats(-50, 400, width=32)))


@pytest.mark.slow  # computes features of 100 courses twice
@settings(deadline=None)
@given(st.lists(reading, min_size=1, max_size=20), st.floats(0, 200, width=32), st.integers(1, 60))
def test_a_higher_last_reading_lowers_no_rate_and_not_their_change(
    earlier: list[tuple[int, float | None]], more: float, period_s: int
) -> None:
    seconds = np.cumsum([step for step, _ in earlier] + [period_s])
    heat = np.array([value for _, value in earlier] + [20.0], float)

    before = features(seconds, heat)[-1]
    heat[-1] += more
    after = features(seconds, heat)[-1]

    for name in ("heat_rate_10s", "heat_rate_1min", "heat_rate_5min", "heat_mean_1min", "heat_max_1min", "faster"):
        assert np.isnan(before[name]) == np.isnan(after[name])
        assert not after[name] < before[name] - 1e-9 * (1 + abs(before[name]))


def test_derived_features_stand_in_for_each_other_and_see_the_end_of_a_range() -> None:
    of = spec(
        sensors=("heat", "mean"),
        spans=(),
        derived=(
            Greatest(name="hottest", of=("heat", "mean")),
            WeightedSum(name="gap", weights={"hottest": 1, "mean": -1}),
            AtEndOfRange(name="end", feature="hottest", low=-40, high=150),
        ),
        holds=2,
    )
    heat = np.array([[30, 20], [np.nan, 20], [np.nan, np.nan], [150, 20], [-40, np.nan]])

    found = features(np.arange(5) * 1000, heat, of)

    assert [row["hottest"] for row in found] == pytest.approx([30, 20, np.nan, 150, -40], nan_ok=True)
    assert [row["gap"] for row in found] == pytest.approx([10, 0, np.nan, 130, np.nan], nan_ok=True)
    assert [row["end"] for row in found] == pytest.approx([0, 0, np.nan, 1, -1], nan_ok=True)


def test_a_rate_that_is_limited_counts_only_where_it_is_hot() -> None:
    of = spec(
        sensors=("heat", "rate", "other"),
        spans=(),
        derived=(
            Least(name="lowest", of=("heat", "other")),
            Limited(name="limited", feature="rate", low=0, high=3),
            Gated(name="gated", feature="limited", where="heat", at_least=60),
        ),
        holds=1,
    )
    rows = [[59.9, 9, 61], [60, 9, 40], [61, -1, np.nan], [61, np.nan, 1], [np.nan, 9, 70]]

    found = features(np.arange(5) * 1000, np.array(rows), of)

    assert [row["lowest"] for row in found] == pytest.approx([59.9, 40, 61, 1, 70], nan_ok=True)
    assert [row["limited"] for row in found] == pytest.approx([3, 3, 0, np.nan, 3], nan_ok=True)
    assert [row["gated"] for row in found] == pytest.approx([0, 3, 0, np.nan, np.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"spans": (Span(sensor="cold", kind=SpanKind.RATE, over_ms=1),)}, "not among the sensors"),
        ({"spans": (Span(sensor="heat", kind=SpanKind.RATE, over_ms=900_001),), "derived": ()}, "longer than"),
        ({"holds": None}, "say how many readings"),
        ({"holds": 3_000}, "too many for spans"),
        ({"windows": (400,)}, "more than the 310"),
        ({"derived": (FASTER, FASTER)}, "names of earlier features"),
        ({"derived": (Greatest(name="new", of=("heat", "later")),)}, "not before it"),
        ({"derived": (Gated(name="new", feature="heat", where="later", at_least=1),)}, "not before it"),
        ({"derived": ({"kind": "limited", "name": "new", "feature": "heat"},)}, "new has no limit"),
        ({"derived": ({"kind": "limited", "name": "new", "feature": "heat", "low": 2, "high": 1},)}, "above high"),
    ],
)
def test_a_spec_that_cannot_be_computed_is_refused(changes: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        spec(**changes)


def test_a_spec_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="not among the sensors"):
        FeatureSpec(sensors=("a",), differences=("b",), rolling=(), windows=(2,), max_span_ms=1)
    with pytest.raises(ValueError, match="ascending"):
        FeatureSpec(sensors=("a",), differences=(), rolling=(), windows=(6, 3), max_span_ms=1)
