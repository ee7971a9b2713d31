"""The model that is used where none is named: the registered one, else the one that is part of this project."""

from collections.abc import Callable
from pathlib import Path

from common.directories import cache_directory
from common.errors import UserError
from training.registry.register import register_package
from worker.admission.admit import demands_of
from worker.admission.source import resolve
from worker.config.settings import Settings
from worker.model.mlflow_client import local_store
from worker.model.package import MANIFEST, ModelPackage, digest

SHIPPED = Path(__file__).parents[2] / "pipelines" / "battery_hazard_model"
"""The package that `hazardstream train` makes by default; docs/model.md says how good it is."""
ALIAS = "models:/battery_hazard@champion"


def demo_store() -> str:
    """Tracking URI of the demo's own MLflow store, with the shipped package as champion: registered the first time."""
    cache = cache_directory()
    uri = local_store(cache / f"demo-mlflow-{digest(SHIPPED / MANIFEST)[:12]}")
    try:
        resolve(ALIAS, cache_directory=cache, tracking_uri=uri)
    except UserError:
        register_package(SHIPPED, tracking_uri=uri)
    return uri


def model_or_default(settings: Settings, pipeline_model: str, say: Callable[[str], None]) -> tuple[ModelPackage, str]:
    """The model that the settings name, else the pipeline's, else the shipped one; and in words which it is.

    Args:
        settings: of the command.
        pipeline_model: the pipeline's model URI.
        say: told what a user should know.

    Raises:
        UserError: the model named in the settings is not to be had.
        DependencyDownError: MLflow does not answer, and the cache has nothing.
    """

    def found(uri: str) -> tuple[ModelPackage, str]:
        package = resolve(
            uri,
            cache_directory=settings.cache_directory,
            tracking_uri=settings.tracking_uri,
            demands=demands_of(settings),
        )
        return package, f"{package.name} {package.version} ({uri})"

    if (uri := settings.model_uri(pipeline_model)) != pipeline_model:
        return found(uri)
    try:
        return found(pipeline_model)
    except UserError as error:
        say(f"{error}; using the model that comes with hazardstream instead")
        package = resolve(str(SHIPPED), cache_directory=settings.cache_directory)
        return package, f"{package.name} {package.version} (comes with hazardstream, as there is no {pipeline_model})"
