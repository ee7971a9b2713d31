"""Run a worker whose wall clock jumps six hours forward and twelve back, again and again.

python -m tests.jumping_clock worker
"""

import time

_EVERY_S = 0.5
_JUMP_NS = 6 * 3600 * 10**9
_true_time_ns = time.time_ns


def _jumping_time_ns() -> int:
    return _true_time_ns() + (_JUMP_NS if int(time.monotonic() / _EVERY_S) % 2 else -_JUMP_NS)


# Before anything is imported that keeps a reference to them.
time.time_ns = _jumping_time_ns
time.time = lambda: _jumping_time_ns() / 1e9

from hazardstream.cli import main  # noqa: E402

main()
