"""HTTP requests whose time and memory are bounded, whatever the server does."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from common.redaction import redacted

T = TypeVar("T")


class NoAnswerError(Exception):
    """There is no usable answer; the text gives the reason."""


class TooLargeError(Exception):
    """The answer is larger than the budget allows.

    Attributes:
        begins: its first bytes.
    """

    def __init__(self, limit: int, begins: bytes) -> None:
        super().__init__(f"the answer is larger than {limit} bytes")
        self.begins = begins


class Budget:
    """Limits for all requests of one look-up together.

    Args:
        seconds: time from now.
        answer_bytes: limit for the body of one answer.
        total_bytes: limit for all bodies together.
    """

    def __init__(self, seconds: float, answer_bytes: int, total_bytes: int) -> None:
        self._deadline = time.monotonic() + seconds
        self.seconds, self._answer_bytes, self._bytes_left = seconds, answer_bytes, total_bytes

    def seconds_left(self) -> float:
        """Seconds until the deadline; zero or negative after it."""
        return self._deadline - time.monotonic()

    def largest_answer(self) -> int:
        """Limit for the body of the next answer, bytes."""
        return min(self._answer_bytes, self._bytes_left)

    def spend(self, size: int) -> None:
        """Count an answer of this size."""
        self._bytes_left -= size


class Answer(NamedTuple):
    """A server's answer."""

    status: int
    headers: httpx.Headers
    body: bytes


class _Watch:
    """Closes a request's connection at its deadline. Timeouts of single reads do not stop a slow server."""

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Record a new connection (httpx's trace extension)."""
        if event == "connection.connect_tcp.complete":
            # A duplicate stays valid after TLS has wrapped the original.
            self._sockets.append(info["return_value"].get_extra_info("socket").dup())
            # The timer may have fired already, because the timeout applies to each address of a host separately.
            if self.over:
                self._cut()

    def _cut(self) -> None:
        self.over = True
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        for each in self._sockets:
            each.close()


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    content: bytes | None,
    tls: ssl.SSLContext,
    budget: Budget,
    within_s: float | None = None,
) -> Answer:
    """Make one request. Redirects are not followed, so that credentials are not sent elsewhere.

    Args:
        method: such as `GET`.
        url: address.
        headers: request headers.
        content: request body, if any.
        tls: TLS context with the trusted CAs.
        budget: limits for the answer.
        within_s: time limit of this request, if it is shorter than the budget's.

    Raises:
        NoAnswerError: there is no connection, no complete HTTP answer in time, or the answer is compressed.
        TooLargeError: the body is too large. The rest of it is not read.
    """
    seconds = budget.seconds_left() if within_s is None else min(within_s, budget.seconds_left())
    late = NoAnswerError(f"no complete answer within {seconds:.3g} s (timeout)")
    if seconds <= 0:
        raise late
    # No compression, so that the bytes read are a limit for memory too.
    headers = {"Accept-Encoding": "identity", **headers}
    with _Watch(seconds) as watch:
        try:
            with (
                httpx.Client(verify=tls, follow_redirects=False, timeout=seconds) as client,
                client.stream(
                    method, url, headers=headers, content=content, extensions={"trace": watch.trace}
                ) as response,
            ):
                body = _body(response, budget)
        except (NoAnswerError, TooLargeError):
            raise
        except httpx.TimeoutException as error:
            raise late from error
        except Exception as error:  # errors of httpx, its parser and TLS have no common class
            if watch.over:
                raise late from error
            raise NoAnswerError((str(error) or repr(error)) + _through(url)) from error
        if watch.over:  # a closed connection may look like the end of the body
            raise late
    budget.spend(len(body))
    return Answer(response.status_code, response.headers, body)


def _body(response: httpx.Response, budget: Budget) -> bytes:
    encoding = response.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise NoAnswerError(f"the answer is compressed ({encoding[:40]!r}), though the request did not allow it")
    limit = budget.largest_answer()
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > limit:
            raise TooLargeError(limit, bytes(body[:20]))
    return bytes(body)


def _through(url: str) -> str:
    """Text that names the proxy of a request, because a proxy's faults look like the server's; empty without one."""
    parts, proxies = urlsplit(url), getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.hostname or ""):
        return ""
    name = parts.scheme if parts.scheme in proxies else "all"
    return f" (through the proxy {redacted(proxy)} of {name.upper()}_PROXY)"


def origin(url: str) -> str:
    """Scheme, host and port of an address, without user, password, path and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that is not a URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def in_background(question: Callable[[], T]) -> Future[T]:
    """Call a function in a new daemon thread."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(question())
        except BaseException as error:  # noqa: BLE001 - raised again by `Future.result`
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="schema-registry").start()
    return future
