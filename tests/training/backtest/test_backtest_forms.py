"""However a recording is written, and however dense its readings, a backtest finds the same alarms."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.errors import UserError
from tests.backtests import recording, run, saved
from worker.model.package import ModelPackage


@pytest.mark.slow  # simulates a recording
def test_dense_readings_are_thinned_to_the_models_period(package: ModelPackage, tmp_path: Path) -> None:
    dense = recording(runaway_h=1.8, period_s=1)
    result = run(package, saved(dense, tmp_path / "dense.csv"), label_column="hazard")
    assert set(result.every_ms.values()) == {10_000}
    assert result.scored == len(dense) / 10
    assert result.judged.detected == 1
    by_hand = run(package, saved(_extremes(dense), tmp_path / "thin.csv"), label_column="hazard", every_ms=0)
    assert [a.ts for a in by_hand.alarms] == [a.ts for a in result.alarms]
    assert [a.peak for a in by_hand.alarms] == [a.peak for a in result.alarms]
    assert run(package, tmp_path / "dense.csv", every_ms=0).scored == len(dense)


def _extremes(dense: Any) -> Any:
    """Of each ten readings, the values farthest from the last ones before."""
    tens = dense.groupby(dense.ts // 10)
    thin = tens.last()
    for sensor in ("avg_surface_temp_c", "voltage_v"):
        before = tens[sensor].last().shift().fillna(tens[sensor].last())
        high, low = tens[sensor].max(), tens[sensor].min()
        thin[sensor] = high.where(high - before >= before - low, low)
    return thin


def test_values_in_rows_of_their_own_survive_the_thinning(package: ModelPackage, tmp_path: Path) -> None:
    dense = recording(runaway_h=1.8, period_s=5)
    dense.loc[dense.ts % 10 == 0, "voltage_v"] = np.nan
    dense.loc[dense.ts % 10 == 5, "avg_surface_temp_c"] = np.nan
    result = run(package, saved(dense, tmp_path / "rows.csv"), label_column="hazard")
    assert result.judged.detected == 1
    assert result.outside["avg_surface_temp_c"] < 0.5


def test_sparse_readings_are_fed_as_they_are(package: ModelPackage, tmp_path: Path) -> None:
    result = run(package, saved(recording(period_s=60, hours=4), tmp_path / "sparse.csv"))
    assert result.scored == 240
    assert set(result.every_ms.values()) == {0}


@pytest.mark.slow  # simulates a recording
@pytest.mark.parametrize("form", ["iso", "epoch s", "epoch ms", "shuffled", "doubled", "interleaved", "no key", "gaps"])
def test_however_it_is_written_the_alarms_are_the_same(package: ModelPackage, tmp_path: Path, form: str) -> None:
    frame = recording("fails", runaway_h=1.8)
    plain = run(package, saved(frame, tmp_path / "fails.csv"), label_column="hazard")
    other = frame.copy()
    if form == "iso":
        other["ts"] = pd.to_datetime(frame.ts, unit="s", origin="2025-01-01").dt.strftime("%Y-%m-%d %H:%M:%S")
    elif form.startswith("epoch"):
        other["ts"] = ((frame.ts + 1_735_689_600) * (1 if form == "epoch s" else 1000)).astype("int64")
    elif form == "shuffled":
        other = frame.sample(frac=1, random_state=0)
    elif form == "doubled":
        other = pd.concat([frame, frame])
    elif form == "interleaved":
        other = pd.concat([frame, recording("sound")]).sort_values("ts", kind="stable")
    elif form == "no key":
        other = frame.drop(columns="module_id")
    elif form == "gaps":
        other = pd.concat([frame, frame.assign(avg_surface_temp_c=np.nan, voltage_v=np.nan, ts=frame.ts + 5)])
    (tmp_path / "other").mkdir()
    result = run(package, saved(other, tmp_path / "other" / "fails.csv"), label_column="hazard", every_ms=0)
    assert result.judged == plain.judged
    assert [a.peak for a in result.alarms] == [a.peak for a in plain.alarms]


def test_a_directory_is_read_whole_and_equal_names_are_kept_apart(package: ModelPackage, tmp_path: Path) -> None:
    for name in ("a.csv", "b.parquet"):
        saved(recording("m1"), tmp_path / name)
    result = run(package, tmp_path)
    assert [key for key, _ in result.recorded.names] == ["a:m1", "b:m1"]
    assert result.scored == 2 * 720


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"label_column": "boom"}, "--label-column: .* has no column boom; it has module_id"),
        ({"label_column": "module_id"}, "--label-column module_id holds m1; write 1"),
        ({"events": "m9=100"}, "--events: 'm9' is not in the recording; its keys are m1"),
        ({"events": "m1=99999"}, "--events: m1=99999 is outside"),
        ({"events": "m1=soon"}, "--events: 'soon' is not a time"),
    ],
)
def test_what_cannot_be_used_is_reported(
    package: ModelPackage, tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        run(package, saved(recording(), tmp_path / "x.csv"), **options)
