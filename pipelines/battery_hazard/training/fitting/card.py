"""The model card: what the model is for, how it was made, how well it does, and where it does not."""

from typing import Any

from pipelines.battery_hazard.training.datasets.features import BENCH_SITES, HELD_OUT, MONOTONE, SITES
from pipelines.battery_hazard.training.datasets.labels import WARNING_MS
from pipelines.battery_hazard.training.evaluation.operator_metrics import NUISANCES_PER_MODULE_DAY
from worker.alarms.state_machine import AlarmPolicy


def model_card(name: str, policy: AlarmPolicy, metrics: dict[str, Any]) -> str:
    """Markdown."""
    own, limits = metrics["test"], metrics["thresholds"]
    budget = metrics["training"]["false_alarm_budget"]
    rows = "\n".join(
        f"| {who} | {what} | {_measured(of)} |"
        for what in ("modules", "bench")
        for who, of in (("model", own[what]), ("threshold baseline", limits["test"][what]))
    )
    training = metrics["training"]
    rising = ", ".join(k for k, v in MONOTONE.items() if v > 0)
    falling = ", ".join(k for k, v in MONOTONE.items() if v < 0)
    return f"""# {name}

Probability that a battery module (or a single cell) is within {WARNING_MS // 60_000} minutes of thermal runaway, or in
it, from its last readings. It raises alarms; it does not replace the limits of a protection system, which act by
themselves.

## How it was made

Boosted trees (XGBoost) on simulated sites; no recorded fire was used, and the cells' chemistry is lithium cobalt oxide
on graphite (`docs/physics.md`). {training["rows"]:,} readings, {training["hazardous_rows"]:,} of them hazardous, with
varied instruments (noise, digits, calibration, periods from 10 to 60 s).

- Sensor sets of modules: {"; ".join(SITES)}. Of single cells: {"; ".join(BENCH_SITES)}.
- Never less hazardous with more of: {rising}. Never more with more of: {falling}.
- Kept out of training and validation: {HELD_OUT}.

Calibrated by Platt's scaling on validation sites, where hazards are far more frequent than in operation: a probability
of 0.5 is that of those sites, not of yours.

## Alarms

Setpoint {policy.setpoint}, on-delay {policy.on_delay_ms / 1000:g} s (none from {policy.immediate} on), off-delay
{policy.off_delay_ms / 1000:g} s;
chosen on validation events for at most {budget:g} false alarms a module-day with {NUISANCES_PER_MODULE_DAY:g} nuisances
a module-day.

## On the test sites of this training

`hazardstream evaluate` measures on many more. In time: alarmed five minutes or more before the point of no return, of
events that show themselves that early. Prompt: by the second reading that could tell, of all others.

| what | on | events warned of | in time | prompt | lead of these, median / p10 | false alarms |
|---|---|---|---|---|---|---|
{rows}

{worse(own, limits["test"])}
## Limits

- Simulated physics, not recorded fires. Other chemistries heat, vent and burn differently (LFP vents long before it
  burns).
- A site's nuisances are as drawn in `pipelines/battery_hazard/simulator/events/nuisances.py`; gas from other sources
  may be more frequent at yours: run `hazardstream backtest` on recorded normal operation before you trust the setpoint.
- Without current, heat of load and heat of a fault are told apart by the temperature's course alone, and later.
- A hard short gives seconds. No model warns of it in advance.
"""


def _measured(of: dict[str, Any]) -> str:
    return (
        f"{of['events_detected']} of {of['events']} | {of['slow_in_time']} of {of['slow_events']} | "
        f"{of['fast_prompt']} of {of['fast_events']} | "
        f"{of['slow_lead_time_median_s'] / 60:.1f} / {of['slow_lead_time_p10_s'] / 60:.1f} min | "
        f"{of['false_alarms']} in {of['module_days']:.0f} module-days, "
        f"by weight {of['false_alarms_per_module_day']:.5f} a day"
    )


def worse(own: dict[str, Any], baseline: dict[str, Any]) -> str:
    """Where the baseline leads by more, mechanism by mechanism and for each set of sensors, in words."""
    rows = []
    for kind, mine in own.items():
        for name, lead in mine["slow_lead_by_mechanism"].items():
            other = baseline[kind]["slow_lead_by_mechanism"][name]
            if other > lead:
                mechanism, sensors = name.split("/")
                rows.append(f"| {kind} | {mechanism} | {sensors} | {lead / 60:.1f} | {other / 60:.1f} |")
    if not rows:
        return "The model leads the threshold baseline on every mechanism with every set of sensors (median lead).\n"
    head = "| on | mechanism | sensors | model, min | threshold baseline, min |\n|---|---|---|---|---|\n"
    return "Where the threshold baseline warns earlier (median lead):\n\n" + head + "\n".join(rows) + "\n"
