"""The two aliases in the registry: what they stand for, and how the challenger takes the champion's place."""

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
        """Take them out of URIs.

        Args:
            champion: `models:/NAME@ALIAS`.
            challenger: the same; None: alias `challenger` of the champion's model.
            tracking_uri: MLflow's address; else MLFLOW_TRACKING_URI, else the user's own local store.

        Raises:
            UserError: they are of another form, or of two models.
        """
        first = parse(champion)
        if first is None or first.kind != "alias":
            raise UserError(
                f"the champion is {champion}, which is no alias: what stands for one model for ever cannot be moved; "
                "set the model to models:/NAME@champion"
            )
        second = parse(challenger or f"models:/{first.name}@challenger")
        if second is None or second.kind != "alias" or second.name != first.name:
            raise UserError(f"the challenger {challenger} is no alias of {first.name}: set models:/{first.name}@ALIAS")
        return cls(tracking_uri_or_default(tracking_uri), first.name, first.which, second.which)

    def versions(self) -> tuple[str, str]:
        """Versions of champion and challenger.

        Raises:
            NotInMlflowError: one of the aliases stands for nothing.
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
                f"{error}; {self.name} needs the aliases {self.champion} and {self.challenger}: `hazardstream retrain` "
                "makes a challenger, or set the alias in the registry"
            ) from error
        return first, second

    def promote(self, seen: tuple[str, str]) -> None:
        """Have the champion's alias stand for the challenger, and the challenger's for nothing.

        Args:
            seen: versions that the decision was about.

        Raises:
            UserError: an alias was moved meanwhile.
            DependencyDownError: MLflow does not answer.
        """
        if (now := self.versions()) != seen:
            raise UserError(f"the aliases of {self.name} were moved meanwhile (now {now}, before {seen}): look again")
        with mlflow_client(self.store) as client:
            client.set_registered_model_alias(self.name, self.champion, seen[1])
            # Until this is done workers see that the challenger is the champion, and do not score it twice.
            client.delete_registered_model_alias(self.name, self.challenger)
