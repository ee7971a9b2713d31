"""Recordings made up for backtests, and how tests run one."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.flagship import PIPELINE
from training.backtest.run import Backtest, BacktestOptions, run_backtest
from worker.alarms.state_machine import AlarmPolicy
from worker.model.package import ModelPackage


def recording(module: str = "m1", hours: float = 2.0, period_s: float = 10.0, *, runaway_h: float | None = None) -> Any:
    """A module at 25 degrees and 51 V, with noise; if asked, heated by 5 degrees a minute until it runs away."""
    rng = np.random.default_rng(len(module))
    t_s = np.arange(0, hours * 3600, period_s)
    temperature = 25 + rng.normal(0, 0.1, len(t_s))
    voltage = 51 + rng.normal(0, 0.02, len(t_s))
    label = np.zeros(len(t_s), int)
    if runaway_h is not None:
        before_s = runaway_h * 3600 - t_s
        temperature += np.clip(125 - before_s / 12, 0, 125) + np.clip(-20 * before_s, 0, 300)
        voltage[before_s < 120] = 0
        label = (before_s <= 0).astype(int)
    return pd.DataFrame(
        {"module_id": module, "ts": t_s, "avg_surface_temp_c": temperature, "voltage_v": voltage, "hazard": label}
    )


def run(package: ModelPackage, *paths: Path, policy: AlarmPolicy | None = None, **options: Any) -> Backtest:
    return run_backtest(BacktestOptions(paths, **options), PIPELINE, package, policy or package.policy)


def saved(frame: Any, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return path
