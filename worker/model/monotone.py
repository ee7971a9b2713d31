"""Proves the signs that a package declares: how the probability moves with a feature, and where that is missing.

A sign is proven tree by tree: wherever a tree splits on the feature, no leaf on the side of the lower probability is
above one on the other side. XGBoost keeps `monotone_constraints` so: it gives the two sides a bound between them.
"""

import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from common.arrays import Bool, Float, Int
from worker.model.boosting import xgboost
from worker.model.scaler import Scale
from worker.windows.absence import without_sensor
from worker.windows.feature_spec import FeatureSpec


class _Trees(NamedTuple):
    """The nodes of all trees, shape [nodes] each.

    Attributes:
        root: the first node of each tree, shape [trees].
        left, right: the nodes below; the node itself is below a leaf.
        is_leaf: whether it is one.
        feature: that the node splits on.
        value: from which a row goes to the right, or what a leaf adds, in single precision.
    """

    root: Int
    left: Int
    right: Int
    is_leaf: Bool
    feature: Int
    value: Float


def sign_faults(spec: FeatureSpec, booster: xgboost.Booster, scale: Scale | None) -> Iterator[str]:
    """What contradicts the declared signs; nothing: they are proven.

    Args:
        spec: with signs, by the name of a feature.
        booster: of these features.
        scale: applied to them before; None: nothing is.
    """
    if not spec.monotone:
        return
    trees, count = _trees(booster), len(spec.names)
    least, greatest = _leaves_below(trees)
    scaled = np.array([[0.0], [1.0], [np.nan]]).repeat(count, axis=1)
    low, high, missing = scaled if scale is None else scale(scaled)
    moves = without_sensor(spec)
    for name, sign in spec.monotone.items():
        at = spec.names.index(name)
        split = np.flatnonzero((trees.feature == at) & ~trees.is_leaf)
        below, above = (trees.left, trees.right)[::sign]
        if low[at] > high[at]:
            yield f"{name} is reversed by the scaler, so its sign in `monotone` is wrong"
        wrong = split[greatest[below[split]] > least[above[split]]]
        if len(wrong):
            word, tree = "falls" if sign > 0 else "rises", int(np.searchsorted(trees.root, wrong[0], "right")) - 1
            yield (
                f"the probability may {word[:-1]} as {name} rises, against its sign {sign} in `monotone`: "
                f"tree {tree} {word} at {trees.value[wrong[0]]:g}"
            )
        if np.isnan(missing[at]):
            continue
        if not _beyond(sign, np.float32(missing[at]), trees.value[split]):
            end = "below" if sign > 0 else "at or above"
            yield (
                f"a missing {name} becomes {missing[at]:g}, which is not {end} all splits, "
                "so it may raise the probability"
            )
        if moves[name] not in (0, -sign):
            move = "rise" if sign > 0 else "fall"
            yield f"where a sensor is absent, {name} may {move}, so it may raise the probability"


def proven_signs(spec: FeatureSpec, scale: Scale | None) -> str:
    """What is proven of a package whose signs have no fault, for people; empty if it declares none."""
    if not spec.monotone:
        return ""
    text = f"{len(spec.monotone)} of {len(spec.names)} features"
    missing = np.full((1, len(spec.names)), np.nan)
    missing = missing if scale is None else scale(missing)
    safe = spec.monotone.keys() == set(spec.names) and not np.isnan(missing).any()
    return f"{text}, and no absent sensor raises the probability" if safe else text


def _beyond(sign: int, number: np.float32, splits: Float) -> bool:
    """Whether a row with this number goes where the lowest risk is, at each split."""
    return bool((number < splits).all() if sign > 0 else (number >= splits).all())


def _trees(booster: xgboost.Booster) -> _Trees:
    boosting = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]
    trees = boosting.get("gbtree", boosting)["model"]["trees"]  # dart has them one level deeper
    root = np.cumsum([0, *(len(tree["left_children"]) for tree in trees)])
    left, right, feature = (
        np.concatenate([np.empty(0, np.int64), *(np.array(tree[name], np.int64) for tree in trees)])
        for name in ("left_children", "right_children", "split_indices")
    )
    value = np.concatenate([np.empty(0), *(np.array(tree["split_conditions"], np.float32) for tree in trees)])
    first, node, is_leaf = np.repeat(root[:-1], np.diff(root)), np.arange(root[-1]), left < 0
    left, right = (np.where(is_leaf, node, below + first) for below in (left, right))
    return _Trees(root[:-1], left, right, is_leaf, feature, value)


def _leaves_below(trees: _Trees) -> tuple[Float, Float]:
    """The least and the greatest leaf below each node, shape [nodes]; infinities for nodes that no tree uses."""
    least, greatest = np.where(trees.is_leaf, trees.value, [[np.inf], [-np.inf]])
    levels, at = [], trees.root[~trees.is_leaf[trees.root]]
    while len(at):
        levels.append(at)
        at = np.concatenate((trees.left[at], trees.right[at]))
        at = at[~trees.is_leaf[at]]
    for at in reversed(levels):
        least[at] = np.minimum(least[trees.left[at]], least[trees.right[at]])
        greatest[at] = np.maximum(greatest[trees.left[at]], greatest[trees.right[at]])
    return least, greatest
