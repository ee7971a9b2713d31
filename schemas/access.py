"""Credentials for the schema registry: TLS, basic and bearer authentication.

A value that is in a file (a variable whose name ends in `_FILE`) is read at each use, so that a renewed token takes
effect without a restart.
"""

import base64
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import httpx

from common.environment import variable
from common.errors import DependencyDownError, UserError
from schemas.http import Budget, NoAnswerError, TooLargeError, origin, request
from schemas.registry_environment import CLIENT_CREDENTIALS, PREFIX

DEPENDENCY = "schema registry"
_RENEW_AT = 0.8  # of a token's lifetime
_DEFAULT_LIFETIME_S = 300.0


@dataclass
class Access:
    """Credentials and trusted CAs.

    Args:
        values: see `schemas.registry_environment.registry_variables`. Other names are ignored.

    Raises:
        UserError: a value is invalid, or values contradict each other.
    """

    values: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._token, self._renew_at = "", 0.0
        self.tls = self._tls()
        self._issuer_tls = self._trusting(_default_trust())  # the issuer may have a certificate of a public CA
        user_info = self._secret("BASIC_AUTH_USER_INFO")
        if user_info and ":" not in user_info:
            raise UserError(f"{PREFIX}BASIC_AUTH_USER_INFO must have the form user:password")
        issued = [n for n in CLIENT_CREDENTIALS if self._secret(n)]
        if issued and len(issued) < len(CLIENT_CREDENTIALS):
            missing = ", ".join(PREFIX + n for n in CLIENT_CREDENTIALS if n not in issued)
            raise UserError(f"{PREFIX}{issued[0]} is set without {missing}")
        kinds = [n for n in ("BASIC_AUTH_USER_INFO", "BEARER_AUTH_TOKEN", "BEARER_AUTH_CLIENT_ID") if self._secret(n)]
        if len(kinds) > 1:
            raise UserError(f"{' and '.join(PREFIX + n for n in kinds)} are set; set only one of them")
        self.kind = kinds[0] if kinds else None

    @property
    def setting(self) -> str:
        """The variable to check if the registry rejects the credentials."""
        return PREFIX + (self.kind or "BASIC_AUTH_USER_INFO (or BEARER_AUTH_TOKEN)")

    def headers(self, budget: Budget) -> dict[str, str]:
        """HTTP headers with the credentials.

        Raises:
            DependencyDownError: the issuer gives no token.
        """
        if self.kind is None:
            return {}
        if self.kind == "BASIC_AUTH_USER_INFO":
            return {"Authorization": _basic(self._secret(self.kind))}
        token = self._secret(self.kind) if self.kind == "BEARER_AUTH_TOKEN" else self._issued_token(budget)
        confluent_cloud = {
            "target-sr-cluster": self._secret("BEARER_AUTH_LOGICAL_CLUSTER"),
            "Confluent-Identity-Pool-Id": self._secret("BEARER_AUTH_IDENTITY_POOL_ID"),
        }
        return {"Authorization": f"Bearer {token}"} | {name: value for name, value in confluent_cloud.items() if value}

    def refused(self) -> None:
        """Discard the issued token, after the registry rejected it."""
        self._token = ""

    def _secret(self, name: str) -> str:
        path = self.values.get(f"{name}_FILE")
        if not path:
            return self.values.get(name, "")
        try:
            return Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise UserError(f"{PREFIX}{name}_FILE={path}: cannot be read ({reason}); correct the path") from error

    def _issued_token(self, budget: Budget) -> str:
        """A token of the OAuth 2.0 client credentials grant, cached for most of its lifetime."""
        if self._token and time.monotonic() < self._renew_at:
            return self._token
        url = self._secret("BEARER_AUTH_ISSUER_ENDPOINT_URL")
        form = {"grant_type": "client_credentials"}
        if scope := self._secret("BEARER_AUTH_SCOPE"):
            form["scope"] = scope
        user_info = f"{self._secret('BEARER_AUTH_CLIENT_ID')}:{self._secret('BEARER_AUTH_CLIENT_SECRET')}"
        headers = {
            "Authorization": _basic(user_info),
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        content = urlencode(form).encode()
        try:
            answer = request("POST", url, headers=headers, content=content, tls=self._issuer_tls, budget=budget)
        except (NoAnswerError, TooLargeError) as error:
            raise DependencyDownError(DEPENDENCY, f"no token from {origin(url)}: {error}") from error
        try:
            issued = json.loads(answer.body)
            token, lifetime_s = "" + issued["access_token"], float(issued.get("expires_in", _DEFAULT_LIFETIME_S))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DependencyDownError(
                DEPENDENCY,
                f"no token from {origin(url)}: it answers {answer.status}; check {PREFIX}BEARER_AUTH_CLIENT_ID, "
                "_CLIENT_SECRET, _SCOPE and _ISSUER_ENDPOINT_URL",
            ) from error
        self._token, self._renew_at = token, time.monotonic() + _RENEW_AT * lifetime_s
        return self._token

    def _tls(self) -> ssl.SSLContext:
        if self.values.get("SSL_CA_LOCATION"):
            context = self._trusting(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        else:
            context = _default_trust()
        certificate, key = self.values.get("SSL_CERTIFICATE_LOCATION"), self.values.get("SSL_KEY_LOCATION")
        if key and not certificate:
            raise UserError(f"{PREFIX}SSL_KEY_LOCATION is set without {PREFIX}SSL_CERTIFICATE_LOCATION")
        if certificate:
            password = self._secret("SSL_KEY_PASSWORD")
            try:
                # Always pass a password. Otherwise OpenSSL asks for one at the terminal.
                context.load_cert_chain(certificate, key or None, password)
            except (OSError, ValueError) as error:
                raise UserError(
                    f"{PREFIX}SSL_CERTIFICATE_LOCATION={certificate} with {PREFIX}SSL_KEY_LOCATION={key}: cannot be "
                    f"used ({_reason(error)}); check the files and {PREFIX}SSL_KEY_PASSWORD"
                ) from error
        return context

    def _trusting(self, context: ssl.SSLContext) -> ssl.SSLContext:
        path = self.values.get("SSL_CA_LOCATION")
        if path:
            try:
                if Path(path).is_dir():
                    context.load_verify_locations(capath=path)
                else:
                    context.load_verify_locations(cafile=path)
            except OSError as error:
                raise UserError(f"{PREFIX}SSL_CA_LOCATION={path}: cannot be used ({_reason(error)})") from error
        return context


def _default_trust() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        named = [
            f"{name}={path}" for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE") if (path := variable(name))
        ]
        raise UserError(
            f"{' or '.join(named)}: cannot be used ({_reason(error)}); correct the path or unset it"
        ) from error


def _basic(user_info: str) -> str:
    return "Basic " + base64.b64encode(user_info.encode()).decode()


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
