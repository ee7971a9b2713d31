"""Requests that mean no good, made by hand: broken JSON, wrong types, extreme values, odd headers and paths."""

import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

_ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    2**31,
    2**63,
    -(2**63),
    2**64,
    10**400,
    0.0,
    -0.0,
    1e-320,
    1e308,
    -1e308,
    3.5e38,
    float("nan"),
    float("inf"),
    -float("inf"),
    "",
    "\0",
    "x" * 300,
    "ü",
    "😀",
    "'; DROP TABLE x; --",
    "../../etc/passwd",
    "1e5",
    "NaN",
    "2026-01-31T12:00:00Z",
    "2026-02-31T12:00:00Z",
    "9999999-01-01",
    [],
    {},
    [[]],
    [None],
    {"a": {"b": []}},
)
_NAMES = (
    "module_id",
    "rack_id",
    "ts",
    "voltage_v",
    "current_a",
    "avg_surface_temp_c",
    "Module_ID",
    "voltage_v_diff",
    "readings",
    "rows",
    "predict",
    "explain",
    "features",
    "user_id",
    "instances",
    "data",
    "",
    "__class__",
    "$ref",
    "constructor",
)
_PATHS = (
    "/v1/predict",
    "/predict",
    "/batch_predict",
    "/v1/model",
    "/v1/schema",
    "/live",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/docs/../../etc/passwd",
    "/docs/%2e%2e%2fapp.py",
    "/v1/predict/",
    "//v1/predict",
    "/v1/%00",
    "/%ff",
    "/",
)
_RAW = (
    b"",
    b"{",
    b"}",
    b"[",
    b"null",
    b"true",
    b"1e999",
    b'"',
    b"\xff\xfe",
    b"\x00" * 50,
    b'{"rows":' * 500,
    b"[" * 5000,
    b'{"readings": [{"module_id": "\\ud800"}]}',
    b"\xef\xbb\xbf{}",
    b"{'rows': []}",
    b'{"rows": [], "rows": [{}]}',
    b"{} {}",
    b"<xml/>",
    b"rows=1&rows=2",
    b"-" * 1000,
    b"1" * 10_000,
)


class HostileRequest(NamedTuple):
    """One request."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers as bytes, which clients take where they refuse text."""
        return [(name.encode(), value.encode("latin-1")) for name, value in self.headers.items()]


def hostile_requests(seed: int, count: int) -> Iterator[HostileRequest]:
    """The same requests for the same seed."""
    rng = random.Random(seed)
    for _ in range(count):
        method = rng.choice(["POST"] * 8 + ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
        path = rng.choice(_PATHS[:3] if rng.random() < 0.8 else _PATHS)
        yield HostileRequest(method, path, _body(rng), _headers(rng))


def _body(rng: random.Random) -> bytes:
    if rng.random() < 0.2:
        return rng.choice(_RAW)
    rows = [_row(rng) for _ in range(rng.choice((0, 1, 1, 2, 5)))]
    whole = rng.choice(
        [
            {"readings": rows},
            {"rows": rows},
            {"instances": rows},
            {"data": rows},
            {"features": _row(rng)},
            _row(rng),
            {"rows": rows, "readings": rows},
            {"data": [list(row.values()) for row in rows]},
            rows,
            {"readings": rows, "predict": rng.choice(("each", "last", 5)), "explain": rng.choice((True, 1, None))},
            {rng.choice(_NAMES): rng.choice(_ODD)},
        ]
    )
    text = json.dumps(whole).encode()
    return text[: rng.randrange(len(text))] if rng.random() < 0.05 else text


def _row(rng: random.Random) -> dict[str, Any]:
    row: dict[str, Any] = {"module_id": "M1", "rack_id": "R1", "ts": 1_767_225_600_000, "voltage_v": 50.0}
    if rng.random() < 0.4:
        row = {name: float(rng.randrange(100)) for name in ("voltage_v", "current_a", "voltage_v_diff")}
    for _ in range(rng.choice((0, 1, 1, 3))):
        row[rng.choice(_NAMES)] = rng.choice(_ODD)
    return row


def _headers(rng: random.Random) -> dict[str, str]:
    headers = {
        "content-type": rng.choice(["application/json"] * 9 + ["text/plain", "application/json; charset=utf-7", "x"])
    }
    if rng.random() < 0.2:
        odd = {
            "x-request-id": "x" * 5000,
            "traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-00",
            "authorization": "Bearer \xe4",
            "x-api-key": "\x7f",
            "accept-encoding": "*;q=0",
            "origin": "null",
        }
        name = rng.choice(sorted(odd))
        headers[name] = odd[name]
    return headers
