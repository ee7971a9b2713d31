"""Time of a score with and without a scaler in front of the trees (docs/decisions/scaler.md).

Example:
    python -m benchmarks.scaler
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.model import write_model
from common.arrays import Float
from common.terminal import say
from local.flagship import FLAGSHIP
from worker.config.pipeline import load_pipeline
from worker.model.package import ModelPackage, load_package

BATCHES, ROWS = (100, 1000, 10_000), 400_000


def main() -> None:
    """Print microseconds per reading: of a package with a scaler, of one without, and of the scaler alone."""
    with tempfile.TemporaryDirectory() as directory:
        scaled, unscaled = (_model(Path(directory), scaled=scaled) for scaled in (True, False))
    say("rows of a batch   with scaler   without   scaler alone   (median us per reading, CPU time)")
    for size in BATCHES:
        rows = np.resize(scaled.golden, (size, scaled.golden.shape[1]))
        timed = _medians([scaled.score, unscaled.score, scaled.scaled], rows)
        say(f"{size:>15,}   {timed[0]:>11.3f}   {timed[1]:>7.3f}   {timed[2]:>12.3f}")


def _model(directory: Path, *, scaled: bool) -> ModelPackage:
    package = directory / str(scaled)
    write_model(package, load_pipeline(FLAGSHIP), scaled=scaled)
    return load_package(package, version="1")


def _medians(functions: list[Callable[[Float], Float]], rows: Float) -> list[float]:
    """Run them in turns, so that other load on the machine affects all of them equally."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(ROWS // len(rows)):
        for function, spent in zip(functions, times, strict=True):
            started = time.thread_time()
            function(rows)
            spent.append((time.thread_time() - started) * 1e6 / len(rows))
    return [median(spent) for spent in times]


if __name__ == "__main__":
    main()
