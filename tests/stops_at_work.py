"""Run a worker that stops itself (SIGSTOP) in its tenth transaction, for a test that does something to it at work.

    python -m tests.stops_at_work worker

Told to from outside, it may have finished by then: on a loaded machine a test gets its turn seconds later.
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
