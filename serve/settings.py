"""Settings of `hazardstream serve`: those of a worker that apply, and its own."""

from pathlib import Path

from limits import RateLimitItem, parse
from pydantic import Field, PositiveInt, field_validator

from common.errors import UserError
from worker.config.settings import Settings

_SHORTEST_KEY = 16


class ServeSettings(Settings):
    """Each is `HAZARDSTREAM_<NAME>` in the environment."""

    serve_host: str = "127.0.0.1"
    serve_port: int = Field(8000, ge=0, le=65535)
    serve_api_key: str = ""  # several with commas between, so that a key can be replaced without an outage
    serve_api_key_file: Path | None = None  # one key per line
    serve_cors_origins: str = ""  # with commas between
    serve_rate_limit: str = ""  # of each client, such as 600/minute; none: no limit
    serve_max_rows: PositiveInt = 10_000
    serve_max_bytes: PositiveInt = 8_000_000
    serve_database: str = ""  # of `hazardstream sink`, as for its --to
    request_log: str = ""  # a topic
    request_log_file: Path | None = None

    @field_validator("serve_rate_limit")
    @classmethod
    def _readable(cls, text: str) -> str:
        if text:
            try:
                parse(text)
            except ValueError as error:
                raise ValueError("it must be a number per second, minute, hour or day, such as 600/minute") from error
        return text

    @property
    def rate_limit(self) -> RateLimitItem | None:
        """Requests that each client may make."""
        return parse(self.serve_rate_limit) if self.serve_rate_limit else None

    @property
    def cors_origins(self) -> list[str]:
        """Origins of pages whose scripts may call the API."""
        return [origin.strip() for origin in self.serve_cors_origins.split(",") if origin.strip()]

    def api_keys(self) -> tuple[str, ...]:
        """The accepted keys; none: no key is asked for.

        Raises:
            UserError: the file cannot be read or holds no key, or a key is too short.
        """
        found = [key.strip() for key in self.serve_api_key.split(",")]
        if self.serve_api_key_file is not None:
            found += _lines(self.serve_api_key_file)
        keys = tuple(key for key in found if key)
        if any(len(key) < _SHORTEST_KEY for key in keys):
            raise UserError(
                f"an API key is shorter than {_SHORTEST_KEY} characters; create one with: openssl rand -hex 32"
            )
        return keys


def _lines(file: Path) -> list[str]:
    try:
        found = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"HAZARDSTREAM_SERVE_API_KEY_FILE={file}: {error}; give a readable file") from error
    if not found:
        raise UserError(f"HAZARDSTREAM_SERVE_API_KEY_FILE={file}: the file holds no key; write one key per line")
    return found
