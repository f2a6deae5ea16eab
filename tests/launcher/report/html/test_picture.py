"""The picture of a run: one file that needs nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from dni_async.launcher.commands import report as report_cli
from dni_async.launcher.commands.exits import exit_code_of
from dni_async.launcher.run_folder.trace import Span, WorkerSpans, write_trace
from tests.launcher.reports import report, worker

MS = 1_000_000  # in nanoseconds
BATCHES = 40
SVG = "{http://www.w3.org/2000/svg}"


def spans(stage: int) -> WorkerSpans:
    """A stage that does a batch in 4 ms and starts 5 ms after the one below."""
    kept = []
    for batch in range(BATCHES):
        at = 5 * stage + 6 * batch
        kinds = (
            ("receive", "forward", "send", "optimize") if stage else ("forward", "send", "optimize")
        )
        for number, kind in enumerate(kinds):
            began = (at + number) * MS
            kept.append(Span(kind, batch, batch, began, began + MS))
        if stage == 1 and batch % 4 == 0:
            kept.append(Span("send gradient", batch, batch, (at + 4) * MS, (at + 5) * MS))
        if stage == 0 and batch % 4 == 2:
            returned = batch - 2
            kept.append(Span("receive gradient", returned, batch, (at + 3) * MS, (at + 4) * MS))
            kept.append(Span("learn", returned, batch, (at + 4) * MS, (at + 5) * MS))
    return WorkerSpans(stage, 100 + stage, "cpu", 0, kept)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run of two stages that has left its report and a trace."""
    told = report(worker(0, 0.01), worker(1, 0.01), rate=4000)
    (tmp_path / "report.json").write_text(json.dumps(told))
    write_trace(tmp_path / "trace.json", [spans(0), spans(1)])
    return tmp_path


def drawn(run_dir: Path, *arguments: str) -> ElementTree.Element:
    """The picture that the command draws."""
    file = run_dir / "picture.svg"
    command = [*arguments, "--picture", str(file)]
    done = CliRunner().invoke(report_cli.command, command)
    assert done.exit_code == 0, done.output
    assert f"picture: {file}" in done.output.replace("\n", "")
    return ElementTree.fromstring(file.read_text(encoding="utf-8"))


def count(root: ElementTree.Element, tag: str, sort: str) -> int:
    return sum(each.get("class") == sort for each in root.iter(SVG + tag))


def test_it_shows_lockstep_above_and_the_run_below(run_dir: Path) -> None:
    root = drawn(run_dir, str(run_dir))
    text = " ".join("".join(root.itertext()).split())
    assert text.count("stage 0") == text.count("stage 1") == 2
    assert "Lockstep, reckoned from the same stage times" in text
    assert "3 batches" in text
    # Lockstep: 3 + 4 ms, and of every fourth batch 2 + 1 more. The run: one in 6 ms.
    assert "While 3 batches would pass in lockstep, 3 did" in text
    assert "one every 6 ms, against 7.75 ms in lockstep" in text
    assert count(root, "path", "arrow activation") == 2  # one of them in the key
    assert count(root, "path", "arrow gradient") == 2
    assert count(root, "rect", "forward") > 2 * 3
    assert count(root, "rect", "teach") >= 2


def test_it_needs_nothing_else_and_follows_light_and_dark(run_dir: Path) -> None:
    root = drawn(run_dir, str(run_dir / "report.json"))
    tags = {each.tag.removeprefix(SVG) for each in root.iter()}
    assert tags == {"svg", "title", "desc", "style", "rect", "path", "text"}
    style = root.findtext(SVG + "style") or ""
    assert "prefers-color-scheme: dark" in style
    assert "url(" not in style
    width, height = map(float, (root.get("viewBox") or "").split()[2:])
    for each in root.iter(SVG + "rect"):
        assert float(each.get("x", 0)) + float(each.get("width", 0)) <= width
        assert float(each.get("y", 0)) + float(each.get("height", 0)) <= height


def test_the_page_of_a_run_with_a_trace_shows_the_same(run_dir: Path) -> None:
    picture = drawn(run_dir, str(run_dir))
    file = run_dir / "page.html"
    done = CliRunner().invoke(report_cli.command, [str(run_dir), "--html", str(file)])
    assert done.exit_code == 0, done.output
    page = ElementTree.fromstring(file.read_text(encoding="utf-8"))
    (timeline,) = [each for each in page.iter("svg") if each.get("class") == "timeline"]
    shown = [each.text for each in picture.iter(SVG + "text")]
    assert [each.text for each in timeline.iter("text")] == shown
    assert "While 3 batches would pass in lockstep" in "".join(page.itertext())


@pytest.mark.parametrize(
    ("kept", "said"),
    [(0, "has no trace.json; dni-launch --profile records one"), (3, "train longer, or test less")],
    ids=["no trace", "a short one"],
)
def test_a_run_that_cannot_be_drawn_is_an_error_of_usage(
    kept: int, said: str, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if kept:
        short: Any = [WorkerSpans(s, 1, "cpu", 0, spans(s).spans[: 3 * kept]) for s in (0, 1)]
        write_trace(run_dir / "trace.json", short)
    else:
        (run_dir / "trace.json").unlink()
    command = [str(run_dir), "--picture", str(run_dir / "picture.svg")]
    assert exit_code_of(report_cli.command, command, "dni-report") == 2
    assert said in capsys.readouterr().err
    assert not (run_dir / "picture.svg").exists()
