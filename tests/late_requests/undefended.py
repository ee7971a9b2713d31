"""A worker that never renews its producer, to show that the harness finds what comes of it.

python -m tests.late_requests.undefended worker
"""

from hazardstream.cli import main
from worker.kafka.request_log import RequestLog


def no_doubt(self: RequestLog) -> list[str]:
    """What a client would believe that does not look at its log."""
    return []


if __name__ == "__main__":
    RequestLog.in_doubt = no_doubt  # type: ignore[method-assign]  # that is what this is for
    main()
