"""The commands `evaluate` and `evaluate-recordings`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from common.cli_options import MODELS, JsonOption, PipelineOption
from common.extras import require_extras
from common.json_text import strict_json
from common.terminal import say, terminal
from pipelines.battery_hazard.training.cli import Seed, watched

ModelOption = Annotated[
    str | None, typer.Option(help="Model URI or package directory. Default: the registered champion.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (evaluate, evaluate_recordings):
        app.command(rich_help_panel=MODELS)(command)


def evaluate(
    *,
    model: ModelOption = None,
    module_days: Annotated[int, typer.Option(min=1, help="Module-days of normal operation.")] = 1000,
    events: Annotated[int, typer.Option(min=0, help="Number of modules that fail.")] = 360,
    bench_events: Annotated[int, typer.Option(min=0, help="Number of destructive tests of single cells.")] = 144,
    bench_days: Annotated[int, typer.Option(min=0, help="Cell-days of normal operation on test benches.")] = 400,
    seed: Seed = 0,
    processes: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 2,
    report: Annotated[Path, typer.Option(help="HTML file for the report.")] = Path("evaluation.html"),
    as_json: JsonOption = False,
) -> None:
    """Evaluate model and alarm rules on new simulated sites: warning times, false alarms, time in alarm.

    Example: hazardstream evaluate --module-days 10000 --report evaluation.html
    """
    require_extras("training")
    from pipelines.battery_hazard.training.study.evaluate import evaluate as evaluate_sites
    from pipelines.battery_hazard.training.study.evaluate import evaluation_sites
    from pipelines.battery_hazard.training.study.evaluation_report import bar_texts, page
    from pipelines.battery_hazard.training.study.findings import findings
    from pipelines.battery_hazard.training.study.shipped_alarms import Shipped
    from training.registry.default_model import model_or_default
    from worker.admission.compatibility import alarm_policy, require_fit
    from worker.config.alarm_section import rules_of
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings

    started = time.monotonic()
    settings = load_settings(model=model)
    pipeline = load_pipeline(settings.pipeline)
    package, which = model_or_default(settings, pipeline, lambda text: say(text, err=True))
    require_fit(package, pipeline)
    shipped = Shipped(package, alarm_policy(package, pipeline), rules_of(pipeline.alarm))
    sites = evaluation_sites(
        events=events, bench_events=bench_events, module_days=module_days, bench_days=bench_days, seed=seed
    )
    with watched(quiet=as_json) as show:
        results = sorted(
            evaluate_sites(shipped, sites, processes=processes, progress=show), key=lambda one: one.site.seed
        )
    found = findings(results)
    report.write_text(page(f"Evaluation of {which}", found, results))
    found |= {"model": which, "report": str(report), "seconds": round(time.monotonic() - started, 1)}
    if as_json:
        say(strict_json(found))
        return
    for bar in found["bars"]:
        required, text = bar_texts(bar)
        say(f"{bar['verdict'].upper():10}{bar['bar']}: {text} (required {required})")
    say(f"report: {report} ({found['seconds']} s)")


def evaluate_recordings(
    directory: Annotated[
        Path,
        typer.Argument(help="Directory with readings.csv.gz and tests.csv of destructive tests (docs/model.md)."),
    ],
    *,
    model: ModelOption = None,
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate model and alarm rules on recorded destructive tests, with fixed limits beside them.

    The readings go through the worker's own stages, at 1 s and at 10 s, with three sets of sensors.

    Example: hazardstream evaluate-recordings indentation_1s --model pipelines/battery_hazard/model
    """
    require_extras("training")
    from common.logs import configure_logs
    from pipelines.battery_hazard.training.study.recorded_findings import recorded_findings
    from pipelines.battery_hazard.training.study.recorded_tables import recorded_tables
    from pipelines.battery_hazard.training.study.recorded_tests import RecordedTests
    from training.registry.default_model import model_or_default
    from worker.admission.compatibility import require_fit
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings

    configure_logs("warning")
    settings = load_settings(pipeline=pipeline, model=model)
    loaded = load_pipeline(settings.pipeline)
    package, which = model_or_default(settings, loaded, lambda text: say(text, err=True))
    require_fit(package, loaded)
    with watched(quiet=as_json) as show:
        found = {"model": which, **recorded_findings(RecordedTests(directory, loaded), package, show)}
    if as_json:
        say(strict_json(found))
    else:
        terminal().print(recorded_tables(found))
