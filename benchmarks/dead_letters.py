"""Time and memory of `hazardstream dlq` on a topic with many dead letters.

python -m benchmarks.dead_letters --letters 1000000
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import typer
from confluent_kafka import Producer

from local.isolated_pipeline import isolated_pipeline
from local.kafka import broker
from worker.config.pipeline import Pipeline, load_pipeline
from worker.encode.dead_letter import ERRORS, REASON
from worker.kafka.client_config import admin_client, client_config
from worker.kafka.producing import PRODUCER_DEFAULTS, PRODUCER_FIXED
from worker.kafka.topics import create_topics

PARTITIONS = 4
VALUE_BYTES = 120


def fill(bootstrap: str, pipeline: Pipeline, letters: int) -> None:
    """Publish this number of dead letters, with a thousand keys."""
    producer = Producer(client_config(bootstrap) | PRODUCER_FIXED | PRODUCER_DEFAULTS)
    topic = pipeline.outputs.dead_letters.topic
    for number in range(letters):
        said = {
            REASON: ("malformed", "invalid")[number % 2],
            ERRORS + "exception": "hazardstream.malformed",
            ERRORS + "message": "the value ends inside the double at byte 60",
            ERRORS + "topic": pipeline.input.topic,
            ERRORS + "partition": str(number % PARTITIONS),
            ERRORS + "offset": str(number // PARTITIONS),
        }
        headers = [(name, text.encode()) for name, text in said.items()]
        key, value = b"RackA1_Module%d" % (number % 1000), os.urandom(VALUE_BYTES)
        while True:
            try:
                producer.produce(topic, value, key, partition=number % PARTITIONS, headers=headers)
                break
            except BufferError:
                producer.poll(0.1)
    if left := producer.flush(60):
        raise RuntimeError(f"{left} letters were not accepted by the broker")


def timed(pipeline: Path, bootstrap: str, *arguments: str) -> dict[str, Any]:
    """Run a `dlq` command. Returns its output, seconds, and the peak memory of all commands so far, MB."""
    environment = os.environ | {"HAZARDSTREAM_PIPELINE": str(pipeline), "KAFKA_BOOTSTRAP_SERVERS": bootstrap}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "hazardstream", "dlq", *arguments, "--json"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    seconds = time.monotonic() - started
    said = json.loads(done.stdout.splitlines()[-1])
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    counts = {name: said[name] for name in ("letters", "redriven") if name in said}
    return counts | {"seconds": round(seconds, 1), "peak_memory_mb": round(peak_mb)}


def main(letters: int = 1_000_000) -> None:
    """Fill a topic, then list, redrive, and list again."""
    with tempfile.TemporaryDirectory() as directory, broker(Path(directory) / "kafka") as bootstrap:
        file = isolated_pipeline(f"dlq-benchmark-{os.getpid()}", Path(directory))
        pipeline = load_pipeline(str(file))
        admin = admin_client(client_config(bootstrap))
        create_topics(admin, pipeline, partitions=PARTITIONS, replication_factor=1)
        fill(bootstrap, pipeline, letters)
        commands = {
            "list": ("list",),
            "list --top-keys": ("list", "--top-keys", "10"),
            "redrive": ("redrive", "--yes"),
            "list after": ("list",),
        }
        print(json.dumps({name: timed(file, bootstrap, *arguments) for name, arguments in commands.items()}))


if __name__ == "__main__":
    typer.run(main)
