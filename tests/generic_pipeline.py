"""A pipeline of no domain that uses every part of a pipeline file, written into a folder."""

import copy
import json
from pathlib import Path
from typing import Any

TEXT = """\
name: shop
input:
  topic: shop.visits
  schema: Visit
  key: user
  time: at
task: binary
model: models:/shop@champion
features:
  - spent
  - country
  - {name: paid, kind: value, field: spent, fill: true}
  - {name: change, kind: difference, field: spent, per: second}
  - {name: usual, kind: mean, field: spent, last: 10}
  - {name: spread, kind: std, field: spent, last: 10}
  - {name: visits, kind: count, over: 7d}
  - {name: orders, kind: count, where: {kind: order}, over: 30d}
  - {name: total, kind: sum, field: spent, where: {member: true}, over: 90m}
  - {name: days, kind: distinct_days, over: 14d}
  - {name: since, kind: time_since_last, where: {kind: order}, over: 30d}
outputs:
  predictions: {topic: shop.predictions}
  alarms: {topic: shop.alarms}
  alarm_state: {topic: shop.alarm-state}
  window_state: {topic: shop.windows}
  dead_letters: {topic: shop.visits.dlq}
  echo: [country, pages]
alarm: {setpoint: 0.5, deadband: 0.1, on_delay_ms: 0, off_delay_ms: 0, priorities: {high: 0.5}}
"""

VISIT: dict[str, Any] = {
    "type": "record",
    "name": "Visit",
    "fields": [
        {"name": "user", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["view", "order"]}},
        {"name": "spent", "type": ["null", "double"], "default": None, "minimum": 0, "unit": "EUR"},
        {"name": "pages", "type": ["null", "int"], "default": None},
        {"name": "member", "type": "boolean"},
        {"name": "country", "type": ["null", "string"], "default": None, "maxLength": 2},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
    ],
}


def write_generic(folder: Path, text: str = TEXT, visit: dict[str, Any] | None = None, **schemas: Any) -> Path:
    """Write the pipeline and return its file.

    Args:
        folder: gets the files.
        text: of the pipeline file.
        visit: the input's schema, if it is another.
        schemas: more of them, by name.
    """
    for name, schema in {"Visit": visit or VISIT, **schemas}.items():
        (folder / f"{name}.avsc").write_text(json.dumps(schema, indent=1))
    file = folder / "pipeline.yaml"
    file.write_text(text)
    return file


def changed_visit(**types: Any) -> dict[str, Any]:
    """The input's schema with other types of fields."""
    schema = copy.deepcopy(VISIT)
    for field in schema["fields"]:
        if field["name"] in types:
            field["type"] = types[field["name"]]
            field.pop("default", None)
    return schema
