"""An HTTP server that stays reachable under hostile connections: each request must be complete within limited time.

Beyond the limit, new connections are still accepted, so that probes get through: the server closes the oldest
connection of the client that has most.
"""

import asyncio
import resource
import socket
import threading
from collections import Counter

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from common.errors import UserError
from common.text import shown

# From connecting, or from the response before, to the last byte of the response, however slow the client is.
REQUEST_S = 10.0
_CONNECTIONS = 256
# One in this many of the process's file descriptors may be an HTTP connection.
_DESCRIPTORS_A_CONNECTION = 4
# The event loop accepts this many connections in a row before it reads from them. A probe is answered if fewer
# connections than the limit arrive between its connection and its reading.
_ACCEPTED_AT_ONCE = 32
_KERNEL_QUEUE = 1024
_LONGEST_REQUEST_HEAD = 16_384


def connection_limit() -> int:
    """The largest number of open connections."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    share = _CONNECTIONS if descriptors == resource.RLIM_INFINITY else descriptors // _DESCRIPTORS_A_CONNECTION
    return max(8, min(_CONNECTIONS, share))


class _Connection(H11Protocol):
    """A connection with a deadline; the number of connections is limited."""

    limit = _CONNECTIONS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base class
        super().connection_made(transport)
        self._made_at = self.loop.time()
        self._deadline = self.loop.call_later(REQUEST_S, transport.abort)
        if len(self.connections) > self.limit:
            self._make_room()

    def on_response_complete(self) -> None:
        self._deadline.cancel()
        self._deadline = self.loop.call_later(REQUEST_S, self.transport.abort)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)

    def _make_room(self) -> None:
        others = [c for c in self.connections if isinstance(c, _Connection) and c is not self]
        of_client = Counter(c.host for c in others)
        busiest = max(of_client, key=of_client.__getitem__)
        # Connections with a running request are closed last.
        oldest = min((c for c in others if c.host == busiest), key=lambda c: (c.cycle is not None, c.made_at))
        self.connections.discard(oldest)
        oldest.transport.abort()

    @property
    def host(self) -> str:
        """Address of the client."""
        return self.client[0] if self.client else ""

    @property
    def made_at(self) -> float:
        """When it was accepted, on the event loop's clock."""
        return self._made_at


class HttpServer:
    """Serves an application in its own thread.

    Args:
        app: the application.
        host: address to listen on.
        port: to listen on; 0: any free one.
        keep_alive: whether a connection may carry several requests.
        stop_within_s: how long requests may still run once it is stopped.
        options: the command-line options that set host and port, for messages.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        keep_alive: bool = False,
        stop_within_s: int = 2,
        options: tuple[str, str] = ("--http-host", "--http-port"),
    ) -> None:
        self._host, self._port, self._options, self._stop_within_s = host, port, options, stop_within_s
        config = uvicorn.Config(
            app,
            http=type("Connection", (_Connection,), {"limit": connection_limit()}),
            loop="asyncio",
            ws="none",
            log_config=None,
            log_level="error",  # one line per malformed request would let anyone fill the log
            access_log=False,
            server_header=False,
            proxy_headers=False,  # or anyone on this machine could give an address of their own, and evade limits
            headers=[] if keep_alive else [("connection", "close")],
            backlog=_ACCEPTED_AT_ONCE,
            h11_max_incomplete_event_size=_LONGEST_REQUEST_HEAD,
            timeout_graceful_shutdown=stop_within_s,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)
        self._socket: socket.socket | None = None

    def start(self) -> int:
        """Start serving, and return the port.

        Raises:
            UserError: the address cannot be used.
        """
        self._socket = self._listen()
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
            if not self._thread.is_alive():
                raise UserError(f"the HTTP server did not start on {shown(self._host)}:{self._port}; see the log")
        # The kernel queues more connections than are accepted in a row.
        self._socket.listen(_KERNEL_QUEUE)
        return int(self._socket.getsockname()[1])

    def stop(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._thread.join(self._stop_within_s + 3.0)

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket] if self._socket else None)

    def _listen(self) -> socket.socket:
        host, port = self._host, self._port
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
            made = socket.create_server((host, port), family=family, backlog=_KERNEL_QUEUE)
            # Accepted sockets inherit it. Without it, a response's body waits 40 ms for the client's delayed ACK.
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            reason, (host_option, port_option) = error.strerror or str(error), self._options
            raise UserError(
                f"the HTTP server cannot listen on {shown(host)}:{port} ({reason}); choose another port with "
                f"{port_option} or another address with {host_option}"
            ) from error
        return made
