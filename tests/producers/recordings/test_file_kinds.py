"""Kinds of files: equal names, many columns, sheets, JSON, packed files."""

import gzip
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from common.errors import UserError
from producers.recordings.mapping import Mapping, parse_mapping
from tests.recordings import read_recording, text_file


def test_equal_names_are_refused_where_they_are_needed(tmp_path: Path) -> None:
    path = text_file(tmp_path, "ts,voltage_v,voltage_v,x,x", "2024-06-25,50,51,1,2")
    with pytest.raises(UserError, match=r"several columns have the name voltage_v; .* 'voltage_v=voltage_v \(1\)'"):
        read_recording(path)
    assert read_recording(path, mapping=parse_mapping("voltage_v=voltage_v (2)")).column("voltage_v")[0] == 51


def test_a_number_that_can_be_read_in_two_ways_is_none(tmp_path: Path) -> None:
    path = text_file(tmp_path, "ts;U;T", "2024-06-25 08:00;51.800;25,5", "2024-06-25 08:10;51.900;25,6")
    with pytest.raises(UserError, match=r"column U: '51\.800': is not a number"):
        read_recording(path, mapping=parse_mapping("voltage_v=U,avg_surface_temp_c=T"))
    read = read_recording(path, mapping=parse_mapping("voltage_v=replace(U,'.','')::DOUBLE/1000,avg_surface_temp_c=T"))
    assert read.column("voltage_v").tolist() == [51.8, 51.9]
    assert "51.800 counts as no number" in " ".join(read.understood["notes"])


def test_a_name_of_a_column_that_is_nearly_right_is_suggested(tmp_path: Path) -> None:
    path = text_file(tmp_path, "ts,Temp (Â°F)", "2024-06-25,77")
    with pytest.raises(UserError, match=r"is Temp \(Â°F\) meant\?"):
        read_recording(path, mapping=parse_mapping("avg_surface_temp_c=Temp (°F)"))


def test_utc_stands_in_a_row_of_units_too(tmp_path: Path) -> None:
    path = text_file(tmp_path, "ts,U,T", "UTC,mV,°F", "2024-06-25 08:00:00,51800,77")
    read = read_recording(path, mapping=parse_mapping("voltage_v=U,avg_surface_temp_c=T"))
    assert (read.column("voltage_v")[0], read.column("avg_surface_temp_c")[0]) == pytest.approx((51.8, 25.0))


def test_a_place_in_a_list_of_json_is_refused_with_what_to_write(tmp_path: Path) -> None:
    path = text_file(tmp_path, '{"ts": "2024-06-25", "temps": [25, 26]}', name="log.json")
    with pytest.raises(UserError, match=r"temps holds lists; write temps->>0"):
        read_recording(path, mapping=parse_mapping("max_surface_temp_c=temps[2]"))
    assert (
        read_recording(path, mapping=parse_mapping("max_surface_temp_c=temps->>1")).column("max_surface_temp_c")[0]
        == 26
    )


@pytest.mark.slow  # reads ten thousand columns
def test_ten_thousand_columns(tmp_path: Path) -> None:
    names, values = ",".join(f"c{i}" for i in range(10_000)), ",".join("1" for _ in range(10_000))
    path = text_file(tmp_path, f"ts,{names}", f"2024-06-25,{values}", f"2024-06-26,{values}")
    read = read_recording(path, mapping=parse_mapping("voltage_v=c9999+c1"))
    assert read.column("voltage_v").tolist() == [2, 2]


def test_a_workbook_with_several_tables_needs_the_name_of_a_sheet(tmp_path: Path) -> None:
    log: list[list[str | int]] = [["ts", "voltage_v"], ["2024-06-25", 50], ["2024-06-26", 51]]
    path = workbook(tmp_path / "log.xlsx", {"About": [["made by"], ["logger"]], "June": log, "July": log})
    with pytest.raises(UserError, match="several sheets with a table: June, July; name one with --sheet"):
        read_recording(path)
    assert read_recording(path, mapping=Mapping(sheet="July")).column("voltage_v").tolist() == [50, 51]
    with pytest.raises(UserError, match="no sheet May; it has About, June, July"):
        read_recording(path, mapping=Mapping(sheet="May"))
    read = read_recording(workbook(tmp_path / "one.xlsx", {"About": [["by"], ["x"]], "June": log}))
    assert (len(read.ts), read.understood["notes"]) == (2, ["one.xlsx: sheet June is read, but not About"])


def workbook(path: Path, sheets: dict[str, Sequence[Sequence[str | int]]]) -> Path:
    """A spreadsheet of the smallest form that is allowed."""
    main, relations = "http://schemas.openxmlformats.org/spreadsheetml/2006/main", "http://schemas.openxmlformats.org"
    link = f"{relations}/officeDocument/2006/relationships"
    kinds = f"{relations}/package/2006/relationships"
    entries = "".join(f'<sheet name="{name}" sheetId="{i}" r:id="r{i}"/>' for i, name in enumerate(sheets, 1))
    targets = "".join(
        f'<Relationship Id="r{i}" Type="{link}/worksheet" Target="worksheets/{i}.xml"/>'
        for i in range(1, len(sheets) + 1)
    )
    with zipfile.ZipFile(path, "w") as file:
        root = f'<Relationship Id="r" Type="{link}/officeDocument" Target="xl/workbook.xml"/>'
        file.writestr("_rels/.rels", f'<Relationships xmlns="{kinds}">{root}</Relationships>')
        file.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{main}" xmlns:r="{link}"><sheets>{entries}</sheets></workbook>'
        )
        file.writestr("xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{kinds}">{targets}</Relationships>')
        for i, rows in enumerate(sheets.values(), 1):
            cells = "".join(
                "<row>"
                + "".join(
                    f"<c><v>{cell}</v></c>" if isinstance(cell, int) else f'<c t="inlineStr"><is><t>{cell}</t></is></c>'
                    for cell in row
                )
                + "</row>"
                for row in rows
            )
            file.writestr(
                f"xl/worksheets/{i}.xml", f'<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>'
            )
    return path


def test_an_array_of_objects(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text('[{"ts": "2024-06-25T08:00:00Z", "pack": {"v": 50}}, {"ts": "2024-06-25T08:00:10Z", "pack": null}]')
    read = read_recording(path, mapping=Mapping(columns={"voltage_v": "pack->>'v'"}), skip_bad=True)
    assert (len(read.ts), read.column("voltage_v")[0]) == (1, 50)


def test_json_lines_and_packed_files(tmp_path: Path) -> None:
    lines = ['{"ts": "2024-06-25T08:00:00Z", "voltage_v": 51.5}', '{"ts": "2024-06-25T08:00:10Z", "voltage_v": null}']
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    read = read_recording(path, mapping=Mapping(key="a", columns={"current_a": "voltage_v * 2"}), skip_bad=True)
    assert (len(read.ts), read.column("current_a")[0]) == (1, 103)
