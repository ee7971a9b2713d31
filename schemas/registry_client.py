"""Sends requests to a schema registry, and decides which answers come from it.

Only an answer in the registry's format counts. Anything else (an ingress's page, a proxy's 404, an empty answer) is an
outage, because such an answer must not make a record a dead letter.
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
_SHORTEST_S = 1.0  # a TLS handshake and an answer over a slow network
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_NOT_FOUND = frozenset({40401, 40402, 40403})  # no such subject, version, schema
_ACCEPT = "application/vnd.schemaregistry.v1+json, application/vnd.schemaregistry+json, application/json"
_MAX_TEXT = 300
_CCOMPAT = "/apis/ccompat/"


class NoSuchPathError(DependencyDownError):
    """A 404 that is not in the registry's format: a wrong path, a proxy, or an API that this registry does not have."""


class RefusedError(DependencyDownError):
    """The registry does not allow this account to do this."""


class RegistryClient:
    """A client of a registry, which may have several addresses.

    Args:
        url: base address, or several separated by commas, which are tried in turn.
        access: credentials.

    Raises:
        UserError: an address is not valid.
    """

    def __init__(self, url: str, access: Access) -> None:
        self._urls = [part.strip().rstrip("/") for part in url.split(",") if part.strip()]
        if not self._urls:
            raise UserError("SCHEMA_REGISTRY_URL is empty; give the address of the registry")
        for each in self._urls:
            self._check(each)
        self._access = access
        self._lock = threading.Lock()  # several threads send requests

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
        """Whether the addresses are of an Apicurio Registry, whose own API supports more kinds of ids."""
        return all(_CCOMPAT in url for url in self._urls)

    def ask(
        self, path: str, budget: Budget, body: Mapping[str, Any] | None = None, *, to: str, core: bool = False
    ) -> Any:
        """Send a request, and repeat it after a transient error as long as the budget allows.

        Args:
            path: path below the base address.
            budget: limits for all answers.
            body: sent as JSON by POST; None: GET.
            to: purpose of the request, for errors: "could not {to}".
            core: use Apicurio's own API instead of Confluent's.

        Returns:
            The JSON of the answer.

        Raises:
            UnknownSchemaError: the registry does not have the requested object.
            IncompatibleSchemaError: the registry rejects a schema, or sends one that is too large.
            DependencyDownError: the registry does not answer, or not in its format.
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
                if answer.status not in _TRANSIENT:
                    self._prefer(url)
                    return self._checked(answer, to)
                failure = DependencyDownError(DEPENDENCY, f"could not {to}: {origin(url)} answers {_text(answer)}")
            wait_s = min(_FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S) * random.uniform(0.5, 1)
            if attempt == RETRIES or wait_s >= budget.seconds_left():
                break
            time.sleep(wait_s)
        raise failure

    def _request(self, url: str, path: str, budget: Budget, body: Mapping[str, Any] | None) -> Answer:
        try:
            headers = {"Accept": _ACCEPT, **self._access.headers(budget)}
        except UserError as error:  # a file of credentials that was readable at start
            raise DependencyDownError(DEPENDENCY, str(error)) from error
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/vnd.schemaregistry.v1+json"
        each_s = budget.seconds / len(self._urls)
        return request(
            "GET" if body is None else "POST",
            f"{url}/{path}",
            headers=headers,
            content=content,
            tls=self._access.tls,
            budget=budget,
            # A request without an answer must leave time for the other addresses and attempts.
            within_s=max(each_s / (RETRIES + 1), min(each_s, _SHORTEST_S)),
        )

    def _prefer(self, url: str) -> None:
        """Use the address that answered first from now on."""
        with self._lock:
            self._urls.sort(key=lambda each: each != url)

    def _checked(self, answer: Answer, to: str) -> Any:
        content = _json(answer)
        if answer.status == 200 and content is not None:
            return content
        code = content.get("error_code") if isinstance(content, dict) else None
        text = _text(answer)
        if answer.status == 404:
            name = str(content.get("name", "")) if isinstance(content, dict) else ""
            if (isinstance(code, int) and code in _NOT_FOUND) or name.endswith("NotFoundException"):
                raise UnknownSchemaError(f"the registry says: {_message(content)}")
            raise NoSuchPathError(
                DEPENDENCY, f"could not {to}: it answers {text}; check the path in SCHEMA_REGISTRY_URL"
            )
        if answer.status in (409, 422) and isinstance(code, int):
            raise IncompatibleSchemaError(f"could not {to}: the registry rejects it: {_message(content)}")
        kind = RefusedError if answer.status == 403 else DependencyDownError
        raise kind(DEPENDENCY, f"could not {to}: it answers {text}{self._advice(answer)}")

    def _advice(self, answer: Answer) -> str:
        if answer.status == 401:
            self._access.refused()
            return f"; check {self._access.setting}"
        if answer.status == 403:
            return f"; grant the account this permission, or check {self._access.setting}"
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
    """Base address of Apicurio's own API. Version 2 of it exists in Apicurio 2.x and 3.x."""
    return url.partition(_CCOMPAT)[0] + "/apis/registry/v2"


def _json(answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def _message(content: Any) -> str:
    message = content.get("message") or content.get("title") or content.get("detail")
    return shorten(repr(message)[1:-1], _MAX_TEXT)


def _text(answer: Answer) -> str:
    content = _json(answer)
    if isinstance(content, dict) and ("message" in content or "title" in content):
        return f"{answer.status} {_message(content)}"
    begins = shorten(repr(answer.body[:100].decode(errors="replace"))[1:-1], 60)
    return (
        f"{answer.status} with {begins!r}, which is not an answer of a registry"
        if begins
        else f"{answer.status} without a body"
    )
