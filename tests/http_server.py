"""A small HTTP server whose answers a test sets."""

import contextlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], tuple[int, Any]]


class HttpServer:
    """A small HTTP server whose answer a test sets, and that keeps the requests."""

    def __init__(self) -> None:
        self.answer: Answer = lambda _: (500, {})
        self.headers: dict[str, str] = {}
        self.requests: list[BaseHTTPRequestHandler] = []
        self.bodies: list[bytes] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(self)
                status, body = server.answer(self)
                payload = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, header in server.headers.items():
                    self.send_header(name, header)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                with contextlib.suppress(OSError):  # a client that gave up waiting
                    self.wfile.write(payload)

            def do_POST(self) -> None:
                server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.do_GET()

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def always(self, status: int, body: Any) -> None:
        self.answer = lambda _: (status, body)

    def close(self) -> None:
        """Stop, and let go of the port."""
        self.http.shutdown()
        self.http.server_close()
