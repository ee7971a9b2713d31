"""The model that is used where none is named: the registered one, else the one in the pipeline's folder."""

from collections.abc import Callable

from common.errors import UserError
from worker.admission.source import resolve_by_settings
from worker.config.pipeline import Pipeline
from worker.config.settings import Settings
from worker.model.formats import require_package
from worker.model.package import ModelPackage


def model_or_default(settings: Settings, pipeline: Pipeline, say: Callable[[str], None]) -> tuple[ModelPackage, str]:
    """The model that the settings name, else the pipeline's, else the one in its folder; and in text which it is.

    Args:
        settings: of the command.
        pipeline: names a model, and may have one in its folder.
        say: called with what a user should know.

    Raises:
        UserError: the model named in the settings cannot be loaded, or that of the pipeline and there is none in its
            folder.
        DependencyDownError: MLflow does not answer, and the cache has nothing.
    """

    def found(uri: str) -> tuple[ModelPackage, str]:
        package = require_package(resolve_by_settings(settings, uri), "this command")
        return package, f"{package.name} {package.version} ({uri})"

    if (uri := settings.model_uri(pipeline.model)) != pipeline.model:
        return found(uri)
    try:
        return found(pipeline.model)
    except UserError as error:
        if not pipeline.shipped_model.is_dir():
            raise
        say(f"{error}; using the model in the pipeline's folder instead")
        package = require_package(resolve_by_settings(settings, str(pipeline.shipped_model)), "this command")
        return package, f"{package.name} {package.version} (of the pipeline's folder, as there is no {pipeline.model})"
