"""Text from outside (keys, topics, errors, names) on each medium: no markup, no control sequence, no traceback."""

import ast
import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from common import terminal
from common.errors import DependencyDownError, UserError
from common.logs import configure_logs
from common.text import in_label, in_plot, lines, markup, shown
from hazardstream import cli
from local.demo_view import picture
from tests.flagship import PIPELINE
from tests.repository import ROOT
from training.reports.render import render
from worker.cli import doctor, findings
from worker.cli.dlq_view import print_letter, print_table
from worker.cli.explain_view import as_tables
from worker.model.contract import Task
from worker.model.shap import Contribution, Explanation

HOSTILE = [
    "[/bold]",
    "[red]x",
    "[link=http://evil]x[/link]",
    "[",
    "\\[",
    "x\\",
    ":smile:",
    "m$x^$",
    r"\$a$",
    "_hidden",
    "\x1b[31mred\x1b]0;title\x07",
    "\x9b2J\x85",
    "a\u202eb\u2066c",
    "one\ntwo\r\nthree\rfour",
    "tab\there\0",
    "\ud800",
    "<script>alert(1)</script>",
    "\"'><img src=x>",
    "=HYPERLINK(1)",
    "%s {0} {x}",
    "x" * 5000,
]
TEXT = st.one_of(st.sampled_from(HOSTILE), st.text(), st.lists(st.sampled_from(HOSTILE), min_size=2).map("".join))
QUICK = settings(max_examples=25, deadline=None, database=None)


def recorded(**options: Any) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return terminal.terminal(file=out, width=400, force_terminal=True, color_system=None, **options), out


def harmless(text: str) -> bool:
    """Nothing but printable characters and ends of lines reached the terminal."""
    # What a file cannot hold it escapes itself.
    return all(line.isprintable() for line in text.split("\n"))


@given(TEXT)
@QUICK
def test_one_line_in_a_terminal(text: str) -> None:
    assert shown(text).isprintable()
    assert shown(shown(text)) == shown(text)
    assert len(shown(text, 10)) <= 10 * 10 + 1
    assert all(line.isprintable() for line in lines(text).split("\n"))
    # Rich cannot say a backslash before what looks like a tag.
    plain = terminal.styled(f"[bold]{markup(text)}[/] end").plain
    assert plain.replace("\\", "") == f"{shown(text)} end".replace("\\", "")


def test_what_can_be_read_stays_as_it_is() -> None:
    assert shown("RackA1_Möd [7] $5 \\ <b>") == "RackA1_Möd [7] $5 \\ <b>"


@given(TEXT)
@QUICK
@example("[/bold]")
def test_tables_titles_and_lines_of_a_console(text: str) -> None:
    console, out = recorded()
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    console.print(table)
    console.print(text)
    console.print(f"topic {text}", style="red")
    print_table(console, text, [{"key": text, "letters": 1}])
    assert harmless(out.getvalue())
    if text in ("[/bold]", "[red]x"):
        assert out.getvalue().count(text) >= 5


@given(TEXT)
@QUICK
def test_a_dead_letter(text: str) -> None:
    console, out = recorded()
    told = {
        "at": "0/1",
        "reason": text,
        "meaning": text,
        "redrive_helps": text,
        "message": text,
        "time": "",
        "source": {"topic": text, "partition": 0, "offset": 1},
        "attempts": 0,
        "redriven": False,
        "key": text,
        "headers": [{"name": text, "value": text}],
        "omitted": {"value": text},
        "now": text,
        "violations": [text],
        "fields": {text: text},
        "fault": text,
        "schema": text,
        "unread": [text],
    }
    print_letter(told, console)
    assert harmless(out.getvalue())


@given(TEXT)
@QUICK
def test_an_explained_prediction(text: str) -> None:
    console, out = recorded()
    made = {"module_id": text, "ts": 0, "probability": 0.5, "model_version": text}
    made |= {"source_partition": 0, "source_offset": 1}
    alarm = {"state": text, "priority": text, "alarm_id": text, "rule": text}
    found: Any = SimpleNamespace(
        prediction=made,
        alarms=[alarm],
        probability=0.5,
        same_bits=False,
        same_contributions=False,
        readings_in_window=1,
        window={"ts": [0, 1]},
        explanation=Explanation([Contribution(text, 1.0, text, 0.5)], 0.1),
        package=SimpleNamespace(name=text, version="1", task=Task.BINARY),
        rebuilt_from=0,
    )
    console.print(as_tables(found, PIPELINE))
    assert harmless(out.getvalue())


@given(TEXT)
@QUICK
def test_the_demo(text: str) -> None:
    console, out = recorded()
    watcher: Any = SimpleNamespace(
        counts={"predictions": 1, "dead_letters": 0},
        active={(text, text): text},
        alarm_lines=[text],
        rate=lambda: 1.0,
        latency_ms=lambda _: None,
    )
    console.print(picture(watcher, None, {}, text, 1.0))
    assert harmless(out.getvalue())


@pytest.mark.parametrize("text", HOSTILE)
def test_errors_and_findings_of_a_command(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error, code in ((UserError(text), 2), (DependencyDownError(text, text), 3)):

        def fail(error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(cli, "app", fail)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == code
    monkeypatch.setattr(doctor, "_findings", lambda _: iter([findings.Finding("broker", "wrong", text)]))
    doctor.examine(None, as_json=False)  # type: ignore[arg-type]
    terminal.say(text)
    printed = capsys.readouterr()
    assert harmless(printed.out)
    assert harmless(printed.err)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_log_line_stays_one_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info")
    structlog.get_logger("x").info(text, reason=text, name=text)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isascii()
    assert line.isprintable()


def drift_report(shown: str) -> dict[str, Any]:
    rows = [(shown, shown, shown)]
    check = {"kind": shown, "plot": shown, "rows": [[shown] * 6], "distributions": shown}
    site = {"name": shown, "model": shown, "baseline": shown, "until": shown, "checks": [check]}
    return {"title": shown, "active": rows, "sites": [site], "performance": rows}


def evaluation_report(shown: str) -> dict[str, Any]:
    tables = "normal", "by_mechanism", "events_by_sensors", "normal_by_sensors", "events_by_site", "normal_by_site"
    bars = [{"name": shown, "required": shown, "found": shown, "verdict": v} for v in ("met", "undecided", "missed")]
    plots = {name: {"text": shown, "data": shown} for name in ("causes", "modules", "bench", "shares")}
    return {"title": shown, "bars": bars, "plots": plots} | {name: [[shown] * 9] for name in tables}


REPORTS = {
    "training/monitoring/report.html.j2": drift_report,
    "pipelines/battery_hazard/training/study/evaluation_report.html.j2": evaluation_report,
}


def tags_of(page: str) -> list[str]:
    """The names of all tags and attributes."""
    tags: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.extend([tag, *(name for name, _ in attrs)])

    Tags().feed(page)
    return tags


@pytest.mark.parametrize("report", REPORTS)
@given(text=TEXT)
@QUICK
def test_html(report: str, text: str) -> None:
    values = REPORTS[report]
    assert tags_of(render(ROOT / report, **values(text))) == tags_of(render(ROOT / report, **values("plain")))


def test_all_html_reports_are_tried() -> None:
    found = {str(path.relative_to(ROOT)) for path in ROOT.glob("[a-z]*/**/*.html.j2") if "extends" in path.read_text()}
    assert found == set(REPORTS)


@pytest.mark.parametrize("text", [*HOSTILE, "$", "$$", "$\\frac{$", "a$b$c$d"])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_plots(text: str) -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1], label=in_plot(text))
    axes.set_title(in_plot(text))
    axes.set_ylabel(in_plot(text))
    axes.set_yticks([0], [in_plot(text)])
    assert len(axes.legend().get_texts()) == 1
    figure.savefig(io.BytesIO(), format="png")


@given(TEXT)
@QUICK
def test_metrics(text: str) -> None:
    registry = CollectorRegistry()
    Gauge("g", "A gauge.", ["name"], registry=registry).labels(in_label(text)).set(1)
    (family,) = text_string_to_metric_families(generate_latest(registry).decode())
    (sample,) = family.samples
    assert sample.labels["name"] == in_label(text)
    assert len(in_label(text)) <= 128 * 10 + 1


def calls(path: Path) -> Iterator[tuple[int, str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func), node


# Text by which something from outside could reach a medium around the functions that escape it.
RAW = re.compile(r"^(typer\.echo|click\.echo|typer\.secho|print|rich\.print|(rich\.console\.)?Console|html\.escape)$")
DRAWN = re.compile(r"\.(set_title|set_ylabel|set_xlabel|suptitle|text|annotate|set_yticks|set_xticks)$")
# One writes a page of our own figures, the other JSON for its parent.
EXEMPT = {"common/text.py", "common/terminal.py", "benchmarks/report.py", "benchmarks/dead_letters.py"}


def test_nothing_is_printed_around_the_functions_that_escape() -> None:
    found = []
    for folder in ("worker", "training", "local", "producers", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if name in EXEMPT:
                continue
            for line, function, call in calls(path):
                if RAW.match(function):
                    found.append(f"{name}:{line}: {function}; use common.terminal and common.text")
                drawn = [*call.args, *(k.value for k in call.keywords)] if DRAWN.search(function) else []
                drawn += [k.value for k in call.keywords if k.arg == "label"] if ".plot" in function else []
                names = [a for a in drawn if isinstance(a, ast.Subscript | ast.JoinedStr) and "names" in ast.unparse(a)]
                found += [f"{name}:{line}: {ast.unparse(a)} is drawn raw; use in_plot" for a in names]
    assert found == []
