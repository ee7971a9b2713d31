"""Structured logs: one JSON object a line on standard error."""

import logging
import sys
from typing import TYPE_CHECKING

import structlog

from worker.log_limit import LINES, RepeatFilter
from worker.redaction import redacted

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger


def configure_logs(level: str) -> None:
    """Send structlog's and the libraries' logs through one JSON renderer."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.dict_tracebacks,
        _without_secrets,
    ]
    structlog.configure(
        processors=[_without_repeats, *shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    handler.addFilter(RepeatFilter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    # A line for each scrape or request tells nobody anything.
    for chatty in ("uvicorn.access", "httpx", "httpx2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _without_secrets(_logger: "WrappedLogger", _method: str, line: "EventDict") -> "EventDict":
    return {name: redacted(value) if isinstance(value, str) else value for name, value in line.items()}


def _without_repeats(_logger: "WrappedLogger", method: str, line: "EventDict") -> "EventDict":
    """A warning that says what one said within the last minute is held back; how many were is added to the next."""
    if method in {"warning", "error"}:
        said = [f"{name}={value}" for name, value in sorted(line.items()) if isinstance(value, str | int)]
        held_back = LINES.admit(" ".join(said))
        if held_back is None:
            raise structlog.DropEvent
        if held_back:
            line["held_back"] = held_back
    return line
