"""The forms that people's files have: each gives the right readings, or a refusal that names the option."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import UserError
from producers.recordings.mapping import Mapping, parse_mapping
from tests.recordings import Read, read_recording, text_file

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "forms"
EIGHT = "2024-06-25T08:00:00"
PACKS = """
SELECT DateAndTime AS ts, 'b1' AS module_id, U_DC_b1 / 10 AS voltage_v, SOC_b1 / 10 AS soc_percent FROM file
UNION ALL SELECT DateAndTime, 'b2', U_DC_b2 / 10, SOC_b2 / 10 FROM file
"""
PIVOT = """
SELECT time_bucket(INTERVAL 10 SECONDS, last_changed::TIMESTAMPTZ) AS ts,
  any_value(state) FILTER (entity_id = 'sensor.pack_voltage') AS voltage_v,
  any_value(state) FILTER (entity_id = 'sensor.pack_temperature') AS avg_surface_temp_c
FROM file GROUP BY 1 ORDER BY 1
"""
CELLS = "+".join(f"c{i}" for i in range(1, 15))
FORMS = {
    "cells_mV_deci.csv": (
        f"voltage_v=({CELLS})/1000,max_surface_temp_c=greatest(t1,t2)/10,current_a=i_dA/10",
        {"voltage_v": 51.813, "max_surface_temp_c": 25.8},
    ),
    "date_and_time_columns.csv": (
        "ts=strptime(Date || ' ' || Time, '%d/%m/%Y %H:%M:%S'),voltage_v=(Min+Max)/2",
        {"voltage_v": 14.81},
    ),
    "extra_trailing_fields.csv": (
        "ts=Date/Time,soc_percent=SOC/10000,voltage_v=Pack Volts,max_surface_temp_c=Pack T1 F",
        {"max_surface_temp_c": 25.0, "soc_percent": 43.0974},
    ),
    "many_columns.csv": (
        "ts=Date_Time,voltage_v=Voltage (V),avg_surface_temp_c=Cell_Temperature (C)",
        {"voltage_v": 3.7},
    ),
    "preamble_and_doubled_names.txt": (
        "ts=DPt Time,current_a=Amps,voltage_v=Volts,avg_surface_temp_c=Temp 1",
        {"voltage_v": 3.7, "avg_surface_temp_c": 25.0},
    ),
    "units_row.csv": ("ts=Timestamp,voltage_v=Voltage#V,avg_surface_temp_c=Temp#C", {"voltage_v": 3.7}),
    "excel_serial.csv": ("ts=t,voltage_v=U,avg_surface_temp_c=T", {"voltage_v": 51.8, "avg_surface_temp_c": 25.0}),
}


def form(name: str) -> Path:
    if not (SHARED / name).is_file():
        pytest.skip(f"the invented files of forms are not in {SHARED}")
    return SHARED / name


def when(read: Read, row: int) -> str:
    return datetime.fromtimestamp(round(read.ts[row] / 1000), UTC).isoformat()[:19]


@pytest.mark.parametrize("name", sorted(FORMS))
def test_a_file_of_this_form_gives_its_readings(name: str) -> None:
    columns, first = FORMS[name]
    read = read_recording(form(name), mapping=parse_mapping(columns))
    assert (len(read.ts), when(read, 0), when(read, -1)) == (120, EIGHT, "2024-06-25T08:19:50")
    assert {sensor: float(read.column(sensor)[0]) for sensor in first} == pytest.approx(first, abs=1e-9)


def test_days_that_come_first_show_only_far_down() -> None:
    mapping = parse_mapping("ts=Zeit,voltage_v=Spannung,current_a=Strom,avg_surface_temp_c=Temperatur")
    read = read_recording(form("german_day_first.csv"), mapping=mapping)
    assert (len(read.ts), when(read, 0), when(read, -1)) == (8640, "2024-04-09T00:00:00", "2024-04-14T23:59:00")
    assert read.column("voltage_v")[0] == 51.8


def test_a_clock_of_twelve_hours() -> None:
    read = read_recording(form("us_pm.csv"), mapping=parse_mapping("ts=Time,voltage_v=Volt"))
    assert (len(read.ts), when(read, 0), when(read, -1)) == (200, "2024-06-25T17:40:47", "2024-06-25T18:13:57")


def test_hours_from_the_start() -> None:
    mapping = parse_mapping("ts=Test Time / h,current_a=-Current / A,voltage_v=Voltage / V")
    read = read_recording(form("elapsed_hours.csv"), mapping=mapping)
    assert (len(read.ts), read.ts[-1] - read.ts[0]) == (120, 1_190_000)
    assert read.column("current_a")[1] == -0.071


def test_times_that_restart_are_told_with_the_column_that_says_why() -> None:
    columns, path = "ts=Time,voltage_v=Voltage_measured", form("time_restarts_each_cycle.csv")
    with pytest.raises(UserError, match=r"--time-unit.*runs backwards 2 times.*--key-columns cycle_idx"):
        read_recording(path, mapping=parse_mapping(columns))
    mixed = read_recording(path, mapping=parse_mapping(columns, time_unit="s"))
    assert "--key-columns cycle_idx" in " ".join(mixed.understood["warnings"])
    apart = read_recording(path, mapping=parse_mapping(columns, "cycle_idx", time_unit="s"))
    assert (apart.keys, np.bincount(apart.key).tolist(), apart.understood["warnings"]) == (
        ["1", "2", "3"],
        [40] * 3,
        [],
    )


def test_times_that_repeat_are_told() -> None:
    read = read_recording(form("date_and_time_columns.csv"), mapping=parse_mapping("ts=Date,voltage_v=Max"))
    assert "119 readings have the same time as the one before them" in " ".join(read.understood["warnings"])


def test_two_devices_in_one_row_by_a_query() -> None:
    read = read_recording(form("two_packs_in_one_row.csv"), mapping=Mapping(query=PACKS))
    assert (read.keys, np.bincount(read.key).tolist()) == (["b1", "b2"], [120, 120])
    assert read.column("voltage_v")[0] == 728.9


def test_one_value_per_row_is_refused_and_read_by_a_query() -> None:
    path = form("long_format.csv")
    for mapping in (
        parse_mapping("ts=last_changed,voltage_v=state", "entity_id"),
        parse_mapping("ts=last_changed,voltage_v=state,module_id=entity_id"),
        parse_mapping("ts=last_changed,voltage_v=state"),
    ):
        with pytest.raises(UserError, match=r"one value per row.*--query FILE.sql"):
            read_recording(path, mapping=mapping)
    read = read_recording(path, mapping=Mapping(query=PIVOT))
    assert (len(read.keys), len(read.ts), when(read, 0)) == (1, 120, EIGHT)
    # One temperature is "unavailable".
    assert np.isnan(read.values).sum(axis=0).tolist() == [1, 0]


@pytest.mark.slow  # starts processes
def test_every_hash_seed_gives_one_result(tmp_path: Path) -> None:
    """Whatever the order of sets: day-first dates whose first days fit month-first, too."""
    lines = [f"{day:02}/04/2024 00:{minute:02},{minute}" for day in (9, 10, 11, 13) for minute in range(60)]
    path = text_file(tmp_path, "ts,voltage_v", *lines)
    code = (
        "import sys; from pathlib import Path; from tests.recordings import read_recording\n"
        "read = read_recording(Path(sys.argv[1])); "
        "print(len(read.ts), read.ts[0], read.ts[-1], read.understood['times'])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code, str(path)],
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(Path(__file__).parents[3])},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        ).stdout
        for seed in range(3)
    }
    assert said == {"240 1712620800000 1712969940000 %d/%m/%Y %H:%M\n"}


@pytest.mark.parametrize(
    ("first", "second", "asked"),
    [
        ("09/04/2024 00:00", "10/04/2024 00:01", "--time-format '%d/%m/%Y %H:%M' or --time-format '%m/%d/%Y %H:%M'"),
        ("24-06-25 08:00", "24-06-26 08:00", "--time-format"),
        ("00:10", "00:20", "--time-format '%H:%M' or --time-format '%M:%S'"),
        ("soon", "later", "--time-format"),
    ],
)
def test_times_with_two_meanings_are_refused(tmp_path: Path, first: str, second: str, asked: str) -> None:
    with pytest.raises(UserError) as raised:
        read_recording(text_file(tmp_path, "ts,voltage_v", f"{first},50", f"{second},50"))
    assert asked in str(raised.value)


@pytest.mark.parametrize("step", [0.002777, 1 / 60, 10_000])
def test_numbers_without_a_unit_are_refused(tmp_path: Path, step: float) -> None:
    path = text_file(tmp_path, "elapsed,voltage_v", *(f"{i * step:.6f},50" for i in range(20)))
    with pytest.raises(UserError, match=r"--time-unit s, ms"):
        read_recording(path, mapping=parse_mapping("ts=elapsed"))


@pytest.mark.parametrize(
    ("options", "first", "second"),
    [
        ({"time_unit": "min"}, "0", "0.5"),
        ({"time_unit": "ms"}, "0", "30000"),
        ({"time_unit": "excel"}, "45468.0", "45468.000347222"),
        ({"time_unit": "matlab"}, "739428.0", "739428.000347222"),
        ({"time_format": "%m/%d/%Y %H:%M:%S"}, "04/05/2024 00:00:00", "04/05/2024 00:00:30"),
        ({"time_zone": "Europe/Berlin"}, "2024-06-25 08:00:00", "2024-06-25 08:00:30"),
    ],
)
def test_what_a_time_means_can_be_said(tmp_path: Path, options: dict[str, Any], first: str, second: str) -> None:
    path = text_file(tmp_path, "x,voltage_v", f"{first},50", f"{second},50")
    read = read_recording(path, mapping=replace(parse_mapping("ts=x"), **options))
    assert abs(read.ts[1] - read.ts[0] - 30_000) <= 1
    if "time_zone" in options:
        assert when(read, 0) == "2024-06-25T06:00:00"


def test_an_hour_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    path = text_file(tmp_path, "ts,voltage_v", "2024-03-31 01:59:50,50", "2024-03-31 02:30:00,50")
    with pytest.raises(UserError, match=r"line 3.*does not exist in this time zone"):
        read_recording(path, mapping=Mapping(time_zone="Europe/Berlin"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    lines = ["module_id;ts;T (°C);U (mV)", "Zähler;25.06.2024 08:00;25,5;51800", "Zähler;25.06.2024 08:01;25,6;51900"]
    path = text_file(tmp_path, *lines, encoding=encoding, end=end)
    read = read_recording(path, mapping=parse_mapping("avg_surface_temp_c=T (°C),voltage_v=U (mV)"))
    assert (read.keys, when(read, 0)) == (["Zähler"], EIGHT)
    assert (read.column("avg_surface_temp_c").tolist(), read.column("voltage_v").tolist()) == (
        [25.5, 25.6],
        [51.8, 51.9],
    )


def test_zero_bytes_quoted_lines_headers_again_and_footers(tmp_path: Path) -> None:
    lines = ["Logger 7", "", "ts,note,voltage_v", '2024-06-25,"two\nlines",5\x000', ",,", "ts,note,voltage_v"]
    read = read_recording(text_file(tmp_path, *lines, '2024-06-26,"",51', "End of data"))
    assert read.column("voltage_v").tolist() == [50, 51]
    notes = " ".join(read.understood["notes"])
    assert all(
        said in notes for said in ("zero bytes", "2 lines above the header", "the header again", "below the last row")
    )


def test_averages_below_the_last_reading_are_no_readings(tmp_path: Path) -> None:
    lines = ["ts,voltage_v", "2024-06-25 08:00:00,50", "2024-06-25 08:00:10,51", "", "Rows: 2", "Average,50.5"]
    read = read_recording(text_file(tmp_path, *lines))
    assert (len(read.ts), read.understood["notes"]) == (2, ["left out: lines below the last row, 2"])
    with pytest.raises(UserError, match="line 3, column ts: 'Average': is not a time"):
        read_recording(text_file(tmp_path, lines[0], lines[1], lines[5], lines[2]))


@pytest.mark.parametrize("time", ["20240625080000", "Tue, 25 Jun 2024 08:00:00 +0000", "20240625T080000Z"])
def test_other_ways_to_write_a_time(tmp_path: Path, time: str) -> None:
    assert when(read_recording(text_file(tmp_path, "voltage_v;ts", f"50;{time}")), 0) == EIGHT


def test_words_and_marks_of_missing_values(tmp_path: Path) -> None:
    words = ["NA", "unavailable", "#N/A", "-", "", "NaN"]
    lines = [f"2024-06-25 08:00:0{i},{word},1" for i, word in enumerate(words)]
    read = read_recording(text_file(tmp_path, "ts,voltage_v,current_a", *lines, "2024-06-25 08:01:00,50,-9999"))
    assert np.isnan(read.column("voltage_v")[:6]).all()
    assert "nullif(current_a, -9999)" in " ".join(read.understood["warnings"])


def test_fahrenheit_that_nobody_states_is_suspected(tmp_path: Path) -> None:
    path = text_file(tmp_path, "ts,avg_surface_temp_c", "2024-06-25,77", "2024-06-26,78")
    assert "is it in °F?" in " ".join(read_recording(path).understood["warnings"])


def test_a_unit_of_another_quantity_is_refused(tmp_path: Path) -> None:
    path = text_file(tmp_path, "ts,T (degC)", "2024-06-25,25")
    with pytest.raises(UserError, match=r"column T \(degC\) is in degC, but voltage_v is in V"):
        read_recording(path, mapping=parse_mapping("voltage_v=T (degC)"))


def test_daily_files_of_one_device_are_joined(tmp_path: Path) -> None:
    for day in (9, 10, 13):
        text_file(tmp_path, "ts,voltage_v", f"{day:02}/04/2024 12:00,{day}", name=f"day-{day:02}.csv")
    read = read_recording(tmp_path / "day-*.csv", mapping=Mapping(key="site"))
    assert (read.keys, read.column("voltage_v").tolist()) == (["site"], [9, 10, 13])


@pytest.mark.parametrize(
    "expression",
    ["(SELECT count(*) FROM read_csv('/etc/passwd'))", "(SELECT count(*) FROM glob('/etc/*'))", "nosuch(voltage_v)"],
)
def test_an_expression_reaches_no_other_file(tmp_path: Path, expression: str) -> None:
    path = text_file(tmp_path, "ts,voltage_v", "2024-06-25,50")
    with pytest.raises(UserError):
        read_recording(path, mapping=Mapping(columns={"current_a": expression}))


def test_a_name_is_only_a_name(tmp_path: Path) -> None:
    evil = 'v"); DROP TABLE readings; --'
    path = text_file(tmp_path, '"' + evil.replace('"', '""') + '",ts', "50,2024-06-25")
    assert read_recording(path, mapping=Mapping(columns={"voltage_v": evil})).column("voltage_v").tolist() == [50]


def test_a_mapping_file_is_shared(tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text("columns: {ts: t_min, voltage_v: 'U / mV'}\ntime_unit: min\nkey: cell\n")
    path = text_file(tmp_path, "t_min,U / mV", "0,3700", "1,3710")
    read = read_recording(path, mapping=parse_mapping(file=tmp_path / "map.yaml"))
    assert (read.keys, read.column("voltage_v").tolist(), int(read.ts[1] - read.ts[0])) == (
        ["cell"],
        [3.7, 3.71],
        60_000,
    )


def test_thinned_readings_keep_the_extreme_of_each_sensor(tmp_path: Path) -> None:
    lines = [f"2024-06-25 08:00:{i:02},{50 + i if i % 2 else ''},{i if not i % 2 else ''}" for i in range(20)]
    read = read_recording(text_file(tmp_path, "ts,voltage_v,current_a", *lines), every_ms=10_000)
    assert (read.column("voltage_v").tolist(), read.column("current_a").tolist()) == ([51, 69], [0, 18])
