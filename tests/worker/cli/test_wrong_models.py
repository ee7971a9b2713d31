"""`hazardstream pipeline check` names what is wrong with a model: where it is, and what to do."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from tests.commands import hazardstream
from tests.wrong_models import (
    PICKLE,
    Exit,
    OfAMissingModule,
    altered_package,
    booster,
    classifier,
    cut,
    edited,
    function,
    garbage,
    nothing,
    signed,
    svr,
    with_pickle,
    without,
)
from worker.admission.sandboxed_load import check
from worker.model.model_files import read_model_files

pytestmark = pytest.mark.slow  # logs models with MLflow

PIPELINE = """\
name: pumps
input: {topic: pumps, schema: Pump}
outputs: {predictions: {topic: wear}, dead_letters: {topic: broken}}
model: nowhere
"""
FIELDS = {"pressure": "double", "flow": ["null", "double"], "starts": ["null", "long"], "primed": "boolean"}


class Wrong(NamedTuple):
    """A wrong model.

    Attributes:
        make: writes it below a directory, and gives its URI.
        said: what `check` says of it, without the URI.
        pipeline: lines of the pipeline file.
        fields: of the record, where they are others.
        environment: variables of the command.
    """

    make: Callable[[Path], Path | str]
    said: str
    pipeline: str = "task: regression\n"
    fields: Mapping[str, Any] = MappingProxyType({})
    environment: Mapping[str, str] = MappingProxyType({})


REGRESSION, BINARY = "task: regression\n", "task: binary\n"
TRUSTED = f"{REGRESSION}trust: sha256:DIGEST\n"
FORMS = r"write models:/NAME@ALIAS, models:/NAME/VERSION"
WRONG: dict[str, Wrong] = {
    "no signature": Wrong(
        edited(lambda content: content.pop("signature")),
        r"has no signature, .*; log it again with the signature that mlflow\.models\.infer_signature",
    ),
    "column without a name": Wrong(
        signed([{"type": "double"}, {"type": "double"}]),
        "MLmodel: a column of the signature has no name; log the model with a signature inferred from a DataFrame",
    ),
    "tensor": Wrong(
        signed([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]),
        "MLmodel: the signature is a tensor, .*; log the model with a signature inferred from a DataFrame",
    ),
    "type that is not read": Wrong(
        signed([{"name": "pressure", "type": "datetime"}, {"name": "flow", "type": "double"}]),
        "MLmodel: column 'pressure' has the type datetime; a column must be one of double,",
    ),
    "column given twice": Wrong(
        signed([{"name": "flow", "type": "double"}, {"name": "flow", "type": "double"}]),
        "MLmodel: the signature names flow twice; log the model with columns of different names",
    ),
    "signature of other columns": Wrong(
        signed([{"name": "pressure", "type": "double"}, {"name": "heat", "type": "double"}]),
        "the model takes flow, which the signature does not have; log it again with a signature of the rows",
    ),
    "input that is no field": Wrong(
        svr,
        r"takes 'flow' as a number, and in record Pump that field is not there \(did you mean 'flov'\?\); correct ",
        fields={"flow": None, "flov": "double"},
    ),
    "input that is a text in the record": Wrong(
        svr, "takes 'flow' as a number, and in record Pump that field is a text; correct ", fields={"flow": "string"}
    ),
    "input that is a text in the signature": Wrong(
        signed([{"name": "pressure", "type": "string"}, {"name": "flow", "type": "double"}]),
        "cannot score rows that suit its signature; it raises ValueError: .*; log it with an input_example",
    ),
    "input that is no feature": Wrong(
        svr,
        "takes 'flow', and pipeline pumps declares no such feature; correct ",
        f"{REGRESSION}features: [pressure]\n",
    ),
    "feature that is no input": Wrong(
        svr,
        "takes no 'starts', which the pipeline declares; take that feature out",
        f"{REGRESSION}features: [pressure, flow, starts]\n",
    ),
    "file that is missing": Wrong(without("model.ubj", booster), r"model\.ubj is missing; log the model again"),
    "booster that is cut off": Wrong(cut("model.ubj", booster), "; copy the model again, complete, or log it again"),
    "pickle that is not trusted": Wrong(
        lambda directory: svr(directory, **PICKLE),
        r"model\.pkl is a pickle, .* allow this model with HAZARDSTREAM_MODEL_TRUST=sha256:[0-9a-f]{64}",
    ),
    "pickle that differs from the trusted one": Wrong(
        lambda directory: svr(directory, **PICKLE),
        rf"Trusted is sha256:{'a' * 64}: these files differ from it",
        f"{REGRESSION}trust: sha256:{'a' * 64}\n",
    ),
    "pickle that is cut off": Wrong(
        cut("model.pkl", lambda directory: svr(directory, **PICKLE)),
        "cannot be read: UnpicklingError: pickle data was truncated; try ",
        TRUSTED,
    ),
    "pickle of a missing library": Wrong(
        with_pickle(OfAMissingModule()),
        "needs pumps_library, which is not installed: install pumps_library beside hazardstream",
        TRUSTED,
    ),
    "pickle of something else": Wrong(
        with_pickle({"not": "a model"}), "holds a dict, which cannot predict; log the model itself", TRUSTED
    ),
    "function that raises": Wrong(
        function("raises"),
        "cannot score rows that suit its signature; it raises RuntimeError: no such pump",
        TRUSTED,
    ),
    "function that gives too few results": Wrong(
        function("too few"), r"it gives an output of shape \(3,\) for 128 rows; expected one result for each", TRUSTED
    ),
    "function that gives NaN": Wrong(
        function("nan"), "gives nan for a row without missing values; correct the model, and log it again", TRUSTED
    ),
    "function that gives texts": Wrong(function("texts"), "it gives <U4 values, not numbers", TRUSTED),
    "function that draws numbers": Wrong(
        function("random"), "the model must score each row by itself, keep no state and draw no random numbers", TRUSTED
    ),
    "classes that the metadata does not name": Wrong(
        classifier(LogisticRegression(), metadata={"classes": ["a", "b", "c"]}),
        "has 2 classes, and its metadata names a, b, c; correct `classes` there",
        BINARY,
    ),
    "metadata of another type": Wrong(
        edited(lambda content: content.update(metadata={"error_band": "much"})),
        "metadata: error_band: .*, not 'much'; MLflow writes this file",
    ),
    "another task": Wrong(svr, "is a regression model, .* say binary; correct `task`", BINARY),
    "classes without probabilities": Wrong(
        classifier(SVC()), "a SVC gives classes and no probabilities; wrap it in", BINARY
    ),
    "too slow": Wrong(
        svr,
        "ms to score 1000 readings; HAZARDSTREAM_MODEL_MAX_MS allows 1 ms",
        environment={"HAZARDSTREAM_MODEL_MAX_MS": "1"},
    ),
    "nothing there": Wrong(lambda directory: directory / "nothing", f"there is no such file or directory; {FORMS}"),
    "directory without MLmodel": Wrong(nothing, f"neither manifest.json nor MLmodel; .* {FORMS}"),
    "URI without a version": Wrong(lambda _: "models:/pumps", f"has no known form: {FORMS}"),
    "URI of another store": Wrong(lambda _: "gs://bucket/model", f"has no known form: {FORMS}"),
    "store that is not there": Wrong(
        lambda _: "models:/pumps@champion",
        r"no MLflow store in /nowhere/m\.db; register a model .*, or correct the URI or MLFLOW_TRACKING_URI",
        environment={"MLFLOW_TRACKING_URI": "sqlite:////nowhere/m.db"},
    ),
    "MLmodel of bytes": Wrong(garbage(b"\x00\xff"), "MLmodel cannot be read: .*; MLflow writes this file: copy"),
    "MLmodel that is no YAML": Wrong(
        garbage(b"flavors:\n  a: [1, 2"), r"MLmodel:2 cannot be read: .*; MLflow writes this file: copy"
    ),
    "MLmodel of something else": Wrong(
        garbage(b"just a text"), "MLmodel cannot be read: it does not list the model's flavors; MLflow writes"
    ),
    "flavor that is not read": Wrong(
        edited(lambda content: content.update(flavors={"keras": {}})),
        "has the flavours keras; the worker reads xgboost, sklearn, onnx and python_function",
    ),
    "package that was altered": Wrong(
        altered_package, r"alarm\.json was altered \(digest differs\); copy the model again from where it was written"
    ),
}
IN_A_SANDBOX = {
    "pickle that ends the process": Wrong(
        with_pickle(Exit(9)), r"the process that checks it crashes \(exit code 9\); try ", TRUSTED
    ),
    "pickle that ends the process as if all were well": Wrong(
        with_pickle(Exit(0)), r"the process that checks it crashes \(exit code 0\); try ", TRUSTED
    ),
    "function that raises": WRONG["function that raises"],
}


@pytest.fixture
def _spared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks of the sandbox in this process: a process takes seconds."""
    monkeypatch.setattr("worker.admission.admit.load_in_sandbox", check)


def checked(folder: Path, wrong: Wrong) -> tuple[int, str, list[dict[str, str]]]:
    """Exit code of `pipeline check`, the URI of the model, and the findings about it."""
    (folder / "models").mkdir()
    uri = str(wrong.make(folder / "models"))
    fields = [{"name": name, "type": avro} for name, avro in (FIELDS | dict(wrong.fields)).items() if avro is not None]
    (folder / "Pump.avsc").write_text(json.dumps({"type": "record", "name": "Pump", "fields": fields}, indent=1))
    text = PIPELINE + wrong.pipeline
    if "DIGEST" in text:
        text = text.replace("DIGEST", read_model_files(Path(uri), "m").digest)
    (folder / "pipeline.yaml").write_text(text)
    variables = {"HAZARDSTREAM_CACHE_DIRECTORY": str(folder / "cache"), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = hazardstream("pipeline", "check", str(folder), "--model", uri, "--json", **variables, **wrong.environment)
    assert "Traceback" not in done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])["findings"]
    return done.returncode, uri, [each for each in found if each["subject"] == "model"]


def assert_told(folder: Path, wrong: Wrong) -> None:
    code, uri, found = checked(folder, wrong)
    assert [code, *(each["verdict"] for each in found)] == [1, "wrong"], found
    text = found[0]["text"]
    assert uri in text
    assert re.search(wrong.said, text), text
    assert text.isprintable()
    assert "Traceback" not in text
    assert 'File "' not in text


@pytest.mark.usefixtures("_spared")
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_model_is_told_with_place_and_fix(tmp_path: Path, case: str) -> None:
    assert_told(tmp_path, WRONG[case])


@pytest.mark.parametrize("case", IN_A_SANDBOX)
def test_the_sandbox_shows_no_traceback(tmp_path: Path, case: str) -> None:
    assert_told(tmp_path, IN_A_SANDBOX[case])


def test_an_mlflow_that_does_not_answer_is_a_warning(tmp_path: Path) -> None:
    silent = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}
    code, _, found = checked(tmp_path, Wrong(lambda _: "models:/pumps@champion", "", environment=silent))
    assert (code, found[0]["verdict"]) == (0, "warning")
    assert re.match(r"not checked: mlflow: http://127.0.0.1:1: .*refused.*; start it", found[0]["text"])


@pytest.mark.usefixtures("_spared")
def test_a_field_that_may_be_null_and_an_input_that_may_not_is_a_warning(tmp_path: Path) -> None:
    code, _, found = checked(tmp_path, Wrong(svr, ""))
    assert (code, [each["verdict"] for each in found]) == (0, ["ok", "warning"])
    assert re.search(r"Pump\.avsc:\d+: field 'flow' may be null, .* dead letters\. Train the model", found[1]["text"])
