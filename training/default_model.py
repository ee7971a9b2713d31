"""The model that is used where none is named: the registered one, else the demo's small one, trained at first use."""

from collections.abc import Callable

from platformdirs import user_cache_path

from worker.errors import UserError
from worker.model_source import resolve
from worker.package import ModelPackage
from worker.settings import Settings
from worker.tracking import local_store

ALIAS = "models:/battery_hazard@champion"


def demo_model(say: Callable[[str], None]) -> tuple[str, ModelPackage]:
    """The demo's own MLflow store (its tracking URI) and the champion in it: trained the first time, then found."""
    cache = user_cache_path("hazardstream")
    uri = local_store(cache / "demo-mlflow")
    try:
        return uri, resolve(ALIAS, cache_directory=cache, tracking_uri=uri)
    except UserError:
        from training.presets import SMALL  # noqa: PLC0415 - heavy, and seldom needed
        from training.register import train_and_register  # noqa: PLC0415 - the same

        say("training a small model (once; less than a minute) …")
        train_and_register(preset=SMALL, seed=0, tracking_uri=uri)
    return uri, resolve(ALIAS, cache_directory=cache, tracking_uri=uri)


def model_or_default(settings: Settings, pipeline_model: str, say: Callable[[str], None]) -> tuple[ModelPackage, str]:
    """The model that the settings name, else the pipeline's, else the demo's; and in words which it is.

    Args:
        settings: of the command.
        pipeline_model: the pipeline's model URI.
        say: told what a user should know while waiting.

    Raises:
        UserError: the model named in the settings is not to be had.
        DependencyDownError: MLflow does not answer, and the cache has nothing.
    """

    def found(uri: str) -> tuple[ModelPackage, str]:
        package = resolve(uri, cache_directory=settings.cache_directory, tracking_uri=settings.tracking_uri)
        return package, f"{package.name} {package.version} ({uri})"

    if (uri := settings.model_uri(pipeline_model)) != pipeline_model:
        return found(uri)
    try:
        return found(pipeline_model)
    except UserError as error:
        say(f"{error}; using the demo's small model instead")
        _, package = demo_model(say)
        return package, f"{package.name} {package.version} (the demo's small model, as there is no {pipeline_model})"
