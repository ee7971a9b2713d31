"""Kill a sink again and again, with SIGKILL at random moments, while records flow into its topics."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from tests.harness import wait_until
from tests.sink_scene import Scene, stored

_LONGEST_S = 1.0


@contextmanager
def flow(scene: Scene, records: int = 40) -> Iterator[None]:
    """Publish records during the block."""
    stop = threading.Event()

    def publish() -> None:
        while not stop.wait(0.05):
            scene.publish(records)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _more_than(before: int, to: str) -> bool:
    return len(stored(to)) > before


def kill_while_records_flow(scene: Scene, to: str, kills: int, seed: int = 7) -> dict[str, int]:
    """Kill the sink so often, let one store the rest, and compare.

    Returns:
        See `Scene.compare`.
    """
    moments = random.Random(seed)
    with flow(scene):
        for _ in range(kills):
            before = len(stored(to))
            with scene.sink(to, "--instance-id", "s1", "--every-s", "0.05") as process:
                wait_until(partial(_more_than, before, to), "the sink stores records", 90)
                time.sleep(moments.uniform(0, _LONGEST_S))
                process.kill()
    scene.store_all(to)
    return scene.compare(to)
