"""Replaces the model between two batches."""

import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError as NotYetError
from functools import partial
from typing import Any, TypeVar

import structlog
from confluent_kafka.admin import AdminClient

from worker.admission.compatibility import alarm_policy
from worker.alarms.state_machine import AlarmPolicy
from worker.config.pipeline import Pipeline
from worker.hot_swap.window_rebuild import PartitionsChangedError, WindowRebuild
from worker.kafka.topic_identity import topic_id_of
from worker.kafka.topic_reader import MANY, TopicReader
from worker.kafka.topics import require_fit_topics
from worker.model.contract import Model
from worker.observe.dependency_wait import StoppedError
from worker.observe.loop_questions import LoopQuestions
from worker.score.feature_plan import plan_for
from worker.score.scorer import Scorer
from worker.windows.partition import Partition

T = TypeVar("T")
_LOG = structlog.get_logger(__name__)
_LOOK_AGAIN_S = 0.5


class Swap:
    """Brings a checked model into a running loop. It runs in another thread, so slow steps do not block the loop.

    Args:
        pipeline: its alarm overrides apply to the model's policy.
        questions: runs functions in the loop's thread.
        new_scorer: makes a scorer for a model, without partitions.
        config: client properties (worker/kafka/client_config.py).
        admin: looks up the id of the input topic.
        stop: ends all waiting.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        questions: LoopQuestions,
        new_scorer: Callable[[Model], Scorer],
        config: dict[str, Any],
        admin: AdminClient,
        stop: threading.Event,
    ) -> None:
        self._pipeline, self._questions, self._new_scorer = pipeline, questions, new_scorer
        self._config, self._admin, self._stop = config, admin, stop

    def __call__(self, model: Model) -> None:
        """Have the loop score with this model from its next batch on.

        Raises:
            DependencyDownError: windows have to be rebuilt, and the broker does not answer or does not keep readings
                for long enough. The old model stays.
            StoppedError: the worker stops.
        """
        policy, plan = alarm_policy(model, self._pipeline), plan_for(model, self._pipeline)

        def swap_if_alike(live: Scorer, _partitions: dict[int, Partition]) -> bool:
            alike = plan.has_windows_of(live.plan)
            if alike:
                live.adopt(model, policy, plan)
            return alike

        if self._in_loop(swap_if_alike):
            return
        _LOG.info("the next model needs other windows", version=model.version)
        require_fit_topics(self._admin, self._pipeline, plan.rebuild_reach_ms(self._pipeline.input.max_future_ms))
        while not self._swap_with_windows(model, policy):
            self._pause()

    def _swap_with_windows(self, model: Model, policy: AlarmPolicy | None) -> bool:
        with TopicReader(self._config, per_call=MANY) as reader:
            topic_id = topic_id_of(self._admin, self._pipeline.input.topic)
            rebuild = WindowRebuild(self._new_scorer(model), self._pipeline, reader, topic_id)
            try:
                while not rebuild.following:
                    places = self._in_loop(rebuild.places)
                    if places is None:
                        return False
                    rebuild.chase(places)
                while True:
                    rebuild.catch_up()
                    if self._in_loop(partial(rebuild.take_over, policy=policy)):
                        return True
            except PartitionsChangedError:
                _LOG.info("partitions came or went: the window rebuild for the next model starts again")
                return False
            finally:
                if not self._stop.is_set():
                    self._in_loop(rebuild.leave)

    def _in_loop(self, question: Callable[[Scorer, dict[int, Partition]], T]) -> T:
        answer = self._questions.ask(question)
        while not self._stop.is_set():
            try:
                return answer.result(0.1)  # type: ignore[no-any-return]  # the question's own type
            except NotYetError:
                continue
        answer.cancel()
        raise StoppedError

    def _pause(self) -> None:
        if self._stop.wait(_LOOK_AGAIN_S):
            raise StoppedError
