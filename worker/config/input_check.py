"""Whether a pipeline's record is one that the worker can read: identity, time, and sensors that are numbers."""

import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from common.environment import closest
from common.errors import UserError
from common.text import shown
from schemas.bounds import bounds
from schemas.load import load_schema, parsed
from worker.config.output_fields import MAPPED, SAMPLES

Found = tuple[str, str]
"""Name of the input's setting that a fault belongs to, and the fault."""

_NUMBERS = {"double", "float", "long", "int"}
_TIME_TYPES = {"timestamp-millis", "local-timestamp-millis", None}
_ALIKE = 0.5


def input_faults(record: str, model: type[BaseModel], roles: dict[str, str]) -> Iterator[Found]:
    """What keeps a record from being scored.

    Args:
        record: as the pipeline names it.
        model: that it stands for.
        roles: names of the fields that are `key`, `group` and `time`.
    """
    avro, wrong = _avro_fields(model.__name__)
    if wrong:
        yield "record", wrong
        return
    unfit = list(_identity_faults(record, model, avro, roles))
    yield from unfit
    if not unfit:
        yield from (("record", text) for text in _sensor_faults(record, model, avro, set(roles.values())))


def _identity_faults(
    record: str, model: type[BaseModel], avro: dict[str, Any], roles: dict[str, str]
) -> Iterator[Found]:
    fields = model.model_fields
    for role, name in roles.items():
        if name not in fields:
            hint = closest(name, fields, _ALIKE)
            advice = f"did you mean {hint!r}?" if hint else f"name one of {', '.join(fields)}"
            yield role, f"{record} has no field {shown(name)!r}; {advice}"
        elif fault := _role_fault(role, name, fields[name], avro.get(name)):
            yield role, fault
        elif taken := [r for r in MAPPED if name in SAMPLES[r]]:
            yield role, f"{name!r} is the name of a value of {', '.join(sorted(taken))}; rename the field of {record}"


def _avro_fields(name: str) -> tuple[dict[str, Any], str | None]:
    try:
        schema = load_schema(name)
        parsed(schema)
        return {field["name"]: field for field in schema["fields"]}, None
    except UserError as error:
        return {}, str(error)
    except Exception as error:  # noqa: BLE001 - a file may hold any JSON, and fastavro trips over it in many ways
        return {}, f"schemas/avro/{shown(name)}.avsc is not a valid Avro record ({shown(error, 200)}); correct it"


def _role_fault(role: str, name: str, field: FieldInfo, avro: Any) -> str | None:
    wanted, python = ("long", int) if role == "time" else ("string", str)
    if avro is None:
        return f"the record's Avro schema has no field {name!r}; add it as {wanted!r}"
    if field.annotation is not python or not field.is_required():
        return f"field {name!r} must be required and {python.__name__}; change its declaration, or name another field"
    declared, logical = _plain(avro["type"])
    if declared != wanted or isinstance(avro["type"], list) or (role == "time" and logical not in _TIME_TYPES):
        unit = " with logicalType timestamp-millis" if role == "time" else ""
        return f"Avro field {name!r} must be {wanted!r}{unit}, not null; correct the schema, or name another field"
    return None


def _sensor_faults(record: str, model: type[BaseModel], avro: dict[str, Any], identity: set[str]) -> Iterator[str]:
    sensors = 0
    for name, field in model.model_fields.items():
        if name in identity:
            continue
        if field.is_required():
            yield (
                f"field {name!r} of {record} is required and has no role; make it optional (float | None = None), "
                "or take it out"
            )
            continue
        sensors += 1
        if not _is_optional_number(field):
            yield f"sensor {name!r} of {record} must be float | None = None; change its declaration, or take it out"
        elif name not in avro:
            yield f'the Avro schema of {record} has no field {name!r}; add it as ["null", "double"], default null'
        elif _plain(avro[name]["type"])[0] not in _NUMBERS:
            yield f'Avro field {name!r} is a sensor and must be a number; declare it as ["null", "double"]'
        elif (limits := bounds(model, name)).low > limits.high:
            yield f"no value of sensor {name!r} is within its own limits, {limits.low} to {limits.high}; correct them"
    if not sensors:
        yield f"{record} has no sensor (a field that is float | None = None); there would be nothing to score"


def _is_optional_number(field: FieldInfo) -> bool:
    annotation = field.annotation
    options = set(get_args(annotation)) if get_origin(annotation) in {Union, types.UnionType} else {annotation}
    return options == {float, types.NoneType} and field.default is None


def _plain(avro_type: Any) -> tuple[Any, Any]:
    """Type and logical type of a field, or of the one thing that may stand in it besides null."""
    if isinstance(avro_type, list):
        others = [t for t in avro_type if t != "null"]
        return _plain(others[0]) if len(others) == 1 else (None, None)
    if isinstance(avro_type, dict):
        return avro_type.get("type"), avro_type.get("logicalType")
    return avro_type, None
