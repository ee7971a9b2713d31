"""`hazardstream pipeline check`, `show` and `schema`, without a broker."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.registry import SchemaRegistry
from tests.commands import hazardstream
from tests.flagship import SHIPPED_MODEL
from tests.generic_pipeline import TEXT, VISIT, write_generic
from worker.config.pipeline import load_pipeline

UNREACHED = "http://127.0.0.1:1"


def checked(*arguments: str, **environment: str) -> tuple[int, dict[str, str]]:
    done = hazardstream("pipeline", "check", "--json", *arguments, **environment)
    found = json.loads(done.stdout.splitlines()[-1])
    return done.returncode, {f["subject"]: f["verdict"] + ": " + f["text"] for f in found["findings"]}


def test_a_good_pipeline_is_shown_as_good(tmp_path: Path) -> None:
    code, found = checked(str(write_generic(tmp_path)), "--offline")
    assert code == 0
    assert set(found) == {"pipeline"}
    assert "field 'tags' is not read" in found["pipeline"]


def test_all_faults_are_shown_with_file_and_line(tmp_path: Path) -> None:
    text = TEXT.replace("last: 10", "last: 0").replace("key: user", "kee: user")
    done = hazardstream("pipeline", "check", str(write_generic(tmp_path, text)))
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if line]
    assert [line.split()[:2] for line in lines] == [["wrong", "pipeline"]] * 3
    assert f"{tmp_path / 'pipeline.yaml'}:5: input.kee: there is no such setting; did you mean 'key'?" in lines[0]


def test_the_pipeline_of_the_current_folder_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_generic(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HAZARDSTREAM_PIPELINE", raising=False)
    assert "shop, in " in hazardstream("pipeline", "show", "--offline").stdout


def test_services_that_do_not_answer_are_no_fault(tmp_path: Path) -> None:
    services = {"SCHEMA_REGISTRY_URL": UNREACHED, "MLFLOW_TRACKING_URI": UNREACHED}
    cache = {"HAZARDSTREAM_CACHE_DIRECTORY": str(tmp_path / "cache"), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    code, found = checked(str(write_generic(tmp_path)), **services, **cache)
    assert code == 0
    assert found["registry"].startswith("warning: ")
    assert found["model"].startswith("warning: ")


@pytest.mark.slow  # loads the shipped model
def test_a_model_that_does_not_suit_is_a_fault(tmp_path: Path) -> None:
    code, found = checked(str(write_generic(tmp_path)), "--model", str(SHIPPED_MODEL))
    assert code == 1
    assert found["model"].startswith("wrong: ")


@pytest.mark.registry
def test_a_schema_that_the_registry_would_reject_is_a_fault(tmp_path: Path, registry: str) -> None:
    topics = {name: f"{name}-{tmp_path.parent.name}-{tmp_path.name}" for name in ("visits", "predictions")}
    text = TEXT.replace("shop.visits\n", f"{topics['visits']}\n")
    text = text.replace("shop.predictions", topics["predictions"])
    file = write_generic(tmp_path, text)
    model = ("--model", str(SHIPPED_MODEL))
    assert checked(str(file), *model, SCHEMA_REGISTRY_URL=registry)[1]["registry"].startswith("ok: ")

    client = SchemaRegistry(registry)
    derived = load_pipeline(str(file)).records["predictions"].schema
    client.register(f"{topics['predictions']}-value", derived | {"fields": [{"name": "other", "type": "long"}]})
    _, found = checked(str(file), *model, SCHEMA_REGISTRY_URL=registry)
    assert "ShopPrediction cannot be registered" in found["registry"]

    text = text.replace(topics["predictions"], f"{topics['predictions']}-2")
    client.register(f"{topics['visits']}-value", VISIT | {"fields": VISIT["fields"][1:]})
    _, found = checked(str(write_generic(tmp_path, text)), *model, SCHEMA_REGISTRY_URL=registry)
    assert "cannot be resolved to the pipeline's: the writer's schema has no field 'user'" in found["registry"]


def shown(*arguments: str) -> dict[str, Any]:
    done = hazardstream("pipeline", "show", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_show_tells_all_that_follows(tmp_path: Path) -> None:
    found = shown(str(write_generic(tmp_path)), "--offline")
    assert (found["task"], found["input"]["numbers"]) == ("binary", ["spent", "pages", "member"])
    assert found["input"]["not_read"] == ["tags"]
    assert found["features"][0] == {"name": "spent", "kind": "value", "field": "spent"}
    assert found["topics"]["predictions"]["derived"]
    assert found["topics"]["predictions"]["operations"] == ["Read", "Write"]
    assert found["topics"]["alarm_state"]["settings"] == {"cleanup.policy": "compact"}


def test_show_tells_what_the_model_says() -> None:
    model = shown("battery_hazard", "--model", str(SHIPPED_MODEL))["model"]
    assert (model["task"], model["inputs"][0]["name"]) == ("binary", "avg_surface_temp_c")
    assert model["alarm_policy"]["setpoint"] > 0


def test_a_folder_is_given_once(tmp_path: Path) -> None:
    done = hazardstream("pipeline", "show", str(tmp_path), "--pipeline", "battery_hazard")
    assert done.returncode == 2
    assert "give one of them" in done.stderr


def test_the_json_schema_is_printed() -> None:
    assert json.loads(hazardstream("pipeline", "schema").stdout)["title"] == "hazardstream pipeline file"
