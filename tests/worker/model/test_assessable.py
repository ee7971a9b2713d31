"""What a package declares that it can judge: needs, gaps, ranges by a text of the topology, and faults in them."""

from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tests.models import resealed
from worker.model.assessable import ASSESSABLE, Assessable
from worker.model.package import PackageError, load_package

NAMES = ("hot", "warm", "hot_gap", "warm_gap", "pressure")
nan = float("nan")
DECLARED = Assessable.model_validate(
    {
        "needs": [["hot", "warm"]],
        "gaps": [{"any_of": ["hot_gap", "warm_gap"], "at_most_s": 120}],
        "ranges": [
            {"feature": "pressure", "by": "kind", "cases": {"a": [2.5, 4.5], "b": [2, 3.8]}, "default": "a"},
            {"feature": "hot", "limits": [None, 300]},
        ],
    }
)
LIMITS = DECLARED.limits({})


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((20, 20, 10, 10, 3), None),
        ((nan, 20, nan, 10, 3), None),
        ((nan, nan, nan, nan, 3), "no value: hot, warm"),
        ((20, 20, nan, nan, nan), None),
        ((20, 20, 121, 120, 3), None),
        ((20, 20, 121, nan, 3), "values too far apart: hot_gap, warm_gap"),
        ((20, 20, 10, 10, 2.4), "out of range: pressure"),
        ((301, 20, 10, 10, 2.5), "out of range: hot"),
        ((nan, nan, 900, 900, 0), "no value: hot, warm"),
    ],
)
def test_the_first_reason_why_a_row_cannot_be_judged(row: tuple[float, ...], reason: str | None) -> None:
    (number,) = DECLARED.first_reason(np.array([row]), NAMES, LIMITS).tolist()

    assert (DECLARED.reasons[number - 1] if number else None) == reason


def test_ranges_depend_on_the_topology_of_each_row() -> None:
    rows = np.tile([20, 20, 10, 10, 4.0], (3, 1))
    limits = np.stack([DECLARED.limits({}), DECLARED.limits({"kind": "b"}), DECLARED.limits({"kind": "a"})])

    assert (DECLARED.first_reason(rows, NAMES, limits) > 0).tolist() == [False, True, False]


def test_topologies_that_it_has_no_ranges_for_are_found() -> None:
    (unknown,) = DECLARED.faults([{}, {"kind": "c"}, {"kind": "b"}])
    assert unknown == "says kind: c, and pressure has ranges for a, b; name one of these"
    without = DECLARED.model_copy(update={"ranges": (DECLARED.ranges[0].model_copy(update={"default": None}),)})
    assert without.faults([{}]) == ["says no kind, and pressure has ranges for a, b; name one of these"]


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ({}, "it says nothing"),
        ({"needs": [[]]}, "at least 1 item"),
        ({"ranges": [{"feature": "hot"}]}, "give it limits, or by and cases"),
        ({"ranges": [{"feature": "hot", "limits": [1, 2], "by": "kind"}]}, "give it limits, or by and cases"),
        ({"ranges": [{"feature": "hot", "limits": [2, 1]}]}, "low 2.0 is above high 1.0"),
        ({"ranges": [{"feature": "hot", "by": "k", "cases": {"a": [1, 2]}, "default": "b"}]}, "there is no case 'b'"),
        ({"gaps": [{"any_of": ["g"], "at_most_s": 0}]}, "greater than 0"),
        ({"need": []}, "not permitted"),
    ],
)
def test_a_declaration_that_means_nothing_is_refused(declared: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        Assessable.model_validate(declared)


def test_a_package_names_features_of_its_own(model_package: Path, tmp_path: Path) -> None:
    made = copytree(model_package, tmp_path / "made")
    (made / ASSESSABLE).write_text('{"needs": [["heat"]]}')

    with pytest.raises(PackageError, match=r"assessable.json: .*features.json has no heat") as refused:
        load_package(resealed(made), version="1")
    assert refused.value.fault == "bad_features"
