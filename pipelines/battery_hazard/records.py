"""The one declaration of what a reading may hold: names, units, physical ranges.

The worker derives its vectorised checks from these models and asks them again, row by row, for the
words of a dead letter.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Identity = Annotated[str, Field(min_length=1, max_length=200)]
# 2**42 ms is the year 2109: room for any sane clock, and small enough to sort by (module, time) in 64 bits.
TimestampMs = Annotated[int, Field(gt=0, lt=2**42)]
TemperatureC = Annotated[float | None, Field(ge=-60, le=1500, allow_inf_nan=False)]
Ppm = Annotated[float | None, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class SensorReading(BaseModel):
    """One reading of one battery module (schemas/avro/SensorReading.avsc has the units and meanings).

    Ranges are what can physically be, not what is healthy: a module in thermal runaway passes 800 degrees C,
    and a gas sensor cannot read below zero or above pure gas.
    """

    model_config = ConfigDict(extra="forbid")

    module_id: Identity
    rack_id: Identity
    ts: TimestampMs
    avg_surface_temp_c: TemperatureC = None
    max_surface_temp_c: TemperatureC = None
    voltage_v: Annotated[float | None, Field(ge=-5, le=2000, allow_inf_nan=False)] = None
    current_a: Annotated[float | None, Field(ge=-10_000, le=10_000, allow_inf_nan=False)] = None
    soc_percent: Annotated[float | None, Field(ge=-5, le=110, allow_inf_nan=False)] = None
    offgas_co_ppm: Ppm = None
    offgas_h2_ppm: Ppm = None
    offgas_voc_ppm: Ppm = None
    ambient_temp_c: Annotated[float | None, Field(ge=-60, le=200, allow_inf_nan=False)] = None
