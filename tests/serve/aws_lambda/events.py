"""Events of Kafka event source mappings, in the shapes that AWS documents."""

import base64
from typing import Any


def record(topic: str, partition: int, offset: int, value: bytes | None, **more: Any) -> dict[str, Any]:
    """A record as Lambda hands it over."""
    return {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "timestamp": 1_700_000_000_000,
        "timestampType": "CREATE_TIME",
        **({} if value is None else {"value": base64.b64encode(value).decode()}),
        **more,
    }


def self_managed(*records: dict[str, Any]) -> dict[str, Any]:
    """An event of self-managed Kafka."""
    by_place: dict[str, list[dict[str, Any]]] = {}
    for each in records:
        by_place.setdefault(f"{each['topic']}-{each['partition']}", []).append(each)
    return {"eventSource": "SelfManagedKafka", "bootstrapServers": "b-1.example:9092", "records": by_place}


def msk(*records: dict[str, Any]) -> dict[str, Any]:
    """An event of Amazon MSK."""
    arn = "arn:aws:kafka:us-east-1:123456789012:cluster/vpc-2priv-2pub/751d2973-a626-431c-9d4e-d7975eb44dd7-2"
    return self_managed(*records) | {"eventSource": "aws:kafka", "eventSourceArn": arn}
