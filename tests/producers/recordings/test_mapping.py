import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from producers.recordings.fields import Source, find_sources
from producers.recordings.mapping import Mapping, parse_columns, parse_topology
from producers.recordings.rescaling import built_as_recorded, rescaling
from tests.flagship import PIPELINE
from worker.config.pipeline import load_pipeline

FIELDS = ["module_id", "rack_id", "ts", *PIPELINE.input.sensors()]
names = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=8)


def plain(name: str) -> Source:
    return Source(name, name)


@given(st.dictionaries(names, st.tuples(names, st.booleans()), min_size=1))
def test_columns_come_back_as_written(mapping: dict[str, tuple[str, bool]]) -> None:
    text = " , ".join(f"{ours} = {'-' * turned}{theirs}" for ours, (theirs, turned) in mapping.items())
    expected = {ours: f"{'-' * turned}{theirs}" for ours, (theirs, turned) in mapping.items()}
    assert parse_columns(text) == expected


@given(cells=st.floats(1e-3, 1e6), capacity=st.floats(1e-3, 1e6))
def test_topology_comes_back_as_written(cells: float, capacity: float) -> None:
    read = parse_topology(f"cells_in_series={cells},capacity_ah={capacity}")
    assert read == {"cells_in_series": cells, "capacity_ah": capacity}


@pytest.mark.parametrize("text", ["", "ts", "ts=", "=t", "ts=a,,", "ts=-", "ts=a,ts=b"])
def test_columns_that_are_not_pairs_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="--columns"):
        parse_columns(text)


@pytest.mark.parametrize("text", ["cells_in_series=0", "cells_in_series=-1", "cells", "capacity_ah=nan"])
def test_topology_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--topology"):
        parse_topology(text)


@given(st.permutations(FIELDS), st.data())
def test_every_field_is_found_by_our_name_wherever_it_stands(order: list[str], data: st.DataObject) -> None:
    sensors = data.draw(st.lists(st.sampled_from(FIELDS[3:]), min_size=1, unique=True))
    there = [name for name in order if name in FIELDS[:3] or name in sensors]
    found = find_sources(there, Mapping(), PIPELINE)
    assert (found.key, found.group, found.time) == ((plain("module_id"),), plain("rack_id"), plain("ts"))
    assert found.sensors == {name: plain(name) for name in FIELDS[3:] if name in sensors}


def test_the_older_names_are_found() -> None:
    older = [
        "Timestamp",
        "Module_ID",
        "Rack_ID",
        "Module_Avg_Surface_Temp_C",
        "Sim_OffGas_CO_ppm_proxy",
        "Ambient_Temp_Rack_C",
    ]
    found = find_sources(older, Mapping(), PIPELINE)
    assert (found.key, found.group, found.time) == ((plain("Module_ID"),), plain("Rack_ID"), plain("Timestamp"))
    assert {ours: source.column for ours, source in found.sensors.items()} == {
        "avg_surface_temp_c": "Module_Avg_Surface_Temp_C",
        "offgas_co_ppm": "Sim_OffGas_CO_ppm_proxy",
        "ambient_temp_c": "Ambient_Temp_Rack_C",
    }


def test_what_the_user_says_wins() -> None:
    there = ["module_id", "ts", "voltage_v", "V", "test", "run"]
    mapping = Mapping({"voltage_v": "-V"}, ("test", "run"))
    found = find_sources(there, mapping, PIPELINE)
    assert found.key == (plain("test"), plain("run"))
    assert found.sensors == {"voltage_v": Source("V", "V", -1)}
    assert found.group is None


@pytest.mark.parametrize(
    ("there", "mapping", "says"),
    [
        (["module_id", "voltage_v"], Mapping(), "no column holds ts"),
        (["module_id", "ts"], Mapping(), "no column holds a sensor"),
        (["module_id", "ts", "V"], Mapping({"voltage": "V"}), "no field voltage; it has module_id"),
        (["module_id", "ts", "V"], Mapping({"voltage_v": "U"}), "no column U; it has module_id, ts, V"),
        (["module_id", "ts", "V"], Mapping({}, ("cell",)), "no column cell"),
        (["module_id", "t", "V"], Mapping({"ts": "-t"}), "remove the minus"),
    ],
)
def test_what_is_missing_is_named(there: list[str], mapping: Mapping, says: str) -> None:
    with pytest.raises(UserError, match=says):
        find_sources(there, mapping, PIPELINE)


def test_a_pipeline_whose_records_have_no_group_is_refused() -> None:
    pipeline = load_pipeline("churn")
    with pytest.raises(UserError, match=r"that of churn has no field for the group, fields of text .*publish"):
        find_sources(FIELDS, Mapping(columns={}), pipeline)


def test_a_text_is_that_of_the_pipeline_or_refused() -> None:
    assert parse_topology("cells_in_series=1,chemistry=lfp") == {"cells_in_series": 1.0, "chemistry": "lfp"}
    built = built_as_recorded(PIPELINE, {"chemistry": "lfp", "cells_in_series": 1})
    assert built.topology.of("k", "g") == PIPELINE.topology.default | {"chemistry": "lfp"}
    rescaling(built, [("k", "g")], {"chemistry": "lfp"})
    with pytest.raises(UserError, match=r"declares nmc for k.*write `chemistry: lfp` under topology.keys"):
        rescaling(PIPELINE, [("k", "g")], {"chemistry": "lfp"})
    for wrong in ({"cells_in_series": "x"}, {"chem": "lfp"}):
        with pytest.raises(
            UserError, match=r"is no text in topology.default of pipeline battery_hazard; it has chemistry"
        ):
            built_as_recorded(PIPELINE, wrong)
