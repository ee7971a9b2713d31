"""The commands `train`, `tune` and `compare`."""

import json
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from common.cli_options import MODELS, JsonOption, TrackingUriOption
from common.extras import require_extras
from common.json_text import strict_json
from common.terminal import say, terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.battery_hazard.training.datasets.dataset import Progress as Told

Small = Annotated[
    bool, typer.Option("--small", help="Train a small model on few sites, for a demo: in two minutes of CPU time.")
]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same result, bit for bit.")]
Data = Annotated[
    Path | None,
    typer.Option(help="Directory in which the datasets (Parquet) are kept for the next run. Default: a temporary one."),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (train, tune, compare):
        app.command(rich_help_panel=MODELS)(command)


@contextmanager
def watched(*, quiet: bool) -> "Iterator[Told]":
    """Progress bars on the terminal, one per stage."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=terminal(stderr=True),
        disable=quiet,
    ) as bar:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done)

        yield show


def train(
    *,
    small: Small = False,
    seed: Seed = 0,
    name: Annotated[str, typer.Option(help="Name to register the model under.")] = "battery_hazard",
    output: Annotated[
        Path | None, typer.Option(help="Write the package to this new directory, and do not register it.")
    ] = None,
    data: Data = None,
    boosting: Annotated[
        Path | None, typer.Option(help="Hyperparameters of the trees: a file that `hazardstream tune --output` wrote.")
    ] = None,
    alias: Annotated[str, typer.Option(help="Alias that moves to the new version.")] = "champion",
    tracking_uri: TrackingUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model on simulated sites, and register it in MLflow.

    Example: hazardstream train --small
    """
    require_extras("training")
    from pipelines.battery_hazard.training.fitting.models import read_boosting
    from pipelines.battery_hazard.training.fitting.presets import DEFAULT, SMALL
    from pipelines.battery_hazard.training.fitting.train import train as train_to
    from pipelines.battery_hazard.training.registration import train_and_register

    preset = SMALL if small else DEFAULT
    if boosting is not None:
        preset = replace(preset, boosting=read_boosting(boosting))
    started = time.monotonic()
    result: dict[str, Any]
    with watched(quiet=as_json) as show:
        if output is None:
            registered = train_and_register(
                preset=preset, seed=seed, name=name, data=data, alias=alias, tracking_uri=tracking_uri, progress=show
            )
            result = asdict(registered)
        else:
            train_to(output, preset=preset, seed=seed, name=name, data=data, progress=show)
            result = {"name": name, "output": str(output), "metrics": json.loads((output / "metrics.json").read_text())}
    result["seconds"] = round(time.monotonic() - started, 1)
    say(strict_json(result) if as_json else _summary_text(result))


def _summary_text(result: dict[str, Any]) -> str:
    test = result["metrics"]["test"]["modules"]
    if "version" in result:
        where = f"version {result['version']}, alias {result['alias']}, in {result['tracking_uri']}"
    else:
        where = f"package in {result['output']}"
    return (
        f"{result['name']}: {where} ({result['seconds']} s)\n"
        f"test sites: {test['events_detected']} of {test['events']} events detected (each with every set of sensors), "
        f"{test['slow_in_time']} of {test['slow_events']} slow ones were alarmed 5 min ahead; lead time "
        f"{test['slow_lead_time_median_s'] / 60:.1f} min (median), {test['slow_lead_time_p10_s'] / 60:.1f} min (p10); "
        f"{test['false_alarms']} false alarms in {test['module_days']} module-days"
    )


def tune(
    *,
    storage: Annotated[Path, typer.Option(help="SQLite file of the study; an existing study is continued.")],
    output: Annotated[Path, typer.Option(help="File for the best parameters, for `hazardstream train --boosting`.")],
    trials: Annotated[int, typer.Option(min=1, help="Total number of finished trials, pruned ones included.")] = 30,
    small: Small = False,
    seed: Seed = 0,
    data: Data = None,
    as_json: JsonOption = False,
) -> None:
    """Search for better hyperparameters with Optuna.

    An interrupted search continues where it stopped.

    Example: hazardstream tune --storage study.db --output boosting.json --data datasets
    """
    require_extras("training")
    from pipelines.battery_hazard.training.fitting.models import write_boosting
    from pipelines.battery_hazard.training.fitting.presets import DEFAULT, SMALL
    from pipelines.battery_hazard.training.fitting.tune import best_boosting
    from pipelines.battery_hazard.training.fitting.tune import tune as search

    preset = SMALL if small else DEFAULT
    with watched(quiet=as_json) as show:
        study = search(storage, trials=trials, data=data, preset=preset, seed=seed, progress=show)
    best = best_boosting(study, preset)
    write_boosting(output, best)
    pruned = sum(t.state.name == "PRUNED" for t in study.trials)
    result = {"trials": len(study.trials), "pruned": pruned, "value": study.best_value, "boosting": asdict(best)}
    result["met"] = study.best_trial.user_attrs["met"]
    say(
        strict_json(result)
        if as_json
        else f"best of {result['trials']} trials ({pruned} pruned): {result['met']:.1%} of validation events meet the "
        f"bar; parameters in {output}"
    )


def compare(
    *,
    small: Small = False,
    seed: Seed = 0,
    data: Data = None,
    tracking_uri: TrackingUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare logistic regression, random forest, XGBoost and fixed limits.

    All are evaluated under one protocol. The results are logged in MLflow.

    Example: hazardstream compare --data datasets
    """
    require_extras("training")
    from pipelines.battery_hazard.training.fitting.compare import compare as contest
    from pipelines.battery_hazard.training.fitting.presets import DEFAULT, SMALL
    from training.registry.register import log_comparison

    preset = SMALL if small else DEFAULT
    with watched(quiet=as_json) as show:
        result = dict(contest(data, preset, seed, show))
    log_comparison(result, tracking_uri=tracking_uri)
    if as_json:
        say(strict_json(result))
        return
    table = Table("", "in time", "prompt", "lead p10, min", "false alarms", "average precision", title="Test sites")
    for name, of in result.items():
        m = of["modules"]
        table.add_row(
            name,
            f"{m['slow_in_time']}/{m['slow_events']}",
            f"{m['fast_prompt']}/{m['fast_events']}",
            f"{m['slow_lead_time_p10_s'] / 60:.1f}",
            str(m["false_alarms"]),
            f"{of['average_precision']:.4f}" if "average_precision" in of else "",
        )
    terminal().print(table)
