"""What a backtest would read, and whether the model could judge it."""

from itertools import islice
from typing import Any

from producers.recordings.recording import Recording, open_recording
from producers.recordings.understanding import understanding
from training.backtest.run import BacktestOptions
from training.backtest.score import RecordingScorer
from worker.config.pipeline import Pipeline
from worker.model.package import ModelPackage


def understood(options: BacktestOptions, pipeline: Pipeline, package: ModelPackage | None) -> dict[str, Any]:
    """How the recordings would be understood (see `understanding`).

    Args:
        options: the recordings, and how to read them.
        pipeline: of the simulated worker.
        package: asked whether it can judge the first readings; None: no model is.

    Raises:
        UserError: files or mapping cannot be used.
    """
    with open_recording(options.paths, pipeline, options.mapping, label=options.label_column) as recorded:
        facts = understanding(recorded, pipeline, options.mapping)
        if package is not None:
            facts["warnings"] += _not_assessable(recorded, pipeline, package)
    return facts


def _not_assessable(recorded: Recording, pipeline: Pipeline, package: ModelPackage) -> list[str]:
    scorer = RecordingScorer(pipeline, package, package.policy, recorded.names, recorded.sensors)
    asked = sum(len(piece.key) for piece in scorer.score(islice(recorded.pieces(), 1)))
    if not scorer.not_assessable:
        return []
    reasons = "; ".join(f"{why}: {count:,}" for why, count in scorer.not_assessable.most_common())
    count = f"{scorer.not_assessable.total():,} of the first {asked:,} readings"
    return [f"the model cannot judge {count} ({reasons}): are columns, units and --topology right?"]
