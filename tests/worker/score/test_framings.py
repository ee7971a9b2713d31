"""Values and keys in every framing that is read: ids in prefix and headers, top-level unions, keys as Avro and JSON."""

import json
import struct
import threading
import uuid
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest
from confluent_kafka.schema_registry import Schema as RegistrySchema
from confluent_kafka.schema_registry import SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from schemas.codec import encode
from schemas.errors import MalformedError, UnknownSchemaError, UnreadableValueError
from schemas.load import Schema, parsed
from schemas.registry import SchemaRegistry
from schemas.resolution import without
from schemas.wire import (
    ApicurioId,
    ConfluentId,
    Guid,
    SchemaKey,
    confluent_prefix,
    parse_prefix,
    prefix_of,
    schema_in_headers,
    schema_of_message,
    single_object_prefix,
)
from tests.flagship import PIPELINE, flagship_schema
from tests.framings import avro_key
from tests.harness import START_MS, Stage, avro, reading, wait_until
from tests.http_server import HttpServer
from worker.cli.dlq_view import describe
from worker.dead_letters.recheck import Recheck
from worker.encode.dead_letter import Letter
from worker.score.batch import framed
from worker.score.decode import Decoder

SOURCE = PIPELINE.input
READER = flagship_schema("SensorReading")
GUID = uuid.UUID("89f0a5cb-2b4e-4b0c-8b1c-1d1d1d1d1d1d")
BODY = encode(reading("m", START_MS), parsed(READER), b"")


def apicurio(what: str, value: int) -> tuple[str, bytes]:
    return f"apicurio.value.{what}", struct.pack(">Q", value)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ([("__value_schema_id", b"\0\0\0\0\7")], ConfluentId(7)),
        ([("__value_schema_id", b"\1" + GUID.bytes)], Guid(GUID.bytes)),
        ([apicurio("globalId", 7), ("apicurio.value.encoding", b"BINARY")], ApicurioId("globalId", 7)),
        ([("traceparent", b"x"), apicurio("contentId", 7)], ApicurioId("contentId", 7)),
        ([("__value_schema_id", b"\0\0\0\0\7"), ("__value_schema_id", b"\0\0\0\0\7")], ConfluentId(7)),
        ([("__key_schema_id", b"\0\0\0\0\7"), ("apicurio.key.globalId", bytes(8)), ("traceparent", None)], None),
    ],
)
def test_a_schema_is_named_in_headers(headers: list[tuple[str, bytes | None]], key: SchemaKey | None) -> None:
    assert schema_in_headers(headers) == key
    value = confluent_prefix(9) + BODY
    assert schema_of_message(value, headers) == ((ConfluentId(9), 5) if key is None else (key, 0))


@pytest.mark.parametrize(
    ("headers", "kind", "words"),
    [
        ([("__value_schema_id", b"\0\0\0\0")], MalformedError, "neither 00"),
        ([("__value_schema_id", b"\2" + GUID.bytes)], MalformedError, "neither 00"),
        ([("__value_schema_id", b"\1" + GUID.bytes + b"x")], MalformedError, "neither 00"),
        ([("__value_schema_id", None)], MalformedError, "neither 00"),
        ([("apicurio.value.globalId", b"\7")], MalformedError, "1 bytes, not 8"),
        ([apicurio("globalId", 7), apicurio("contentId", 7)], MalformedError, "different schemas"),
        ([apicurio("globalId", 7), ("apicurio.value.encoding", b"JSON")], MalformedError, "only BINARY is supported"),
        ([("apicurio.value.artifactId", b"x")], UnknownSchemaError, "apicurio.registry.use-id"),
    ],
)
def test_headers_that_name_no_schema_for_sure_are_refused(headers: Any, kind: type, words: str) -> None:
    with pytest.raises(kind, match=words):
        schema_in_headers(headers)


def test_confluents_own_serializer_is_understood() -> None:
    client = SchemaRegistryClient.new_client({"url": "mock://framings"})
    serializer = AvroSerializer(client, json.dumps(READER), conf={"schema.id.serializer": header_schema_id_serializer})
    headers: list[tuple[str, bytes]] = []
    value = serializer(without(reading("m", START_MS)), SerializationContext("readings", MessageField.VALUE, headers))
    guid = client.get_latest_version("readings-value").guid
    assert schema_of_message(value, headers) == (Guid(uuid.UUID(guid).bytes), 0)


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        (confluent_prefix(1), ConfluentId(1)),
        (confluent_prefix(2**31), ConfluentId(2**31)),
        (b"\0" + struct.pack(">Q", 1), ApicurioId(None, 1)),
        (b"\0" + struct.pack(">Q", 2**32 - 1), ApicurioId(None, 2**32 - 1)),
        (single_object_prefix(READER), parse_prefix(single_object_prefix(READER))[0]),
    ],
)
def test_ids_of_four_and_eight_bytes_are_distinguished(prefix: bytes, key: SchemaKey) -> None:
    assert parse_prefix(prefix + BODY) == (key, len(prefix))
    assert prefix_of(prefix + BODY) == prefix


def test_a_value_that_ends_within_an_8_byte_id_is_malformed() -> None:
    with pytest.raises(MalformedError, match="inside the 9-byte prefix"):
        parse_prefix(bytes(8))


def decoded(values: list[bytes | None], headers: dict[int, Any], schemas: dict[SchemaKey, Schema]) -> dict[int, Any]:
    """Time or reason of each row, as the columns give them."""

    def lookup(key: SchemaKey) -> Schema:
        if key not in schemas:
            raise UnknownSchemaError(str(key))
        return schemas[key]

    readings, rejections = Decoder(SOURCE, lookup)(values, framed(headers))
    return dict(zip(readings.row.tolist(), readings.ts.tolist(), strict=True)) | {r.row: r.reason for r in rejections}


def test_a_batch_of_all_framings_is_decoded_row_by_row() -> None:
    union: Schema = {"type": ["null", READER]}
    schemas: dict[SchemaKey, Schema] = {
        ConfluentId(1): READER,
        Guid(GUID.bytes): READER,
        ApicurioId("globalId", 2): READER,
        ApicurioId(None, 3): READER,
        ConfluentId(4): union,
    }
    bodies = [encode(reading("m", START_MS + i), parsed(READER), b"") for i in range(10)]
    values: list[bytes | None] = [
        confluent_prefix(1) + bodies[0],
        bodies[1],
        bodies[2],
        b"\0" + struct.pack(">Q", 3) + bodies[3],
        confluent_prefix(4) + b"\2" + bodies[4],
        confluent_prefix(4) + b"\0",
        bodies[6],
        None,
        b"",
        confluent_prefix(4) + b"\2" + bodies[9] + b"x",
    ]
    headers = {
        1: [("__value_schema_id", b"\1" + GUID.bytes)],
        2: [apicurio("globalId", 2)],
        6: [("__value_schema_id", b"nonsense")],
        7: [apicurio("globalId", 2)],
        8: [apicurio("globalId", 2)],
    }
    assert decoded(values, headers, schemas) == {
        **{row: START_MS + row for row in range(5)},
        5: "null_value",
        6: "malformed",
        7: "null_value",
        8: "malformed",
        9: "malformed",
    }


@pytest.mark.kafka
@pytest.mark.registry
def test_a_worker_scores_all_framings_as_readings_of_one_key(stage: Stage, registry: str) -> None:
    stage.registry_url = registry
    client = SchemaRegistry(registry)
    subject = f"{stage.pipeline.input.topic}-value"
    schema_id = client.register(subject, READER)
    union_id = SchemaRegistryClient({"url": registry}).register_schema(
        f"{subject}-union", RegistrySchema(json.dumps(["null", READER]), "AVRO")
    )
    in_micros = {**READER, "fields": [*READER["fields"]]}
    in_micros["fields"][2] = {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-micros"}}
    micros_id = client.register(f"{subject}-micros", in_micros)
    core = registry.partition("/apis/")[0] + "/apis/registry/v3"
    meta = httpx.get(f"{core}/groups/default/artifacts/{subject}/versions/1").json()

    def body(i: int, scale: int = 1) -> bytes:
        return encode(reading("m", scale * (START_MS + 10_000 * i)), parsed(without(READER, "logicalType")), b"")

    long_id = b"\0" + struct.pack(">Q", meta["contentId"])
    messages: list[tuple[bytes, bytes | None, list[tuple[str, bytes]]]] = [
        (b"m", confluent_prefix(schema_id) + body(0), []),
        (b'"m"', body(1), [("__value_schema_id", confluent_prefix(schema_id)), ("__key_schema_id", b"\0\0\0\0\1")]),
        (confluent_prefix(5) + avro_key("m"), body(2), [apicurio("globalId", meta["globalId"])]),
        (avro_key("m"), body(3), [apicurio("contentId", meta["contentId"])]),
        (b"m", long_id + body(4), [("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]),
        (b"m", confluent_prefix(union_id) + b"\2" + body(5), []),
        (b"m", confluent_prefix(micros_id) + body(6, scale=1000), []),
        (b"m", confluent_prefix(union_id) + b"\0", []),
        (b"m", body(8), [apicurio("globalId", 2**40)]),
    ]
    stage.environment["SCHEMA_REGISTRY_USE_ID"] = "contentId"
    with stage.worker():
        for key, value, headers in messages:
            stage.publish([(key, value)], headers=headers, partition=0)
        wait_until(lambda: stage.outcomes() == len(messages), "all outcomes")
    predictions = stage.records("predictions")
    assert [p["readings_in_window"] for p in predictions] == list(range(1, 8))
    assert [p["ts"] for p in predictions] == [START_MS + 10_000 * i for i in range(7)]
    assert {m.key() for m in stage.committed("predictions")} == {b"m"}
    letters = stage.committed("dead_letters")
    assert [dict(m.headers())["hazardstream.reason"] for m in letters] == [b"null_value", b"unknown_schema"]


def test_an_8_byte_id_without_a_setting_says_what_to_set() -> None:
    with pytest.raises(UnreadableValueError, match="SCHEMA_REGISTRY_USE_ID") as caught:
        SchemaRegistry("http://127.0.0.1:9/apis/ccompat/v7").schema_of(ApicurioId(None, 7))
    assert caught.value.reason == "unknown_schema"
    with pytest.raises(UnknownSchemaError, match="only be looked up in an Apicurio Registry"):
        SchemaRegistry("http://127.0.0.1:9").schema_of(ApicurioId("globalId", 7))


@pytest.mark.registry
def test_apicurios_ids_are_looked_up_with_what_they_refer_to(registry: str, unique_name: str) -> None:
    client = SchemaRegistryClient({"url": registry})
    place = {"type": "record", "name": "Place", "namespace": "x", "fields": [{"name": "rack", "type": "string"}]}
    client.register_schema(f"{unique_name}-place", RegistrySchema(json.dumps(place), "AVRO"))
    outer = {**READER, "fields": [*READER["fields"][:3], {"name": "place", "type": "x.Place"}]}
    reference = {"name": "x.Place", "subject": f"{unique_name}-place", "version": 1}
    body = {"schema": json.dumps(outer), "schemaType": "AVRO", "references": [reference]}
    httpx.post(f"{registry}/subjects/{unique_name}/versions", json=body).raise_for_status()
    core = registry.partition("/apis/")[0] + "/apis/registry/v3"
    meta = httpx.get(f"{core}/groups/default/artifacts/{unique_name}/versions/1").json()
    asked = SchemaRegistry(registry, use_id="globalId")
    for key in (
        ApicurioId("globalId", meta["globalId"]),
        ApicurioId("contentId", meta["contentId"]),
        ApicurioId(None, meta["globalId"]),
    ):
        assert asked.schema_of(key)["fields"][3]["type"] == place
    with pytest.raises(UnknownSchemaError, match="No version with global ID"):
        asked.schema_of(ApicurioId("globalId", 2**40))


@pytest.mark.kafka
def test_a_registry_that_never_ends_its_answer_holds_one_partition_and_no_other(stage: Stage) -> None:
    release = threading.Event()
    server = HttpServer()

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, Any]:
        if request.command == "POST":
            return 200, {"id": 1}
        if request.path == "/schemas/ids/9":
            release.wait(120)
        return 200, {"schema": json.dumps(READER)}

    server.answer = answer
    stage.registry_url = server.url
    try:
        with stage.worker() as worker:
            worker.await_ready()
            stage.publish([("m", confluent_prefix(9) + BODY)], partition=0)
            for i in range(40):  # one by one, each a turn of the loop
                stage.publish([("n", avro(reading("n", START_MS + 10_000 * i)))], partition=1)
            worker.await_scored(40)
            assert not release.is_set()
            release.set()
            worker.await_scored(41)
        assert [m.key() for m in stage.committed("predictions")].count(b"m") == 1
    finally:
        release.set()
        server.close()


def test_a_dead_letter_whose_headers_name_its_schema_is_shown_and_judged() -> None:
    headers: list[tuple[str, bytes | None]] = [apicurio("globalId", 2)]
    place = {"topic": "readings", "partition": "0", "offset": "5"}
    said = {"hazardstream.reason": "unknown_schema", **{f"__streams.errors.{k}": v for k, v in place.items()}}
    letter = Letter(0, 1, START_MS, b'"m"', BODY, headers, said)
    told = describe(
        letter, Recheck(SOURCE, lambda _: READER, log_append_time=False), lambda _: READER, READER, redriven=False
    )
    assert told["schema"] == "Apicurio globalId 2"
    assert told["fields"]["module_id"] == "m"
    assert told["now"].startswith("valid")
