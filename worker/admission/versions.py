"""Asks MLflow which version a URI names, where its files are, and what is known of it."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

from worker.config.settings import ARTIFACT_PATH
from worker.model.facts import NO_FACTS, Facts, facts_from_tags
from worker.model.mlflow_client import DIGEST_TAG, NotInMlflowError, mlflow_client, require_answer
from worker.model.model_files import TUNED_MODEL, TUNED_SCALER
from worker.model.uri import PATTERNS, ParsedUri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion


class ResolvedVersion(BaseModel):
    """The version that a URI names.

    Attributes:
        version: as predictions name it; empty: the beginning of the digest of its files.
        folder: in the cache.
        digest: of its files (a package: of its manifest), according to MLflow; None: MLflow has none.
        artifacts: where its files are kept.
        scaler: where the scaler of the classical layout is kept; None: it is another layout.
        name: of the model.
        facts: what MLflow says of it.
    """

    model_config = ConfigDict(frozen=True)

    version: str
    folder: str
    digest: str | None
    artifacts: str
    scaler: str | None = None
    name: str = ""
    facts: Facts = NO_FACTS


def version_in(store: str, uri: ParsedUri, known: Mapping[str, Facts]) -> ResolvedVersion:
    """The version that a URI names now.

    Args:
        store: tracking URI.
        uri: of any kind but a location.
        known: facts by folder, of versions that were asked for before; they are not asked for again.

    Raises:
        NotInMlflowError: there is none.
        DependencyDownError: MLflow does not answer.
    """
    with mlflow_client(store) as client:
        if uri.kind == "run":
            return _of_run(client, store, uri)
        if uri.kind == "logged":
            model = client.get_logged_model(uri.which)
            require_answer(store, model.model_id == uri.which, f"model {model.model_id!r}")
            return _of_logged(model, uri.which, f"logged/{uri.which}")
        version = _registered(client, uri)
        number = str(version.version)
        require_answer(store, version.name == uri.name and number.isdecimal(), f"version {number!r}")
        artifacts = client.get_model_version_download_uri(uri.name, number)
        require_answer(store, bool(artifacts), "an empty address of the model's files")
        folder = f"packages/{quote(uri.name, safe='')}/{number}"
        return ResolvedVersion(
            version=number,
            folder=folder,
            digest=version.tags.get(DIGEST_TAG),
            artifacts=artifacts,
            name=uri.name,
            facts=known.get(folder) or _facts_of_version(client, version),
        )


def _registered(client: "MlflowClient", uri: ParsedUri) -> "ModelVersion":
    if uri.kind == "stage":
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            versions = client.get_latest_versions(uri.name, stages=[uri.which.capitalize()])
        if not versions:
            raise NotInMlflowError(f"no version of {uri.name} is in stage {uri.which}")
        return versions[0]
    if uri.kind == "latest":
        newest = client.search_model_versions(f"name='{uri.name}'", max_results=1, order_by=["version_number DESC"])
        if not newest:
            raise NotInMlflowError(f"{uri.name} has no version")
        return newest[0]
    if uri.kind == "alias":
        return client.get_model_version_by_alias(uri.name, uri.which)
    return client.get_model_version(uri.name, uri.which)


def _of_run(client: "MlflowClient", store: str, uri: ParsedUri) -> ResolvedVersion:
    run = client.get_run(uri.name)
    require_answer(store, run.info.run_id == uri.name, f"run {run.info.run_id!r}")
    path, scaler = uri.which, None
    files = {file.path for file in client.list_artifacts(uri.name)}
    logged = _logged_models(client, run)
    # The path that a run's model has by default; older systems of this kind have another one.
    if path == ARTIFACT_PATH and path not in {*files, *logged} and TUNED_MODEL in {*files, *logged}:
        path = TUNED_MODEL
        scaler = f"{run.info.artifact_uri}/{TUNED_SCALER}" if TUNED_SCALER in files else ""
    folder = f"runs/{quote(uri.name, safe='')}/{quote(uri.which, safe='')}"
    facts, model = _facts(run.data.tags, run.data.metrics), logged.get(path)
    if model is not None and path not in files:
        found = _of_logged(model, f"run:{uri.name}", folder)
        facts = found.facts.over(facts)
        return found.model_copy(update={"scaler": scaler, "facts": facts})
    return ResolvedVersion(
        version=f"run:{uri.name}",
        folder=folder,
        digest=run.data.tags.get(DIGEST_TAG) if uri.which == ARTIFACT_PATH else None,
        artifacts=uri.uri if scaler is None else f"runs:/{uri.name}/{path}",
        scaler=scaler,
        name=path.rpartition("/")[2],
        facts=facts,
    )


def _logged_models(client: "MlflowClient", run: "Run") -> dict[str, "LoggedModel"]:
    """The models that MLflow 3 has logged in a run, by name; of equal names the last one. They are not files of it."""
    outputs = getattr(run, "outputs", None)
    ids = [each.model_id for each in outputs.model_outputs] if outputs is not None else []
    models = sorted((client.get_logged_model(each) for each in ids), key=lambda model: model.creation_timestamp)
    return {model.name: model for model in models}


def _of_logged(model: "LoggedModel", version: str, folder: str) -> ResolvedVersion:
    tags = dict(model.tags or {})
    return ResolvedVersion(
        version=version,
        folder=folder,
        digest=tags.get(DIGEST_TAG),
        artifacts=model.artifact_location,
        name=model.name,
        facts=_facts(tags, {each.key: each.value for each in model.metrics or []}),
    )


def _facts_of_version(client: "MlflowClient", version: "ModelVersion") -> Facts:
    """From the version's own tags, else the model that was logged, else the run that logged it."""
    facts = _facts(version.tags, {})
    try:
        if match := PATTERNS["logged"].fullmatch(version.source or ""):
            model = client.get_logged_model(match["which"])
            facts = facts.over(_facts(dict(model.tags or {}), {each.key: each.value for each in model.metrics or []}))
        if version.run_id:
            run = client.get_run(version.run_id)
            facts = facts.over(_facts(run.data.tags, run.data.metrics))
    except NotInMlflowError:  # a run may be deleted while its model stays
        return facts
    return facts


def _facts(tags: Mapping[str, str], metrics: Mapping[str, Any]) -> Facts:
    try:
        return facts_from_tags(tags, metrics)
    except ValueError as error:
        raise NotInMlflowError(f"{error}; correct the tag") from error
