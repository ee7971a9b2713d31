"""A package is read once, within limits and within its directory; what was verified is what is loaded."""

import errno
import io
import json
import os
import pickle
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import UserError
from tests.models import fitted_scaler, resealed, with_pickled_scaler
from worker.admission.admit import Demands, admit
from worker.config.trust import Trust, parse_trust
from worker.model.package import load_package, open_package
from worker.model.package_files import MANIFEST, SCALER, PackageError, read_package


@pytest.fixture
def package(model_package: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_package, tmp_path / "package"))


class Touch:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.trace,)


def test_what_was_verified_is_loaded_whatever_becomes_of_the_files(package: Path) -> None:
    contents, expected = read_package(package), load_package(package, version="1")
    for file in package.iterdir():
        file.write_bytes(b"exchanged")
    model = open_package(contents, version="1")
    np.testing.assert_array_equal(model.score(model.golden), expected.score(expected.golden))


def test_files_exchanged_meanwhile_never_mix(package: Path, tmp_path: Path) -> None:
    """Another sealed package takes its place, back and forth, while it is read: it is one or the other, or refused."""
    other = Path(shutil.copytree(package, tmp_path / "other"))
    trace = tmp_path / "trace"
    with_pickled_scaler(other, Touch(trace))
    known, stop = read_package(package).digest, threading.Event()

    def exchange() -> None:
        while not stop.is_set():
            for source in (other, package.parent / "kept"):
                for file in source.iterdir():
                    (package / f".{file.name}").write_bytes(file.read_bytes())
                    (package / f".{file.name}").replace(package / file.name)

    shutil.copytree(package, package.parent / "kept")
    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        for _ in range(30):
            try:
                assert load_package(package, version="1", expected_digest=known).digest == known
            except PackageError:
                continue
    finally:
        stop.set()
        thread.join()
    assert not trace.exists()


def test_a_link_out_of_the_package_is_refused(package: Path, tmp_path: Path) -> None:
    (package / "metrics.json").rename(tmp_path / "elsewhere")
    (package / "metrics.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PackageError, match="is a link to outside the package"):
        read_package(package)


def test_links_within_it_are_followed_as_kubernetes_makes_them(package: Path) -> None:
    (package / "..data").mkdir()
    for file in [path for path in package.iterdir() if path.is_file()]:
        file.rename(package / "..data" / file.name)
        file.symlink_to(Path("..data") / file.name)
    assert load_package(package, version="1").name == "battery_hazard"


def test_a_pipe_does_not_hold_the_reader(package: Path) -> None:
    (package / "metrics.json").unlink()
    os.mkfifo(package / "metrics.json")
    with pytest.raises(PackageError, match="not a regular file"):
        read_package(package)


@pytest.mark.parametrize("name", ["metrics.json", MANIFEST])
def test_a_directory_in_place_of_a_file_is_refused(package: Path, name: str) -> None:
    (package / name).unlink()
    (package / name).mkdir()
    with pytest.raises(PackageError, match=f"{name} is (not a regular file|missing)"):
        read_package(package)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "a\\b", "./a", "a\0b"])
def test_names_outside_of_the_package_are_refused(package: Path, name: str) -> None:
    manifest = json.loads((package / MANIFEST).read_text())
    manifest["files"][name] = "0" * 64
    (package / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(PackageError, match="is outside the package"):
        read_package(package)


def test_a_file_that_cannot_be_read_is_reported_by_its_name(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(io.BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def failing(descriptor: int, *_: Any) -> Failing:
        os.close(descriptor)
        return Failing()

    monkeypatch.setattr("builtins.open", failing)
    with pytest.raises(PackageError, match=rf"{MANIFEST} cannot be read \(Input/output error\)"):
        read_package(package)


def test_what_is_too_large_is_not_read(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.model.package_files.PACKAGE_MAX_BYTES", 1_000_000)
    with pytest.raises(PackageError, match=r"booster\.ubj is too large") as caught:
        read_package(package)
    assert caught.value.fault == "too_large"
    with (package / MANIFEST).open("ab") as file:
        file.write(b" " * (2 << 20))
    with pytest.raises(PackageError, match=r"manifest\.json is too large"):
        read_package(package)


@pytest.mark.parametrize("compressed", [False, True])
def test_objects_in_golden_rows_are_not_unpickled(package: Path, tmp_path: Path, *, compressed: bool) -> None:
    trace = tmp_path / "trace"
    objects = np.array([[Touch(trace)]], dtype=object)
    (np.savez_compressed if compressed else np.savez)(package / "golden.npz", features=objects, probability=objects)
    trace.unlink(missing_ok=True)
    with pytest.raises(PackageError) as caught:
        load_package(resealed(package), version="1")
    assert caught.value.fault == "bad_golden_rows"
    (package / "golden.npz").write_bytes(pickle.dumps(Touch(trace)))
    with pytest.raises(PackageError) as caught:
        load_package(resealed(package), version="1")
    assert caught.value.fault == "bad_golden_rows"
    assert not trace.exists()


@pytest.mark.slow  # unpacks gigabytes
def test_golden_rows_that_unpack_to_gigabytes_are_refused(package: Path) -> None:
    np.savez_compressed(package / "golden.npz", features=np.zeros((10**6, 30)), probability=np.zeros(10**6))
    with pytest.raises(PackageError, match="it unpacks to more than"):
        load_package(resealed(package), version="1")


@pytest.mark.slow  # loads the model in a sandbox
def test_code_runs_only_where_this_very_package_is_trusted(package: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    contents = read_package(with_pickled_scaler(package, Touch(trace)))
    other = Trust(registry=True, digests=frozenset({"0" * 64}))
    for trust in (Trust(), other):
        with pytest.raises(PackageError) as caught:
            admit(contents, "1", Demands(trust=trust), tmp_path / "cache")
        assert caught.value.fault == "untrusted"
        assert f"HAZARDSTREAM_MODEL_TRUST=sha256:{contents.digest}" in str(caught.value)
    assert not trace.exists()
    with pytest.raises(PackageError, match="scaler"):
        admit(contents, "1", Demands(trust=parse_trust(f"sha256:{contents.digest}")), tmp_path / "cache")
    assert trace.exists()


def test_what_is_trusted_is_read_from_a_setting() -> None:
    assert parse_trust("") == Trust()
    assert parse_trust("registry") == Trust(registry=True)
    digest = "ab" * 32
    assert parse_trust(f" registry , SHA256:{digest.upper()}") == Trust(registry=True, digests=frozenset({digest}))
    for text in ("all", "sha256:abc", digest):
        with pytest.raises(UserError, match="HAZARDSTREAM_MODEL_TRUST"):
            parse_trust(text)


def test_packages_of_the_older_format_are_read_to_the_same_bits(package: Path) -> None:
    model = load_package(package, version="1")
    scaler = fitted_scaler(package)
    (package / SCALER).unlink()
    older = load_package(with_pickled_scaler(package, scaler), version="1")
    assert older.manifest.format == 1
    np.testing.assert_array_equal(older.score(model.golden), model.score(model.golden))
