"""HTTP requests whose answer costs no more time and memory than was granted, whatever the server does."""

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
    """There is no usable answer. The text says why."""


class TooLargeError(Exception):
    """The answer is larger than the budget allows.

    Attributes:
        begins: the first bytes of it.
    """

    def __init__(self, limit: int, begins: bytes) -> None:
        super().__init__(f"the answer is larger than {limit} bytes")
        self.begins = begins


class Budget:
    """What one question may cost in all, however many requests it takes.

    Args:
        seconds: from now.
        answer_bytes: largest body of one answer.
        total_bytes: largest sum of all bodies.
    """

    def __init__(self, seconds: float, answer_bytes: int, total_bytes: int) -> None:
        self._deadline = time.monotonic() + seconds
        self.seconds, self._answer_bytes, self._bytes_left = seconds, answer_bytes, total_bytes

    def seconds_left(self) -> float:
        """Seconds until the deadline; not positive when it has passed."""
        return self._deadline - time.monotonic()

    def largest_answer(self) -> int:
        """How many bytes the next answer may have."""
        return min(self._answer_bytes, self._bytes_left)

    def spend(self, size: int) -> None:
        """Count an answer of this size."""
        self._bytes_left -= size


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: httpx.Headers
    body: bytes


class _Watch:
    """Cuts a request's connection at its deadline. A timeout of each read alone lets a server drip for ever."""

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Take note of a new connection (httpx's trace extension)."""
        if event == "connection.connect_tcp.complete":
            # A duplicate stays valid when TLS takes the original over.
            self._sockets.append(info["return_value"].get_extra_info("socket").dup())
            # Each address of a name may take as long as all of it should: the timer may have been and gone.
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
    """Make one request. Redirects are not followed: credentials go nowhere else.

    Args:
        method: such as `GET`.
        url: where to.
        headers: of the request.
        content: the body, if any.
        tls: whom to trust.
        budget: what the answer may cost.
        within_s: deadline of this request where it is to come before the budget's.

    Raises:
        NoAnswerError: no connection, no complete HTTP answer in time, or a compressed one.
        TooLargeError: the body is too large; the rest of it is not read.
    """
    seconds = budget.seconds_left() if within_s is None else min(within_s, budget.seconds_left())
    late = NoAnswerError(f"no complete answer within {seconds:.3g} s (timeout)")
    if seconds <= 0:
        raise late
    # No compression: what is read is then all that it can become.
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
        except Exception as error:  # httpx, its parser and TLS have no common class
            if watch.over:
                raise late from error
            raise NoAnswerError((str(error) or repr(error)) + _through(url)) from error
        if watch.over:  # a cut connection may look like the end of the body
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
    """Which proxy a request went through, as its faults look like the server's; empty: none."""
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
        return "an address that is no URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def in_background(question: Callable[[], T]) -> Future[T]:
    """Call a function on a thread of its own, which does not keep the process alive."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(question())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="schema-registry").start()
    return future
