"""What a request may hold: the JSON form of readings, from the pipeline's record, and of rows, from the model's inputs.

Types are checked here, ranges by the worker's own stages: whether a value out of its range is masked or refused is
the pipeline's decision.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NotRequired, Optional, Union

from pydantic import AliasChoices, BeforeValidator, ConfigDict, FailFast, Field, Strict, TypeAdapter, with_config
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from schemas.conversions import iso_to_ms
from schemas.errors import InvalidValueError
from schemas.load import Schema
from worker.config.pipeline import Pipeline
from worker.model.contract import InputType, Model, ModelInput

REQUEST_FIELDS = ("readings", "rows", "predict", "explain")
_LARGEST = 3e38
"""Of a feature: models compute in single precision."""
_WHOLE: Mapping[str, int] = {"int": 2**31, "long": 2**63, "integer": 2**31}
_TEXT, _NUMBER, _FLAG = Annotated[str, Strict()], Annotated[float, Strict()], Annotated[bool, Strict()]
_FINITE = Annotated[float, Strict(), Field(ge=-_LARGEST, le=_LARGEST, allow_inf_nan=False)]
_TIME_EXAMPLE = 1_767_225_600_000
_UNKNOWN_NAMED = 20
"""The most unknown fields of an object that are named one by one."""


def request_form(pipeline: Pipeline, model: Model, max_rows: int) -> TypeAdapter[dict[str, Any]]:
    """Reads and validates the body of `POST /v1/predict`. Fields have their own names in the result, not aliases."""
    readings, rows = (_list(form, max_rows) for form in (reading_form(pipeline), row_form(model)))
    fields = {
        "readings": NotRequired[_described(readings, "Readings, oldest first, with their history.")],
        "rows": NotRequired[_described(rows, "Finished features, by the names of the model's inputs.")],
        "predict": NotRequired[_described(Literal["each", "last"], "Each reading, or the last one of each key.")],
        "explain": NotRequired[_described(_FLAG, "Add what each input contributes.")],
    }
    return TypeAdapter(_typed("PredictRequest", fields))


def reading_form(pipeline: Pipeline) -> Any:
    """The JSON form of one reading. Its time is ms in the result, also where a text gave it."""
    source, fields = pipeline.input, dict[str, Any]()
    for field in source.reader_schema["fields"]:
        form = _avro(field["type"])
        if field["name"] == source.time_field:
            form = Annotated[form, BeforeValidator(_ms(source.utc_offset_ms), json_schema_input_type=int | str)]
        names = AliasChoices(field["name"], *field.get("aliases", ()))
        form = Annotated[form, Field(validation_alias=names, description=field.get("doc"))]
        fields[field["name"]] = NotRequired[form] if "default" in field else form
    return _typed("Reading", fields)


def row_form(model: Model) -> Any:
    """The JSON form of a row of finished features."""
    return _typed("Row", {each.name: _input(each) for each in model.inputs})


def example_reading(pipeline: Pipeline) -> dict[str, Any]:
    """A reading for the documentation."""
    found: dict[str, Any] = {}
    for name, rules in pipeline.input.record.rules.items():
        if name == pipeline.input.time_field:
            found[name] = _TIME_EXAMPLE
        elif rules.kind == "text":
            found[name] = next(iter(rules.symbols or ()), name[: rules.longest or len(name)])
        elif rules.kind in ("whole", "number"):
            found[name] = min(max(0, rules.low), rules.high)
    return found


def example_row(model: Model) -> dict[str, Any]:
    """A row for the documentation."""
    values: Mapping[InputType, Any] = {"string": "text", "boolean": True, "integer": 0, "long": 0}
    return {each.name: values.get(each.type, 0.0) for each in model.inputs}


def _typed(name: str, fields: Mapping[str, Any]) -> Any:
    made = TypedDict(name, fields)  # type: ignore[misc]  # fields are known at run time only
    form = with_config(ConfigDict(extra="forbid", title=name))(made)
    return Annotated[form, BeforeValidator(_few(len(fields)))]


def _few(fields: int) -> Callable[[Any], Any]:
    """Refuses an object with far more fields at once: each unknown one would be a fault of its own."""

    def check(given: Any) -> Any:
        if isinstance(given, dict) and len(given) > fields + _UNKNOWN_NAMED:
            text = "it has {given} fields, and the schema {fields}"
            raise PydanticCustomError("too_many_fields", text, {"given": len(given), "fields": fields})
        return given

    return check


def _ms(utc_offset_ms: int | None) -> Callable[[Any], Any]:
    def convert(given: Any) -> Any:
        if not isinstance(given, str):
            return given
        try:
            return iso_to_ms(given, utc_offset_ms)
        except InvalidValueError as error:
            raise ValueError(str(error)) from error  # what Pydantic makes a fault of

    return convert


def _list(form: Any, longest: int) -> Any:
    """Only the first item that does not fit is described: the faults of all would take seconds to collect."""
    return Annotated[list[form], Field(min_length=1, max_length=longest), FailFast()]


def _described(form: Any, text: str) -> Any:
    return Annotated[form, Field(description=text)]


def _input(each: ModelInput) -> Any:
    form: Any = {"string": _TEXT, "boolean": _FLAG, "integer": _whole("integer"), "long": _whole("long")}.get(
        each.type, _FINITE
    )
    return form if each.required else NotRequired[Optional[form]]  # noqa: UP045 - `form` is a value here


def _avro(kind: Schema | list[Any] | str) -> Any:
    if isinstance(kind, list):
        return Union[tuple(None if each == "null" else _avro(each) for each in kind)]  # noqa: UP007 - a value
    if isinstance(kind, dict):
        return Literal[tuple(kind["symbols"])] if kind["type"] == "enum" else _avro(kind["type"])
    if kind in _WHOLE:
        return _whole(kind)
    return {"string": _TEXT, "float": _NUMBER, "double": _NUMBER, "boolean": _FLAG}.get(kind, Any)


def _whole(kind: str) -> Any:
    return Annotated[int, Strict(), Field(ge=-_WHOLE[kind], lt=_WHOLE[kind])]
