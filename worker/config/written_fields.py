"""What is written to an output of a pipeline, by the names of its schema."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from schemas.resolution import expanded, named_types
from worker.alarms.rules import NOT_ASSESSABLE
from worker.config.inputs_outputs import Input
from worker.config.output_fields import IDENTITY, OutputField, nullable
from worker.config.outputs import Outputs
from worker.config.roles import ROLES
from worker.config.task import Task

# Only packages have windows and say what they can judge; schemas are derived for any model.
_OF_PACKAGES = frozenset({"readings_in_window", NOT_ASSESSABLE})
# Of a field of the input, what is said of its values in the output, too.
_KEPT = ("doc", "unit")


class WrittenField(NamedTuple):
    """One field of an output.

    Attributes:
        engine_name: what the engine calls it; the input's own name for key, group, time and fields that are copied.
        field: its type; optional where the schema may leave it out.
        derived: whether a schema that is derived has it.
        properties: of its declaration in such a schema, besides type and doc.
    """

    engine_name: str
    field: OutputField
    derived: bool = True
    properties: Mapping[str, Any] = MappingProxyType({})


def written_fields(source: Input, outputs: Outputs, role_name: str, task: Task) -> dict[str, WrittenField]:
    """The fields of an output, by name in its schema.

    Args:
        source: the input, whose fields identify the reading.
        outputs: say which fields of the input are copied to predictions, and how fields are named.
        role_name: of the output.
        task: what the model predicts.
    """
    role, own = ROLES[role_name], source.identity_fields
    identity = [name for name in role.fields if name in IDENTITY]
    found = [
        WrittenField(
            source.identity[name],
            role.fields[name] if name in own else role.fields[name]._replace(optional=True),
            derived=name in own,
        )
        for name in identity
    ]
    found += [_copied(source, name) for name in outputs.echo if role.echoes and name in source.record.rules]
    found += [
        WrittenField(name, field, derived=name not in _OF_PACKAGES)
        for name, field in role.fields.items()
        if name not in identity and (not field.tasks or task in field.tasks)
    ]
    if not role.mapped:
        return {each.engine_name: each for each in found}
    return {outputs.schema_name(each.engine_name): each for each in found}


def _copied(source: Input, name: str) -> WrittenField:
    """A field of the input on a prediction. It is null where its value was masked."""
    declared = next(field for field in source.avro_schema["fields"] if field["name"] == name)
    found = expanded(declared["type"], named_types(source.avro_schema))
    branches = found if isinstance(found, list) else [found]
    (avro_type, *_) = [branch for branch in branches if branch != "null"]
    properties = {key: declared[key] for key in _KEPT if key in declared}
    return WrittenField(name, OutputField(nullable(avro_type), properties.pop("doc", "")), properties=properties)
