"""The flagship pipeline and its schemas, and folders with a changed copy of it."""

import copy
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from schemas.folder import SchemaFolder
from schemas.load import Schema
from worker.config.pipeline import load_pipeline
from worker.config.pipeline_file import FILE_NAME

PIPELINE = load_pipeline("battery_hazard")
FILE = PIPELINE.folder / FILE_NAME
WITHOUT_RULES = re.sub(r"(?s)^alarm:\n.*", "alarm: {}\n", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
"""The pipeline file without limits beside the model."""
SHIPPED_MODEL = PIPELINE.shipped_model
MODEL_30 = Path(__file__).parent / "packages" / "battery_hazard_30"
"""The model that shipped before, on the 30 features of the older system: workers go on taking it."""
KNOWN_SCHEMAS = PIPELINE.known_schemas
SCHEMA_NAMES = sorted(
    {record.name for record in PIPELINE.records.values()} | {f.stem for f in PIPELINE.folder.glob("*.avsc")}
)
"""Superseded versions included."""

_FOLDER = SchemaFolder(PIPELINE.folder)


def flagship_schema(name: str) -> Schema:
    """A schema of the flagship pipeline, as its file declares it."""
    return _FOLDER.record(name).schema


def changeable_schema(name: str) -> Schema:
    """A copy to change and to give to `write_folder`."""
    return copy.deepcopy(flagship_schema(name))


def write_folder(
    folder: Path, text: str | bytes | None = None, schemas: Mapping[str, Schema] | None = None, file: str = FILE_NAME
) -> Path:
    """Write a copy of the flagship pipeline's file and schemas.

    Args:
        folder: gets the files; created where it is missing.
        text: of the pipeline file, if it is another.
        schemas: that are added or take the place of one, by name.
        file: name of the pipeline file.

    Returns:
        Path of the pipeline file.
    """
    folder.mkdir(exist_ok=True)
    for schema in PIPELINE.folder.glob("*.avsc"):
        shutil.copy(schema, folder)
    for name, content in (schemas or {}).items():
        (folder / f"{name}.avsc").write_text(json.dumps(content, indent=1))
    text = FILE.read_text(encoding="utf-8") if text is None else text
    path = folder / file
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path
