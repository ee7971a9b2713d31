"""Factors that bring readings to the topology that the pipeline declares."""

import numpy as np

from common.arrays import Float
from common.errors import UserError
from worker.config.pipeline import Pipeline


def rescaling(pipeline: Pipeline, names: list[tuple[str, str]], topology: dict[str, float]) -> Float:
    """Factors for the sensors of each key, shape [keys, sensors].

    Args:
        pipeline: declares the topology that readings are rescaled to.
        names: key and group of each key.
        topology: parameters of the recorded equipment.

    Raises:
        UserError: no field of the pipeline depends on a parameter of `topology`, or a key declares no value for it.
    """
    per = pipeline.topology.per
    if unknown := topology.keys() - set(per.values()):
        known = f"it has {', '.join(sorted(set(per.values())))}" if per else "it has none"
        raise UserError(
            f"--topology: no field depends on {', '.join(sorted(unknown))} by topology.per of pipeline "
            f"{pipeline.name}; {known}"
        )
    sensors = pipeline.input.sensors()
    factors = np.ones((len(names), len(sensors)))
    for sensor, parameter in per.items():
        if parameter not in topology or sensor not in sensors:
            continue
        for row, (key, group) in enumerate(names):
            declared = pipeline.topology.of(key, group)
            if parameter not in declared:
                raise UserError(
                    f"--topology gives {parameter}, but pipeline {pipeline.name} declares no {parameter} for {key}; "
                    "add it under topology in the pipeline file"
                )
            factors[row, sensors.index(sensor)] = declared[parameter] / topology[parameter]
    return factors
