"""Let workers skip the sandboxed load of a model that passes it: a process at low priority for each pipeline."""

from contextlib import suppress
from pathlib import Path

from common.errors import UserError
from worker.admission.admit import note, passed_note
from worker.config.pipeline import load_pipeline
from worker.model.package_files import read_package


def note_that_it_passed(package: Path, pipeline_file: Path, cache: Path) -> None:
    """Write into a worker's cache that this package has passed for this pipeline.

    No check is lost: the sandboxed load has tests of its own, and so has a start with an empty cache.
    """
    with suppress(UserError):  # the worker is to report what is wrong with them
        contents, pipeline = read_package(package), load_pipeline(str(pipeline_file))
        note(passed_note(cache, contents, f"sha256:{contents.digest[:12]}", pipeline, trusted=False))
