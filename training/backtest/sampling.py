"""Whether a recording is thinned: windows of some models count readings, not seconds."""

from collections.abc import Mapping

from worker.windows.feature_spec import FeatureSpec

_DENSER = 0.75
"""A recording is thinned if its period is below this share of the training period; clocks are not exact."""


def thinned_to(asked_ms: int | None, spec: FeatureSpec, periods_ms: Mapping[int, float]) -> dict[int, int]:
    """The period in ms that the readings of each key are thinned to; 0 keeps all.

    Args:
        asked_ms: what the user asks for; None: as the model needs it.
        spec: the model's features.
        periods_ms: of the recording, by key.
    """
    if asked_ms is not None:
        return dict.fromkeys(periods_ms, asked_ms)
    # A model without rolling windows counts seconds, so that any period is as good.
    trained = spec.period_ms if spec.windows and spec.period_ms is not None else 0
    return {key: trained if period < _DENSER * trained else 0 for key, period in periods_ms.items()}
