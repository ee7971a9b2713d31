"""Imported (`PRELOAD`) by a process that forks workers: it opens their model once, because that takes seconds.

Each worker still checks whether the model is trusted and suits its pipeline.
"""

import os
from pathlib import Path

from worker.admission import admit
from worker.config.pipeline import load_pipeline
from worker.model.formats import open_model, read_model

_FILES = read_model(Path(os.environ["HAZARDSTREAM_MODEL"]), "model")
_MODEL = open_model(
    _FILES,
    version=f"sha256:{_FILES.digest[:12]}",
    trusted=True,
    task=load_pipeline(os.environ["HAZARDSTREAM_PIPELINE"]).expected_task,
)
vars(admit).update(open_model=lambda *_, **__: _MODEL)
