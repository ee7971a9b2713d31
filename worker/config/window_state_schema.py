"""The record of window state: one bucket of one key. Its fields follow from the pipeline's aggregates."""

from typing import Any

from schemas.load import Schema
from worker.windows.aggregates import Layout

_TIME: dict[str, str] = {"type": "long", "logicalType": "timestamp-millis"}
_FIELDS: tuple[tuple[str, Any, str], ...] = (
    ("key", "string", "What the readings are about."),
    ("bucket_ms", "long", "Length of the bucket, ms."),
    ("bucket_ts", _TIME, "Start of the bucket, in event time."),
    ("newest_ts", _TIME, "Newest event time of the key."),
    ("clock_ts", _TIME, "Stream time when the key's last reading arrived."),
    ("source_topic_id", "string", "Id of the input topic; empty if the broker has none."),
    ("source_offset", "long", "Offset of the key's last reading that was counted."),
)


def last_field(selection_name: str) -> str:
    """Field of the newest event time of selected readings."""
    return f"last_{selection_name}"


def window_state_schema(name: str, layout: Layout) -> Schema:
    """The schema of a pipeline's records of window state.

    A statistic is null where the bucket has none: it has no value to be the least or greatest, or it was written before
    the pipeline had the feature.

    Args:
        name: of the record.
        layout: what is kept.
    """
    fields = [{"name": field, "type": kind, "doc": doc} for field, kind, doc in _FIELDS]
    for selection in (layout.selections[i] for i in layout.last):
        doc = f"Newest event time of: {selection}."
        fields.append({"name": last_field(selection.name), "type": ["null", _TIME], "default": None, "doc": doc})
    for column in dict.fromkeys(column for ring in layout.rings for column in ring.columns):
        doc = f"{column.statistic.capitalize()} of: {layout.selections[column.selection]}."
        fields.append({"name": layout.column_name(column), "type": ["null", "double"], "default": None, "doc": doc})
    return {"type": "record", "name": name, "namespace": "hazardstream.derived", "fields": fields}
