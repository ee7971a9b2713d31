"""References among a registry's schemas: endless ones, loops and large ones cost no more than their limits."""

import json
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from schemas.errors import IncompatibleSchemaError
from schemas.load import parsed
from schemas.references import MAX_REFERENCES
from schemas.registry import SchemaRegistry
from schemas.strict import compile_check
from schemas.wire import ConfluentId
from tests.http_server import HttpServer


def test_references_that_never_end_are_given_up(server: HttpServer) -> None:
    def answer(request: BaseHTTPRequestHandler) -> tuple[int, Any]:
        number = len(server.requests)
        reference = {"name": f"x.R{number}", "subject": f"r{number}", "version": 1}
        return 200, {"schema": '{"type": "record", "name": "R", "fields": []}', "references": [reference]}

    server.answer = answer
    with pytest.raises(IncompatibleSchemaError, match="more than 200 other schemas"):
        SchemaRegistry(server.url, timeout_s=60).schema_of(ConfluentId(7))
    assert len(server.requests) <= MAX_REFERENCES + 2


def test_references_that_loop_are_incompatible(server: HttpServer) -> None:
    def record(name: str, other: str) -> dict[str, Any]:
        return {
            "schema": json.dumps({"type": "record", "name": name, "fields": [{"name": "f", "type": other}]}),
            "references": [{"name": other, "subject": other, "version": 1}],
        }

    answers = {"/schemas/ids/7": record("x.Top", "x.A"), "/subjects/x.A/versions/1": record("x.A", "x.B")}
    answers["/subjects/x.B/versions/1"] = record("x.B", "x.A")
    server.answer = lambda request: (200, answers[request.path])
    looping = SchemaRegistry(server.url).schema_of(ConfluentId(7))
    with pytest.raises(IncompatibleSchemaError, match="recursive"):
        compile_check(parsed(looping))


def test_a_schema_that_many_refer_to_is_put_in_place_once(server: HttpServer) -> None:
    def record(name: str, other: str) -> dict[str, Any]:
        fields = [{"name": f"f{i}", "type": other} for i in range(2)]
        referenced = [{"name": other, "subject": other, "version": 1}] if other != "int" else []
        return {"schema": json.dumps({"type": "record", "name": name, "fields": fields}), "references": referenced}

    answers = {f"/subjects/x.L{i}/versions/1": record(f"x.L{i}", f"x.L{i + 1}" if i < 60 else "int") for i in range(61)}
    server.answer = lambda request: (200, answers.get(request.path) or record("x.Top", "x.L0"))
    doubling = SchemaRegistry(server.url, timeout_s=60).schema_of(ConfluentId(7))
    assert len(json.dumps(doubling)) < 10_000


def test_all_that_a_schema_refers_to_shares_one_limit(server: HttpServer) -> None:
    filler = json.dumps({"type": "record", "name": "R", "fields": [], "doc": "x" * 1_900_000})
    references = [{"name": f"x.R{i}", "subject": f"r{i}", "version": 1} for i in range(6)]
    server.answer = lambda request: (
        200,
        {"schema": filler, "references": references if request.path.startswith("/schemas") else []},
    )
    with pytest.raises(IncompatibleSchemaError, match="larger than"):
        SchemaRegistry(server.url, timeout_s=60).schema_of(ConfluentId(7))
