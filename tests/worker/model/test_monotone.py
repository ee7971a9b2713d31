"""Signs of features are proven from the trees, and a package that does not keep to them is found."""

from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.model.monotone import proven_signs, sign_faults
from worker.model.scaler import Scaler
from worker.windows.derived import Gated, Greatest, Least, Limited, WeightedSum
from worker.windows.feature_spec import FeatureSpec

SIGNS = {"heat": 1, "air": -1, "hotter": 1}
SAFE = Scaler(missing=(-1e6, 1e6, -1e6))


def spec(**changes: Any) -> FeatureSpec:
    own = {"sensors": ("heat", "air"), "differences": (), "rolling": (), "windows": (1,), "max_span_ms": 1000}
    own |= {"derived": (Greatest(name="hotter", of=("heat", "air")),), "monotone": SIGNS}
    return FeatureSpec.model_validate(own | changes)


def trained(signs: tuple[int, ...] = (1, -1, 1), scaler: Scaler = SAFE, **parameters: Any) -> xgboost.Booster:
    noise = np.random.default_rng(3)
    features = noise.normal(20, 10, (400, 3))
    label = (features[:, 0] > 25) ^ (noise.random(400) < 0.3)
    features[noise.random(features.shape) < 0.1] = np.nan
    matrix = xgboost.DMatrix(scaler.scale(3)(features), label)
    wanted = {"objective": "binary:logistic", "nthread": 1, "max_depth": 5, "monotone_constraints": signs}
    return xgboost.train(wanted | parameters, matrix, 20)


def faults(booster: xgboost.Booster, scaler: Scaler | None = SAFE, **changes: Any) -> list[str]:
    return list(sign_faults(spec(**changes), booster, None if scaler is None else scaler.scale(3)))


@pytest.mark.parametrize(
    "parameters",
    [{}, {"booster": "dart", "rate_drop": 0.5}, {"tree_method": "exact", "gamma": 0.5}, {"grow_policy": "lossguide"}],
    ids=str,
)
def test_what_xgboost_keeps_is_proven(parameters: dict[str, Any]) -> None:
    assert faults(trained(**parameters)) == []


def test_a_column_without_a_constraint_is_found() -> None:
    (fault,) = faults(trained((1, 0, 1)))

    assert fault.startswith("the probability may rise as air rises, against its sign -1 in `monotone`: tree ")


def test_a_scaler_that_reverses_a_feature_is_found() -> None:
    scaler = Scaler(multiply=(1, 1, -1), missing=SAFE.missing)

    assert any("hotter is reversed by the scaler" in fault for fault in faults(trained(scaler=scaler), scaler))


@pytest.mark.parametrize(
    ("missing", "words"), [((30, 1e6, -1e6), "heat becomes 30,"), ((-1e6, -9, -1e6), "air becomes -9")]
)
def test_a_number_for_missing_values_amid_the_splits_is_found(missing: tuple[float, ...], words: str) -> None:
    (fault,) = faults(trained(), Scaler(missing=missing))

    assert f"a missing {words}" in fault


def test_a_feature_that_moves_the_wrong_way_where_a_sensor_is_absent_is_found() -> None:
    cooler = (Least(name="hotter", of=("heat", "air")),)

    (fault,) = faults(trained(), derived=cooler)

    assert fault == "where a sensor is absent, hotter may rise, so it may raise the probability"


HOTTER = Greatest(name="hottest", of=("heat", "air"))
COOLER = Least(name="coolest", of=("heat", "air"))
ABOVE_0 = Limited(name="above", feature="hottest", low=0)


@pytest.mark.parametrize(
    ("derived", "signs"),
    [
        ((HOTTER, WeightedSum(name="end", weights={"hottest": 2, "heat": -1})), {1}),
        ((HOTTER, WeightedSum(name="end", weights={"hottest": -2})), {-1}),
        ((HOTTER, COOLER, WeightedSum(name="end", weights={"hottest": 1, "coolest": -1})), {1}),
        ((HOTTER, COOLER, WeightedSum(name="end", weights={"hottest": 1, "coolest": 1})), set()),
        ((HOTTER, Gated(name="end", feature="heat", where="hottest", at_least=9)), set()),
        ((HOTTER, ABOVE_0, Gated(name="end", feature="above", where="hottest", at_least=9)), {1}),
        ((COOLER, Gated(name="end", feature="coolest", where="air", at_least=9)), {-1}),
        ((WeightedSum(name="end", weights={"heat": 1, "air": -1}),), {1, -1}),
    ],
)
def test_absence_is_followed_through_derived_features(derived: tuple[Any, ...], signs: set[int]) -> None:
    end = len(derived) + 1
    for sign in (1, -1):
        scaler = Scaler(missing=tuple(-sign * 1e6 if at == end else 0 for at in range(end + 1)))
        of = spec(derived=derived, monotone={"end": sign})
        flat = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(np.zeros((2, end + 1)), [0, 1]), 1)

        found = list(sign_faults(of, flat, scaler.scale(end + 1)))

        assert (found == []) == (sign in signs)


@given(st.lists(st.booleans(), min_size=3, max_size=3), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_where_it_is_proven_no_missing_value_raises_the_probability(absent: list[bool], seed: int) -> None:
    booster, scale = BOOSTER, SAFE.scale(3)
    known = np.random.default_rng(seed).normal(20, 10, (50, 3))
    lacking = np.where(absent, np.nan, known)

    before, after = (np.asarray(booster.inplace_predict(scale(each), missing=np.nan)) for each in (known, lacking))

    assert (after <= before).all()


BOOSTER = trained()


def test_what_is_proven_is_said() -> None:
    safe = "3 of 3 features, and no absent sensor raises the probability"
    assert proven_signs(spec(), SAFE.scale(3)) == safe
    assert proven_signs(spec(), None) == "3 of 3 features"
    assert proven_signs(spec(monotone={"heat": 1}), SAFE.scale(3)) == "1 of 3 features"
    assert proven_signs(spec(monotone={}), SAFE.scale(3)) == ""


def test_a_sign_of_no_feature_is_refused() -> None:
    with pytest.raises(ValueError, match="monotone names what is no feature: \\['cold'\\]"):
        spec(monotone={"cold": 1})
