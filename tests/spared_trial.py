"""Spare workers the trial of a model that passes it: it takes a process at low priority for each new pipeline."""

from contextlib import suppress
from pathlib import Path

from common.errors import UserError
from worker.admission.admit import note, passed_note
from worker.config.pipeline import load_pipeline
from worker.model.package_files import read_package


def spare_the_trial(package: Path, pipeline_file: Path, cache: Path) -> None:
    """Let a worker find in its cache that this package has passed the trial for this pipeline.

    Nothing less is proven: the trial itself has tests of its own, and so has a start with an empty cache.
    """
    with suppress(UserError):  # the worker is to say what is wrong with them
        contents, pipeline = read_package(package), load_pipeline(str(pipeline_file))
        note(passed_note(cache, contents, f"sha256:{contents.digest[:12]}", pipeline, trusted=False))
