"""dni-report: one run, several, a folder of them; what is broken is named."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len

from dni_async.launcher.commands.exits import exit_code_of
from dni_async.launcher.commands.report import command
from dni_async.launcher.report.comparison import comparison_of
from tests.launcher.report.shelf.test_shelf import put
from tests.launcher.report.test_reading import ESCAPE, full_report


def asked(*arguments: object, width: int | None = None) -> Result:
    """What it printed and returned."""
    environment = {"COLUMNS": None if width is None else str(width)}
    return CliRunner().invoke(
        command, list(map(str, arguments)), env=environment, standalone_mode=False
    )


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs, one without a report, and what is none."""
    put(tmp_path, "new", rate=200.0)
    put(tmp_path, "old", age_s=3600)
    (tmp_path / "begun" / "checkpoints" / "12").mkdir(parents=True)
    (tmp_path / "begun" / "checkpoints" / "12" / "manifest.json").write_text("")
    (tmp_path / "begun" / "config.toml").write_text('data = "own.npz"\n')
    (tmp_path / "foreign").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "report.json").write_text("{")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "note.txt").write_text("")
    return tmp_path


def test_a_folder_of_runs_is_a_list_the_newest_first(runs: Path) -> None:
    lines = asked(runs).output.splitlines()
    at = [
        next(k for k, line in enumerate(lines) if f" {n} " in line) for n in ("begun", "new", "old")
    ]
    assert at == sorted(at)
    begun, new, _ = (lines[k].split() for k in at)
    assert begun[3:5] == ["no", "report"]
    assert begun[-1] == "yes"
    assert new[3:6] == ["finished", "digits", "dni"]
    assert "200" in new
    assert new[-1] == "no"
    passed_over = [line for line in lines if line.startswith("passed over: ")]
    assert [Path(line.split(": ")[1]).relative_to(runs).parts[0] for line in passed_over] == [
        "broken", "foreign",
    ]  # fmt: skip
    told = json.loads(asked(runs, "--json").output)
    assert [row["name"] for row in told["runs"]] == ["begun", "new", "old"]
    assert len(told["passed_over"]) == 2


@pytest.mark.parametrize("width", [60, 80, 120])
def test_tables_are_no_wider_than_they_may_be(runs: Path, width: int) -> None:
    for paths in ([runs], [runs / "new", runs / "old"] * 3):
        lines = asked(*paths, width=width).output.splitlines()
        tables = [line for line in lines if line.startswith(" ")]
        assert tables
        assert max(map(cell_len, tables)) <= width
        assert not any("\N{HORIZONTAL ELLIPSIS}" in line for line in tables)


def test_several_are_compared_and_what_is_broken_is_passed_over(runs: Path) -> None:
    output = asked(*sorted(runs.glob("[!.]*"))).output
    assert ["run", "new", "old"] in [line.split() for line in output.splitlines()]
    assert ["samples/s", "200", "100"] in [line.split() for line in output.splitlines()]
    assert output.count("passed over: ") == 4
    told = json.loads(asked(runs / "new", runs / "old", "--json").output)
    assert [row["name"] for row in told["runs"]] == ["new", "old"]
    assert told["passed_over"] == []


def test_a_folder_that_cannot_be_looked_into_is_passed_over(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_file = Path.is_file

    def guarded(path: Path) -> bool:
        if path.parent.name == "foreign":
            raise PermissionError(errno.EACCES, "Permission denied")
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", guarded)
    said = f"passed over: {runs / 'foreign'}: cannot be read: Permission denied"
    assert said in asked(runs).output.splitlines()
    assert said in asked(runs / "new", runs / "old", runs / "foreign").output.splitlines()


def test_one_run_as_json_is_its_report(runs: Path) -> None:
    told = json.loads(asked(runs / "new", "--json").output)
    kept = json.loads((runs / "new" / "report.json").read_text())
    assert told == {**kept, "comparison": comparison_of(kept), "speedup": told["speedup"]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["foreign"], "foreign: holds no run\n"),
        (["broken"], "report.json: is not JSON"),
        (["begun"], "begun: this run has no report, so its launcher, or its machine, was ended"),
        (["new", "broken"], "there are fewer than two runs to compare\n"),
        (["new", "old", "--html", "x.html"], "Error: html: is for one run; name a single"),
        (["new", "old", "--replay"], "Error: replay: is for one run"),
        ([".", "--html", "x.html"], "Error: html: is for one run"),
        (["absent"], "absent: cannot be read"),
        (["new", "--replay", "--html", "x.html"], "Error: html: is not written with --replay"),
        (["new", "--serve", "--picture", "x.svg"], "Error: picture: is not written with --serve"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(runs)
    assert exit_code_of(command, arguments, "dni-report") == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_text_of_others_commands_no_terminal(tmp_path: Path) -> None:
    for name in ("a", "b"):
        told = full_report() | {"status": ESCAPE}
        told["config"]["rule"] = told["data"]["name"] = told["runs"][0]["metric"] = ESCAPE + name
        place = tmp_path / f"{name}\x1b]0;owned\x07"
        place.mkdir()
        (place / "report.json").write_text(json.dumps(told))
    for paths in ([tmp_path], list(tmp_path.iterdir())):
        output = asked(*paths).output
        assert "\x1b" not in output
        assert "\x07" not in output
        assert "owned" in output
