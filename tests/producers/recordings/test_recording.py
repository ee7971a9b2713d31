import gzip
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import UserError
from producers.recordings.mapping import Mapping, parse_columns, parse_topology
from tests.flagship import PIPELINE
from tests.recordings import Read, read_recording

CELL = Mapping(
    parse_columns("ts=t_s,voltage_v=V_V,current_a=-I_A,avg_surface_temp_c=T_C"),
    ("test", "run"),
    topology=parse_topology("cells_in_series=1,capacity_ah=2.6"),
)
HEADER = "module_id,rack_id,ts,voltage_v,current_a"


def csv_file(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "recording.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def read(path: Path, mapping: Mapping | None = None, *, skip_bad: bool = False) -> Read:
    return read_recording(path, mapping=mapping or Mapping(), skip_bad=skip_bad)


def column(recording: Read, sensor: str) -> Any:
    return recording.column(sensor)


def test_a_real_cell_is_rescaled_to_the_modules_topology(recordings: Path) -> None:
    recording = read(recordings / "R1.csv", CELL)
    raw = pd.read_csv(recordings / "R1.csv")
    assert len(recording.ts) == len(raw)
    assert set(recording.keys) == set(raw["test"] + "/" + raw["run"].astype(str))
    assert set(recording.groups) == {"R1"}
    one = recording.keys.index("ref_data/0")
    mine, theirs = recording.key == one, raw[(raw["test"] == "ref_data") & (raw["run"] == 0)]
    np.testing.assert_allclose(column(recording, "voltage_v")[mine] / 14, theirs["V_V"], rtol=1e-12)
    np.testing.assert_allclose(column(recording, "current_a")[mine] / 100, -theirs["I_A"] / 2.6, rtol=1e-12)
    np.testing.assert_array_equal(column(recording, "avg_surface_temp_c")[mine], theirs["T_C"])
    np.testing.assert_array_equal(np.diff(recording.ts[mine]), np.rint(np.diff(theirs["t_s"]) * 1000))
    assert np.isnan(column(recording, "offgas_co_ppm")).all()


def test_runs_are_merged_by_event_time_and_end_now(recordings: Path) -> None:
    recording = read(recordings / "R2.csv", CELL)
    assert np.all(np.diff(recording.ts) >= 0)
    assert abs(recording.ts[-1] - time.time() * 1000) < 60_000


def test_a_rack_or_module_of_its_own_topology_is_rescaled_to_that(tmp_path: Path) -> None:
    topology = PIPELINE.topology.model_copy(update={"groups": {"R2": {"cells_in_series": 16}}})
    pipeline = PIPELINE.model_copy(update={"topology": topology})
    path = csv_file(tmp_path, "a,R1,1750000000000,4,1", "b,R2,1750000000000,4,1")
    recording = read_recording(path, pipeline=pipeline, mapping=Mapping(topology={"cells_in_series": 1.0}))
    assert column(recording, "voltage_v").tolist() == [4 * 14, 4 * 16]
    assert column(recording, "current_a").tolist() == [1, 1]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2025-06-15T15:06:40Z", "2025-06-15T17:06:41.500+02:00"),
        ("2025-06-15 15:06:40", "2025-06-15 15:06:41.5"),
        ("1750000000000", "1750000001500"),
        ("1750000000", "1750000001.5"),
        ("1750000000000000", "1750000001500000"),
        ("06/15/2025 15:06:40.0", "06/15/2025 15:06:41.5"),
    ],
)
def test_absolute_times(tmp_path: Path, first: str, second: str) -> None:
    recording = read(csv_file(tmp_path, f"a,R,{first},50,1", f"a,R,{second},50,1"))
    assert recording.ts.tolist() == [1_750_000_000_000, 1_750_000_001_500]


@pytest.mark.parametrize(("first", "second"), [("0", "1.5"), ("2025-06-15T00:00:00Z", "2025-06-15T00:00:01.5Z")])
def test_start_moves_the_recording(tmp_path: Path, first: str, second: str) -> None:
    path = csv_file(tmp_path, f"a,R,{first},50,1", f"a,R,{second},50,1")
    assert read(path, Mapping(start_ms=1_700_000_000_000)).ts.tolist() == [1_700_000_000_000, 1_700_000_001_500]


@pytest.mark.parametrize(
    ("lines", "header"),
    [
        (["a;R;0;50,5;1", "a;R;10;50,25;1"], "module_id;rack_id;ts;voltage_v;current_a"),
        (["a\tR\t0\t50.5\t1", "a\tR\t10\t50.25\t1"], "module_id\track_id\tts\tvoltage_v\tcurrent_a"),
        (["0,a,R,0:00:00,50.5,1", "1,a,R,0:00:10,50.25,1"], ",module_id, rack_id,ts,voltage_v,current_a"),
        (["a,R,0:00,50.5,1", "a,R,0:00:10.0,50.25,1"], f"# cycler 7\n\n{HEADER}"),
    ],
)
def test_files_as_instruments_write_them(tmp_path: Path, lines: list[str], header: str) -> None:
    recording = read(csv_file(tmp_path, *lines, header=header))
    assert column(recording, "voltage_v").tolist() == [50.5, 50.25]
    assert np.diff(recording.ts).tolist() == [10_000]
    assert recording.groups == ["R"]


def test_a_bad_line_below_a_preamble_keeps_its_number(tmp_path: Path) -> None:
    path = csv_file(tmp_path, GOOD, "a,R,1750000000000,50", header=f"# cycler 7\n{HEADER}")
    with pytest.raises(UserError, match=r"recording.csv: line 4: .*4 fields, the header 5"):
        read(path)


def test_packed_and_latin_files(tmp_path: Path) -> None:
    path = tmp_path / "packed.csv.gz"
    path.write_bytes(gzip.compress(f"{HEADER}\nModul\xe4,R,1750000000000,50,1\n".encode("latin1")))
    assert read(path).keys == ["Modul\xe4"]


def test_parquet_with_the_older_names_and_its_own_types(tmp_path: Path) -> None:
    path = tmp_path / "old.parquet"
    pd.DataFrame(
        {
            "Timestamp": pd.to_datetime(["2025-06-15T15:06:50", "2025-06-15T15:06:40"]),
            "Module_ID": pd.Categorical(["m1", "m2"]),
            "Module_Voltage_V": [50.5, None],
            "Sim_OffGas_H2_ppm_proxy": [3, 4],
        }
    ).to_parquet(path)
    recording = read(path, Mapping(group="RackX"))
    assert [recording.keys[k] for k in recording.key] == ["m2", "m1"]
    assert recording.groups == ["RackX", "RackX"]
    assert recording.ts.tolist() == [1_750_000_000_000, 1_750_000_010_000]
    assert column(recording, "offgas_h2_ppm").tolist() == [4.0, 3.0]
    np.testing.assert_array_equal(column(recording, "voltage_v"), [np.nan, 50.5])


GOOD = "a,R,1750000000000,50,1"
BAD_LINES = [
    ("a,R,1750000000000,fifty,1", "voltage_v", "'fifty': is not a number"),
    ("a,R,,50,1", "ts", "'': no ts"),
    ("a,R,yesterday,50,1", "ts", "'yesterday': is not a time"),
    ("a,R,-5,50,1", "ts", "'-5': is outside the range of event times"),
    (",R,1750000000000,50,1", "module_id", "'': no module_id"),
    (f"{'m' * 201},R,1750000000000,50,1", "module_id", "at most 200 characters"),
    ("a,,1750000000000,50,1", "rack_id", "'': no rack_id"),
    ("a,R,1750000000000,,nan", "", "no sensor has a value"),
    ("a,R,1750000000000,50", "", "the row has 4 fields, the header 5"),
    ("a,R,1750000000000,50,1,2", "", "the row has 6 fields, the header 5"),
]


@pytest.mark.parametrize(("line", "where", "rule"), BAD_LINES)
def test_a_bad_line_is_named_with_its_number(tmp_path: Path, line: str, where: str, rule: str) -> None:
    # A blank line is a line, too.
    path = csv_file(tmp_path, GOOD, "", GOOD, line, GOOD)
    with pytest.raises(UserError) as raised:
        read(path)
    said = str(raised.value)
    assert "recording.csv: line 5" in said
    assert rule in said
    assert f"column {where}" in said if where else "column" not in said
    assert "--skip-bad" in said


def test_bad_lines_are_left_out_when_asked(tmp_path: Path) -> None:
    path = csv_file(tmp_path, *(line for bad, _, _ in BAD_LINES for line in (bad, GOOD)))
    recording = read(path, skip_bad=True)
    # A value that is no number is missing; the rest of its row is a reading.
    assert len(recording.ts) == len(BAD_LINES) + 1
    assert sum(recording.understood["left_out"].values()) == len(BAD_LINES) - 1
    assert recording.understood["not_numbers"] == {"voltage_v": 1}
    assert {row.place for row in recording.bad} <= set(range(2, 2 + 2 * len(BAD_LINES), 2))
    assert {row.unit for row in recording.bad} == {"line"}


@pytest.mark.parametrize(
    ("line", "topology"), [("a,R,1750000000000,inf,1", {}), ("a,R,1750000000000,4,300", {"capacity_ah": 2.6})]
)
def test_values_outside_of_what_can_be_are_left_to_the_workers_mask_and_told(
    tmp_path: Path, line: str, topology: dict[str, float | str]
) -> None:
    recording = read(csv_file(tmp_path, GOOD, line), Mapping(topology=topology))
    assert len(recording.ts) == 2
    assert "1 values are outside of what it can be" in " ".join(recording.understood["warnings"])


def test_bad_rows_of_a_parquet_file_are_named_by_row(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    rows = {"module_id": ["a", "b", None], "ts": [1.75e12] * 3, "voltage_v": [50.0, 5000.0, 50.0], "rack_id": ["R"] * 3}
    pd.DataFrame(rows).to_parquet(path)
    with pytest.raises(UserError, match=r"row 3, column module_id: '': no module"):
        read(path)


def test_only_the_first_few_bad_rows_are_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 6, .*; and 15 more"):
        read(csv_file(tmp_path, *["a,R,1750000000000,x,1"] * 20))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("absent.csv", None, "there is no file"),
        ("notes.docx", b"x", "only .csv and .parquet"),
        ("notes.xlsx", b"x", "is no spreadsheet"),
        ("empty.csv", b"", "every column needs a unique name"),
        ("double.csv", b"ts,ts\n1,2\n", "several columns have the name ts; say which"),
        ("header.csv", b"module_id,ts,voltage_v\n", "holds no usable row"),
        ("blank.csv", b"module_id,ts,voltage_v\n,,\n", "holds no usable row"),
        ("short.csv", b"module_id,ts,voltage_v\nM1,0\n", "line 2.*the row has 2 fields"),
        ("utf16.csv", "module_id,ts,voltage_v\n".encode("utf-16"), "holds no usable row"),
        ("false.parquet", b"module_id,ts", "not a Parquet file"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=says):
        read(path)


@pytest.mark.slow  # reads 30 files
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["m1", "m2", "x/y"]),
            st.integers(1_700_000_000_000, 1_800_000_000_000),
            st.none() | st.floats(-5, 2000),
            st.floats(-10_000, 10_000),
        ),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from(["csv", "parquet"]),
)
def test_every_reading_comes_out_once_with_its_exact_values(
    tmp_path: Path, rows: list[tuple[str, int, float | None, float]], kind: str
) -> None:
    frame = pd.DataFrame(rows, columns=["module_id", "ts", "voltage_v", "current_a"])
    path = tmp_path / f"any.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    recording = read(path)
    got = [
        (recording.keys[k], int(ts), None if np.isnan(v) else v, c)
        for k, ts, v, c in zip(
            recording.key, recording.ts, column(recording, "voltage_v"), column(recording, "current_a"), strict=True
        )
    ]
    assert got == sorted(rows, key=lambda row: row[1])


def test_times_are_utc(tmp_path: Path) -> None:
    recording = read(csv_file(tmp_path, "a,R,2025-01-01,50,1"))
    assert datetime.fromtimestamp(recording.ts[0] / 1000, UTC) == datetime(2025, 1, 1, tzinfo=UTC)
