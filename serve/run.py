"""Runs `hazardstream serve` until it is asked to stop."""

import signal
import threading

import structlog

from serve.app import build_app
from serve.live_model import LiveModel
from serve.metrics import ServeMetrics
from serve.request_log import RequestLog
from serve.settings import ServeSettings
from worker.config.pipeline import load_pipeline
from worker.http.server import REQUEST_S, HttpServer

_LOG = structlog.get_logger(__name__)
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve(settings: ServeSettings) -> None:
    """Answer requests until SIGTERM or SIGINT.

    Raises:
        UserError: the user has to correct something.
    """
    pipeline = load_pipeline(settings.pipeline)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    metrics = ServeMetrics()
    live, log = LiveModel(settings, pipeline, metrics), RequestLog(settings, metrics)
    app = build_app(settings, pipeline, live, metrics, log)
    options = ("--host", "--port")
    server = HttpServer(
        app, settings.serve_host, settings.serve_port, keep_alive=True, stop_within_s=int(REQUEST_S), options=options
    )
    port = server.start()
    _LOG.info("listening", address=f"http://{settings.serve_host}:{port}", pipeline=pipeline.name)
    if settings.serve_host not in _LOOPBACK and not settings.api_keys():
        _LOG.warning("anyone who reaches this address may call; set HAZARDSTREAM_SERVE_API_KEY_FILE")
    live.start()
    try:
        stop.wait()
    finally:
        live.stop()
        server.stop()
        log.close()
        _LOG.info("stopped")
