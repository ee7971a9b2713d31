"""The watch goes on through failures that come and go, and ends on what is wrong from the start."""

import threading
from collections.abc import Callable

import pytest

from common.errors import DependencyDownError, UserError
from tests.drift_sites import MadeUpSite
from training.monitoring.metrics import DriftMetrics
from training.monitoring.watch import Look, watch
from worker.model.package import ModelPackage


@pytest.fixture
def site(package: ModelPackage) -> MadeUpSite:
    """A site whose CO sensors went dead: a look has something to tell."""
    assert package.reference is not None
    site = MadeUpSite(package.reference)
    site.goes_on(8 * 24)
    site.goes_on(24, dead=True)
    return site


def failing_twice(error: Exception, then: Callable[..., None]) -> Callable[..., None]:
    left = [error, error]

    def publish(*arguments: object) -> None:
        if left:
            raise left.pop()
        then(*arguments)

    return publish


@pytest.mark.parametrize(
    "error",
    [UserError("events: message too large"), DependencyDownError("broker", "no answer")],
    ids=["refused", "down"],
)
def test_a_failed_delivery_is_counted_and_tried_again(
    site: MadeUpSite, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(site.topics, "publish", failing_twice(error, site.topics.publish))
    stop, metrics, looks = threading.Event(), DriftMetrics(), list[Look]()

    def say(look: Look) -> None:
        looks.append(look)
        stop.set()

    watch(site.watch, metrics, 0.0, stop, say)
    assert [event.place for event in looks[0].new_events] == [("North", "missing", "offgas_co_ppm")]
    assert metrics.registry.get_sample_value("hazardstream_drift_checks_failed_total") == 2.0
    assert metrics.registry.get_sample_value("hazardstream_drift_checks_total") == 1.0


def test_what_is_wrong_from_the_start_ends_the_watch(site: MadeUpSite, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_topic(_role: str) -> None:
        raise UserError("there is no topic battery.sketches")

    monkeypatch.setattr(site.topics, "news", no_topic)
    with pytest.raises(UserError, match="no topic"):
        watch(site.watch, DriftMetrics(), 0.0, threading.Event(), lambda _look: None)
