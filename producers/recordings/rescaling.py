"""How recorded equipment differs from what the pipeline declares: factors for its readings, and texts."""

from collections.abc import Mapping

import numpy as np

from common.arrays import Float
from common.errors import UserError
from worker.config.pipeline import Pipeline
from worker.config.topology import numbers_in, texts_in


def rescaling(pipeline: Pipeline, names: list[tuple[str, str]], topology: Mapping[str, float | str]) -> Float:
    """Factors for the sensors of each key, shape [keys, sensors].

    Args:
        pipeline: declares the topology that readings are rescaled to.
        names: key and group of each key.
        topology: parameters of the recorded equipment.

    Raises:
        UserError: the pipeline has no such parameter, a key declares no value for it, or another text.
    """
    given, per = numbers_in(topology), pipeline.topology.per
    if unknown := given.keys() - set(per.values()):
        known = f"it has {', '.join(sorted(set(per.values())))}" if per else "it has none"
        raise UserError(
            f"--topology: no field depends on {', '.join(sorted(unknown))} by topology.per of pipeline "
            f"{pipeline.name}; {known}"
        )
    _require_texts(pipeline, names, texts_in(topology))
    sensors = pipeline.input.sensors()
    factors = np.ones((len(names), len(sensors)))
    for sensor, parameter in per.items():
        if parameter not in given or sensor not in sensors:
            continue
        for row, (key, group) in enumerate(names):
            declared = numbers_in(pipeline.topology.of(key, group))
            if parameter not in declared:
                raise UserError(
                    f"--topology gives {parameter}, but pipeline {pipeline.name} declares no {parameter} for {key}; "
                    "add it under topology in the pipeline file"
                )
            factors[row, sensors.index(sensor)] = declared[parameter] / given[parameter]
    return factors


def built_as_recorded(pipeline: Pipeline, topology: Mapping[str, float | str]) -> Pipeline:
    """The pipeline, with the texts of recorded equipment for all keys. Numbers stay: readings are rescaled to them.

    Raises:
        UserError: the pipeline has no such parameter.
    """
    texts = texts_in(topology)
    _require_known(pipeline, texts)
    return pipeline.model_copy(update={"topology": pipeline.topology.with_texts(texts)}) if texts else pipeline


def _require_texts(pipeline: Pipeline, names: list[tuple[str, str]], texts: Mapping[str, str]) -> None:
    _require_known(pipeline, texts)
    for key, group in names if texts else ():
        declared = pipeline.topology.of(key, group)
        for parameter, text in texts.items():
            if declared[parameter] != text:
                raise UserError(
                    f"--topology gives {parameter}={text}, and pipeline {pipeline.name} declares "
                    f"{declared[parameter]} for {key}, which workers go by; write `{parameter}: {text}` under "
                    "topology.keys of the pipeline file, or leave it out here"
                )


def _require_known(pipeline: Pipeline, texts: Mapping[str, str]) -> None:
    known = texts_in(pipeline.topology.default)
    if unknown := sorted(texts.keys() - known.keys()):
        there = f"it has {', '.join(sorted(known))}" if known else "it has none"
        raise UserError(
            f"--topology: {', '.join(unknown)} is no text in topology.default of pipeline {pipeline.name}; {there}"
        )
