"""Questions to a schema registry over HTTP, and which of its answers are believed.

Only what is in the registry's own format counts as its word. All else (an ingress's page, a proxy's 404, an empty
answer) is an outage: a record must not become a dead letter for it.
"""

import json
import random
import threading
import time
from collections.abc import Mapping
from textwrap import shorten
from typing import Any
from urllib.parse import urlsplit

from common.errors import DependencyDownError, UserError
from schemas.access import DEPENDENCY, Access
from schemas.errors import IncompatibleSchemaError, UnknownSchemaError
from schemas.http import Answer, Budget, NoAnswerError, TooLargeError, origin, request

RETRIES = 2
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 1.0
_WORTH_REPEATING = frozenset({408, 429, 500, 502, 503, 504})
_NOT_FOUND = frozenset({40401, 40402, 40403})  # no such subject, version, schema
_ACCEPT = "application/vnd.schemaregistry.v1+json, application/vnd.schemaregistry+json, application/json"
_MAX_WORDS = 300
_CCOMPAT = "/apis/ccompat/"


class NoSuchPathError(DependencyDownError):
    """A 404 that is not the registry's own: a wrong path, a proxy, or an interface that this registry lacks."""


class RefusedError(DependencyDownError):
    """The account may not do this."""


class RegistryClient:
    """Asks a registry that may be reached under several addresses.

    Args:
        url: base address, or several separated by commas, which are tried in turn.
        access: credentials.

    Raises:
        UserError: the address cannot be used.
    """

    def __init__(self, url: str, access: Access) -> None:
        self._urls = [part.strip().rstrip("/") for part in url.split(",") if part.strip()]
        if not self._urls:
            raise UserError("SCHEMA_REGISTRY_URL is empty; give the address of the registry")
        for each in self._urls:
            self._check(each)
        self._access = access
        self._lock = threading.Lock()  # questions come from several threads

    @staticmethod
    def _check(url: str) -> None:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port)
        except ValueError:
            raise UserError("SCHEMA_REGISTRY_URL is not a URL; write http://HOST:PORT or https://HOST:PORT") from None
        if "@" in parts.netloc:
            raise UserError(
                "SCHEMA_REGISTRY_URL holds a user or password, which would end up in logs; "
                "move it to SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO"
            )
        if not usable:
            raise UserError(f"SCHEMA_REGISTRY_URL={url!r} is not a URL; write http://HOST:PORT or https://HOST:PORT")

    @property
    def has_core_api(self) -> bool:
        """Whether the address is that of an Apicurio Registry, which knows ids that Confluent's interface does not."""
        return all(_CCOMPAT in url for url in self._urls)

    def ask(
        self, path: str, budget: Budget, body: Mapping[str, Any] | None = None, *, to: str, core: bool = False
    ) -> Any:
        """Ask one question, again where that may help, for as long as the budget allows.

        Args:
            path: below the base address.
            budget: what all answers may cost.
            body: sent as JSON by POST; None: GET.
            to: what the question is for, in words for an error.
            core: ask Apicurio's own interface instead of Confluent's.

        Returns:
            The JSON of the answer.

        Raises:
            UnknownSchemaError: the registry says that there is no such thing.
            IncompatibleSchemaError: it refuses a schema, or sends one that is too large.
            DependencyDownError: it does not answer, or not as a registry does.
        """
        failure = DependencyDownError(DEPENDENCY, f"could not {to}: it does not answer")
        for attempt in range(RETRIES + 1):
            for url in tuple(self._urls):
                try:
                    answer = self._request(_core(url) if core else url, path, budget, body)
                except NoAnswerError as error:
                    failure = DependencyDownError(DEPENDENCY, f"could not {to}: {origin(url)} does not answer: {error}")
                    continue
                except TooLargeError as error:
                    raise self._too_large(error, to) from error
                if answer.status not in _WORTH_REPEATING:
                    self._prefer(url)
                    return self._believed(answer, to)
                failure = DependencyDownError(DEPENDENCY, f"could not {to}: {origin(url)} answers {_said(answer)}")
            wait_s = min(_FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S) * random.uniform(0.5, 1)
            if attempt == RETRIES or wait_s >= budget.seconds_left():
                break
            time.sleep(wait_s)
        raise failure

    def _request(self, url: str, path: str, budget: Budget, body: Mapping[str, Any] | None) -> Answer:
        try:
            headers = {"Accept": _ACCEPT, **self._access.headers(budget)}
        except UserError as error:  # a file of credentials that could be read at start
            raise DependencyDownError(DEPENDENCY, str(error)) from error
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/vnd.schemaregistry.v1+json"
        return request(
            "GET" if body is None else "POST",
            f"{url}/{path}",
            headers=headers,
            content=content,
            tls=self._access.tls,
            budget=budget,
            # A request that nobody answers must leave time for the next address and the next attempt.
            within_s=budget.seconds / len(self._urls) / (RETRIES + 1),
        )

    def _prefer(self, url: str) -> None:
        """Ask the address that answered first the next time."""
        with self._lock:
            self._urls.sort(key=lambda each: each != url)

    def _believed(self, answer: Answer, to: str) -> Any:
        told = _json(answer)
        if answer.status == 200 and told is not None:
            return told
        code = told.get("error_code") if isinstance(told, dict) else None
        said = _said(answer)
        if answer.status == 404:
            name = str(told.get("name", "")) if isinstance(told, dict) else ""
            if (isinstance(code, int) and code in _NOT_FOUND) or name.endswith("NotFoundException"):
                raise UnknownSchemaError(f"the registry says: {_message(told)}")
            raise NoSuchPathError(
                DEPENDENCY, f"could not {to}: it answers {said}; check the path in SCHEMA_REGISTRY_URL"
            )
        if answer.status in (409, 422) and isinstance(code, int):
            raise IncompatibleSchemaError(f"could not {to}: the registry refuses: {_message(told)}")
        kind = RefusedError if answer.status == 403 else DependencyDownError
        raise kind(DEPENDENCY, f"could not {to}: it answers {said}{self._advice(answer)}")

    def _advice(self, answer: Answer) -> str:
        if answer.status == 401:
            self._access.refused()
            return f"; check {self._access.setting}"
        if answer.status == 403:
            return f"; grant the account that right, or check {self._access.setting}"
        if 300 <= answer.status < 400:
            place = answer.headers.get("location", "")
            there = f" to {shorten(repr(origin(place)), 100)}" if "://" in place else ""
            return f", a redirect{there}, which is not followed; set SCHEMA_REGISTRY_URL to the final address"
        return "; check SCHEMA_REGISTRY_URL" if answer.status < 300 else ""

    @staticmethod
    def _too_large(error: TooLargeError, to: str) -> Exception:
        if error.begins.lstrip()[:1] in (b"{", b"["):
            return IncompatibleSchemaError(f"could not {to}: {error}")
        return DependencyDownError(DEPENDENCY, f"could not {to}: {error}, and not JSON; check SCHEMA_REGISTRY_URL")


def _core(url: str) -> str:
    """Apicurio's own interface beside its Confluent-compatible one; version 2 of it exists in 2.x and in 3.x."""
    return url.partition(_CCOMPAT)[0] + "/apis/registry/v2"


def _json(answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def _message(told: Any) -> str:
    message = told.get("message") or told.get("title") or told.get("detail")
    return shorten(repr(message)[1:-1], _MAX_WORDS)


def _said(answer: Answer) -> str:
    told = _json(answer)
    if isinstance(told, dict) and ("message" in told or "title" in told):
        return f"{answer.status} {_message(told)}"
    begins = shorten(repr(answer.body[:100].decode(errors="replace"))[1:-1], 60)
    return (
        f"{answer.status} with {begins!r}, which is not a registry's answer"
        if begins
        else f"{answer.status} and nothing else"
    )
