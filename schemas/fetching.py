"""Fetches a schema and its references from a registry, by id or GUID."""

import json
import threading
from textwrap import shorten
from typing import Any
from urllib.parse import quote

from cachetools import LRUCache

from common.errors import DependencyDownError
from schemas.access import DEPENDENCY
from schemas.errors import UnknownSchemaError, UnreadableValueError
from schemas.http import Budget
from schemas.load import Schema
from schemas.references import Reference, Registered, inlined, registered
from schemas.registry_client import NoSuchPathError, RegistryClient
from schemas.wire import ApicurioId, ConfluentId, Guid, RegistryKey

MAX_ID = 2**31 - 1  # ids are Java ints in the registry's API
MAX_ANSWER_BYTES = 2_000_000
MAX_LOOKUP_BYTES = 8_000_000  # a schema with all its references
_VERSIONS_KEPT = 1000


class Fetcher:
    """Fetches schemas. Caches only referenced versions, which never change.

    Args:
        client: client of the registry.
        use_id: kind of Apicurio's 8-byte ids, `globalId` or `contentId`.
        timeout_s: for all requests of one schema together.
    """

    def __init__(self, client: RegistryClient, use_id: str | None, timeout_s: float) -> None:
        self._client, self._use_id, self._timeout_s = client, use_id, timeout_s
        self._versions: LRUCache[Reference, Registered] = LRUCache(_VERSIONS_KEPT)
        self._lock = threading.Lock()

    def fetch(self, key: RegistryKey) -> Schema:
        """Fetch a schema.

        Raises:
            UnknownSchemaError, IncompatibleSchemaError, DependencyDownError: as `SchemaRegistry.schema_of` does.
        """
        budget = self.budget()
        try:
            found = self._in_core(key, budget) if isinstance(key, ApicurioId) else self._registered(key, budget)
            return inlined(found, _the(key), lambda reference: self._version(reference, budget))
        except (UnreadableValueError, DependencyDownError):
            raise
        except Exception as error:  # the answer may be any JSON
            raise DependencyDownError(
                DEPENDENCY,
                f"its answer for {_the(key)} cannot be read; is that a registry? {shorten(repr(error), 100)}",
            ) from error

    def budget(self) -> Budget:
        """A budget for one look-up that starts now."""
        return Budget(self._timeout_s, MAX_ANSWER_BYTES, MAX_LOOKUP_BYTES)

    def _registered(self, key: ConfluentId | Guid, budget: Budget) -> Registered:
        to = f"look up {key}"
        if isinstance(key, ConfluentId):
            return registered(self._client.ask(f"schemas/ids/{key.value}", budget, to=to), _the(key))
        try:
            return registered(self._client.ask(f"schemas/guids/{key.uuid}", budget, to=to), _the(key))
        except NoSuchPathError:
            self._client.ask("schemas/types", budget, to=to)  # raises if the base address is wrong
            raise UnknownSchemaError(f"this registry cannot look up GUIDs, so {key} cannot be found") from None

    def _in_core(self, key: ApicurioId, budget: Budget) -> Registered:
        """Look up an Apicurio id, which the Confluent-compatible API does not support."""
        kind = key.kind or self._use_id
        if kind is None:
            raise UnknownSchemaError(
                f"{key} may be a global id or a content id; set SCHEMA_REGISTRY_USE_ID to globalId or contentId, "
                "like the producer's apicurio.registry.use-id"
            )
        if not self._client.has_core_api:
            raise UnknownSchemaError(
                f"{key} can only be looked up in an Apicurio Registry; "
                "SCHEMA_REGISTRY_URL does not end in /apis/ccompat/v7"
            )
        path, to = f"ids/{kind}s/{key.value}", f"look up {key}"
        schema = self._client.ask(path, budget, to=to, core=True)
        listed = self._client.ask(f"{path}/references", budget, to=to, core=True)
        references = [{**r, "subject": r.get("artifactId")} for r in listed] if isinstance(listed, list) else listed
        return registered({"schema": json.dumps(schema), "references": references}, _the(key))

    def _version(self, reference: Reference, budget: Budget) -> Registered:
        with self._lock:
            known = self._versions.get(reference)
        if known is None:
            what = f"version {reference.version} of {reference.subject!r}"
            path = f"subjects/{quote(reference.subject, safe='')}/versions/{reference.version}"
            known = registered(self._client.ask(path, budget, to=f"look up {what}"), what)
            with self._lock:
                self._versions[reference] = known
        return known

    def latest(self, subject: str) -> tuple[int, Schema] | None:
        """Look up the newest schema of a subject: its id and the schema; None if there is none.

        Raises:
            IncompatibleSchemaError, DependencyDownError: as `SchemaRegistry.latest` does.
        """
        budget, to = self.budget(), f"look up the newest schema of subject {subject!r}"
        try:
            answer = self._client.ask(f"subjects/{quote(subject, safe='')}/versions/latest", budget, to=to)
        except UnknownSchemaError:
            return None
        schema_id = id_in(answer)
        what = _the(ConfluentId(schema_id))
        return schema_id, inlined(registered(answer, what), what, lambda reference: self._version(reference, budget))


def id_in(answer: Any) -> int:
    """The schema id in an answer.

    Raises:
        DependencyDownError: the answer has none.
    """
    schema_id = answer.get("id") if isinstance(answer, dict) else None
    if not isinstance(schema_id, int) or not 0 <= schema_id <= MAX_ID:
        raise DependencyDownError(DEPENDENCY, "its answer has no schema id")
    return schema_id


def _the(key: RegistryKey) -> str:
    return f"the schema with {key}"
