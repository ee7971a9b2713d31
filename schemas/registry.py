"""Schemas from a Confluent-compatible registry, by id."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import shorten
from typing import Any
from urllib.parse import urlsplit

from cachetools import TTLCache
from confluent_kafka.schema_registry import Schema as RegistrySchema
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from fastavro.repository import AbstractSchemaRepository, SchemaRepositoryError
from fastavro.schema import load_schema as inline_references

from schemas.errors import IncompatibleSchemaError, UnknownSchemaError
from schemas.load import Schema
from schemas.wire import Fingerprint, SchemaKey, confluent_prefix, shipped_fingerprints
from worker.errors import DependencyDownError, UserError

DEPENDENCY = "schema registry"
MAX_ID = 2**31 - 1  # ids are Java ints in the registry's interface
SCHEMAS_KEPT = 1000
UNKNOWN_IDS_KEPT = 1000
RETRIES = 2
RETRY_WAIT_MS = 100
RETRY_MAX_WAIT_MS = 1000


class SchemaRegistry:
    """Looks writer schemas up and registers ours, with what was learnt kept in memory.

    A schema behind an id never changes and is asked for once. An id the registry does not know is asked
    for again after `unknown_ttl_s`, so that a flood of records with that id costs one question, and a schema
    registered late is found. In a flood of ids (noise taken for a prefix), when `UNKNOWN_IDS_KEPT` of them are
    remembered as unknown, no more are asked for but those that a registry, which counts up, could give out next.
    A registry that fails is asked `RETRIES` more times with growing, jittered
    waits; then the caller is told, and waits as it does for every dependency.

    Args:
        url: base address, such as `http://registry:8081` or `http://apicurio:8080/apis/ccompat/v7`;
            several separated by commas are tried in turn.
        basic_auth_user_info: `user:password`, never shown or logged.
        ssl_ca_location: file or directory of CA certificates to trust instead of the usual ones.
        timeout_s: for each step of a request (connect, send, each wait for bytes).
        unknown_ttl_s: how long "no such id" is believed.
        clock: monotonic seconds.

    Raises:
        UserError: an argument cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        basic_auth_user_info: str | None = None,
        ssl_ca_location: str | None = None,
        timeout_s: float = 3.0,
        unknown_ttl_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if any("@" in urlsplit(part).netloc for part in url.split(",")):
            raise UserError(
                "SCHEMA_REGISTRY_URL holds a user or password, which would end up in logs; "
                "move it to SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO"
            )
        config: dict[str, Any] = {
            "url": url,
            "timeout": timeout_s,
            "max.retries": RETRIES,
            "retries.wait.ms": RETRY_WAIT_MS,
            "retries.max.wait.ms": RETRY_MAX_WAIT_MS,
        }
        if basic_auth_user_info:
            config["basic.auth.user.info"] = basic_auth_user_info
        if ssl_ca_location:
            config["ssl.ca.location"] = ssl_ca_location
        try:
            self._client = SchemaRegistryClient(config)
        except (ValueError, OSError) as error:
            raise UserError(
                f"the schema registry {url!r} cannot be used: {error}; see SCHEMA_REGISTRY_URL, "
                "SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO and SCHEMA_REGISTRY_SSL_CA_LOCATION"
            ) from error
        self._url = url
        self._known: dict[int, Schema | str] = {}  # a text says why it cannot be used
        self._highest_known = 0
        self._unknown: TTLCache[int, str] = TTLCache(UNKNOWN_IDS_KEPT, unknown_ttl_s, timer=clock)

    def __repr__(self) -> str:
        return f"SchemaRegistry({self._url!r})"

    def writer_schema(self, schema_id: int) -> Schema:
        """Look up the schema that a value names in its prefix.

        Args:
            schema_id: as it stands in the value, 0 to 2**32 - 1.

        Returns:
            The schema with references to other subjects put in place. The same object each time, while remembered.

        Raises:
            UnknownSchemaError: the registry has no such id.
            IncompatibleSchemaError: it is no Avro schema, or refers to what cannot be found.
            DependencyDownError: the registry does not answer, or not as a registry does.
        """
        if schema_id not in self._known:
            self._learn(schema_id)
        known = self._known[schema_id]
        if isinstance(known, str):
            raise IncompatibleSchemaError(known)
        return known

    def _learn(self, schema_id: int) -> None:
        if schema_id > MAX_ID:
            raise UnknownSchemaError(f"{schema_id} cannot be a registry id: they end at {MAX_ID}")
        if (told := self._unknown.get(schema_id)) is not None:
            raise UnknownSchemaError(told)
        if len(self._unknown) >= UNKNOWN_IDS_KEPT and schema_id > self._highest_known + UNKNOWN_IDS_KEPT:
            raise UnknownSchemaError(
                f"the registry was not asked for {schema_id}: it has just denied {UNKNOWN_IDS_KEPT} other ids, and "
                f"this one is far above the highest known to exist ({self._highest_known})"
            )
        known: Schema | str
        try:
            known = self._inlined(_ask(self._client.get_schema, schema_id), f"schema {schema_id}")
        except UnknownSchemaError as error:
            self._unknown[schema_id] = str(error)
            raise
        except IncompatibleSchemaError as error:
            known = str(error)
        if len(self._known) >= SCHEMAS_KEPT:  # somebody registers a schema a message
            self._known.clear()
            self._client.clear_caches()
        self._known[schema_id] = known
        self._highest_known = max(self._highest_known, schema_id)

    def prefix(self, topic: str, schema: Schema) -> bytes:
        """Register the schema of a topic's values, or find it, and give what Confluent's wire format begins with.

        Raises:
            IncompatibleSchemaError, DependencyDownError: as `register` does.
        """
        return confluent_prefix(self.register(f"{topic}-value", schema))

    def register(self, subject: str, schema: Schema) -> int:
        """Register a schema under a subject, or find it there.

        Args:
            subject: by convention the topic and `-value`.
            schema: with docs and aliases, as `schemas.load.load_schema` gives it.

        Returns:
            Its id, for `schemas.wire.confluent_prefix`.

        Raises:
            IncompatibleSchemaError: the subject's compatibility rule, or the registry's parser, refuses it.
            DependencyDownError: the registry does not answer, or not as a registry does.
        """
        registered = RegistrySchema(json.dumps(schema), "AVRO")
        schema_id: int = _ask(self._client.register_schema, subject, registered)
        return schema_id

    def latest(self, subject: str) -> tuple[int, Schema] | None:
        """Look up the newest schema under a subject: its id and the schema; None where there is none.

        Raises:
            IncompatibleSchemaError: it is no Avro schema.
            DependencyDownError: the registry does not answer, or not as a registry does.
        """
        try:
            version = _ask(self._client.get_latest_version, subject)
        except UnknownSchemaError:
            return None
        return version.schema_id, self._inlined(version.schema, f"schema {version.schema_id}")

    def _inlined(self, registered: RegistrySchema, name: str) -> Schema:
        schemas: dict[str, Any] = {}
        self._collect(registered, name, schemas)
        schema = schemas[name]
        if len(schemas) > 1:
            try:
                schema = inline_references(name, repo=_Fetched(schemas))
            except Exception as error:  # whatever JSON a registry holds; fastavro trips in many ways
                raise IncompatibleSchemaError(f"{name} cannot be put together: {shorten(repr(error), 300)}") from error
        if not isinstance(schema, dict):
            raise IncompatibleSchemaError(f"{name} in the registry is {shorten(repr(schema), 100)}, not a record")
        return schema

    def _collect(self, registered: RegistrySchema, name: str, into: dict[str, Any]) -> None:
        if not isinstance(registered.schema_str, str):
            self._client.clear_caches()  # it has kept this answer
            raise DependencyDownError(DEPENDENCY, f"answers without a schema when asked for {name}")
        if registered.schema_type not in (None, "AVRO"):
            raise IncompatibleSchemaError(f"{name} in the registry is {registered.schema_type}, not Avro")
        try:
            into[name] = json.loads(registered.schema_str)
        except (ValueError, RecursionError) as error:
            raise IncompatibleSchemaError(f"{name} in the registry is not JSON: {error}") from error
        for reference in registered.references or ():
            if reference.name not in into:
                referenced = _ask(self._client.get_version, reference.subject, reference.version)
                self._collect(referenced.schema, reference.name, into)


class _Fetched(AbstractSchemaRepository):  # type: ignore[misc]  # fastavro is untyped to mypy here
    """Schemas by the name that others refer to them by."""

    def __init__(self, schemas: dict[str, Any]) -> None:
        self._schemas = schemas

    def load(self, name: str) -> Any:
        if name not in self._schemas:
            raise SchemaRepositoryError(name)
        return self._schemas[name]


def writer_schema_lookup(registry: SchemaRegistry | None) -> Callable[[SchemaKey], Schema]:
    """Build the look-up that `schemas.codec.decode` wants: ids in the registry, fingerprints in this package.

    Args:
        registry: without one, values in Confluent's format are of an unknown schema.

    Returns:
        A function that raises `UnknownSchemaError` for what cannot be found, and what
        `SchemaRegistry.writer_schema` raises.
    """

    def writer_schema_of(key: SchemaKey) -> Schema:
        if isinstance(key, Fingerprint):
            schema = shipped_fingerprints().get(key)
            if schema is None:
                raise UnknownSchemaError(f"no schema in schemas/avro has the {key}")
            return schema
        if registry is None:
            raise UnknownSchemaError(f"no registry to ask for {key}; set SCHEMA_REGISTRY_URL")
        return registry.writer_schema(key.value)

    return writer_schema_of


def _ask(question: Callable[..., Any], *arguments: Any) -> Any:
    """Put one question to the registry and sort what comes back into our kinds of failure."""
    try:
        return question(*arguments)
    except SchemaRegistryError as error:
        # A proxy's or a wrong path's 404 has no error code of the registry's: believing it would turn
        # good records into dead letters.
        if error.http_status_code == 404 and str(error.error_code).startswith("404"):
            raise UnknownSchemaError(f"the registry says: {error.error_message}") from error
        if error.http_status_code in (409, 422):
            raise IncompatibleSchemaError(f"the registry refuses the schema: {error.error_message}") from error
        hint = {
            401: "; check SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO",
            403: "; check SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO",
            404: "; check the path in SCHEMA_REGISTRY_URL",
        }.get(error.http_status_code, "")
        raise DependencyDownError(DEPENDENCY, f"answers {error}{hint}") from error
    except Exception as error:  # refused, timed out, no TLS, no JSON: the client has no common class for these
        raise DependencyDownError(DEPENDENCY, f"does not answer: {error!r}") from error


def registry_at(url: str | None) -> SchemaRegistry | None:
    """`registry_from_environment`, or None where there is none.

    Raises:
        UserError: a setting cannot be used.
    """
    return registry_from_environment(url) if url else None


def registry_from_environment(url: str) -> SchemaRegistry:
    """The registry at this address, with credentials from `SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO` (or `…_FILE`).

    `SCHEMA_REGISTRY_SSL_CA_LOCATION` names CA certificates to trust instead of the usual ones.

    Raises:
        UserError: a setting cannot be used.
    """
    secret = "SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO"  # noqa: S105 - the name of a variable
    user_info, path = os.environ.get(secret), os.environ.get(f"{secret}_FILE")
    if path:
        try:
            user_info = Path(path).read_text().strip()
        except OSError as error:
            raise UserError(f"{secret}_FILE={path}: cannot be read ({error.strerror}); correct the path") from error
    certificates = os.environ.get("SCHEMA_REGISTRY_SSL_CA_LOCATION")
    return SchemaRegistry(url, basic_auth_user_info=user_info, ssl_ca_location=certificates)
