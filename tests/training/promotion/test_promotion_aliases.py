"""The aliases: what they stand for, and that a promotion moves them only if they still stand for what was looked at."""

from pathlib import Path

import pytest

from common.errors import UserError
from tests.models import changed, register_unseen
from training.promotion.aliases import Aliases
from worker.model.mlflow_client import NotInMlflowError, mlflow_client


@pytest.fixture
def aliases(unique_name: str, mlflow_url: str, model_package: Path, tmp_path: Path) -> Aliases:
    """Version 1 is the champion, version 2 the challenger, and there is a third."""
    for package in (model_package, *(changed(model_package, tmp_path / str(n), shift=0.1 * n) for n in (1, 2))):
        register_unseen(package, unique_name, mlflow_url)
    with mlflow_client(mlflow_url) as client:
        client.set_registered_model_alias(unique_name, "champion", "1")
        client.set_registered_model_alias(unique_name, "challenger", "2")
    return Aliases.of(f"models:/{unique_name}@champion", None, mlflow_url)


def test_the_challenger_takes_the_champions_place_and_nobody_its_own(aliases: Aliases) -> None:
    assert aliases.versions() == ("1", "2")
    aliases.promote(("1", "2"))
    with mlflow_client(aliases.store) as client:
        assert client.get_model_version_by_alias(aliases.name, "champion").version == "2"
    with pytest.raises(NotInMlflowError, match="challenger"):
        aliases.versions()


def test_aliases_that_were_moved_meanwhile_are_left_alone(aliases: Aliases) -> None:
    with mlflow_client(aliases.store) as client:
        client.set_registered_model_alias(aliases.name, "challenger", "3")
    with pytest.raises(UserError, match="moved meanwhile"):
        aliases.promote(("1", "2"))
    assert aliases.versions() == ("1", "3")


@pytest.mark.parametrize(
    ("champion", "challenger", "fault"),
    [
        ("models:/a/7", None, "is not an alias"),
        ("some/directory", None, "is not an alias"),
        ("models:/a@champion", "models:/b@challenger", "not an alias of a"),
        ("models:/a@champion", "models:/a/8", "not an alias of a"),
    ],
)
def test_what_is_no_pair_of_aliases_of_one_model_is_refused(champion: str, challenger: str | None, fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        Aliases.of(champion, challenger, None)
