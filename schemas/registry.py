"""Schemas from a Confluent-compatible registry, by id, GUID or Apicurio's ids."""

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
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

SCHEMAS_KEPT = 1000
UNKNOWN_IDS_KEPT = 1000


class SchemaRegistry:
    """Looks writer schemas up and registers ours, with what was learnt kept in memory.

    A schema behind an id never changes and is asked for once. An id the registry does not know is asked
    for again after `unknown_ttl_s`, so that a flood of records with that id costs one question, and a schema
    registered late is found. In a flood of ids (noise taken for a prefix), when `UNKNOWN_IDS_KEPT` of them are
    remembered as unknown, no more are asked for but those that a registry, which counts up, could give out next.

    Args:
        url: base address, such as `http://registry:8081` or `http://apicurio:8080/apis/ccompat/v7`;
            several separated by commas are tried in turn.
        access: credentials.
        auto_register: whether our schemas may be registered; if not, they are only looked up.
        use_id: what Apicurio's 8-byte ids stand for, `globalId` or `contentId`.
        timeout_s: for everything that one question takes: connections, retries, references.
        patience_s: longest that `schema_of` waits for an answer; it goes on being waited for in the background, and the
            next call finds it.
        unknown_ttl_s: how long "no such id" is believed.
        clock: monotonic seconds.

    Raises:
        UserError: an argument cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        access: Access | None = None,
        auto_register: bool = True,
        use_id: str | None = None,
        timeout_s: float = 10.0,
        patience_s: float | None = None,
        unknown_ttl_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = RegistryClient(url, access or Access())
        self._fetcher = Fetcher(self._client, use_id, timeout_s)
        self._url, self._auto_register = url, auto_register
        # A little more than all may take: where no deadline helps, as in a resolver that does not answer.
        self._patience_s = timeout_s + 0.5 if patience_s is None else patience_s
        self._known: dict[RegistryKey, Schema | str] = {}  # a text says why it cannot be used
        self._highest_known = 0
        self._unknown: TTLCache[RegistryKey, str] = TTLCache(UNKNOWN_IDS_KEPT, unknown_ttl_s, timer=clock)
        self._asking: dict[RegistryKey, Future[Schema]] = {}

    def __repr__(self) -> str:
        return f"SchemaRegistry({self._url!r})"

    def writer_schema(self, schema_id: int) -> Schema:
        """`schema_of` an id in Confluent's prefix, 0 to 2**32 - 1."""
        return self.schema_of(ConfluentId(schema_id))

    def schema_of(self, key: RegistryKey) -> Schema:
        """Look up the schema that a message names.

        Returns:
            The schema with references to other subjects put in place; a top-level union as `{"type": [...]}`.
            The same object each time, while remembered.

        Raises:
            UnknownSchemaError: the registry has no such schema.
            IncompatibleSchemaError: it is no Avro schema, or refers to what cannot be found.
            DependencyDownError: the registry does not answer, or not as a registry does.
        """
        if key not in self._known:
            self._learn(key)
        known = self._known[key]
        if isinstance(known, str):
            raise IncompatibleSchemaError(known)
        return known

    def _learn(self, key: RegistryKey) -> None:
        if isinstance(key, ConfluentId) and key.value > MAX_ID:
            raise UnknownSchemaError(f"{key.value} cannot be a registry id: they end at {MAX_ID}")
        if (told := self._unknown.get(key)) is not None:
            raise UnknownSchemaError(told)
        next_ids = isinstance(key, ConfluentId) and key.value <= self._highest_known + UNKNOWN_IDS_KEPT
        if len(self._unknown) >= UNKNOWN_IDS_KEPT and not next_ids:
            raise UnknownSchemaError(
                f"the registry was not asked for {key}: it has just denied {UNKNOWN_IDS_KEPT} others, and "
                f"this one is not just above the highest id known to exist ({self._highest_known})"
            )
        known: Schema | str
        try:
            known = self._answer(key)
        except UnknownSchemaError as error:
            self._unknown[key] = str(error)
            raise
        except IncompatibleSchemaError as error:
            known = str(error)
        if len(self._known) >= SCHEMAS_KEPT:  # somebody registers a schema a message
            self._known.clear()
        self._known[key] = known
        if isinstance(key, ConfluentId):
            self._highest_known = max(self._highest_known, key.value)

    def _answer(self, key: RegistryKey) -> Schema:
        """Wait for the registry's answer; when patience ends, a thread goes on waiting for it."""
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
        """Register the schema of a topic's values, or find it, and give what Confluent's wire format begins with.

        Raises:
            IncompatibleSchemaError, DependencyDownError: as `register` does.
        """
        return confluent_prefix(self.register(f"{topic}-value", schema))

    def register(self, subject: str, schema: Schema) -> int:
        """Find a schema under a subject, or register it there if it is missing and this may be done.

        Args:
            subject: by convention the topic and `-value`.
            schema: with docs, aliases and properties, as its file declares it.

        Returns:
            Its id, for `schemas.wire.confluent_prefix`.

        Raises:
            IncompatibleSchemaError: the subject's compatibility rule, or the registry's parser, refuses it.
            DependencyDownError: the registry does not answer, or not as a registry does; or the schema is missing and
                may not be registered.
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
            f"subject {subject!r} does not have {name}, and SCHEMA_REGISTRY_AUTO_REGISTER=false forbids to register "
            f"it: {_BY_HAND.format(name)}",
        )

    def _same_bytes(self, subject: str, schema: Schema) -> int | None:
        """The newest schema's id, if it has other docs or defaults than ours, but stands for the same bytes."""
        newest = self.latest(subject)
        if newest is None:
            return None
        try:
            same = fingerprint(newest[1]) == fingerprint(schema)
        except Exception:  # noqa: BLE001 - a union, or whatever JSON a registry holds: none of our records
            return None
        return newest[0] if same else None

    def latest(self, subject: str) -> tuple[int, Schema] | None:
        """Look up the newest schema under a subject: its id and the schema; None where there is none.

        Raises:
            IncompatibleSchemaError: it is no Avro schema.
            DependencyDownError: the registry does not answer, or not as a registry does.
        """
        return self._fetcher.latest(subject)


_BY_HAND = "register {}.avsc of the pipeline's folder there by hand"


def writer_schema_lookup(
    registry: SchemaRegistry | None, known: Mapping[Fingerprint, Schema]
) -> Callable[[SchemaKey], Schema]:
    """Build the look-up that `schemas.codec.decode` wants: ids from the registry, fingerprints among known schemas.

    Args:
        registry: without one, values that name a schema by an id are of an unknown schema.
        known: the schemas of a pipeline by fingerprint, such as `Pipeline.known_schemas`.

    Returns:
        A function that raises `UnknownSchemaError` for what cannot be found, and what
        `SchemaRegistry.schema_of` raises.
    """

    def writer_schema_of(key: SchemaKey) -> Schema:
        if isinstance(key, Fingerprint):
            schema = known.get(key)
            if schema is None:
                raise UnknownSchemaError(f"no schema of the pipeline has the {key}")
            return schema
        if registry is None:
            raise UnknownSchemaError(f"no registry to ask for {key}; set SCHEMA_REGISTRY_URL")
        return registry.schema_of(key)

    return writer_schema_of


def registry_at(url: str | None, *, patience_s: float | None = None) -> SchemaRegistry | None:
    """`registry_from_environment`, or None where there is none.

    Raises:
        UserError: a setting cannot be used.
    """
    return registry_from_environment(url, patience_s=patience_s) if url else None


def registry_from_environment(url: str, *, patience_s: float | None = None) -> SchemaRegistry:
    """The registry at this address, with credentials (schemas/access.py) and rules from `SCHEMA_REGISTRY_…`.

    Raises:
        UserError: a setting cannot be used.
    """
    given = registry_variables()
    return SchemaRegistry(
        url,
        access=Access(given),
        auto_register=_one_of(given, "AUTO_REGISTER", {"true": True, "1": True, "false": False, "0": False}, "true"),
        use_id=_one_of(given, "USE_ID", {"": None, "globalId": "globalId", "contentId": "contentId"}, ""),
        patience_s=patience_s,
    )


def _one_of(given: Mapping[str, str], name: str, meaning: Mapping[str, T], default: str) -> T:
    value = given.get(name, default)
    if value not in meaning:
        allowed = ", ".join(each for each in meaning if each)
        raise UserError(f"SCHEMA_REGISTRY_{name}={value!r} is not one of {allowed}")
    return meaning[value]
