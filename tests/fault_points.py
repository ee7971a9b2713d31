"""Run workers that kill themselves with SIGKILL, one after another, each at a point of its own.

    python -m tests.fault_points FAULT... worker

FAULT is POINT:N, the N-th passing of one of `POINTS`, or instruction:SEED: one bytecode instruction under worker/,
drawn from all the different ones that the main thread executes between one batch and the next. Exits with 0 once each
worker has died where it should.

The workers are forked from a process that has imported everything, because the import takes seconds. The variable
PRELOAD names more modules to import.
"""

import ctypes
import importlib
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NamedTuple

import worker.app
from hazardstream.cli import main

WITHIN_S = 60.0
PRODUCT = str(Path(worker.app.__file__).parent)
_PR_SET_PDEATHSIG = 1


class Point(NamedTuple):
    """A place in the code.

    Attributes:
        where: module:Class.method.
        when: to die; `during` is 2 ms into the call, `sent` is afterwards and when the broker has the records.
        only: counts a passing by its result.
        live: count only from the first batch on that publishes something.
    """

    where: str
    when: Literal["before", "during", "after", "sent"]
    only: Callable[[Any], bool] = lambda _: True
    live: bool = True


_PRODUCER, _CONSUMER = "worker.kafka.client_config:ReportingProducer.", "worker.kafka.client_config:ReportingConsumer."
POINTS = {
    # Taking over a partition.
    "assigning": Point(_CONSUMER + "incremental_assign", "before", live=False),
    "assigned": Point(_CONSUMER + "incremental_assign", "after", live=False),
    "committed-offset-read": Point(_CONSUMER + "committed", "after", live=False),
    "alarm-state-read": Point("worker.recover.alarm_state:AlarmRestore.states", "after", live=False),
    "window-state-part-read": Point("worker.recover.window_state:WindowStateRestore.advance", "after", live=False),
    "window-state-read": Point("worker.recover.window_state:WindowStateRestore.finish", "after", live=False),
    "resuming": Point(_CONSUMER + "resume", "before", live=False),
    "replaying": Point("worker.score.scorer:Scorer.process", "after", lambda outcome: outcome.replayed > 0, live=False),
    "revoking": Point("worker.consume.assignment:Assignment._revoked", "before", live=False),
    # Between consume and commit.
    "consumed": Point(_CONSUMER + "consume", "after", bool),
    "decoded": Point("worker.score.decode:Decoder.__call__", "after"),
    "validated": Point("worker.score.validate:Validator.__call__", "after"),
    "features-made": Point("worker.windows.keyed_state:Staged.features", "after"),
    "aggregates-staged": Point("worker.score.aggregates:KeyedAggregates.stage", "after"),
    "scored": Point("worker.model.package:ModelPackage.score", "after"),
    "plain-model-asked": Point("worker.model.backends.plain_model:PlainModel.predict", "after"),
    "alarms-staged": Point("worker.alarms.alarms:Alarms.stage", "after"),
    "encoded": Point("worker.encode.encoder:Encoder.records", "after"),
    "window-state-encoded": Point("worker.encode.window_state:WindowStateOutput.records", "after"),
    "before-begin": Point(_PRODUCER + "begin_transaction", "before"),
    "begun": Point(_PRODUCER + "begin_transaction", "after"),
    "predictions-queued": Point(_PRODUCER + "produce_batch", "after"),
    "predictions-sent": Point(_PRODUCER + "produce_batch", "sent"),
    "record-sent": Point(_PRODUCER + "produce", "sent"),
    "before-offsets": Point(_PRODUCER + "send_offsets_to_transaction", "before"),
    "during-offsets": Point(_PRODUCER + "send_offsets_to_transaction", "during"),
    "offsets-sent": Point(_PRODUCER + "send_offsets_to_transaction", "after"),
    "before-commit": Point(_PRODUCER + "commit_transaction", "before"),
    "during-commit": Point(_PRODUCER + "commit_transaction", "during"),
    "committed": Point(_PRODUCER + "commit_transaction", "after"),
    "before-merge": Point("worker.score.scorer:Scorer.merge", "before"),
    "merged": Point("worker.score.scorer:Scorer.merge", "after"),
}
_EACH_LIVE_BATCH = "worker.encode.encoder:Encoder.records"


def run(fault: str, command: str) -> None:
    """Be a worker that dies of this fault. Runs in a process of its own."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    name, number = fault.split(":")
    if name == "instruction":
        _die_at_an_instruction(int(number))
    else:
        _die_at(POINTS[name], int(number))
    sys.argv[1:] = [command]
    main()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_at(point: Point, number: int) -> None:
    left, live = number, not point.live

    def now_live(call: Callable[[], Any]) -> Any:
        nonlocal live
        live = True
        return call()

    def passing(call: Callable[[], Any], owner: Any) -> Any:
        nonlocal left
        if point.when in {"before", "during"}:
            left -= live
            if left == 0 and point.when == "before":
                _die()
            if left == 0:
                threading.Timer(0.002, _die).start()
            return call()
        result = call()
        left -= live and point.only(result)
        if left == 0:
            if point.when == "sent":
                owner.flush(10.0)
            _die()
        return result

    _wrap(point.where, passing)
    _wrap(_EACH_LIVE_BATCH, lambda call, _: now_live(call))


def _wrap(where: str, around: Callable[[Callable[[], Any], Any], Any]) -> None:
    """Have `around(call, self)` called in place of a method."""
    module, _, path = where.partition(":")
    class_name, method = path.split(".")
    owner = getattr(importlib.import_module(module), class_name)
    original = getattr(owner, method)

    @wraps(original)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        return around(lambda: original(self, *args, **kwargs), self)

    setattr(owner, method, wrapped)


def _die_at_an_instruction(seed: int) -> None:
    choice = random.Random(seed)
    ran: dict[tuple[int, int], None] = {}  # instructions since the last live batch, in the order of their first time
    target: tuple[int, int] | None = None
    batches = 0

    def on_instruction(frame: FrameType, event: str, _: Any) -> Any:
        if event == "opcode":
            at = (id(frame.f_code), frame.f_lasti)
            if at == target:
                place = f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}+{frame.f_lasti}"
                print("instruction", place, flush=True)  # noqa: T201 - for the log
                _die()
            ran[at] = None
        return on_instruction

    def on_call(frame: FrameType, _event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PRODUCT):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return on_instruction

    def live_batch(call: Callable[[], Any], _: Any) -> Any:
        nonlocal batches, target
        batches += 1
        if batches == 2:
            sys.settrace(on_call)
        # From then on every frame between two batches is traced. One that is not reached again gives way to another.
        if batches >= 4:
            target = choice.choice(list(ran))
        ran.clear()
        return call()

    _wrap(_EACH_LIVE_BATCH, live_batch)


def die_one_after_another(faults: list[str], command: str) -> None:
    """Run a worker for each fault, and see that it dies of it."""
    for fault in faults:
        started = time.monotonic()
        process = multiprocessing.get_context("fork").Process(target=run, args=(fault, command), daemon=True)
        process.start()
        process.join(WITHIN_S)
        seconds = round(time.monotonic() - started, 2)
        if process.exitcode != -signal.SIGKILL:
            sys.exit(f"{fault}: not reached within {seconds} s; exit code {process.exitcode}")
        print(f"{fault}: dead after {seconds} s", flush=True)  # noqa: T201 - for the log


if __name__ == "__main__":
    for module in os.environ.get("PRELOAD", "").split():
        importlib.import_module(module)
    die_one_after_another(sys.argv[1:-1], sys.argv[-1])
