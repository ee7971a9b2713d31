"""Where rows come from: the user's file, the shared folder, the cache, the public source, or a generator."""

from dataclasses import replace
from pathlib import Path

import httpx
import pandas as pd
import pytest

from common.errors import UserError
from training.datasets import source as source_module
from training.datasets.source import Source, digest, find_rows, given_rows

CSV = b"a,b\n1,0.5\n2,\n"


def read(content: bytes) -> pd.DataFrame:
    import io  # noqa: PLC0415

    return pd.read_csv(io.BytesIO(content))[["a", "b"]]


SOURCE = Source(
    file="rows.csv",
    url="https://example.invalid/rows.csv",
    sha256=digest(read(CSV)),
    read=read,
    generate=lambda seed: pd.DataFrame({"a": [seed], "b": [0.0]}),
    licence="none",
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "cache_directory", lambda: tmp_path / "cache")


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


def answer(monkeypatch: pytest.MonkeyPatch, content: bytes | None) -> list[str]:
    """The public source answers with this content; None: there is no network. Returns the addresses asked."""
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        if content is None:
            raise httpx.ConnectError("no network", request=request)
        return httpx.Response(200, content=content)

    client = httpx.Client(transport=httpx.MockTransport(handle))
    monkeypatch.setattr(httpx, "stream", lambda method, url, **_: client.stream(method, url))
    return asked


def test_a_given_file_may_hold_any_rows_of_the_form(tmp_path: Path, shared: Path) -> None:
    own = tmp_path / "own.csv"
    own.write_text("b,a\n7,8\n")

    rows = find_rows(SOURCE, own, shared=shared)

    assert rows.frame.to_dict("list") == {"a": [8], "b": [7]}
    assert rows.origin == f"the file {own}"
    assert not rows.generated


def test_the_shared_folder_comes_before_the_network(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, None)
    (shared / "rows.csv").write_bytes(CSV)

    assert find_rows(SOURCE, shared=shared).origin == "the shared folder"
    assert asked == []


def test_the_public_source_is_asked_once_and_cached(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, CSV)

    origins = [find_rows(SOURCE, shared=shared).origin for _ in range(2)]

    assert asked == [SOURCE.url]
    assert origins == [SOURCE.url, f"{SOURCE.url} (cached)"]


def test_without_network_rows_are_generated_and_that_is_said(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, None)

    rows = find_rows(SOURCE, seed=3, shared=shared)

    assert rows.generated
    assert rows.frame["a"].tolist() == [3]
    assert rows.origin.startswith("GENERATED rows, not the real ones: https://example.invalid/rows.csv cannot be read")


@pytest.mark.parametrize("content", [b"a,b\n1,0.5\n2,0.25\n", b"a,b\n1,0.5\n", b"b,a\n0.5,1\n,3\n"])
def test_rows_that_are_not_the_published_ones_are_refused(
    shared: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    answer(monkeypatch, content)

    with pytest.raises(UserError, match="they are not the published ones"):
        find_rows(SOURCE, shared=shared)
    with pytest.raises(UserError, match="they are not the published ones"):  # and nothing of it was cached
        find_rows(SOURCE, shared=shared)


def test_the_packing_of_the_rows_does_not_matter(shared: Path) -> None:
    (shared / "rows.csv").write_bytes(b"a,b,comment\r\n1,0.500,x\r\n2,,y\r\n")

    assert find_rows(SOURCE, shared=shared).sha256 == SOURCE.sha256


@pytest.mark.parametrize(
    ("content", "fault"), [(b"x,y\n1,2\n", "does not hold rows like those of rows.csv"), (b"", "does not")]
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: bytes, fault: str) -> None:
    own = tmp_path / "own.csv"
    own.write_bytes(content)

    with pytest.raises(UserError, match=fault):
        find_rows(SOURCE, own)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        find_rows(replace(SOURCE), tmp_path / "nothing.csv")


def test_a_source_without_end_is_cut_off(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, CSV)
    monkeypatch.setattr(source_module, "_TOTAL_BYTES", 5)

    with pytest.raises(UserError, match="is larger than 5 bytes"):
        find_rows(SOURCE, shared=shared)


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, r"cannot be read \(No such file or directory\); name a file of rows"), (b"\xff\xfe\x00", "is no CSV file")],
)
def test_a_file_of_a_recipe_without_a_source_is_read_or_the_fault_is_named(
    tmp_path: Path, content: bytes | None, text: str
) -> None:
    own = tmp_path / "own.csv"
    own.write_bytes(CSV)
    assert given_rows(own).frame.columns.tolist() == ["a", "b"]

    if content is None:
        own.unlink()
    else:
        own.write_bytes(content)
    with pytest.raises(UserError, match=text):
        given_rows(own)
