"""The aliases of champion and challenger in the registry, and the promotion of the challenger."""

from dataclasses import dataclass

from common.errors import UserError
from worker.model.mlflow_client import NotInMlflowError, mlflow_client, tracking_uri_or_default
from worker.model.uri import parse


@dataclass(frozen=True)
class Aliases:
    """Two aliases of one model.

    Attributes:
        store: MLflow's address.
        name: of the model.
        champion, challenger: the aliases.
    """

    store: str
    name: str
    champion: str
    challenger: str

    @classmethod
    def of(cls, champion: str, challenger: str | None, tracking_uri: str | None) -> "Aliases":
        """Parse them from URIs.

        Args:
            champion: `models:/NAME@ALIAS`.
            challenger: the same; None: alias `challenger` of the champion's model.
            tracking_uri: MLflow's address; else MLFLOW_TRACKING_URI, else the user's own local store.

        Raises:
            UserError: a URI has another form, or they name two models.
        """
        first = parse(champion)
        if first is None or first.kind != "alias":
            raise UserError(
                f"the champion is {champion}, which is not an alias, so it cannot be moved; "
                "set the model to models:/NAME@champion"
            )
        second = parse(challenger or f"models:/{first.name}@challenger")
        if second is None or second.kind != "alias" or second.name != first.name:
            raise UserError(
                f"the challenger {challenger} is not an alias of {first.name}; set models:/{first.name}@ALIAS"
            )
        return cls(tracking_uri_or_default(tracking_uri), first.name, first.which, second.which)

    def versions(self) -> tuple[str, str]:
        """Versions of champion and challenger.

        Raises:
            NotInMlflowError: one of the aliases does not exist.
            DependencyDownError: MLflow does not answer.
        """
        try:
            with mlflow_client(self.store) as client:
                first, second = (
                    str(client.get_model_version_by_alias(self.name, alias).version)
                    for alias in (self.champion, self.challenger)
                )
        except NotInMlflowError as error:
            raise NotInMlflowError(
                f"{error}; {self.name} needs the aliases {self.champion} and {self.challenger}; train a challenger "
                "with `hazardstream retrain`, or set the alias in the registry"
            ) from error
        return first, second

    def promote(self, seen: tuple[str, str]) -> None:
        """Move the champion's alias to the challenger, and delete the challenger's alias.

        Args:
            seen: versions of champion and challenger that the decision was based on.

        Raises:
            UserError: an alias was moved meanwhile.
            DependencyDownError: MLflow does not answer.
        """
        if (now := self.versions()) != seen:
            raise UserError(
                f"the aliases of {self.name} were moved meanwhile (now {now}, before {seen}); run the command again"
            )
        with mlflow_client(self.store) as client:
            client.set_registered_model_alias(self.name, self.champion, seen[1])
            # Until this is done, workers see that both are one version, and do not score it twice.
            client.delete_registered_model_alias(self.name, self.challenger)
