"""A model in one file: the same bytes each time, a source like any other, and refused when it was tampered with."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.commands import Done, hazardstream
from tests.harness import Stage
from tests.model_registry import Registry, readings
from tests.uninterrupted import assert_equals_uninterrupted_run
from worker.admission.source import resolve
from worker.model.archive import pack, read_archive
from worker.model.contract import Features
from worker.model.package import MANIFEST, PackageError, digest, load_package


@pytest.fixture
def archive(model_package: Path, tmp_path: Path) -> Path:
    file = tmp_path / "model.hazardmodel"
    pack(load_package(model_package, version="7"), "models:/battery_hazard@champion", file)
    return file


def rewritten(archive: Path, change: Callable[[dict[str, bytes]], object], *, compressed: bool = False) -> Path:
    """The archive with other content."""
    with zipfile.ZipFile(archive) as file:
        content = {name: file.read(name) for name in file.namelist()}
    change(content)
    how = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(archive, "w", how) as file:
        for name, data in content.items():
            file.writestr(name, data)
    return archive


def test_the_same_package_gives_the_same_bytes(model_package: Path, archive: Path, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(model_package, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    pack(load_package(elsewhere, version="7"), "models:/battery_hazard@champion", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == archive.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again", "elsewhere", "model.hazardmodel"]


@pytest.mark.slow  # loads the model in a sandbox
def test_it_is_a_source_that_scores_alike_under_its_own_version(
    model_package: Path, archive: Path, tmp_path: Path
) -> None:
    original = load_package(model_package, version="7")
    for _ in range(2):
        model = resolve(str(archive), cache_directory=tmp_path / "cache")
        assert (model.name, model.version, model.digest) == (original.name, "7", original.digest)
        golden = Features(original.golden, {})
        np.testing.assert_array_equal(model.predict(golden).value, original.predict(golden).value)


def test_it_says_what_it_is(model_package: Path, archive: Path) -> None:
    contents, metadata, sha256 = read_archive(archive)
    assert (contents.manifest.name, metadata.version) == ("battery_hazard", "7")
    assert metadata.source == "models:/battery_hazard@champion"
    assert metadata.manifest_sha256 == contents.digest == digest(model_package / MANIFEST)
    assert sha256 == digest(archive)


def test_export_json_repeats_nothing_that_the_package_says(archive: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        assert json.loads(file.read("export.json")).keys() == {"format", "version", "source", "manifest_sha256"}


def altered(name: str) -> Callable[[dict[str, bytes]], object]:
    return lambda content: content.update({name: content[name][:-1] + b"?"})


def claiming(**changes: object) -> Callable[[dict[str, bytes]], object]:
    def change(content: dict[str, bytes]) -> None:
        content["export.json"] = json.dumps(json.loads(content["export.json"]) | changes).encode()

    return change


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (altered("package/scaler.json"), "digest_mismatch"),
        (altered("package/booster.ubj"), "digest_mismatch"),
        (altered("package/manifest.json"), "digest_mismatch"),
        (lambda content: content.pop("package/golden.npz"), "missing_file"),
        (lambda content: content.pop("package/manifest.json"), "missing_file"),
        (lambda content: content.pop("export.json"), "missing_file"),
        (claiming(format=3), "unknown_format"),
        (claiming(manifest_sha256="0" * 64), "digest_mismatch"),
        (lambda content: content.update({"export.json": b"{}"}), "unreadable_manifest"),
    ],
)
def test_what_was_tampered_with_is_refused(
    archive: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], object], fault: str
) -> None:
    with pytest.raises(PackageError) as caught:
        resolve(str(rewritten(archive, change)), cache_directory=tmp_path / "cache")
    assert caught.value.fault == fault


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside", "..\\outside"])  # noqa: S108 - not used
def test_nothing_is_written_outside_of_the_cache(archive: Path, tmp_path: Path, name: str) -> None:
    def escape(content: dict[str, bytes]) -> None:
        manifest = json.loads(content["package/manifest.json"])
        manifest["files"][name] = "0" * 64
        content["package/manifest.json"] = json.dumps(manifest).encode()
        content[f"package/{name}"] = b"outside"
        claiming(manifest_sha256=hashlib.sha256(content["package/manifest.json"]).hexdigest())(content)

    with pytest.raises(PackageError, match="is outside the package"):
        resolve(str(rewritten(archive, escape)), cache_directory=tmp_path / "cache")
    assert not list(tmp_path.rglob("*outside*"))


def test_what_is_not_in_the_manifest_is_not_read(archive: Path) -> None:
    rewritten(archive, lambda content: content.update({"package/more.py": b"", "../more.py": b""}))
    contents = read_archive(archive).contents
    assert contents.files.keys() == contents.manifest.files.keys()


def test_a_compressed_one_is_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="compressed"):
        resolve(str(rewritten(archive, lambda _: None, compressed=True)), cache_directory=tmp_path / "cache")


@pytest.mark.slow  # loads the model in a sandbox
def test_a_file_of_format_1_is_read_and_only_the_package_says_what_it_is(archive: Path, tmp_path: Path) -> None:
    repeated = {"name": "another", "metrics": {"recall": 1.0}, "trained_at": "2030-01-01", "features": []}
    older = rewritten(archive, claiming(format=1, libraries={}, **repeated))
    model = resolve(str(older), cache_directory=tmp_path / "cache")
    assert (model.name, model.version) == ("battery_hazard", "7")
    assert model.metrics != repeated["metrics"]


def test_any_other_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"not a zip")
    with pytest.raises(PackageError, match="not an exported model"):
        resolve(str(tmp_path / "file"), cache_directory=tmp_path / "cache")


def commanded(*arguments: str, cache: Path, **environment: str) -> Done:
    return hazardstream("model", *arguments, HAZARDSTREAM_CACHE_DIRECTORY=str(cache), **environment)


def test_export_info_and_verify_from_the_registry(models: Registry, tmp_path: Path) -> None:
    file, cache = tmp_path / "m.hazardmodel", tmp_path / "cache"
    done = commanded("export", str(file), "--model", models.uri, "--json", cache=cache, MLFLOW_TRACKING_URI=models.url)
    assert done.returncode == 0, done.stderr
    exported = json.loads(done.stdout.splitlines()[-1])
    assert (exported["version"], exported["source"]) == ("1", models.uri)
    info = commanded("info", str(file), "--json", cache=cache)
    assert json.loads(info.stdout.splitlines()[-1]) == exported
    for_people = commanded("info", str(file), cache=cache).stdout
    assert exported["trained_at"] in for_people
    assert exported["sha256"] in for_people
    assert "xgboost" in for_people
    verified = commanded("verify", str(file), "--sha256", exported["sha256"], "--json", cache=tmp_path / "other cache")
    assert json.loads(verified.stdout.splitlines()[-1])["verified"], verified.stderr
    with file.open("r+b") as damaged:
        damaged.seek(file.stat().st_size // 2)
        damaged.write(b"damage")
    for options in ([], ["--sha256", exported["sha256"]]):
        refused = commanded("verify", str(file), *options, cache=tmp_path / "third cache")
        assert refused.returncode == 2
        assert "digest" in refused.stderr or "damaged" in refused.stderr


def test_a_command_on_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    done = commanded("info", str(tmp_path / "nothing"), cache=tmp_path)
    assert done.returncode == 2
    assert "hazardstream model export" in done.stderr


@pytest.mark.kafka
def test_a_worker_runs_on_a_file_alone(stage: Stage, archive: Path) -> None:
    stage.publish_readings(readings(0, 20))
    with stage.worker(model=str(archive), tracking_uri="http://127.0.0.1:1") as worker:
        worker.await_scored(100)
        assert worker.stop() == 0
    assert {r["model_version"] for r in stage.records("predictions")} == {"7"}
    assert_equals_uninterrupted_run(stage)
