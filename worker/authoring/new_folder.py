"""Makes the folder of a new pipeline from an Avro schema and a model: it runs as it is, and says what may be added."""

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from common.environment import closest
from common.errors import UserError
from common.text import shown
from schemas.load import Schema, read_record
from schemas.registry import SchemaRegistry
from worker.admission.compatibility import require_compatible
from worker.authoring.first_fixture import first_fixture
from worker.authoring.fixtures import FILE_NAME as FIXTURES
from worker.config.pipeline import load_pipeline
from worker.config.pipeline_file import FILE_NAME
from worker.model.contract import Model

_ALIKE = 0.6
_AVRO_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,230}")


@dataclass(frozen=True)
class Wanted:
    """What the new pipeline is to be.

    Attributes:
        folder: to make.
        model: URI of the model.
        topic: input topic; the outputs are named after it.
        fields: input of the model -> field of the record, where their names differ.
        key, group, time: fields of the record; None: it has none.
        trust: what the new file trusts, as its setting `trust`; empty: nothing.
    """

    folder: Path
    model: str
    topic: str
    fields: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    group: str | None = None
    time: str | None = None
    trust: str = ""


def folder_name(folder: Path) -> str:
    """A folder's name, as a pipeline or a topic may have it."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", folder.resolve().name).lstrip(".") or "pipeline"


class Source(NamedTuple):
    """The input's schema. text: as it was written; name: of the file or subject."""

    schema: Schema
    text: bytes
    name: str


def input_schema(source: str, registry: SchemaRegistry | None) -> Source:
    """The record of the input: from an .avsc file, or the newest one of a subject in the registry.

    Raises:
        UserError: there is neither, or it is not an Avro record.
        DependencyDownError: the registry does not answer.
    """
    if Path(source).is_file():
        return Source(read_record(Path(source)), Path(source).read_bytes(), source)
    if registry is None:
        raise UserError(f"there is no file {shown(source)!r}; for a subject of a schema registry, give --registry")
    found = registry.latest(source)
    if found is None:
        raise UserError(f"there is no file and, in the registry, no subject {shown(source)!r}; correct --schema")
    schema = found[1]
    if schema.get("type") != "record":
        raise UserError(f"subject {shown(source)!r} holds no Avro record, which values of a topic must be")
    text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    return Source(schema, text.encode(), f"subject {source}")


def make_folder(wanted: Wanted, source: Source, model: Model, max_ms: int) -> list[Path]:
    """Write the folder. It is there with all its files, or not at all.

    Args:
        wanted: what it is to be.
        source: of the input.
        model: loaded.
        max_ms: see `require_compatible`.

    Returns:
        The files.

    Raises:
        UserError: the folder exists, or schema, fields and model do not fit each other.
    """
    if wanted.folder.exists() and any(wanted.folder.iterdir()):
        raise UserError(f"{shown(wanted.folder)!r} is not empty; name a folder that is not there yet")
    features = _features(wanted, source.schema, model)
    record = str(source.schema["name"])
    if not _AVRO_NAME.fullmatch(record):
        raise UserError(f"{shown(record)!r} is no legal name of an Avro record; rename it")
    if not _TOPIC.fullmatch(wanted.topic):
        raise UserError(f"{shown(wanted.topic)!r} is no legal name of a topic; give --topic")
    try:
        wanted.folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=wanted.folder.parent, prefix=".new-") as name:
            made = Path(name) / "pipeline"
            made.mkdir()
            (made / f"{record}.avsc").write_bytes(source.text)
            (made / FILE_NAME).write_text(_pipeline_file(wanted, record, model, features))
            try:
                pipeline = load_pipeline(str(made))
                require_compatible(model, pipeline, max_ms=max_ms)
                (made / FIXTURES).write_text(first_fixture(pipeline, model))
            except UserError as error:  # must name the user's files, not those of this directory
                text = re.sub(rf"{re.escape(str(made / FILE_NAME))}:\d+: ", "", str(error))
                raise UserError(text.replace(str(made / f"{record}.avsc"), source.name)) from error
            made.rename(wanted.folder)
    except OSError as error:
        raise UserError(f"{shown(wanted.folder)!r} cannot be made: {error.strerror}; name another folder") from error
    return [wanted.folder / name for name in (FILE_NAME, f"{record}.avsc", FIXTURES)]


def _features(wanted: Wanted, schema: Schema, model: Model) -> list[dict[str, str]]:
    """What each input of the model is; nothing where all are fields of the same names."""
    names = [str(each["name"]) for each in schema["fields"]]
    for option, name in (("--key", wanted.key), ("--group", wanted.group), ("--time", wanted.time)):
        if name is not None and name not in names:
            raise UserError(f"{option} {shown(name)!r}: {_no_field(schema, name, names)}")
    if model.spec is not None:
        return []  # a package computes its own
    inputs = {each.name for each in model.inputs}
    for name in wanted.fields:
        if name not in inputs:
            known = ", ".join(sorted(inputs))
            raise UserError(f"--field {shown(name)!r}: the model has no such input; it takes {known}")
    found = [{"name": each.name, "field": wanted.fields.get(each.name, each.name)} for each in model.inputs]
    for each in found:
        if each["field"] not in names:
            raise UserError(
                f"the model takes {shown(each['name'])!r}: {_no_field(schema, each['field'], names)}; say which field "
                f"it is with --field {each['name']}=FIELD"
            )
    return [] if all(each["name"] == each["field"] for each in found) else found


def _no_field(schema: Schema, name: str, names: list[str]) -> str:
    hint = closest(name, names, _ALIKE)
    return f"record {shown(schema['name'])!r} has no such field" + (f" (did you mean {hint!r}?)" if hint else "")


def _pipeline_file(wanted: Wanted, record: str, model: Model, features: list[dict[str, str]]) -> str:
    name = folder_name(wanted.folder)
    identity = {"key": wanted.key, "group": wanted.group, "time": wanted.time}
    content: dict[str, Any] = {
        "name": name,
        "input": {"topic": wanted.topic, "schema": record} | {k: v for k, v in identity.items() if v is not None},
        "outputs": {
            "predictions": {"topic": f"{wanted.topic}.predictions"},
            "dead_letters": {"topic": f"{wanted.topic}.dlq"},
        },
        "model": _model(wanted.model),
        "task": str(model.task),
    }
    if wanted.trust:
        content["trust"] = wanted.trust
    if features:
        content["features"] = features
    return _HEAD.format(name=name) + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _model(uri: str) -> str:
    """A path from anywhere; other URIs as they are."""
    return str(Path(uri).resolve()) if ":" not in uri and Path(uri).exists() else uri


_HEAD = """\
# Pipeline {name}. `hazardstream pipeline check` checks this file; `pipeline show` prints it with all defaults.
"""
