"""HTTP responses limited in time and size, for MLflow's client, whose timeouts apply to each read only.

A server that sends one byte a second never triggers a read timeout. Here a timer ends the whole exchange: it shuts the
connection down, which wakes the reader in headers, body or TLS handshake.
"""

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from socket import SHUT_RDWR, socket
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

ANSWER_WITHIN_S, ANSWER_MAX_BYTES = 30.0, 1 << 23
FILE_WITHIN_S, FILE_MAX_BYTES = 600.0, 1 << 29


class _Exchange:
    """One request and its response."""

    def __init__(self, within_s: float, at_most: int = FILE_MAX_BYTES) -> None:
        self._within_s, self._at_most = within_s, at_most
        self._handles: list[socket] = []
        self._lock = threading.Lock()
        self.over = False
        self._timer = threading.Timer(within_s, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def use(self, descriptor: int) -> None:
        """Register a connection that the exchange uses.

        Raises:
            OSError: the time limit has passed, and the client starts another attempt.
        """
        with self._lock:
            if self.over:
                raise OSError(self.timeout_text())
            # Our own descriptor: TLS takes over the first one, and the client releases it before the body is read.
            self._handles.append(socket(fileno=os.dup(descriptor)))

    def end(self) -> None:
        """Stop the timer."""
        self._timer.cancel()
        self._release()

    def timeout_text(self) -> str:
        """The error text after the time limit."""
        return f"no complete response within {self._within_s:g} s"

    def bounded(self, stream: Callable[..., Iterator[bytes]]) -> Callable[..., Iterator[bytes]]:
        """The body of the response, in pieces, up to the size limit."""

        def pieces(*args: Any, **options: Any) -> Iterator[bytes]:
            size = 0
            try:
                for piece in stream(*args, **options):
                    size += len(piece)
                    self._require_small(size)
                    yield piece
            except Exception:
                if not self.over:
                    raise
            finally:
                self.end()
            if self.over:  # even without an error: a response without a length ends with its connection
                raise requests.exceptions.Timeout(self.timeout_text())

        return pieces

    def ending(self, close: Callable[[], None]) -> Callable[[], None]:
        """A replacement for `close` that also ends the exchange. The response may not be read to its end."""

        def end() -> None:
            self.end()
            close()

        return end

    def _require_small(self, size: int) -> None:
        if size > self._at_most:
            raise requests.exceptions.RequestException(f"the response has more than {self._at_most} bytes")

    def _cut(self) -> None:
        with self._lock:
            self.over = True
            for handle in self._handles:
                with suppress(OSError):
                    handle.shutdown(SHUT_RDWR)
        self._release()

    def _release(self) -> None:
        with self._lock:
            for handle in self._handles:
                handle.close()
            self._handles.clear()


_CURRENT: ContextVar[_Exchange | None] = ContextVar("exchange", default=None)


class _Cut:
    """A connection that belongs to the current download. Threads of the S3 client have no context variables."""

    sock: socket | None
    download: _Exchange | None = None

    def _new_conn(self) -> socket:
        opened: socket = super()._new_conn()  # type: ignore[misc]  # mixed into a connection class of urllib3
        if _Cut.download is not None:
            _Cut.download.use(opened.fileno())
        return opened

    def request(self, *args: Any, **options: Any) -> None:
        if _Cut.download is not None and self.sock is not None:  # a kept-alive connection
            _Cut.download.use(self.sock.fileno())
        super().request(*args, **options)  # type: ignore[misc]  # as above


_DOWNLOADING = threading.Lock()


@contextmanager
def bounded_download() -> Iterator[None]:
    """Limit the total time of what the S3 client does in the block. Its own timeouts apply to each read only.

    Raises:
        RequestException: the time limit has passed.
    """
    with suppress(ModuleNotFoundError):  # without S3, it may be missing
        from botocore import awsrequest  # noqa: PLC0415 - a slow import

        for pool in (awsrequest.AWSHTTPConnectionPool, awsrequest.AWSHTTPSConnectionPool):
            if not issubclass(pool.ConnectionCls, _Cut):
                pool.ConnectionCls = type("BoundedAwsConnection", (_Cut, pool.ConnectionCls), {})
    with _DOWNLOADING:
        exchange = _Cut.download = _Exchange(FILE_WITHIN_S)
        try:
            yield
        except Exception:
            if not exchange.over:
                raise
            raise requests.exceptions.Timeout(exchange.timeout_text()) from None  # its own text says only "closed"
        finally:
            _Cut.download = None
            exchange.end()


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket:
        opened = super()._new_conn()
        if (exchange := _CURRENT.get()) is not None:
            exchange.use(opened.fileno())
        return opened

    def request(self, *args: Any, **options: Any) -> None:
        if (exchange := _CURRENT.get()) is not None and self.sock is not None:  # a kept-alive connection
            exchange.use(self.sock.fileno())
        super().request(*args, **options)


class _SecureConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class BoundedAdapter(HTTPAdapter):
    """Transport of a `requests` session that limits the time of exchanges and the size of responses."""

    def __init__(self, *args: Any, within_s: float | None = None, **options: Any) -> None:
        """Like the base class. `within_s`: limit for every exchange, instead of those by their kind."""
        self._within_s = within_s
        super().__init__(*args, **options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Like the base class, with connections that the timer can shut down."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        """Like the base class, with connections that the timer can shut down."""
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        return manager

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Like the base class.

        Raises:
            RequestException: also if the response takes too long. A response that is too large fails when it is read.
        """
        short = "/api/" in (request.url or "") and not options.get("stream") and request.method != "PUT"
        limits = (ANSWER_WITHIN_S, ANSWER_MAX_BYTES) if short else (FILE_WITHIN_S, FILE_MAX_BYTES)
        exchange = _Exchange(self._within_s or limits[0], limits[1])
        token = _CURRENT.set(exchange)
        try:
            response = super().send(request, *args, **options)
        except BaseException:
            exchange.end()
            if exchange.over:
                raise requests.exceptions.Timeout(exchange.timeout_text(), request=request) from None
            raise
        finally:
            _CURRENT.reset(token)
        response.raw.stream = exchange.bounded(response.raw.stream)
        response.raw.close = exchange.ending(response.raw.close)
        weakref.finalize(response, exchange.end).atexit = False  # a response that is neither read nor closed
        return response


def bound_mlflow() -> None:
    """Make MLflow's client use bounded adapters in its sessions. Call it before the first request."""
    from mlflow.utils import request_utils  # noqa: PLC0415 - a slow import

    theirs = request_utils.TCPKeepAliveHTTPAdapter
    if not issubclass(theirs, BoundedAdapter):
        request_utils.TCPKeepAliveHTTPAdapter = type("BoundedMlflowAdapter", (BoundedAdapter, theirs), {})
        request_utils._cached_get_request_session.cache_clear()  # noqa: SLF001 - drops sessions made before
