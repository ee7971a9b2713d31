"""An address in front of a server that can be shut, as if the server were down, and opened again."""

import contextlib
import random
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Forwards TCP connections while it is open; refuses them, and cuts those there are, while it is shut.

    While it is held, connections stay and nothing comes through, as on a network that loses all packets; what was
    sent meanwhile arrives late, even if the sender has closed the connection since.

    Attributes:
        port: on the loopback address; the same each time it is opened.
    """

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._server: socketserver.ThreadingTCPServer | None = None
        self._sockets: set[socket.socket] = set()
        self._flows = threading.Event()
        self._flows.set()
        self._spread_s = 0.0
        self.port = 0
        self.open()

    def open(self) -> None:
        gate = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(ConnectionRefusedError), socket.create_connection(gate._target) as behind:
                    gate._sockets |= {self.request, behind}
                    back = threading.Thread(target=_copy, args=(behind, self.request, gate), daemon=True)
                    back.start()
                    _copy(self.request, behind, gate)
                    back.join()
                    gate._sockets -= {self.request, behind}

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def shut(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def hold(self) -> None:
        self._flows.clear()

    def release(self, spread_s: float = 0.0) -> None:
        """Let everything through again: what was held, connection after connection within `spread_s` seconds."""
        self._spread_s = spread_s
        self._flows.set()

    def wait_for_passage(self, share: float) -> None:
        """Wait while the gate is held, and then for a share of the time over which it releases connections."""
        if not self._flows.is_set():
            self._flows.wait()
            time.sleep(share * self._spread_s)


def _copy(source: socket.socket, sink: socket.socket, gate: Gate) -> None:
    share = random.random()
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            gate.wait_for_passage(share)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def tcp_gate(url: str) -> Iterator[tuple[Gate, str]]:
    """An open gate in front of an HTTP address of this machine, and that address through the gate."""
    host, _, rest = url.removeprefix("http://").partition("/")
    gate = Gate(int(host.rpartition(":")[2]))
    try:
        yield gate, f"http://127.0.0.1:{gate.port}/{rest}".rstrip("/")
    finally:
        gate.shut()
