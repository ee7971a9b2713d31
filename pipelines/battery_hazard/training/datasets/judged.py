"""What the model can judge: what it needs to know, how often, and the voltages of each chemistry.

Voltages count that last, and low ones not in a cell of 60 degrees Celsius or more: a shorted cell is no foreign one.
"""

from worker.model.assessable import Assessable

_THERMOMETERS = ("avg_surface_temp_c", "max_surface_temp_c", "max_cell_temp_c")

ASSESSABLE = Assessable.model_validate(
    {
        "needs": [_THERMOMETERS],
        "gaps": [{"any_of": [f"{sensor}_gap_15min" for sensor in _THERMOMETERS], "at_most_s": 120}],
        "ranges": [
            {
                "feature": "voltage_lately_v",
                "by": "chemistry",
                "cases": {"nmc": (2.5, None), "lfp": (2.0, None), "lto": (1.4, None)},
                "default": "nmc",
            },
            {
                "feature": "voltage_v_first_5min",
                "by": "chemistry",
                "cases": {"nmc": (None, 5.0), "lfp": (None, 3.9), "lto": (None, 3.1)},
                "default": "nmc",
            },
        ],
    }
)
"""Written into the package as assessable.json."""
