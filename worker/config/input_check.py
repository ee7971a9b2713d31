"""Whether a pipeline's input record is one that the worker can read: identity, time, and fields to score."""

from collections.abc import Iterator

from common.environment import closest
from common.text import shown
from schemas.field_rules import FieldRules
from worker.config.inputs_outputs import Input
from worker.config.roles import ROLES

Found = tuple[str, str]
"""Name of the input's setting that a fault belongs to, and the fault."""

_TIME_TYPES = {"timestamp-millis", "local-timestamp-millis", None}
_OTHERWISE = {
    "key": "leave key out, and the message's own key counts, which may be null",
    "group": "leave group out",
    "time": "leave time out, and the Kafka timestamp counts",
}
_ANOTHER = "correct the schema, or name another field"
_ALIKE = 0.5


def input_faults(source: Input) -> Iterator[Found]:
    """What keeps the records of an input from being scored."""
    unfit = list(_identity_faults(source))
    yield from unfit
    if not unfit and not (source.sensors() or source.categories()):
        yield (
            "schema",
            (
                f"{shown(source.record.file)}: no field is a number, a boolean, a string or an enum, but for key, "
                'group and time, so there is nothing to score; add one, such as ["null", "double"] with default null'
            ),
        )


def _identity_faults(source: Input) -> Iterator[Found]:
    record, taken = source.record, dict[str, str]()
    for role, name in source.identity_fields.items():
        if name not in record.rules:
            hint = closest(name, record.rules, _ALIKE)
            advice = f"did you mean {hint!r}?" if hint else f"name one of {', '.join(record.rules)}"
            yield role, f"{record.name} has no field {shown(name)!r}; {advice}"
        elif not _fits(role, record.rules[name]):
            yield role, f"{record.place(name)} {_unfit(role, record.rules[name])}"
        elif name in taken:
            yield role, f"{shown(name)!r} is the {taken[name]} already; name another field, or take {role} out"
        elif others := [r for r, output in ROLES.items() if output.mapped and name in output.fields.keys() - {role}]:
            outputs = ", ".join(sorted(others))
            yield role, f"{name!r} is the name of a value of {outputs}; rename the field of {record.name}"
        taken.setdefault(name, role)


def _unfit(role: str, rules: FieldRules) -> str:
    if not _fits(role, rules._replace(nullable=False)):
        wanted = "'long' with logicalType timestamp-millis" if role == "time" else "'string'"
        logical = f" with logicalType {rules.logical}" if rules.logical else ""
        return f"is {shown(rules.avro or 'a union')!r}{logical}; a {role} must be {wanted}; {_ANOTHER}"
    return f"may be null, and a {role} may not; take null out of its type, or {_OTHERWISE[role]}"


def _fits(role: str, rules: FieldRules) -> bool:
    if role == "time":
        return not rules.nullable and rules.avro == "long" and rules.logical in _TIME_TYPES
    return not rules.nullable and rules.avro == "string"
