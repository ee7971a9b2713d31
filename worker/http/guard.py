"""Checks the Host header of every request to the sidecar, and adds security headers to every response."""

import ipaddress
import socket
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOOPBACK = ("localhost", "localhost.localdomain", "ip6-localhost")
_HEADERS = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Refuses requests for other host names (DNS rebinding), and adds security headers to every response.

    A web page can let its own host name resolve to this server, and so make a browser read the response. So only names
    that nobody else can own are accepted. IP addresses are always accepted.
    """

    def __init__(self, app: ASGIApp, host: str, allowed: Iterable[str], refusal: ASGIApp | None = None) -> None:
        """Names are compared without case.

        Args:
            app: the guarded application.
            host: that it listens on.
            allowed: further names; `*`: all names.
            refusal: answers requests for other host names.
        """
        self._app, self._refusal = app, refusal or _NOT_OURS
        names = (*_LOOPBACK, host, socket.gethostname(), *allowed)
        self._names = {name.strip().lower().rstrip(".") for name in names if name.strip()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._app if self._is_ours(Headers(scope=scope).getlist("host")) else self._refusal
        await answer(scope, receive, send_with_headers)

    def _is_ours(self, given: list[str]) -> bool:
        if not given:  # HTTP/1.0, so not a browser
            return True
        name = _without_port(given[0]).lower().rstrip(".")
        return len(given) == 1 and ("*" in self._names or name in self._names or _is_address(name))


WRONG_HOST = "the Host header names another host; if it means this one, add it to HAZARDSTREAM_HTTP_ALLOWED_HOSTS"
_NOT_OURS = JSONResponse({"detail": WRONG_HOST}, status_code=421)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
