"""Wait for reasons to retrain, and retrain."""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import structlog

from common.errors import DependencyDownError, UserError
from pipelines.battery_hazard.training.datasets.dataset import Progress
from pipelines.battery_hazard.training.retraining.attempt import Report, Workshop, read_report, retrain
from pipelines.battery_hazard.training.retraining.synchronise import synchronise
from pipelines.battery_hazard.training.retraining.triggers import Triggers

_LOG = structlog.get_logger(__name__)
_PATIENCE_S = 60.0


def watch(
    workshop: Workshop,
    triggers: Triggers,
    *,
    alias: str,
    every_s: float,
    at_most_every_s: float,
    stop: threading.Event,
    progress: Progress,
    say: Callable[[Report], None],
) -> None:
    """Look for triggers every so often, and retrain at most so often, until stopped. What is down is waited for.

    Args:
        workshop: where is retrained.
        triggers: what asks for it.
        alias: for candidates that are not worse.
        every_s: between two looks.
        at_most_every_s: since the newest retraining in the home, by hand or not: drift of many columns is told over
            hours.
        stop: ends it, between two retrainings.
        progress: see `retrain`.
        say: told of each report, and again whenever it comes to say something else.
    """

    def bring(patience_s: float) -> None:
        try:
            if report := synchronise(workshop, alias, patience_s, progress):
                say(report)
        except (DependencyDownError, UserError) as error:
            _LOG.warning("the candidate waits", reason=str(error))

    while not stop.is_set():
        bring(0.0)
        try:
            waiting = triggers.waiting() if not _just_retrained(workshop, at_most_every_s) else []
            if waiting:
                _LOG.info("retraining", reasons=[t.words for t in waiting])
                report = read_report(retrain(workshop, [t.words for t in waiting], progress))
                triggers.answer(waiting)
                say(report)
                bring(_PATIENCE_S)
        except DependencyDownError as down:
            _LOG.warning("waiting", dependency=down.dependency, reason=down.reason)
        except UserError as error:
            # It stands in the way of every retraining: tell it at each look until it is put right.
            _LOG.error("not retrained", reason=str(error))
        stop.wait(every_s)


def _just_retrained(workshop: Workshop, within_s: float) -> bool:
    """Whether the newest retraining that can be read is so short a time ago; one in the future is a clock's fault."""
    for directory in reversed(workshop.attempts()):
        with suppress(UserError):  # told by `synchronise`
            return 0 <= (datetime.now(UTC) - read_report(directory).ended_at).total_seconds() < within_s
    return False
