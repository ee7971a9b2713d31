"""Ground truth of a simulated fleet: what really happened, and when."""

from dataclasses import dataclass

MECHANISMS = (
    "internal_short",
    "hard_short",
    "sudden_short",
    "overcharge",
    "external_heating",
    "cooling_failure",
    "propagation",
)
"""Causes of a runaway. `propagation` is heat from a burning neighbour, so it needs another cause first."""
SUDDEN, HEATED, SPREADING = "sudden_short", "external_heating", "propagation"
NUISANCES = (
    "hvac_failure",
    "hot_day",
    "fast_charge",
    "soft_short",
    "decaying_short",
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
"""Events that look like a hazard but are none, to draw from. `decaying_short` is a sudden short that does not run away.

One more kind, `neighbour_heat`, is never drawn: a burning neighbour heats a module, which does not catch fire.
"""
DECAYING = "decaying_short"


@dataclass(frozen=True)
class Fault:
    """A module that runs away. Times in ms since the Unix epoch.

    Attributes:
        module: row of the module in a step.
        mechanism: one of `MECHANISMS`.
        onset_ts: when the cause began.
        first_sign_ts: when the fault first shows at the module's sensors. From then until the point of no return, the
            noise-free value of at least one sensor differs from its value without the fault by more than three times
            the sensor's noise plus the normal difference between modules (see `.first_signs`). It is the point of no
            return if nothing shows before.
        first_sign_tv_ts: the same for temperature and voltage sensors only.
        first_sign_cell_ts: the same if the lowest and highest voltage of cells are measured, too.
        no_return_ts: when the hottest cell passes 150 degrees C, or has risen by at least 1 degree C a second for 3 s.
        vents_early: whether gas escapes at least a minute before the point of no return.
        cooled_ts: when the hottest thermometer is back below a quarter of its highest rise; None if that takes longer
            than the event is computed.
    """

    module: int
    mechanism: str
    onset_ts: int
    first_sign_ts: int
    first_sign_tv_ts: int
    no_return_ts: int
    vents_early: bool
    first_sign_cell_ts: int | None = None
    cooled_ts: int | None = None


@dataclass(frozen=True)
class Nuisance:
    """An event at a module that looks like a hazard but is none, from `start_ts` to `end_ts` (ms)."""

    module: int
    kind: str
    start_ts: int
    end_ts: int
