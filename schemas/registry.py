"""Looks up and registers schemas in a Confluent-compatible registry, by id, GUID or Apicurio's ids."""

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from textwrap import shorten
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from cachetools import TTLCache

from common.errors import DependencyDownError, UserError
from schemas.access import DEPENDENCY, Access
from schemas.errors import IncompatibleSchemaError, UnknownSchemaError
from schemas.fetching import MAX_ID, Fetcher, id_in
from schemas.http import in_background
from schemas.load import Schema
from schemas.registry_client import RefusedError, RegistryClient
from schemas.registry_environment import registry_variables
from schemas.wire import (
    ConfluentId,
    Fingerprint,
    RegistryKey,
    SchemaKey,
    confluent_prefix,
    fingerprint,
)

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")

COMMAND_TIMEOUT_S = 3.0
"""Time limit of a look-up for a command that somebody waits for."""
SERVICE_TIMEOUT_S = 10.0
"""Time limit of a look-up for a service, which waits for the registry anyway."""
SCHEMAS_KEPT = 1000
UNKNOWN_IDS_KEPT = 1000


class SchemaRegistry:
    """Looks up writer schemas, registers ours, and caches the results.

    The schema of an id never changes, so it is requested once. An unknown id is requested again after
    `unknown_ttl_s`: many records with that id cost one request, and a schema that is registered late is found.
    Noise may look like very many ids. So once `UNKNOWN_IDS_KEPT` unknown ids are cached, only those ids are requested
    that the registry, which counts up, could assign next.

    Args:
        url: base address, such as `http://registry:8081` or `http://apicurio:8080/apis/ccompat/v7`;
            several separated by commas are tried in turn.
        access: credentials.
        auto_register: whether our schemas may be registered; if not, they are only looked up.
        use_id: kind of Apicurio's 8-byte ids, `globalId` or `contentId`.
        timeout_s: limit for one look-up with all its connections, retries and references.
        patience_s: how long `schema_of` waits. The request then continues in the background, and a later call returns
            its result.
        unknown_ttl_s: how long an unknown id stays cached.
        clock: monotonic seconds.

    Raises:
        UserError: an argument is invalid.
    """

    def __init__(
        self,
        url: str,
        *,
        access: Access | None = None,
        auto_register: bool = True,
        use_id: str | None = None,
        timeout_s: float = SERVICE_TIMEOUT_S,
        patience_s: float | None = None,
        unknown_ttl_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = RegistryClient(url, access or Access())
        self._fetcher = Fetcher(self._client, use_id, timeout_s)
        self._url, self._auto_register = url, auto_register
        # A little longer than the timeout, for calls that ignore it, such as a DNS look-up without an answer.
        self._patience_s = timeout_s + 0.5 if patience_s is None else patience_s
        self._known: dict[RegistryKey, Schema | str] = {}  # a text is the reason why the schema cannot be used
        self._highest_known = 0
        self._unknown: TTLCache[RegistryKey, str] = TTLCache(UNKNOWN_IDS_KEPT, unknown_ttl_s, timer=clock)
        self._asking: dict[RegistryKey, Future[Schema]] = {}

    def __repr__(self) -> str:
        return f"SchemaRegistry({self._url!r})"

    def schema_of(self, key: RegistryKey) -> Schema:
        """Look up the schema that a message names.

        Returns:
            The schema with its references inlined; a top-level union as `{"type": [...]}`. It is the same object for
            each call while it is cached.

        Raises:
            UnknownSchemaError: the registry does not have the schema.
            IncompatibleSchemaError: it is not an Avro schema, or a reference cannot be resolved.
            DependencyDownError: the registry does not answer, or not in its format.
        """
        if key not in self._known:
            self._learn(key)
        known = self._known[key]
        if isinstance(known, str):
            raise IncompatibleSchemaError(known)
        return known

    def _learn(self, key: RegistryKey) -> None:
        if isinstance(key, ConfluentId) and key.value > MAX_ID:
            raise UnknownSchemaError(f"{key.value} cannot be a registry id: the largest is {MAX_ID}")
        if (reason := self._unknown.get(key)) is not None:
            raise UnknownSchemaError(reason)
        next_ids = isinstance(key, ConfluentId) and key.value <= self._highest_known + UNKNOWN_IDS_KEPT
        if len(self._unknown) >= UNKNOWN_IDS_KEPT and not next_ids:
            raise UnknownSchemaError(
                f"the registry was not asked for {key}: {UNKNOWN_IDS_KEPT} other ids were unknown to it recently, and "
                f"this one is not among those after the highest known id ({self._highest_known})"
            )
        known: Schema | str
        try:
            known = self._answer(key)
        except UnknownSchemaError as error:
            self._unknown[key] = str(error)
            raise
        except IncompatibleSchemaError as error:
            known = str(error)
        if len(self._known) >= SCHEMAS_KEPT:  # a producer registers a schema per message
            self._known.clear()
        self._known[key] = known
        if isinstance(key, ConfluentId):
            self._highest_known = max(self._highest_known, key.value)

    def _answer(self, key: RegistryKey) -> Schema:
        """Wait for the registry's answer. After `patience_s` the request continues in its thread."""
        question = self._asking.pop(key, None)
        if question is None or (question.done() and isinstance(question.exception(), DependencyDownError)):
            question = in_background(partial(self._fetcher.fetch, key))
        try:
            return question.result(self._patience_s)
        except TimeoutError:
            self._asking = {k: q for k, q in self._asking.items() if not q.done()} | {key: question}
            raise DependencyDownError(
                DEPENDENCY, f"has not answered within {self._patience_s:.3g} s when asked for {key} (timeout)"
            ) from None

    def prefix(self, topic: str, schema: Schema) -> bytes:
        """Look up the schema of a topic's values, or register it, and build the prefix of Confluent's wire format.

        Raises:
            IncompatibleSchemaError, DependencyDownError: as `register` does.
        """
        return confluent_prefix(self.register(f"{topic}-value", schema))

    def register(self, subject: str, schema: Schema) -> int:
        """Look up a schema under a subject; register it there if it is missing and `auto_register` is set.

        Args:
            subject: by convention, the topic and `-value`.
            schema: the schema with docs, aliases and properties, as in its file.

        Returns:
            Its id, for `schemas.wire.confluent_prefix`.

        Raises:
            IncompatibleSchemaError: the subject's compatibility rule or the registry's parser rejects it.
            DependencyDownError: the registry does not answer, or not in its format; or the schema is missing and may
                not be registered.
        """
        budget, body = self._fetcher.budget(), {"schema": json.dumps(schema), "schemaType": "AVRO"}
        name, path = schema["name"], f"subjects/{quote(subject, safe='')}"
        try:
            return id_in(self._client.ask(path, budget, body, to=f"look up {name} under subject {subject!r}"))
        except UnknownSchemaError:
            pass
        to = f"register {name} under subject {subject!r}"
        if self._auto_register:
            try:
                return id_in(self._client.ask(f"{path}/versions", budget, body, to=to))
            except RefusedError as refused:
                if (found := self._same_bytes(subject, schema)) is not None:
                    return found
                raise DependencyDownError(DEPENDENCY, f"{refused.reason}; or {_BY_HAND.format(name)}") from refused
        if (found := self._same_bytes(subject, schema)) is not None:
            return found
        raise DependencyDownError(
            DEPENDENCY,
            f"subject {subject!r} does not have {name}, and SCHEMA_REGISTRY_AUTO_REGISTER=false does not "
            f"allow to register it: {_BY_HAND.format(name)}",
        )

    def incompatibility(self, subject: str, schema: Schema) -> str | None:
        """Why a schema cannot be registered under a subject; None if it can, or is there already.

        Raises:
            DependencyDownError: the registry does not answer, or not in its format.
        """
        path = f"compatibility/subjects/{quote(subject, safe='')}/versions/latest?verbose=true"
        body, to = {"schema": json.dumps(schema), "schemaType": "AVRO"}, f"check {schema['name']} against {subject!r}"
        try:
            answer = self._client.ask(path, self._fetcher.budget(), body, to=to)
        except UnknownSchemaError:  # there is no such subject yet
            return None
        except IncompatibleSchemaError as error:
            return str(error)
        if not isinstance(answer, dict) or answer.get("is_compatible") is not False:
            return None
        reasons = "; ".join(map(str, answer.get("messages") or ()))
        return f"the subject's compatibility rule rejects it{f' ({shorten(reasons, 300)})' if reasons else ''}"

    def _same_bytes(self, subject: str, schema: Schema) -> int | None:
        """The id of the newest schema, if it differs from ours only in docs or defaults; otherwise None."""
        newest = self.latest(subject)
        if newest is None:
            return None
        try:
            same = fingerprint(newest[1]) == fingerprint(schema)
        except Exception:  # noqa: BLE001 - any JSON is possible here; what cannot be parsed is not our record
            return None
        return newest[0] if same else None

    def latest(self, subject: str) -> tuple[int, Schema] | None:
        """Look up the newest schema of a subject: its id and the schema; None if there is none.

        Raises:
            IncompatibleSchemaError: it is not an Avro schema.
            DependencyDownError: the registry does not answer, or not in its format.
        """
        return self._fetcher.latest(subject)


_BY_HAND = "register {}.avsc of the pipeline's folder there by hand"


def writer_schema_lookup(
    registry: SchemaRegistry | None, known: Mapping[Fingerprint, Schema]
) -> Callable[[SchemaKey], Schema]:
    """Build the look-up for `schemas.codec.decode`: ids in the registry, fingerprints among the known schemas.

    Args:
        registry: None if there is no registry; then every id is unknown.
        known: the schemas of a pipeline by fingerprint, such as `Pipeline.known_schemas`.

    Returns:
        A function that raises `UnknownSchemaError` if the schema is not found, and the errors of
        `SchemaRegistry.schema_of`.
    """

    def writer_schema_of(key: SchemaKey) -> Schema:
        if isinstance(key, Fingerprint):
            schema = known.get(key)
            if schema is None:
                raise UnknownSchemaError(f"no schema of the pipeline has the {key}")
            return schema
        if registry is None:
            raise UnknownSchemaError(f"{key} cannot be looked up without a registry; set SCHEMA_REGISTRY_URL")
        return registry.schema_of(key)

    return writer_schema_of


def registry_at(
    url: str | None, *, timeout_s: float = COMMAND_TIMEOUT_S, patience_s: float | None = None
) -> SchemaRegistry | None:
    """`registry_from_environment`; None without an address. By default it gives up as soon as a command should.

    Raises:
        UserError: a setting is invalid.
    """
    return registry_from_environment(url, timeout_s=timeout_s, patience_s=patience_s) if url else None


def registry_from_environment(
    url: str, *, timeout_s: float = SERVICE_TIMEOUT_S, patience_s: float | None = None
) -> SchemaRegistry:
    """The registry at this address, with credentials and settings from the variables `SCHEMA_REGISTRY_…`.

    Raises:
        UserError: a setting is invalid.
    """
    given = registry_variables()
    return SchemaRegistry(
        url,
        access=Access(given),
        auto_register=_one_of(given, "AUTO_REGISTER", {"true": True, "1": True, "false": False, "0": False}, "true"),
        use_id=_one_of(given, "USE_ID", {"": None, "globalId": "globalId", "contentId": "contentId"}, ""),
        timeout_s=timeout_s,
        patience_s=patience_s,
    )


def _one_of(given: Mapping[str, str], name: str, meaning: Mapping[str, T], default: str) -> T:
    value = given.get(name, default)
    if value not in meaning:
        allowed = ", ".join(each for each in meaning if each)
        raise UserError(f"SCHEMA_REGISTRY_{name}={value!r} is not one of {allowed}")
    return meaning[value]
