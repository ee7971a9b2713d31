"""Clients of the peers whose input is features instead of readings: the client computes the features."""

import http.client
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import numpy as np
from confluent_kafka import Producer

from benchmarks.peers.expected import Expected
from worker.kafka.client_config import client_config

CONNECTIONS = 8


def publish_requests(expected: Expected, rows: list[int], topic: str, bootstrap: str) -> None:
    """Publish requests in the Open Inference Protocol, with the row as key."""
    producer = Producer(client_config(bootstrap) | {"linger.ms": 20})
    for row in rows:
        features = expected.features[row].tolist()
        inputs = [{"name": "features", "shape": [1, len(features)], "datatype": "FP64", "data": features}]
        value = json.dumps({"inputs": inputs})
        producer.produce(topic, value, str(row), headers={"mlserver-model": "hazard"})
        producer.poll(0)
    producer.flush()


def complete_rows(expected: Expected, count: int) -> list[int]:
    """The first rows without missing features, because JSON has no NaN."""
    complete: list[int] = np.flatnonzero(~np.isnan(expected.features).any(axis=1))[:count].tolist()
    return complete


def post_readings(
    expected: Expected, port: int, seconds: float, tell: Callable[[int], None]
) -> list[tuple[int, float]]:
    """Post readings over several connections, each waiting for the response. Returns row and probability of each."""
    started = time.monotonic()
    rows = iter(range(len(expected.features)))
    answers: list[tuple[int, float]] = []

    def post_on_one_connection(_: None) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while time.monotonic() < started + seconds and (row := next(rows, None)) is not None:
            values = [None if np.isnan(value) else value for value in expected.features[row].tolist()]
            body = json.dumps(dict(zip(expected.names, values, strict=True)))
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            answers.append((row, json.load(connection.getresponse())["hazard_probability"]))
            tell(len(answers))
        connection.close()

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(post_on_one_connection, repeat(None, CONNECTIONS)))
    return answers
