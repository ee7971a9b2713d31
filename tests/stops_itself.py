"""Run a worker that stops itself (SIGSTOP) in its tenth transaction, so that a test can act in mid-stream.

    python -m tests.stops_itself worker

A signal from the test may come too late: on a loaded machine the worker may have finished by then.
"""

import os
import signal
from itertools import count

from hazardstream.cli import main
from worker.kafka.client_config import ReportingProducer

_begin, _begun = ReportingProducer.begin_transaction, count(1)


def _begin_and_stop(producer: ReportingProducer) -> None:
    _begin(producer)
    if next(_begun) == 10:
        os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    ReportingProducer.begin_transaction = _begin_and_stop
    main()
