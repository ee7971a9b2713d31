"""A copy of the battery pipeline whose topics, and hence group, no other run shares."""

from pathlib import Path

import yaml

from worker.config.pipeline import BUNDLED


def own_pipeline(name: str, directory: Path, *, same_input: bool = False) -> Path:
    """Write the pipeline file NAME.yaml, with NAME before each topic.

    Args:
        name: of the pipeline.
        directory: gets the file.
        same_input: leave the input topic as it is: another reader of the same readings.
    """
    content = yaml.safe_load((BUNDLED / "battery_hazard.yaml").read_text())
    content["name"] = name
    written = [*content["outputs"].values(), *content["monitor"].values()]
    outputs = [output for output in written if "topic" in output]
    for place in outputs if same_input else [content["input"], *outputs]:
        place["topic"] = f"{name}.{place['topic']}"
    file = directory / f"{name}.yaml"
    file.write_text(yaml.safe_dump(content))
    return file
