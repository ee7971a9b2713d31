"""Logs compared models in MLflow, and registers the one to serve as a model version."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib.metadata import version as installed
from typing import TYPE_CHECKING, Any

import pandas as pd

from training.datasets.source import Rows
from training.fitting.fit import Comparison, Result
from training.fitting.predictions import required_inputs
from training.fitting.recipe import Recipe
from training.registry.model_card import as_markdown, model_card
from training.registry.register import experiment_id, store_of
from worker.model.mlflow_client import mlflow_client, without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient

ARTIFACT = "model"
_EXAMPLE_ROWS = 5
_REGISTRY = "MLFLOW_REGISTRY_URI"
_REQUIREMENTS = ("numpy", "pandas", "scikit-learn", "scipy", "skops")
"""Packages that a model needs. MLflow would find them by loading the model in another process, which takes long."""


@dataclass(frozen=True)
class LoggedModel:
    """A registered model version.

    Attributes:
        card: its model card, see `model_card`.
    """

    name: str
    version: str
    run_id: str
    tracking_uri: str
    card: dict[str, Any]


@contextmanager
def fluent_mlflow(store: str) -> Iterator["MlflowClient"]:
    """MLflow's module functions, bound to a store during the block. Errors become those of `mlflow_client`."""
    with mlflow_client(store) as client:
        import mlflow  # noqa: PLC0415 - see mlflow_client

        # Where it is not set, the registry follows the tracking URI, and must do so afterwards.
        tracking, registry = mlflow.get_tracking_uri(), os.environ.get(_REGISTRY)
        mlflow.set_tracking_uri(store)
        mlflow.set_registry_uri(store)
        try:
            with redirect_stderr(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it tells of each step; what goes wrong is an exception
                yield client
        finally:
            mlflow.set_tracking_uri(tracking)
            mlflow.set_registry_uri(registry)
            if registry is None:
                os.environ.pop(_REGISTRY, None)  # MLflow has set it


def log_and_register(
    recipe: Recipe, rows: Rows, comparison: Comparison, *, tracking_uri: str | None = None
) -> LoggedModel:
    """Log a run with a child run for each candidate, and register the model to serve. No alias points to it yet.

    Args:
        recipe: what was learned.
        rows: from which rows.
        comparison: the candidates.
        tracking_uri: MLflow's address; else MLFLOW_TRACKING_URI, else the user's own local store.

    Raises:
        UserError: MLflow rejects a request.
        DependencyDownError: MLflow does not answer.
    """
    store = store_of(tracking_uri)
    card = model_card(recipe, rows, comparison)
    with fluent_mlflow(store) as client:
        import mlflow  # noqa: PLC0415 - see mlflow_client

        experiment = experiment_id(client, store)
        with mlflow.start_run(experiment_id=experiment, run_name=recipe.name) as run:
            for result in comparison.results:
                _log_candidate(experiment, result)
            mlflow.log_params({"model": comparison.served.name, **comparison.served.parameters})
            mlflow.log_metrics(comparison.served.metrics)
            mlflow.set_tags({"data": rows.origin, "data.sha256": rows.sha256, "data.generated": rows.generated})
            mlflow.log_dict(card, "model_card.json")
            mlflow.log_text(as_markdown(card), "model_card.md")
            uri = _log_model(recipe, comparison, card)
        version = mlflow.register_model(uri, recipe.name).version
        client.update_model_version(recipe.name, version, as_markdown(card))
    return LoggedModel(recipe.name, str(version), run.info.run_id, without_credentials(store), card)


def _log_candidate(experiment: str, result: Result) -> None:
    import mlflow  # noqa: PLC0415 - see mlflow_client

    with mlflow.start_run(experiment_id=experiment, run_name=result.name, nested=True):
        mlflow.log_params(result.parameters)
        mlflow.log_metrics({**result.metrics, "cv_score": result.score, "cv_deviation": result.deviation})
        mlflow.set_tag("repeatable", result.repeatable)


def _log_model(recipe: Recipe, comparison: Comparison, card: dict[str, Any]) -> str:
    """Log the model to serve, with signature and example. Returns its URI."""
    import mlflow.sklearn  # noqa: PLC0415 - see mlflow_client
    import mlflow.xgboost  # noqa: PLC0415
    import skops.io  # noqa: PLC0415 - heavy imports
    from xgboost import XGBModel  # noqa: PLC0415

    estimator, train = comparison.served.estimator, comparison.split.train[recipe.inputs]
    described: dict[str, Any] = {
        "name": ARTIFACT,
        "signature": _signature(recipe, estimator, train),
        "input_example": train.head(_EXAMPLE_ROWS),
        "metadata": card,
    }
    packages = [f"{name}=={installed(name)}" for name in _REQUIREMENTS]
    if isinstance(estimator, XGBModel):
        described["pip_requirements"] = [*packages, f"xgboost=={installed('xgboost-cpu')}"]
        return str(mlflow.xgboost.log_model(estimator, **described).model_uri)
    types = skops.io.get_untrusted_types(data=skops.io.dumps(estimator))
    described |= {"pip_requirements": packages, "skops_trusted_types": types}
    return str(mlflow.sklearn.log_model(estimator, serialization_format="skops", **described).model_uri)


def _signature(recipe: Recipe, estimator: Any, train: pd.DataFrame) -> Any:
    """Names and types of inputs and output. MLflow's own inference takes each input for required."""
    from mlflow.models import ModelSignature  # noqa: PLC0415 - see mlflow_client
    from mlflow.models.signature import infer_signature  # noqa: PLC0415
    from mlflow.types import ColSpec, Schema  # noqa: PLC0415

    required = required_inputs(estimator, recipe.task, train)
    kinds = [("double", name) for name in recipe.numbers] + [("string", name) for name in recipe.categories]
    inputs = Schema([ColSpec(kind, name, required=name in required) for kind, name in kinds])
    example = train.head(_EXAMPLE_ROWS)
    return ModelSignature(inputs, infer_signature(example, estimator.predict(example)).outputs)
