"""Retrainings for tests: where they are made, and candidates that wait."""

from datetime import UTC, datetime
from pathlib import Path

from pipelines.battery_hazard.training.retraining.attempt import PACKAGE, Report, Workshop, write_report
from tests.models import TINIEST, renamed
from worker.config.settings import Settings


def workshop(tmp_path: Path, model: str, url: str) -> Workshop:
    made = Settings(model=model, tracking_uri=url, cache_directory=tmp_path / "cache", pipeline="battery_hazard")
    return Workshop(made, tmp_path / "home", TINIEST, days=0)


LONG_AGO = datetime(2026, 1, 31, tzinfo=UTC)


def pending(workshop: Workshop, package: Path, number: int, name: str, begun_at: datetime = LONG_AGO) -> Path:
    """A candidate that waits."""
    directory = workshop.home / f"{number:06d}"
    renamed(package, directory / PACKAGE, name)
    (directory / "record").mkdir()
    write_report(
        directory,
        Report(
            status="pending",
            reasons=["drift"],
            worse=[],
            begun_at=begun_at,
            seconds=1.0,
            seed=number,
            name=name,
            champion="1",
            recorded_rows=0,
            comparison={},
        ),
    )
    return directory
