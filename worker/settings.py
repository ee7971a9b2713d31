"""Settings of one worker process, from the environment (or a file named for a secret) and the command line."""

import os
import socket
from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path
from pydantic import AliasChoices, Field, NonNegativeInt, PositiveInt, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.errors import UserError
from worker.tracking import ARTIFACT_PATH
from worker.trust import Trust, parse_trust


class Settings(BaseSettings):
    """Every setting is `HAZARDSTREAM_<NAME>` in the environment; services also under their own usual names.

    Kafka's TLS and SASL settings are not listed here: see worker/kafka_config.py.
    """

    model_config = SettingsConfigDict(env_prefix="HAZARDSTREAM_", extra="ignore", populate_by_name=True)

    pipeline: str = "battery_hazard"
    bootstrap_servers: str = Field(
        "127.0.0.1:9092",
        validation_alias=AliasChoices("HAZARDSTREAM_BOOTSTRAP_SERVERS", "KAFKA_BOOTSTRAP_SERVERS"),
    )
    registry_url: str | None = Field(
        None, validation_alias=AliasChoices("HAZARDSTREAM_REGISTRY_URL", "SCHEMA_REGISTRY_URL")
    )
    tracking_uri: str | None = Field(
        None, validation_alias=AliasChoices("HAZARDSTREAM_TRACKING_URI", "MLFLOW_TRACKING_URI")
    )
    model: str | None = None  # instead of the pipeline's
    # A run to take the model from, where `model` is not given: the variable that older systems of this kind set.
    best_run_id: str | None = Field(
        None, validation_alias=AliasChoices("HAZARDSTREAM_BEST_RUN_ID", "BEST_MLFLOW_RUN_ID")
    )
    model_watch_ms: NonNegativeInt = 10_000  # between two looks at where an alias or stage points; 0: never
    model_max_ms: PositiveInt = 200  # longest that a model may take to score 1,000 readings
    model_trust: str = ""  # packages that are used without a registered digest: see worker/trust.py
    # A model that scores in the shadow of the one that counts: what its alias stands for, models:/NAME@challenger say.
    challenger: str | None = None
    challenger_share: float = Field(1.0, gt=0, le=1)  # of the keys that it scores, by a hash of the key
    challenger_max_ms: PositiveInt = 20  # longest that a batch waits for it
    group_id: str | None = None
    # Stable over restarts, different for workers that run at the same time: it makes the transactional id. A worker
    # that is given one is a static member of the group: whoever starts under its name takes its place at once.
    instance_id: str | None = None
    guarantee: Literal["exactly_once", "at_least_once"] = "exactly_once"
    batch_max_messages: PositiveInt = 8000
    batch_max_bytes: PositiveInt = 16_000_000
    linger_ms: NonNegativeInt = 5  # from a batch's first message
    transaction_timeout_ms: PositiveInt = 10_000
    session_timeout_ms: PositiveInt = 10_000
    stuck_after_ms: PositiveInt = 60_000
    http_host: str = "127.0.0.1"
    http_port: NonNegativeInt = 8080
    cache_directory: Path = user_cache_path("hazardstream")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def heartbeat_interval_ms(self) -> int:
        """Five in a session: a rebalance, and having been superseded, is heard of soon."""
        return self.session_timeout_ms // 5

    def model_uri(self, pipelines: str) -> str:
        """Where the model is: what is set, else a run that is set, else what the pipeline file says."""
        return self.model or (f"runs:/{self.best_run_id}/{ARTIFACT_PATH}" if self.best_run_id else pipelines)

    @property
    def trust(self) -> Trust:
        """Which packages the operator trusts.

        Raises:
            UserError: `model_trust` does not say.
        """
        return parse_trust(self.model_trust)

    @property
    def instance(self) -> str:
        """Name of this worker: unique on a machine by its sidecar's port."""
        return self.instance_id or f"{socket.gethostname()}-{self.http_port}"


def unread_settings() -> list[str]:
    """Variables of the environment that look like settings and are none: mistyped, most likely."""
    known = {f"HAZARDSTREAM_{name.upper()}" for name in Settings.model_fields} | {"HAZARDSTREAM_MAVEN_REPOSITORY"}
    return sorted(name for name in os.environ if name.startswith("HAZARDSTREAM_") and name not in known)


def load_settings(**given: object) -> Settings:
    """Settings from the environment, with what the command line gives (not None) on top.

    Raises:
        UserError: a value is not allowed; the text names it.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UserError(f"settings: {faults}") from error
