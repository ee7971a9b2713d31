"""The model card: what the model is for, how it was made, how good it is, and its limits."""

from pathlib import Path
from typing import Any

from pipelines.battery_hazard.training.datasets.features import BENCH_SITES, HELD_OUT, SITES
from pipelines.battery_hazard.training.datasets.labels import WARNING_MS
from pipelines.battery_hazard.training.evaluation.operator_metrics import NUISANCES_PER_MODULE_DAY
from training.reports.render import render
from worker.alarms.state_machine import AlarmPolicy

_TEMPLATE = Path(__file__).with_name("model_card.md.j2")


def model_card(name: str, policy: AlarmPolicy, metrics: dict[str, Any]) -> str:
    """The card as Markdown.

    Args:
        name: registered name of the model.
        policy: its alarm policy.
        metrics: as training writes them.
    """
    model, baseline = metrics["test"], metrics["thresholds"]["test"]
    return render(
        _TEMPLATE,
        name=name,
        policy=policy,
        training=metrics["training"],
        warning_min=WARNING_MS // 60_000,
        sites=SITES,
        bench_sites=BENCH_SITES,
        held_out=HELD_OUT,
        nuisances=NUISANCES_PER_MODULE_DAY,
        rows=[
            (which, kind, *_measured(of[kind]))
            for kind in ("modules", "bench")
            for which, of in (("model", model), ("threshold baseline", baseline))
        ],
        baseline_leads=baseline_leads(model, baseline),
    )


def _measured(of: dict[str, Any]) -> tuple[str, ...]:
    false_alarms = f"{of['false_alarms']} in {of['module_days']:.0f} module-days"
    return (
        f"{of['events_detected']} of {of['events']}",
        f"{of['slow_in_time']} of {of['slow_events']}",
        f"{of['fast_prompt']} of {of['fast_events']}",
        f"{of['slow_lead_time_median_s'] / 60:.1f} / {of['slow_lead_time_p10_s'] / 60:.1f} min",
        f"{false_alarms}, weighted {of['false_alarms_per_module_day']:.5f} per day",
    )


def baseline_leads(model: dict[str, Any], baseline: dict[str, Any]) -> list[tuple[str, ...]]:
    """Cases in which the baseline's median lead time is longer: kind, mechanism, sensors, and both times in minutes."""
    rows = []
    for kind, of in model.items():
        for name, lead_s in of["slow_lead_by_mechanism"].items():
            other_s = baseline[kind]["slow_lead_by_mechanism"][name]
            if other_s > lead_s:
                rows.append((kind, *name.split("/"), f"{lead_s / 60:.1f}", f"{other_s / 60:.1f}"))
    return rows
