"""An explained prediction as JSON and as tables."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from common.terminal import styled
from common.text import markup, shown
from common.times import iso_utc
from worker.alarms.rules import NOT_ASSESSABLE
from worker.cli.explain import Explained, published_value
from worker.config.pipeline import Pipeline
from worker.model.contract import Task
from worker.model.shap import value_text


def as_json(found: Explained, pipeline: Pipeline) -> dict[str, Any]:
    """Everything, ready for JSON; records have the field names of their schemas."""
    with_schema_names = pipeline.outputs.with_schema_names
    return {
        "prediction": with_schema_names(found.prediction),
        "alarm": None if found.alarm is None else with_schema_names(found.alarm),
        "alarms": [with_schema_names(alarm) for alarm in found.alarms],
        "model": {"name": found.package.name, "version": found.package.version},
        "probability": found.probability,
        "same_bits": found.same_bits,
        "same_contributions": found.same_contributions,
        "readings_in_window": found.readings_in_window,
        "window": found.window,
        "features": found.features,
        "contributions": [asdict(c) for c in found.explanation.contributions],
        "bias": found.explanation.bias,
        "rebuilt_from": found.rebuilt_from,
    }


def as_tables(found: Explained, pipeline: Pipeline) -> RenderableType:
    """Tables for a terminal."""
    source, made = pipeline.input, found.prediction
    published = published_value(made)
    facts = Table(
        show_header=False, title=Text(shown(f"{made[source.key]} at {iso_utc(made[source.time], 'milliseconds')}"))
    )
    model = f"{found.package.name} {found.package.version}"
    place = f"{markup(source.topic)}, partition {made['source_partition']}, offset {made['source_offset']}"
    other = "" if made["model_version"] == found.package.version else " [yellow](another version, as requested)[/]"
    what = "value" if found.package.task is Task.REGRESSION else "probability"
    for row in (
        ("reading", f"{place}; rebuilt from offset {found.rebuilt_from}"),
        ("model", f"{markup(model)}; published by {markup(made['model_version'])}{other}"),
        (
            what,
            f"[bold]{found.probability!r}[/], published {published!r}: {_comparison(found)}",
        ),
        ("alarm", _alarm(found)),
        ("window", _window(found)),
        *([("not assessable", markup(str(made[NOT_ASSESSABLE])))] if made.get(NOT_ASSESSABLE) else []),
    ):
        facts.add_row(*map(styled, row))
    return Group(facts, _contributions(found))


def _contributions(found: Explained) -> RenderableType:
    explanation, regression = found.explanation, found.package.task is Task.REGRESSION
    if explanation.bias is None:
        return Text("The model does not say what its inputs contribute.")
    parts = Table(title=f"Contributions to the {'value' if regression else 'log-odds'}, largest first")
    for name, side in (("feature", "left"), ("value", "right"), ("contribution", "right")):
        parts.add_column(name, justify=side)  # type: ignore[arg-type]  # literals
    parts.add_row("(bias)", "", f"{explanation.bias:+.4f}")
    for c in explanation.contributions:
        unit = "" if c.per is None or c.value is None else f" per {shown(c.per)}"
        parts.add_row(Text(shown(c.feature)), Text(f"{value_text(c.value)}{unit}"), f"{c.contribution:+.4f}")
    total = explanation.bias + sum(c.contribution for c in explanation.contributions)
    name, sum_text = ("value", "") if regression else ("log-odds", f"probability {1 / (1 + math.exp(-total)):.6g}")
    parts.add_row(styled(f"[bold]{name}[/]"), sum_text, f"{total:+.4f}")
    return parts


def _comparison(found: Explained) -> str:
    if found.same_bits:
        return "[green]equal, bit for bit[/]"
    return (
        "[red]different[/]: the model, the pipeline's topology or a library has changed, "
        "or the log no longer holds the two windows before the reading"
    )


def _alarm(found: Explained) -> str:
    if not found.alarms:
        return "the reading caused no transition"
    if found.explanation.bias is None:
        same = "not known: the model does not say them"
    else:
        same = "equal" if found.same_contributions else "[red]different[/]"
    named = "; ".join(
        f"{alarm['state']} {alarm['priority']} by {_rule(alarm)}, {alarm['alarm_id']}" for alarm in found.alarms
    )
    return f"{markup(named)}; the published contributions are {same}"


def _rule(alarm: Mapping[str, Any]) -> str:
    rule = alarm.get("rule")
    return "the model" if rule is None else f"rule {rule}"


def _window(found: Explained) -> str:
    if not found.window:
        return "the model takes the reading alone"
    first, last = (iso_utc(found.window["ts"][at], "milliseconds") for at in (0, -1))
    return f"{found.readings_in_window} readings from {first} to {last}"
