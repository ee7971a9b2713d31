"""What becomes of candidates that wait: one at a time, in its turn, against the champion of the day."""

import json
from pathlib import Path
from typing import Any

import pytest

import pipelines.battery_hazard.training.retraining.compare
import pipelines.battery_hazard.training.retraining.synchronise
import pipelines.battery_hazard.training.retraining.watch
from common.errors import DependencyDownError
from local.process import free_ports
from pipelines.battery_hazard.training.fitting.train import silent
from pipelines.battery_hazard.training.retraining.attempt import PACKAGE, Report, Workshop, read_report
from pipelines.battery_hazard.training.retraining.synchronise import synchronise
from tests.models import renamed, resealed
from tests.retrainings import pending, workshop
from training.registry.register import register_package, version_behind
from worker.model.mlflow_client import mlflow_client


@pytest.fixture
def shop(tmp_path: Path, champion: Path, mlflow_url: str, unique_name: str) -> Workshop:
    """Version 1 is the champion; its successors are retrained."""
    register_package(renamed(champion, tmp_path / "champion", unique_name), tracking_uri=mlflow_url)
    return workshop(tmp_path, f"models:/{unique_name}@champion", mlflow_url)


def bring(shop: Workshop, patience_s: float = 10.0) -> Report | None:
    return synchronise(shop, "challenger", patience_s, silent)


def another(shop: Workshop, package: Path, number: int, name: str) -> Path:
    """A candidate that waits, and is not the same as others."""
    directory = pending(shop, package, number, name)
    resealed(directory / PACKAGE, created_at=str(number))
    return directory


def alias(shop: Workshop, name: str, alias: str, version: str | None) -> None:
    with mlflow_client(shop.settings.tracking_uri or "") as client:
        if version is None:
            client.delete_registered_model_alias(name, alias)
        else:
            client.set_registered_model_alias(name, alias, version)


def behind(shop: Workshop, name: str, alias: str = "challenger") -> str | None:
    return version_behind(name, alias, tracking_uri=shop.settings.tracking_uri)


def test_the_newest_candidate_waits_while_mlflow_is_down_and_is_registered_once(
    shop: Workshop, tmp_path: Path, champion: Path, unique_name: str
) -> None:
    (port,) = free_ports(1)
    down = workshop(tmp_path, f"models:/{unique_name}@champion", f"http://127.0.0.1:{port}")
    first, second = (another(down, champion, n, unique_name) for n in (1, 2))
    with pytest.raises(DependencyDownError):
        bring(down, 0.0)
    assert [read_report(d).status for d in (first, second)] == ["superseded", "pending"]
    done = bring(shop)
    assert done is not None
    assert (done.status, done.version, behind(shop, unique_name)) == ("registered", "2", "2")
    assert read_report(second) == done
    assert bring(shop) is None


def test_a_challenger_on_trial_is_left_alone_until_the_alias_is_free(
    shop: Workshop, champion: Path, unique_name: str
) -> None:
    another(shop, champion, 1, unique_name)
    on_trial = bring(shop)
    assert on_trial is not None
    directory = another(shop, champion, 2, unique_name)
    waits = bring(shop)
    assert waits is not None
    assert waits == read_report(directory)
    assert waits.status == "pending"
    assert waits.waits_for == "challenger points to version 2; promote that version, or delete the alias"
    assert bring(shop) is None  # nothing new to tell
    assert behind(shop, unique_name) == on_trial.version == "2"
    alias(shop, unique_name, "challenger", None)
    done = bring(shop)
    assert done is not None
    assert (done.status, done.version, done.waits_for, behind(shop, unique_name)) == ("registered", "3", None, "3")


def test_a_challenger_that_is_the_champion_is_on_no_trial(shop: Workshop, champion: Path, unique_name: str) -> None:
    alias(shop, unique_name, "challenger", "1")
    another(shop, champion, 1, unique_name)
    assert bring(shop) is not None
    assert behind(shop, unique_name) == "2"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("better", [True, False])
def test_a_candidate_is_compared_again_where_the_champion_is_another(
    shop: Workshop, champion: Path, unique_name: str, monkeypatch: pytest.MonkeyPatch, better: bool
) -> None:
    directory = another(shop, champion, 1, unique_name)
    register_package(
        resealed(shop.home.parent / "champion", created_at="later"), tracking_uri=shop.settings.tracking_uri
    )
    if not better:  # one that shows as worse on so few sites would have to be trained for that
        found = ["of 20 events, only the champion warned of 5, and only the candidate 0"]
        monkeypatch.setattr(pipelines.battery_hazard.training.retraining.compare, "worse", lambda *_: found)
    done = bring(shop)
    assert done is not None
    assert done == read_report(directory)
    assert done.champion == "2"
    assert done.comparison["test"]["candidate"]["modules"]["events"] > 0
    noted = json.loads((directory / "record" / "retraining.json").read_text())
    assert (noted["champion"], noted["comparison"]) == ("2", done.comparison)
    if better:
        assert (done.status, behind(shop, unique_name)) == ("registered", "3")
    else:
        assert (done.status, done.worse, behind(shop, unique_name)) == ("rejected", found, None)


def test_a_candidate_for_another_model_is_not_registered(shop: Workshop, champion: Path, unique_name: str) -> None:
    another(shop, champion, 1, f"{unique_name}-other")
    done = bring(shop)
    assert done is not None
    assert done.status == "rejected"
    assert f"the champion is a {unique_name} now" in done.worse[0]
    assert behind(shop, f"{unique_name}-other") is None


def test_what_was_registered_by_halves_is_completed_not_doubled(
    shop: Workshop, champion: Path, unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = another(shop, champion, 1, unique_name)

    def cut_off(*given: Any, **named: Any) -> Any:
        register_package(*given, **named | {"alias": "lost"})
        raise DependencyDownError("mlflow", "connection reset")

    monkeypatch.setattr(pipelines.battery_hazard.training.retraining.synchronise, "register_package", cut_off)
    with pytest.raises(DependencyDownError):
        bring(shop, 0.0)
    monkeypatch.undo()
    done = bring(shop)
    assert done is not None
    assert (done.status, done.version, read_report(directory).version) == ("registered", "2", "2")
    with mlflow_client(shop.settings.tracking_uri or "") as client:
        assert {v.version for v in client.search_model_versions(f"name='{unique_name}'")} == {"1", "2"}
