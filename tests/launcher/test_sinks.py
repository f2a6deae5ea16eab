"""Whatever stands in a file or a message, whoever wrote it, no sink gets any of it raw.

Every place of every file and message, text or number, holds what would command a terminal, break a
page, turn the direction of reading or fail to be written.
"""

from __future__ import annotations

import copy
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints
from xml.etree import ElementTree

import msgpack
import pytest
from click.testing import CliRunner
from rich.panel import Panel
from rich.style import Style
from rich.table import Table
from rich.text import Text

from dni_async import ConfigError, WireError
from dni_async.config.metric_names import check_metrics
from dni_async.launcher.commands.exits import exit_code_of
from dni_async.launcher.commands.report import command
from dni_async.launcher.dashboard.sources import Sources, written
from dni_async.launcher.monitoring.display import Display
from dni_async.launcher.report.html.page import build_page
from dni_async.launcher.report.html.picture import draw_picture, excerpt_of
from dni_async.launcher.report.html.result import draw_result
from dni_async.launcher.report.reading import read_report
from dni_async.launcher.report.shelf.comparing import compare
from dni_async.launcher.report.shelf.listing import list_runs
from dni_async.launcher.report.shelf.printing import print_comparison, print_listing
from dni_async.launcher.report.shelf.shelf import Shelf
from dni_async.launcher.report.terminal.console import open_console
from dni_async.launcher.report.terminal.tables import print_diagnosis, print_report
from dni_async.wire.codec import decode, encode
from dni_async.wire.foreign_text import MAX_LINE, MAX_TEXT
from dni_async.wire.messages import PROTOCOL, Failed
from dni_async.wire.text import Exact, is_label, plain_of
from tests.launcher.report.html.test_picture import run_dir as profiled
from tests.launcher.report.test_reading import full_report
from tests.wire.test_codec import MESSAGE_TYPES, SAMPLES, payload_of

EVIL = (
    "\x1b]8;;http://x\x07\x9b2J[link=http://y]z[/link][red]<script>alert(1)</script>"
    "<img src=x onerror=y>\"'&\u202egnp.exe\u2066\ud800\x00\x7f\r\x08\ufeff\u200f\U000e0041:smile:"
)
RAW = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff"
    "\U000e0000-\U000e007f]"
)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # of rich itself


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value and every name that is no table or list; of things alike the first."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from places(each, (*at, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*at, 0))
    else:
        yield at


def poisoned(value: Any, at: tuple[Any, ...]) -> Any:
    """A copy with EVIL at one place."""
    told = copy.deepcopy(value)
    holder = told
    for key in at[:-1]:
        holder = holder[key]
    holder[at[-1]] = EVIL
    return told


def check_text(text: str) -> None:
    """Of a terminal or a log."""
    found = RAW.search(COLOURS.sub("", text))
    assert found is None, repr(text[max(0, found.start() - 60) : found.start() + 60])
    text.encode()


def check_page(text: str) -> None:
    """Of a page, or of a piece of one: its elements are ours, and all else is text."""
    check_text(text)
    body = text.removeprefix("<!DOCTYPE html>\n")
    for element in ElementTree.fromstring(body).iter():
        assert element.tag.rpartition("}")[2] not in ("script", "img", "iframe", "object")
        assert not [name for name in element.attrib if name.startswith("on")]


def check_json(text: str) -> None:
    """Of the dashboard, or of --json: what a program makes of it is text that can be shown."""
    text.encode()
    assert not RAW.search(text)
    for said in strings(json.loads(text)):
        check_text(said)


def strings(value: Any) -> Iterator[str]:
    """All of them, names too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from strings(key)
            yield from strings(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from strings(each)
    elif is_dataclass(value):
        yield from strings([getattr(value, each.name) for each in fields(value)])


def terminal() -> tuple[io.StringIO, Any]:
    """One of colours, and what it was sent."""
    file = io.StringIO()
    return file, open_console(file=file, force_terminal=True, width=100, color_system="standard")


def show_everywhere(folder: Path) -> None:
    """A run directory in every sink there is, each checked."""
    report = read_report(folder)
    file, console = terminal()
    print_report(report, console)
    print_diagnosis(report, console)
    print_comparison(compare([("a", report), ("b", report)]), console)
    check_text(file.getvalue())
    excerpt = excerpt_of(folder, report)
    check_page(build_page(report, excerpt))
    check_page(draw_result(report, [EVIL]))
    check_json(json.dumps(report))
    if excerpt is not None:
        check_page(draw_picture(folder, report))
    show_pages(folder)


def show_pages(folder: Path) -> None:
    """What a dashboard answers of a run."""
    sources, name = Sources(None, Shelf(folder.parent)), folder.name
    for answer in (
        sources.now(name),
        sources.learning(name),
        sources.health(name),
        sources.runs(),
        sources.compare([name, name]),
    ):
        check_json(answer if isinstance(answer, str) else written(answer))


def show_timeline(folder: Path) -> None:
    """What a dashboard answers of its trace."""
    sources, name = Sources(None, Shelf(folder.parent)), folder.name
    check_json(written(sources.timeline(name, None, None, is_lockstep=False)))
    check_json(written(sources.timeline(name, 0.0, 1.0, is_lockstep=True)))


def list_everywhere(folder: Path) -> None:
    """A folder of runs as a list, on a terminal and as JSON."""
    file, console = terminal()
    print_listing(list_runs(folder), console)
    check_text(file.getvalue())
    answer = CliRunner().invoke(command, [str(folder), "--json"], standalone_mode=False)
    check_text(answer.output)  # a program that reads it gets the folders' names as they are


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run directory with all that one may hold."""
    made: Callable[[Path], Path] = getattr(profiled, "__wrapped__", profiled)
    folder = made(tmp_path)
    (folder / "report.json").write_text(json.dumps(full_report()))
    return folder


def test_all_is_shown_of_a_report_that_is_as_it_should_be(folder: Path) -> None:
    show_everywhere(folder)
    list_everywhere(folder.parent)


def test_every_place_of_a_report_is_refused_or_shown_as_text(folder: Path) -> None:
    whole = full_report()
    num_shown = 0
    for at in places(whole):
        (folder / "report.json").write_text(json.dumps(poisoned(whole, at)))
        try:
            show_everywhere(folder)
            num_shown += 1
        except ConfigError as error:
            check_text(str(error))
        except Exception as error:
            raise AssertionError(at) from error
    assert num_shown > 10
    list_everywhere(folder.parent)


def test_names_in_a_report_are_text_too(folder: Path) -> None:
    whole = full_report()
    for run in whole["runs"]:
        run["metric"] = EVIL
        for row in (run, *run["epochs"]):
            row["test_metrics"] = {EVIL: 0.5}
    whole["config"][EVIL] = whole["environment"][EVIL] = [EVIL, {EVIL: EVIL}]
    whole["config"]["long"] = "\x1b" * 3 * MAX_TEXT
    (folder / "report.json").write_text(json.dumps(whole))
    show_everywhere(folder)
    assert len(read_report(folder)["config"]["long"]) <= 4 * MAX_TEXT


def test_every_place_of_a_trace_is_text_or_no_trace(folder: Path) -> None:
    lines = (folder / "trace.json").read_text().splitlines()
    report, kinds = read_report(folder), dict[str, int]()
    for number, line in enumerate(lines):
        if line.startswith('{"ph"'):
            kinds.setdefault(json.loads(line.rstrip(","))["ph"], number)
    assert set(kinds) >= {"M", "X", "s", "f"}
    for number in kinds.values():
        event = json.loads(lines[number].rstrip(","))
        for at in places(event):
            for value in (EVIL, -1e999, None):
                told = poisoned(event, at)
                put(told, at, value)
                changed = [*lines[:number], json.dumps(told) + ",", *lines[number + 1 :]]
                (folder / "trace.json").write_text("\n".join(changed))
                excerpt = excerpt_of(folder, report)
                if excerpt is not None:
                    check_page(draw_picture(folder, report))
                show_timeline(folder)


def put(holder: Any, at: tuple[Any, ...], value: Any) -> None:
    """A value at a place."""
    for key in at[:-1]:
        holder = holder[key]
    holder[at[-1]] = value


def test_every_place_of_the_metrics_is_text_or_passed_over(folder: Path) -> None:
    worker = {"run": "dni", "worker": {"stage": 0, "rss_bytes": 1, "busy_s": 1.0, "waiting_s": 1.0}}
    worker["worker"] |= {"sending_s": 0.0, "staleness_median": 1, "occupancy": 0.5}  # type: ignore[operator]
    epoch = {"run": "dni", "epoch": 1, "seconds": 0.5}
    for line in (worker, epoch):
        for at in places(line):
            told = [line, poisoned(line, at), line]
            (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, told)))
            show_pages(folder)


def test_a_run_without_a_report_and_its_settings_are_text(tmp_path: Path) -> None:
    run = tmp_path / "evil\x1b]0;x\x07\u202e"
    run.mkdir()
    (run / "config.toml").write_text(f"data = {json.dumps('a' + EVIL[:-40])}\nrule = 'x\u202ey'\n")
    list_everywhere(tmp_path)
    (run / "config.toml").write_text(f"{EVIL.encode(errors='replace').decode()} = 1")
    list_everywhere(tmp_path)


@pytest.mark.parametrize("content", [EVIL, "{" * 9999, "[1]", '{"schema": "\u202e\x1b"}', "\ud800"])
def test_what_is_wrong_with_a_file_is_said_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (tmp_path / "report.json").write_bytes(content.encode(errors="surrogatepass"))
    assert exit_code_of(command, [str(tmp_path)], "dni-report") == 2
    check_text(capsys.readouterr().err)


def as_sent(value: Any) -> Any:
    """A message, or a value within one, as msgpack has it."""
    if is_dataclass(value):
        return [as_sent(getattr(value, each.name)) for each in fields(value)]
    return [as_sent(each) for each in value] if isinstance(value, tuple) else value


def wire_places(value: Any, at: tuple[int, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in a message's header."""
    below = enumerate(value) if isinstance(value, list) else value.items()
    for key, each in below:
        if isinstance(each, list | dict) and each:
            yield from wire_places(each, (*at, key))
        else:
            yield (*at, key)


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_every_place_of_every_message_is_refused_or_arrives_as_text(message: Any) -> None:
    hints = get_type_hints(type(message), include_extras=True)
    names = [each.name for each in fields(message)]
    header = [PROTOCOL, MESSAGE_TYPES.index(type(message)), *as_sent(message)]
    for at in wire_places(header):
        if at[0] < 2:
            continue
        told = copy.deepcopy(header)
        put(told, at, EVIL.replace("\ud800", ""))  # msgpack itself refuses half a character
        frame = msgpack.packb(told)
        name = names[at[0] - 2]
        try:
            arrived, _ = decode([frame, *payload_of(message)])
        except WireError as error:
            check_text(str(error))
            continue
        if plain_of(hints[name]) != Exact and name != "config":
            for said in strings(getattr(arrived, name)):
                check_text(said)


def test_exact_text_is_for_machines_alone() -> None:
    exact = {
        f"{kind.__name__}.{each.name}"
        for kind in MESSAGE_TYPES
        for each in fields(kind)
        if get_type_hints(kind, include_extras=True)[each.name] == Exact
    }
    paths = ("weights_path", "profile_folder", "events_folder", "checkpoint_folder", "shard")
    of_welcome = {f"Welcome.{each}" for each in paths}
    assert exact == of_welcome | {"Activation.structure", "Regroup.checkpoint"}


def test_a_name_has_one_line_and_an_end() -> None:
    sent = Failed("run", 1, "cpu\nError: all is lost\t" + "x" * 9999, "a\nb", "c\n\td")
    arrived, _ = decode(encode(sent))
    assert isinstance(arrived, Failed)
    assert arrived.device.startswith("cpu\\nError: all is lost\\tx")
    assert len(arrived.device) <= MAX_LINE + 2
    assert (arrived.summary, arrived.traceback) == ("a\nb", "c\n\td")


def test_a_metric_of_a_peer_is_called_what_one_may_be_called() -> None:
    for name in ("accuracy", "a.b_c-d@e+f", "x" * 64, "x" * 65, "", "a b", "a/b", EVIL, "a\n"):
        try:
            check_metrics([f"{name}=module:function"])
            is_allowed = True
        except ConfigError:
            is_allowed = False
        assert is_label(name) == is_allowed, name


def test_a_terminal_is_commanded_by_nothing_that_it_is_handed() -> None:
    file, console = terminal()
    table = Table(EVIL, title=EVIL, caption=EVIL)
    table.add_row(EVIL)
    table.add_row(Text(EVIL))
    for what in (EVIL, Text(EVIL), table, Panel(EVIL, title=EVIL), [EVIL], {EVIL: EVIL}):
        console.print(what)
    console.print(Text("z", Style(link="http://y")))
    console.rule(EVIL.replace("\n", ""))
    Display(console).note(EVIL)
    said = file.getvalue()
    check_text(said)
    assert "[red]" in said  # text, and no colour
    assert ":smile:" in said
    assert "\x1b]8" not in said
    assert "\x1b[" in said  # rich's own colours are there


def test_the_pages_scripts_put_text_as_text() -> None:
    static = Path(__file__).parents[2] / "launcher" / "dashboard" / "static"
    ours = [path for path in static.glob("*.js") if not path.name.startswith("uPlot")]
    assert len(ours) > 5
    ways = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(")
    ways += ("new Function", "srcdoc", "javascript:", "createContextualFragment")
    for path in ours:
        text = path.read_text()
        assert not [way for way in ways if way in text], path.name
