"""A copy of a shipped example pipeline, with its own topics and consumer group."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from local.flagship import FLAGSHIP
from worker.config.pipeline import SHIPPED_PIPELINES
from worker.config.pipeline_file import FILE_NAME


def isolated_pipeline(name: str, directory: Path, *, same_input: bool = False, of: str = FLAGSHIP) -> Path:
    """Write a folder NAME with the pipeline's file and schemas. Each topic name gets the prefix NAME.

    Args:
        name: of the pipeline.
        directory: gets the folder.
        same_input: keep the name of the input topic, to read the same readings.
        of: name of the pipeline that is copied.

    Returns:
        Path of the pipeline file.
    """
    source, folder = SHIPPED_PIPELINES / of, directory / name
    folder.mkdir()
    for schema in source.glob("*.avsc"):
        shutil.copy(schema, folder)
    content: dict[str, Any] = yaml.safe_load((source / FILE_NAME).read_text(encoding="utf-8"))
    content["name"] = name
    written = [*content["outputs"].values(), *content.get("monitor", {}).values()]
    outputs = [output for output in written if isinstance(output, dict) and "topic" in output]
    for place in outputs if same_input else [content["input"], *outputs]:
        place["topic"] = f"{name}.{place['topic']}"
    file = folder / FILE_NAME
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file
