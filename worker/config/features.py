"""The features of a pipeline file: what a model's inputs are computed from, where the model does not say it."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, WithJsonSchema, model_validator

from common.environment import closest
from common.text import shown
from common.times import DAY_MS, HOUR_MS, MINUTE_MS
from schemas.field_rules import FieldRules
from worker.config.inputs_outputs import Number, Strict
from worker.windows.aggregates import OF_VALUES, Aggregate, Selection, around, fault
from worker.windows.aggregates import Kind as AggregateKind

_OF_READINGS = ("value", "category", "difference", "mean", "std")
_AGGREGATES = frozenset(map(str, AggregateKind))
KINDS = tuple(dict.fromkeys((*_OF_READINGS, *map(str, AggregateKind))))
"""What `kind` may say: features of readings, and those of worker/windows/aggregates.py."""


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"it must be one of {', '.join(KINDS)}")
    return kind


Kind = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(KINDS)})]
_UNITS_MS: Mapping[str, int] = {"s": 1000, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}
_LENGTH = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_LENGTH_SCHEMA = {"type": "string", "pattern": f"^{_LENGTH.pattern}$"}
_MOST_READINGS = 1000  # of 100,000 keys and one sensor, they take 0.8 GB
_ROLLING = frozenset({"mean", "std"})
_WITHOUT_FIELD = _AGGREGATES - OF_VALUES
_NUMBERS = frozenset({"value", "difference", "mean", "std"}) | OF_VALUES
_ALIKE = 0.6

Found = tuple[tuple[int | str, ...], str]
"""Place below `features`, and what is wrong there."""


def _length(given: object) -> str:
    if not (isinstance(given, str) and _LENGTH.fullmatch(given)):
        raise ValueError("it must be a number with s, m, h or d, such as 7d")
    return given


def _selectable(given: object) -> object:
    if isinstance(given, str | bool):
        return given
    raise ValueError("`where` selects by a string, an enum or a boolean, so it must be text, true or false")


class Feature(Strict):
    """One feature. A bare name in the file is short for the value or the category of the field of that name.

    Attributes:
        name: of the model's input.
        kind: what is computed; None: `value`, or `category` for a field of texts.
        field: of the input record; where it is left out, counts are of all readings.
        where: only readings with these values of category or boolean fields count.
        last: number of readings in the window, this one included.
        over: over so much event time: a number and s, m, h or d.
        per: of a difference: from reading to reading, or divided by the seconds between them.
        fill: of a value: the last one that the window holds, where the reading has none.
    """

    name: Annotated[str, Field(min_length=1, max_length=200)]
    kind: Kind | None = None
    field: str | None = None
    where: dict[str, Annotated[str | StrictBool, BeforeValidator(_selectable)]] = Field(default_factory=dict)
    last: Annotated[Number, Field(ge=1, le=_MOST_READINGS)] | None = None
    over: Annotated[str, BeforeValidator(_length), WithJsonSchema(_LENGTH_SCHEMA)] | None = None
    per: Literal["reading", "second"] | None = None
    fill: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given

    @property
    def over_ms(self) -> int | None:
        """Length of the window of event time; None: the window counts readings, or there is none."""
        return None if self.over is None else milliseconds(self.over)

    @property
    def windowed(self) -> bool:
        """Whether it needs earlier readings of the key."""
        return self.fill or self.kind not in {None, "value", "category"}

    def as_aggregate(self) -> Aggregate | None:
        """The declaration of an aggregate that is kept in buckets of event time; None: it is no such feature."""
        if self.kind not in _AGGREGATES or self.over_ms is None:
            return None
        selection = Selection(self.field, tuple(sorted(self.where.items())))
        return Aggregate(self.name, AggregateKind(self.kind), selection, self.over_ms)

    def resolved(self, rules: Mapping[str, FieldRules]) -> "Feature":
        """With kind, field and `per` as they follow from what is given, for an input with these fields."""
        field = self.field if self.field or self.kind in _WITHOUT_FIELD else self.name
        texts = field is not None and field in rules and rules[field].kind == "text"
        kind = self.kind or ("category" if texts else "value")
        per = self.per or ("reading" if kind == "difference" else None)
        return self.model_copy(update={"field": field, "kind": kind, "per": per})


def milliseconds(length: str) -> int:
    """A length such as 90m or 7d in ms."""
    match = _LENGTH.fullmatch(length)
    if match is None:
        raise ValueError(f"{length!r} is no length of time")
    return int(match[1]) * _UNITS_MS[match[2]]


def feature_faults(features: Sequence[Feature], rules: Mapping[str, FieldRules], identity: set[str]) -> Iterator[Found]:
    """What is wrong with features.

    Args:
        features: resolved.
        rules: of the input's fields.
        identity: names of the fields that are key, group and time.
    """
    if not features:
        yield (), "there is none; name the inputs of the model, or take `features` out"
    names = [feature.name for feature in features]
    for at, feature in enumerate(features):
        if feature.name in names[:at]:
            yield (at, "name"), f"{shown(feature.name)!r} is the name of an earlier feature; give each its own"
        for setting, text in (*_field(feature, rules, identity), *_window(feature), *_where(feature, rules)):
            yield (at, *setting), text


Setting = tuple[tuple[str, ...], str]


def _field(feature: Feature, rules: Mapping[str, FieldRules], identity: set[str]) -> Iterator[Setting]:
    field = feature.field
    if field is None:
        return
    # A bare name has no setting `field` to point to.
    at = ("field",)
    if field not in rules:
        hint = closest(field, rules, _ALIKE)
        advice = f"did you mean {hint!r}?" if hint else f"there are {', '.join(rules)}"
        yield at, f"the input has no field {shown(field)!r}; {advice}"
    elif field in identity:
        yield at, f"{shown(field)!r} is the key, the group or the time; name a field that is measured"
    elif feature.kind in _NUMBERS and not rules[field].numeric:
        yield at, f"{shown(field)!r} is no number, which {feature.kind} needs; name another field, or kind: category"
    elif feature.kind == "category" and rules[field].kind != "text":
        yield at, f"{shown(field)!r} is no string and no enum, so it is no category; write kind: value"


def _window(feature: Feature) -> Iterator[Setting]:
    kind = feature.kind
    if feature.fill and kind != "value":
        yield ("fill",), f"only a value is filled, not a {kind}; take it out"
    if feature.per and kind != "difference":
        yield ("per",), f"only a difference has it, not a {kind}; take it out"
    if feature.where and kind not in _AGGREGATES:
        yield ("where",), f"only aggregates have it, not a {kind}; take it out"
    if feature.last is not None and kind not in _ROLLING:
        yield ("last",), f"only mean and std are over readings, not {kind}; {_instead(feature)}"
    elif feature.last is not None and feature.over is not None:
        yield ("last",), "a window is either of readings or of time; take `last` or `over` out"
    elif kind == "std" and feature.last in {None, 1}:
        yield (), "std is over readings; give `last` of 2 or more, such as last: 10"
    elif feature.over is not None and kind not in _AGGREGATES:
        yield ("over",), f"a {kind} has no window of time; take it out"
    elif feature.over is None and feature.last is None and kind in _AGGREGATES:
        yield (
            (),
            f"{kind} needs a window; give `over`, such as over: 7d"
            + (", or `last`, such as last: 10" if kind in _ROLLING else ""),
        )
    if (aggregate := feature.as_aggregate()) and (text := fault(aggregate)):
        fitting = " or ".join(_lengths(feature.over, around(aggregate.over_ms)))
        yield ("over",), f"{text}; {f'write {fitting}' if fitting else f'correct {feature.over}'}"


def _lengths(given: str | None, lengths_ms: Iterable[int]) -> Iterator[str]:
    """Lengths in the unit of the one that was given, and in the longest unit that divides them."""
    for length_ms in lengths_ms:
        fitting = [f"{length_ms // ms}{unit}" for unit, ms in _UNITS_MS.items() if length_ms % ms == 0]
        own = next((text for text in fitting if given and text[-1] == given[-1]), fitting[-1])
        yield own if own == fitting[-1] else f"{own} ({fitting[-1]})"


def _instead(feature: Feature) -> str:
    return "write `over` for a window of time" if feature.kind in _AGGREGATES else "take it out"


def _where(feature: Feature, rules: Mapping[str, FieldRules]) -> Iterator[Setting]:
    for field, value in feature.where.items():
        at = ("where", field)
        found = rules.get(field)
        if found is None:
            hint = closest(field, rules, _ALIKE)
            yield at, f"the input has no such field; {f'did you mean {hint!r}?' if hint else 'correct it'}"
        elif found.kind != "text" and found.avro != "boolean":
            yield at, "it must be a string, an enum or a boolean, whose values can be equal; name another field"
        elif isinstance(value, bool) != (found.avro == "boolean"):
            wanted = "true or false" if found.avro == "boolean" else "text"
            yield at, f"it must be {wanted}, not {value!r}; correct it"
        elif found.symbols and value not in found.symbols:
            hint = closest(str(value), found.symbols, _ALIKE)
            advice = f"did you mean {hint!r}?" if hint else f"there are {', '.join(found.symbols)}"
            yield at, f"the enum has no symbol {shown(value)!r}; {advice}"
