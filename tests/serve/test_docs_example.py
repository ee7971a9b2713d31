"""The first example of docs/serving.md, with the answer of the model that is shipped."""

import json
import re
from typing import Any

from tests.flagship import SHIPPED_MODEL
from tests.repository import ROOT
from tests.serve.conftest import Start
from worker.model.package import load_package

DOC = (ROOT / "docs" / "serving.md").read_text()


def example() -> tuple[Any, Any]:
    """Request and answer."""
    request = re.search(r"curl .*?-d '(.*?)'\n```", DOC, re.DOTALL)
    answer = re.search(r"```json\n(\{\"model\".*?)\n```", DOC, re.DOTALL)
    assert request is not None
    assert answer is not None
    return json.loads(request[1]), json.loads(answer[1])


def test_the_example_of_the_documentation(start: Start) -> None:
    request, expected = example()
    api = start(load_package(SHIPPED_MODEL, version=expected["model"]["version"]))

    found = api.post("/v1/predict", json=request).json()

    assert found.pop("request_id")
    del expected["request_id"]
    assert found == expected


def test_an_error_of_the_documentation(start: Start) -> None:
    expected = json.loads(re.findall(r"```json\n(\{\"error\".*?)\n```", DOC, re.DOTALL)[0])
    request, _ = example()
    api = start(load_package(SHIPPED_MODEL, version="1"))
    request["readings"][1] |= {"voltage_v": 90_000, "max_surface_temp_c": None}

    found = api.post("/v1/predict", json=request).json()

    for varies in ("request_id", "timestamp"):
        assert found.pop(varies)
        del expected[varies]
    assert found == expected
