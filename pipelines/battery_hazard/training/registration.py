"""Train the default model and register it."""

import tempfile
from pathlib import Path

from pipelines.battery_hazard.training.datasets.dataset import Progress
from pipelines.battery_hazard.training.fitting.presets import Preset
from pipelines.battery_hazard.training.fitting.train import silent, train
from training.registry.register import Registered, refuse_bad_alias, register_package


def train_and_register(
    *,
    preset: Preset,
    seed: int = 0,
    name: str = "battery_hazard",
    data: Path | None = None,
    alias: str = "champion",
    tracking_uri: str | None = None,
    progress: Progress = silent,
) -> Registered:
    """Train a model and register it; see `train` and `register_package`."""
    refuse_bad_alias(alias)
    with tempfile.TemporaryDirectory(prefix="hazardstream-") as directory:
        record = Path(directory) / "record"
        package = train(
            Path(directory) / "package",
            preset=preset,
            seed=seed,
            name=name,
            data=data,
            record=record,
            progress=progress,
        )
        progress("registering", 0, 1)
        registered = register_package(package, record=record, alias=alias, tracking_uri=tracking_uri)
        progress("registering", 1, 1)
    return registered
