"""Structured logs: one JSON object per line on standard error."""

import logging
from typing import TYPE_CHECKING, Any, TextIO, cast

import structlog

from common.log_limit import LINES, RepeatFilter
from common.log_stream import LogStream
from common.redaction import redacted, redacted_property

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

_CLIENTS = ("librdkafka", "urllib3")


def configure_logs(level: str) -> None:
    """Render the logs of structlog and of all libraries as JSON."""
    stream = LogStream()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Without local variables, because they may hold passwords.
        structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
        _without_secrets,
    ]
    structlog.configure(
        processors=[_without_repeats, *shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", stream)),
    )
    handler = logging.StreamHandler(stream)
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
    for client in _CLIENTS:
        logging.getLogger(client).setLevel(logging.NOTSET)
    # One line for every scrape or request is noise, and so is how Alembic works.
    for chatty in ("uvicorn.access", "httpx", "httpx2", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def command_logs(level: str = "warning") -> None:
    """Logs of a command that runs once. What clients report of their connections is left to the command's message."""
    configure_logs(level)
    for client in _CLIENTS:
        logging.getLogger(client).setLevel(logging.CRITICAL)


def _without_secrets(_logger: "WrappedLogger", _method: str, line: "EventDict") -> "EventDict":
    return {name: _redacted(value) for name, value in line.items()}


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {
            name: redacted_property(str(name), item) if isinstance(item, str) else _redacted(item)
            for name, item in value.items()
        }
    return [_redacted(item) for item in value] if isinstance(value, list | tuple | set) else value


def _without_repeats(_logger: "WrappedLogger", method: str, line: "EventDict") -> "EventDict":
    """Suppress a warning that repeats one of the last minute. The next one says how many were suppressed."""
    if method in {"warning", "error"}:
        said = [f"{name}={value}" for name, value in sorted(line.items()) if isinstance(value, str | int)]
        held_back = LINES.admit(" ".join(said))
        if held_back is None:
            raise structlog.DropEvent
        if held_back:
            line["held_back"] = held_back
    return line
