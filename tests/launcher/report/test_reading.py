"""A report is shown, whoever wrote it, or one sentence says what is wrong with it."""

from __future__ import annotations

import copy
import io
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from rich.console import Console

from dni_async import ConfigError
from dni_async.launcher.commands.exits import exit_code_of
from dni_async.launcher.commands.report import command
from dni_async.launcher.report import reading
from dni_async.launcher.report.html.page import build_page
from dni_async.launcher.report.reading import read_report
from dni_async.launcher.report.shape import fault_in
from dni_async.launcher.report.terminal.tables import print_diagnosis, print_report
from tests.launcher.reports import boundary, link, report, worker

ESCAPE = "\x1b]0;owned\x07<script>[/red]"
JUNK = (
    None, False, "", ESCAPE, -1, 0, 1, 1e308, 5e-324, math.nan, -math.inf, 2**70, 10**400, [],
    ["x"], {}, {"x": 1},
)  # fmt: skip


def full_report() -> dict[str, Any]:
    """A report with all that is shown of one."""
    workers = worker(0, 0.01, waiting=0.5, waiting_for_credits=0.4), worker(1, 0.02)
    told = report(*workers, rate=40, baseline=9000, target=0.9)
    told["runs"][0]["boundaries"] = [boundary(0, 0.12, 0.345)]
    told["runs"][0]["links"] = [link(0)]
    told["runs"][0]["restarts"] = [{"stage": 1, "at_seconds": 2.0, "seconds": None}]
    best = {"epoch": 2, "metric": "accuracy", "value": 0.75, "folder": "checkpoints/40"}
    told["runs"][0]["best_checkpoint"] = best
    told["environment"]["load"] = 9.0
    return told


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a report; of things that are all alike, to the first."""
    if at:
        yield at
    below = dict(enumerate(value[:1])) if isinstance(value, list) else value
    for key, each in below.items() if isinstance(below, dict) else ():
        yield from places(each, (*at, key))


def changed(at: tuple[Any, ...], change: Callable[[Any, Any], None]) -> dict[str, Any]:
    """A full report with a change at one place."""
    told = copy.deepcopy(full_report())
    holder: Any = told
    for key in at[:-1]:
        holder = holder[key]
    change(holder, at[-1])
    return told


def shown(told: dict[str, Any]) -> str:
    """All that a terminal gets of it; raises where the page is not well-formed."""
    file = io.StringIO()
    console = Console(file=file, width=200, force_terminal=False)
    print_report(told, console)
    print_diagnosis(told, console)
    page = build_page(told)
    ElementTree.fromstring(page)
    assert "<script" not in page
    return file.getvalue()


def shows(told: dict[str, Any], at: tuple[Any, ...]) -> str:
    """As shown, with the place in what is raised."""
    try:
        return shown(told)
    except Exception as error:
        raise AssertionError(f"{at}: {error!r}") from error


def test_a_full_report_is_whole() -> None:
    assert fault_in(full_report()) == ""
    assert "Stage 1 is the bottleneck" in shown(full_report())


@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_whatever_stands_in_it_is_refused_or_shown(junk: Any) -> None:
    num_shown = 0
    for at in places(full_report()):
        told = changed(at, lambda holder, key: holder.__setitem__(key, junk))
        if fault := fault_in(told):
            assert len(fault) < 200
            assert "\x1b" not in fault
            continue
        num_shown += 1
        assert "\x1b" not in shows(told, at), at
    assert num_shown  # some places take anything


def test_whatever_is_missing_is_named_or_not_needed() -> None:
    for at in places(full_report()):
        if isinstance(at[-1], int):
            continue
        told = changed(at, lambda holder, key: holder.pop(key))
        fault = fault_in(told)
        if fault:
            assert fault.endswith(f"lacks {at[-1]}")
        else:
            shows(told, at)


SENTENCES = {
    "nothing": ("", "is not JSON"),
    "no report": ("[]", "is no report of schema 1"),
    "of another schema": ('{"schema": 2}', "is no report of schema 1"),
    "of a newer one": ('{"schema": 2}', "but of 2: a newer dni-async wrote it"),
    "cut off": ('{"schema": 1, "status": "fini', "is not JSON"),
    "a status alone": (
        '{"schema": 1, "status": "finished"}',
        "no whole report: it lacks config",
    ),
    "deep": ("[" * 100_000, "is not JSON"),
}


@pytest.mark.parametrize(("text", "sentence"), SENTENCES.values(), ids=SENTENCES)
def test_what_is_no_report_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, sentence: str
) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        read_report(tmp_path)
    assert exit_code_of(command, [str(tmp_path)], "dni-report") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_what_is_no_file_or_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "report.json")  # whose other end nobody opens
    with pytest.raises(ConfigError, match=r"report\.json: is a pipe, and no report"):
        read_report(tmp_path)
    monkeypatch.setattr(reading, "MAX_BYTES", 1000)
    (tmp_path / "large.json").write_text(" " * 1001)
    with pytest.raises(ConfigError, match=r"has 1,001 bytes, and at most 1,000 are read"):
        read_report(tmp_path / "large.json")


def test_a_run_under_way_says_when_there_will_be_a_report(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    for path in (tmp_path, tmp_path / "report.json"):
        with pytest.raises(ConfigError, match=r"this run has no report yet; report\.json is writ"):
            read_report(path)


def test_a_place_without_a_run_is_said_to_lack_its_report(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"report\.json: cannot be read: No such file"):
        read_report(tmp_path)


def test_the_command_shows_a_foreign_report_and_nothing_commands_the_terminal(
    tmp_path: Path,
) -> None:
    told = full_report()
    told["data"]["name"] = told["status"] = told["runs"][0]["name"] = ESCAPE
    (tmp_path / "report.json").write_text(json.dumps(told))
    page = tmp_path / "page.html"
    done = CliRunner().invoke(command, [str(tmp_path), "--html", str(page)], catch_exceptions=False)
    assert done.exit_code == 0
    assert "\\x1b]0;owned\\x07<script>[/red]" in done.output
    assert "\x1b" not in done.output + page.read_text()
