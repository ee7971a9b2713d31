"""Run a worker on the pipeline of `tests.activity`, with its model: `python -m tests.activity_worker [FAULT...] worker`.

With faults, as `tests.fault_points` does.
"""

import sys
from typing import Any

import worker.assembly
from hazardstream.cli import main
from tests.activity import activity_model
from tests.fault_points import die_one_after_another
from worker.config.pipeline import load_pipeline
from worker.config.settings import load_settings
from worker.model.contract import Model


def _model(_uri: str, **_: Any) -> Model:
    return activity_model(load_pipeline(load_settings().pipeline))


if __name__ == "__main__":
    worker.assembly.resolve_or_last_good = _model  # type: ignore[assignment]
    *faults, command = sys.argv[1:]
    if faults:
        die_one_after_another(faults, command)
    else:
        main()
