"""How features move where a sensor is absent: whether they only become missing, or others take its place."""

from collections.abc import Iterable

from worker.windows.derived import Derived, Gated, Greatest, Least, Limited, WeightedSum
from worker.windows.feature_spec import FeatureSpec

Move = int | None
"""0: it stays or is missing; -1: it may fall, too; 1: it may rise, too; None: it may do either."""


def without_sensor(spec: FeatureSpec) -> dict[str, Move]:
    """How each feature may move, by name, where any of the sensors are absent from all readings."""
    moves: dict[str, Move] = dict.fromkeys(spec.names, 0)
    known, sensors = {each.name: each for each in spec.derived}, spec.sensor_of
    for each in spec.derived:
        # Of one sensor, all features are missing at once, and none takes the place of another.
        moves[each.name] = (
            _together(moves[name] for name in each.of) if each.name in sensors else _move(each, moves, known)
        )
    return moves


def _move(each: Derived, moves: dict[str, Move], known: dict[str, Derived]) -> Move:
    if isinstance(each, WeightedSum):
        return _together(_times(moves[name], weight) for name, weight in each.weights.items())
    of = [moves[name] for name in each.of]
    if isinstance(each, Greatest):
        return _together([*of, -1])
    if isinstance(each, Least):
        return _together([*of, 1])
    if isinstance(each, Gated) and of[1] != 0 and not _at_least_zero(each.feature, known):
        return None
    return _together(of)


def _times(move: Move, weight: float) -> Move:
    return move if move is None or weight > 0 else -move if weight < 0 else 0


def _together(moves: Iterable[Move]) -> Move:
    found = set(moves) - {0}
    return 0 if not found else found.pop() if len(found) == 1 else None


def _at_least_zero(name: str, known: dict[str, Derived]) -> bool:
    each = known.get(name)
    if isinstance(each, Gated):
        return _at_least_zero(each.feature, known)
    return isinstance(each, Limited) and each.low is not None and each.low >= 0
