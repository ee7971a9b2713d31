"""The HTTP API from which a Lambda function gets its events, so that AWS's own runtime client can run in tests.

Source: AWS Lambda's developer guide, "Using the Lambda runtime API for custom runtimes".
"""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from tests.repository import ROOT

_HANDLER = "serve.aws_lambda.function.handler"
_DEADLINE_MS = 9_999_999_999_999


class Answer(NamedTuple):
    """What the runtime client sent.

    Attributes:
        kind: `response`, `error`, or `init` for an error before the first event.
    """

    kind: str
    content: Any


@dataclass
class Lambda:
    """A function behind AWS's runtime client. `output` is what it wrote so far."""

    log: Path
    _events: "queue.Queue[Any]" = field(default_factory=queue.Queue)
    _answers: "queue.Queue[Answer]" = field(default_factory=queue.Queue)

    def invoke(self, event: Any, within_s: float = 120) -> Answer:
        """Hand an event to the function and wait for its answer."""
        self._events.put(event)
        return self.answer(within_s)

    def answer(self, within_s: float = 120) -> Answer:
        """The next answer."""
        try:
            return self._answers.get(timeout=within_s)
        except queue.Empty:
            raise AssertionError(f"no answer within {within_s} s: {self.log.read_text()[-2000:]}") from None

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """The API: GET …/next waits for an event, POST takes an answer."""
        events, answers = self._events, self._answers

        class Api(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                event = events.get()
                if event is None:
                    return
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
                self.send_header("Lambda-Runtime-Deadline-Ms", f"{_DEADLINE_MS}")
                self.send_header(
                    "Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:f"
                )
                self._end(json.dumps(event).encode())

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(202)
                self._end(b"{}")
                kind = self.path.rsplit("/", 1)[-1]
                answers.put(Answer("init" if self.path.endswith("init/error") else kind, body))

            def _end(self, body: bytes) -> None:
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", f"{len(body)}")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Api

    def stop(self) -> None:
        """Let a request for the next event end."""
        self._events.put(None)


@contextmanager
def lambda_function(directory: Path, environment: Mapping[str, str]) -> Iterator[Lambda]:
    """The function, started as in the image: by AWS's runtime client.

    Args:
        directory: for its log.
        environment: of the function.
    """
    function = Lambda(directory / "lambda.log")
    server = ThreadingHTTPServer(("127.0.0.1", 0), function.handler())
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    around = {"PATH": os.environ["PATH"], "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}"}
    with function.log.open("wb") as log:
        command = [sys.executable, "-m", "awslambdaric", _HANDLER]
        process = subprocess.Popen(command, cwd=ROOT, env={**around, **environment}, stdout=log, stderr=log)
    try:
        yield function
    finally:
        process.kill()
        process.wait()
        function.stop()
        server.shutdown()
        server.server_close()
