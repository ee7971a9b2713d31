"""Loads a registered model as the library that made it knows it, to ask it directly."""

from typing import Any, NamedTuple

from training.registry.log_model import fluent_mlflow
from training.registry.register import store_of


class Registered(NamedTuple):
    """A model version from the registry.

    Attributes:
        estimator: the fitted scikit-learn or XGBoost estimator.
        card: its model card, see `training.registry.model_card`; empty for a model of another origin.
    """

    estimator: Any
    card: dict[str, Any]

    @property
    def threshold(self) -> float | None:
        """Probability from which a row is positive; None but for a binary task."""
        return self.card.get("threshold")


def load_registered(name: str, version: str, *, tracking_uri: str | None = None) -> Registered:
    """Load a version. Its own list of trusted types applies: load only what you trust.

    Raises:
        UserError: MLflow has no such version.
        DependencyDownError: MLflow does not answer.
    """
    with fluent_mlflow(store_of(tracking_uri)):
        import mlflow.sklearn  # noqa: PLC0415 - see mlflow_client
        import mlflow.xgboost  # noqa: PLC0415
        from mlflow.models import get_model_info  # noqa: PLC0415

        uri = f"models:/{name}/{version}"
        info = get_model_info(uri)
        flavor = mlflow.xgboost if "xgboost" in info.flavors else mlflow.sklearn
        return Registered(flavor.load_model(uri), dict(info.metadata or {}))
