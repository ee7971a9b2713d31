"""Settings of one worker process, from the environment and the command line."""

import socket
from pathlib import Path
from typing import Literal, TypeVar, overload

from pydantic import AliasChoices, Field, NonNegativeInt, PositiveInt, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from common.directories import cache_directory
from common.environment import mistyped, service_links, variables
from common.errors import UserError
from common.validation_errors import faults
from schemas.registry_environment import NAMES as REGISTRY_NAMES
from worker.config.kafka_environment import KNOWN as KAFKA_VARIABLES
from worker.config.kafka_environment import SECURITY
from worker.config.trust import Trust, parse_trust

T = TypeVar("T", bound="Settings")
ARTIFACT_PATH = "model"
"""Where an MLflow run keeps its package."""

_PREFIX = "HAZARDSTREAM_"
# Read elsewhere than in `Settings`.
_OTHERS = {
    "HAZARDSTREAM_CACHE_DIRECTORY",
    "HAZARDSTREAM_MAVEN_REPOSITORY",
    "HAZARDSTREAM_SINK",
    "HAZARDSTREAM_REQUEST_LOG",
}
# Of another command (serve/settings.py), for which the same environment may be meant.
_OTHER_COMMANDS = ("HAZARDSTREAM_SERVE_", "HAZARDSTREAM_REQUEST_LOG")
_SERVICES = KAFKA_VARIABLES | {f"SCHEMA_REGISTRY_{name}" for name in REGISTRY_NAMES}


class _Environment(EnvSettingsSource):
    """The environment without what is blank and what Kubernetes adds for services."""

    def __init__(self, settings: type[BaseSettings]) -> None:
        super().__init__(settings)
        self.env_vars = {name.lower(): value for name, value in variables().items()}


class Settings(BaseSettings):
    """Every setting is `HAZARDSTREAM_<NAME>` in the environment; services also under their own usual names.

    Kafka's TLS and SASL settings are not listed here: see worker/kafka/client_config.py.
    """

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="ignore", populate_by_name=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class passes all by name
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The command line goes before the environment; there are no other sources."""
        return init_settings, _Environment(settings_cls)

    pipeline: str = ""  # the command line has a default; see hazardstream/cli.py
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
    model_watch_ms: NonNegativeInt = 10_000  # between two checks of where an alias or stage points; 0: never
    model_max_ms: PositiveInt = 200  # longest that a model may take to score 1,000 readings
    model_trust: str = ""  # packages that are used without a registered digest: see worker/config/trust.py
    # A model that scores in the shadow of the champion, for example models:/NAME@challenger.
    challenger: str | None = None
    challenger_share: float = Field(1.0, gt=0, le=1)  # of the keys that it scores, by a hash of the key
    challenger_max_ms: PositiveInt = 20  # longest that a batch waits for it
    group_id: str | None = None
    # Stable over restarts, different for workers that run at the same time: it makes the transactional id. A worker
    # that is given one is a static member of the group: a worker that starts with the same id takes its place at once.
    instance_id: str | None = None
    group_protocol: Literal["classic", "consumer"] = "classic"  # consumer: KIP-848, for brokers of Kafka 4.0 and later
    guarantee: Literal["exactly_once", "at_least_once"] = "exactly_once"
    batch_max_messages: PositiveInt = 8000
    batch_max_bytes: PositiveInt = 16_000_000
    linger_ms: NonNegativeInt = 5  # from a batch's first message
    # PARTITION/OFFSET, with commas between: batches of the input to go past if the client cannot read them.
    skip_unreadable: str = ""
    transaction_timeout_ms: PositiveInt = 10_000
    session_timeout_ms: PositiveInt = 10_000
    stuck_after_ms: PositiveInt = 60_000
    http_host: str = "127.0.0.1"
    http_port: int = Field(8080, ge=0, le=65535)
    http_allowed_hosts: str = ""  # names, separated by commas, that the sidecar answers to besides its own
    given_cache_directory: Path | None = Field(
        None, validation_alias=AliasChoices("HAZARDSTREAM_CACHE_DIRECTORY", "cache_directory")
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def cache_directory(self) -> Path:
        """Where verified models are kept: what is set, else the user's cache.

        Raises:
            UserError: neither is there.
        """
        return self.given_cache_directory or cache_directory()

    @property
    def heartbeat_interval_ms(self) -> int:
        """A fifth of the session timeout, so that the worker soon learns of a rebalance or of its successor."""
        return self.session_timeout_ms // 5

    def model_uri(self, pipelines: str) -> str:
        """Where the model is: what is set, else a run that is set, else what the pipeline file says."""
        return self.model or (f"runs:/{self.best_run_id}/{ARTIFACT_PATH}" if self.best_run_id else pipelines)

    def group_of(self, pipeline: str) -> str:
        """The consumer group of a pipeline's workers: what is set, else `hazardstream-` and the pipeline's name."""
        return self.group_id or f"hazardstream-{pipeline}"

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
    """What is wrong with variables that look like settings and are none, in words that name them."""
    own = {f"{_PREFIX}{name.upper()}" for name in Settings.model_fields} | _OTHERS
    # The environment may hold settings of a broker or a registry, too: only an unknown security variable is reported.
    unread = mistyped((_PREFIX, *SECURITY), own | KAFKA_VARIABLES) | {
        name: meant for name, meant in mistyped(("KAFKA_", "SCHEMA_REGISTRY_"), _SERVICES).items() if meant
    }
    return [
        f"{name} is not a setting; " + (f"did you mean {meant}?" if meant else "docs/operations.md lists them")
        for name, meant in unread.items()
        if not name.startswith(_OTHER_COMMANDS)
    ]


def ignored_service_links() -> list[str]:
    """Variables that Kubernetes made for services named like our settings: they are not read."""
    return service_links((_PREFIX, "KAFKA_", "SCHEMA_REGISTRY_", "MLFLOW_"))


@overload
def load_settings(**given: object) -> Settings: ...
@overload
def load_settings(form: type[T], /, **given: object) -> T: ...
def load_settings(form: type[Settings] = Settings, /, **given: object) -> Settings:
    """Settings from the environment, with what the command line gives (not None, not empty) on top.

    Args:
        form: the settings to read.
        given: by name.

    Raises:
        UserError: a value is not allowed; the text names it.
    """
    try:
        return form(**{n: value for n, value in given.items() if value not in (None, "")})  # type: ignore[arg-type]
    except ValidationError as error:
        found = [f._replace(at=(_variable(f.at), *f.at[1:])) for f in faults(error, with_values=False)]
        raise UserError(f"settings: {'; '.join(str(f) for f in found)}") from error


def _variable(at: tuple[str | int, ...]) -> str:
    name = str(at[0]) if at else ""
    return name if name.isupper() else f"{_PREFIX}{name.upper()}"
