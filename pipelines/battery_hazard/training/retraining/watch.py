"""Waits for triggers, and retrains."""

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
    """Check triggers periodically and retrain, until stopped. While a service is down, wait for it.

    Args:
        workshop: options of the retrainings.
        triggers: the triggers.
        alias: alias for candidates that are not worse.
        every_s: seconds between two checks.
        at_most_every_s: shortest time between two retrainings, whatever triggers them: drift of many columns is
            reported over hours.
        stop: ends the loop between two retrainings.
        progress: see `retrain`.
        say: called with each report, and again when it changes.
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
            # It blocks every retraining: log it at each check until it is corrected.
            _LOG.error("not retrained", reason=str(error))
        stop.wait(every_s)


def _just_retrained(workshop: Workshop, within_s: float) -> bool:
    """Whether the newest readable retraining ended less than this ago; a time in the future is ignored."""
    for directory in reversed(workshop.attempts()):
        with suppress(UserError):  # `synchronise` logs it
            return 0 <= (datetime.now(UTC) - read_report(directory).ended_at).total_seconds() < within_s
    return False
