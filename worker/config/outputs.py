"""The outputs of a pipeline, and the one place where field names are mapped between the engine and the schemas."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from worker.config.roles import OutputTopics


class Outputs(OutputTopics):
    """The output topics, and the fields whose names in the schemas differ from the engine's.

    Attributes:
        predictions: one for each reading that is scored.
        alarms: transitions of alarms; without it, none are raised.
        alarm_state: the current alarm of each key, from which workers restore it; compacted.
        window_state: the windows of time (`over`) of each key; compacted.
        dead_letters: records that cannot be scored.
        fields: the engine's name of a value, and the field that carries it in the schemas.
        echo: fields of the input that are copied to predictions.
        headers: copied from a reading to its prediction and its alarm; by default those of a W3C trace.
    """

    fields: dict[str, str] = Field(default_factory=dict)
    echo: tuple[str, ...] = ()
    headers: tuple[str, ...] = ("traceparent", "tracestate")

    def schema_name(self, field: str) -> str:
        """Name in the schemas of one of the engine's fields."""
        return self.fields.get(field, field)

    def with_engine_names(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A record of predictions, alarms or alarm state as read, under the engine's field names."""
        engine_names = {in_schema: field for field, in_schema in self.fields.items()}
        return {engine_names.get(name, name): value for name, value in record.items()}

    def with_schema_names(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values by the engine's field names, under the names that the fields have in the schemas."""
        return {self.schema_name(field): value for field, value in values.items()}
