"""Run a worker on the pipeline of `tests.activity`, with its model.

    python -m tests.activity_worker [FAULT...] worker

With faults, it dies of them one after another, as with `tests.fault_points`.
"""

import sys
from typing import Any

from hazardstream.cli import main
from tests.activity import activity_model
from tests.fault_points import die_one_after_another
from worker import assembly
from worker.config.pipeline import load_pipeline
from worker.config.settings import load_settings
from worker.model.contract import Model


def _model(_uri: str, **_: Any) -> Model:
    return activity_model(load_pipeline(load_settings().pipeline))


if __name__ == "__main__":
    # Looking for a model, and showing it, is not what these workers are run for.
    vars(assembly).update(resolve_or_last_good=_model, show=lambda *_: None)
    *faults, command = sys.argv[1:]
    if faults:
        die_one_after_another(faults, command)
    else:
        main()
