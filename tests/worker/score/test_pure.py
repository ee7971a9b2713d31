"""The scorer is pure. The import linter sees what it imports; these see what an import linter cannot."""

import ast
import copy
from pathlib import Path

import numpy as np
import pytest

import worker.score
from schemas.registry import writer_schema_lookup
from tests.flagship import KNOWN_SCHEMAS, PIPELINE
from tests.harness import START_MS, avro, reading
from worker.model.package import ModelPackage
from worker.score.batch import Batch
from worker.score.scorer import scorer_of
from worker.score.windows import KeyedWindows, StagedKeys
from worker.windows.partition import Partition

IMPURE = {"time", "datetime", "random", "os", "socket", "threading", "subprocess"}
MODULES = sorted(Path(worker.score.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_no_module_of_the_scorer_has_a_clock_a_thread_or_a_file(module: Path) -> None:
    imported = set[str]()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            imported |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])

    assert not imported & IMPURE


def test_nothing_is_changed_before_merge(package: ModelPackage) -> None:
    scorer = scorer_of(PIPELINE, package, package.policy, writer_schema_lookup(None, KNOWN_SCHEMAS))
    scorer.alarms.assign(0, {})
    partitions = {0: Partition(0, 0, 0)}
    scorer.merge(scorer.process(_batch(0, ["a", "b"]), partitions), partitions)
    assert isinstance(scorer.windows, KeyedWindows)
    state = scorer.windows.state
    before, owned = copy.deepcopy(state), copy.deepcopy(partitions)

    outcome = scorer.process(_batch(2, ["b", "c", "d", "c"]), partitions)

    assert isinstance(outcome.staged, StagedKeys)
    assert outcome.staged.new_keys == [(0, b"c"), (0, b"d")]
    assert (state.held, partitions[0].slots, partitions[0].next_offset) == (2, owned[0].slots, 2)
    for name in ("ts", "last_ts", "last_clock", "content", "rolled", "known_age", "known_value", "disordered"):
        assert np.array_equal(getattr(state, name), getattr(before, name), equal_nan=True), name
    scorer.merge(outcome, partitions)
    assert (state.held, sorted(partitions[0].slots)) == (4, [b"a", b"b", b"c", b"d"])


def _batch(offset: int, names: list[str]) -> Batch:
    n = len(names)
    ts = START_MS + 10_000 * np.arange(offset, offset + n)
    values: list[bytes | None] = [avro(reading(name, int(at))) for name, at in zip(names, ts, strict=True)]
    keys: list[bytes | None] = [name.encode() for name in names]
    return Batch(keys, values, np.zeros(n, np.int64), np.arange(offset, offset + n), ts, np.ones(n, np.int64))
