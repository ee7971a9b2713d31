"""Whether a pipeline's input record is one that the worker can read: identity, time, and sensors that are numbers."""

from collections.abc import Iterator

from common.environment import closest
from common.text import shown
from schemas.avro_record import AvroRecord
from schemas.field_rules import FieldRules
from worker.config.roles import ROLES

Found = tuple[str, str]
"""Name of the input's setting that a fault belongs to, and the fault."""

_TIME_TYPES = {"timestamp-millis", "local-timestamp-millis", None}
_ALIKE = 0.5
_SENSOR = '["null", "double"] with default null'


def input_faults(record: AvroRecord, roles: dict[str, str]) -> Iterator[Found]:
    """What keeps a record from being scored.

    Args:
        record: of the input.
        roles: names of the fields that are `key`, `group` and `time`.
    """
    unfit = list(_identity_faults(record, roles))
    yield from unfit
    if not unfit:
        yield from (("schema", text) for text in _sensor_faults(record, set(roles.values())))


def _identity_faults(record: AvroRecord, roles: dict[str, str]) -> Iterator[Found]:
    for role, name in roles.items():
        if name not in record.rules:
            hint = closest(name, record.rules, _ALIKE)
            advice = f"did you mean {hint!r}?" if hint else f"name one of {', '.join(record.rules)}"
            yield role, f"{record.name} has no field {shown(name)!r}; {advice}"
        elif not _fits(role, record.rules[name]):
            wanted = "'long' with logicalType timestamp-millis" if role == "time" else "'string'"
            yield role, f"{record.place(name)} must be {wanted}, not null; correct the schema, or name another field"
        elif taken := [r for r, output in ROLES.items() if output.mapped and name in output.fields]:
            outputs = ", ".join(sorted(taken))
            yield role, f"{name!r} is the name of a value of {outputs}; rename the field of {record.name}"


def _fits(role: str, rules: FieldRules) -> bool:
    if role == "time":
        return not rules.nullable and rules.avro == "long" and rules.logical in _TIME_TYPES
    return not rules.nullable and rules.kind == "text"


def _sensor_faults(record: AvroRecord, identity: set[str]) -> Iterator[str]:
    sensors = [name for name in record.rules if name not in identity]
    if not sensors:
        yield f"{shown(record.file)}: no sensor, so there is nothing to score; add a field that is {_SENSOR}"
    for name in sensors:
        rules = record.rules[name]
        if rules.kind not in {"whole", "number"}:
            yield f"{record.place(name)} is a sensor and must be a number; declare it as {_SENSOR}, or take it out"
        elif not rules.nullable:
            yield f"{record.place(name)} is a sensor and may be missing; declare it as {_SENSOR}"
