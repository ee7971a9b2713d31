"""Ground truth of a simulated fleet: what really happened, and when."""

from dataclasses import dataclass

MECHANISMS = ("internal_short", "hard_short", "overcharge", "external_heating", "cooling_failure", "propagation")
"""What can begin a runaway. `propagation` is a neighbour's fire; it needs another one to begin with."""
SPREADING = "propagation"
NUISANCES = (
    "hvac_failure",
    "hot_day",
    "fast_charge",
    "soft_short",
    "truck_co",
    "solvent_voc",
    "lead_acid_h2",
    "sensor_step",
    "sensor_drift",
    "sensor_stuck",
    "sensor_spikes",
    "sensor_noise",
    "maintenance",
    "soc_recalibration",
)
"""What looks like a hazard and is none. `neighbour_heat`, which is not drawn, is that of a fire that did not catch."""


@dataclass(frozen=True)
class Fault:
    """A module that runs away. Times in ms since the Unix epoch.

    Attributes:
        module: row of the module in a step.
        mechanism: one of `MECHANISMS`.
        onset_ts: when the cause began.
        first_sign_ts: when physics first shows at the module's sensors: from then until the point of no return the
            noise-free course of at least one sensor is off the same module's course without the fault by more than
            three times that sensor's noise plus what modules differ by anyway (see `.faults`). The point of no return
            itself, if not before.
        first_sign_tv_ts: the same with the thermometers and the voltage only.
        no_return_ts: the hottest cell passes 150 degrees C, or rises by at least 1 degree C a second for 3 s.
        vents_early: gas escapes at least a minute before the point of no return.
    """

    module: int
    mechanism: str
    onset_ts: int
    first_sign_ts: int
    first_sign_tv_ts: int
    no_return_ts: int
    vents_early: bool


@dataclass(frozen=True)
class Nuisance:
    """Something that looks like a hazard at a module, and is none; from `start_ts` to `end_ts` (ms)."""

    module: int
    kind: str
    start_ts: int
    end_ts: int
