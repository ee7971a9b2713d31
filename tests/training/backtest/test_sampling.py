"""Which recordings are thinned."""

from pipelines.battery_hazard.training.datasets.features import FEATURES_30
from training.backtest.sampling import thinned_to

PERIODS = {0: 1000.0, 1: 10_000.0, 2: 9_000.0, 3: 60_000.0}


def test_a_model_that_counts_readings_gets_them_at_its_period() -> None:
    assert thinned_to(None, FEATURES_30, PERIODS) == {0: 10_000, 1: 0, 2: 0, 3: 0}


def test_a_model_that_counts_seconds_gets_every_reading() -> None:
    spans = FEATURES_30.model_copy(update={"rolling": (), "windows": (), "holds": 60})
    assert set(thinned_to(None, spans, PERIODS).values()) == {0}


def test_the_user_decides() -> None:
    assert set(thinned_to(5000, FEATURES_30, PERIODS).values()) == {5000}
