"""One retraining: trains a candidate on recorded and simulated data, and compares it with the champion."""

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import structlog
from pydantic import AwareDatetime, BaseModel, TypeAdapter

from pipelines.battery_hazard.training.datasets.dataset import Progress
from pipelines.battery_hazard.training.fitting.presets import Preset
from pipelines.battery_hazard.training.fitting.train import prepare, train
from pipelines.battery_hazard.training.retraining.compare import Comparison, compare
from pipelines.battery_hazard.training.retraining.files import read_json, write_whole
from pipelines.battery_hazard.training.retraining.recorded import recorded_rows
from worker.admission.source import resolve_by_settings
from worker.config.pipeline import load_pipeline
from worker.config.settings import Settings
from worker.model.formats import require_package
from worker.model.package import ModelPackage, load_package

_LOG = structlog.get_logger(__name__)
REPORT, PACKAGE, RECORD = "report.json", "package", "record"


class Report(BaseModel):
    """The report of a retraining: report.json in its directory.

    Attributes:
        reasons: what triggered it.
        status: rejected; pending: not in the registry yet; superseded: a later candidate replaced it; registered.
        worse: why it was rejected.
        begun_at: start of the training; `seconds`: how long it took.
        champion: version that the candidate was compared with.
        recorded_rows: number of rows from topics.
        comparison: figures of candidate and champion on the same sites.
        waits_for: why it is pending, if not because MLflow does not answer.
        version: version in the registry.
    """

    status: Literal["rejected", "pending", "superseded", "registered"]
    reasons: list[str]
    worse: list[str]
    begun_at: AwareDatetime
    seconds: float
    seed: int
    name: str
    champion: str
    recorded_rows: int
    comparison: dict[str, Any]
    waits_for: str | None = None
    version: str | None = None

    @property
    def ended_at(self) -> datetime:
        """End of the training."""
        return self.begun_at + timedelta(seconds=self.seconds)


@dataclass(frozen=True)
class Workshop:
    """Options of retrainings.

    Attributes:
        settings: pipeline, model, brokers, registry and MLflow.
        home: directory with one subdirectory per retraining.
        preset: amount of simulation, and size of the model.
        days: days of recorded readings that are used; 0: none.
    """

    settings: Settings
    home: Path
    preset: Preset
    days: float

    def champion(self) -> ModelPackage:
        """The model to compare with.

        Raises:
            UserError: there is no champion.
            DependencyDownError: MLflow does not answer, and the cache has nothing.
        """
        settings = self.settings
        uri = settings.model_uri(load_pipeline(settings.pipeline).model)
        return require_package(resolve_by_settings(settings, uri), "retraining")

    def attempts(self) -> list[Path]:
        """Directories of the retrainings so far, oldest first. Other files there are ignored."""
        return [directory for directory in self._numbered() if (directory / REPORT).exists()]

    def next_number(self) -> int:
        """A number that no directory uses yet."""
        return max((int(directory.name) for directory in self._numbered()), default=0) + 1

    def _numbered(self) -> list[Path]:
        return sorted((p for p in self.home.glob("*/") if p.name.isdecimal()), key=lambda path: int(path.name))


def retrain(workshop: Workshop, reasons: Sequence[str], progress: Progress) -> Path:
    """Train a candidate and compare it with the champion. Returns the directory, which is created atomically.

    Sites are simulated from a seed that neither the champion nor an earlier candidate was trained with.

    Raises:
        UserError: there is no champion, or the pipeline's topics do not fit.
        DependencyDownError: broker, registry or MLflow does not answer; nothing was changed.
    """
    started, begun_at = time.monotonic(), datetime.now(UTC).replace(microsecond=0)
    champion = workshop.champion()
    number = workshop.next_number()
    seed = int(champion.metrics.get("training", {}).get("seed", 0)) + number
    recorded = None
    if workshop.days:
        progress("reading recorded readings", 0, 1)
        recorded = recorded_rows(workshop.settings, days=workshop.days, now_ms=time.time_ns() // 1_000_000)
        progress("reading recorded readings", 1, 1)
    workshop.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=workshop.home, prefix=".unfinished-") as directory:
        data, unfinished = Path(directory) / "data", Path(directory) / "attempt"
        train(
            unfinished / PACKAGE,
            preset=workshop.preset,
            seed=seed,
            name=champion.name,
            data=data,
            record=unfinished / RECORD,
            recorded=recorded,
            progress=progress,
        )
        judged = _compared(unfinished / PACKAGE, champion, data, workshop.preset, seed, progress)
        report = Report(
            status="rejected" if judged.worse else "pending",
            reasons=list(reasons),
            worse=judged.worse,
            begun_at=begun_at,
            seconds=round(time.monotonic() - started, 1),
            seed=seed,
            name=champion.name,
            champion=champion.version,
            recorded_rows=0 if recorded is None else len(recorded.target),
            comparison=judged.figures,
        )
        _write_reports(unfinished, report)
        place = workshop.home / f"{number:06d}"
        shutil.move(unfinished, place)
    _LOG.info("retrained", **report.model_dump(mode="json", exclude={"comparison"}), directory=str(place))
    return place


def compare_again(workshop: Workshop, directory: Path, champion: ModelPackage, progress: Progress) -> Report:
    """Compare a waiting candidate with a new champion, on the sites of the first comparison.

    Returns:
        Its updated report: pending, or rejected.

    Raises:
        UserError: its package is damaged.
    """
    report = read_report(directory)
    with tempfile.TemporaryDirectory(dir=workshop.home, prefix=".unfinished-") as data:
        judged = _compared(directory / PACKAGE, champion, Path(data), workshop.preset, report.seed, progress)
    verdict = {
        "status": "rejected" if judged.worse else "pending",
        "worse": judged.worse,
        "champion": champion.version,
        "comparison": judged.figures,
        "waits_for": None,
    }
    report = report.model_copy(update=verdict)
    _write_reports(directory, report)
    _LOG.info("compared again", **report.model_dump(mode="json", exclude={"comparison"}), directory=str(directory))
    return report


def _compared(
    package: Path, champion: ModelPackage, data: Path, preset: Preset, seed: int, progress: Progress
) -> Comparison:
    sites = prepare(data, preset, seed, progress)
    return compare(load_package(package, version="candidate"), champion, sites.validation, sites.test)


def _write_reports(directory: Path, report: Report) -> None:
    """Write the report, and a copy among the files that are logged with the version in the registry."""
    write_whole(directory / RECORD / "retraining.json", report.model_dump_json(indent=2))
    write_report(directory, report)


def read_report(directory: Path) -> Report:
    """The report of a retraining.

    Raises:
        UserError: it cannot be read.
    """
    return read_json(directory / REPORT, TypeAdapter(Report), f"remove {directory}, or restore the file")


def write_report(directory: Path, report: Report) -> None:
    """Write the report atomically."""
    write_whole(directory / REPORT, report.model_dump_json(indent=2) + "\n")
