"""A run without a report: whether it goes on, how far it is, and what one can do."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dni_async.launcher.commands.exits import exit_code_of
from dni_async.launcher.commands.report import command
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.unreported import said_of_unreported

LINES = [
    {"run": "dni", "epoch": 1, "seconds": 0.5, "train_loss": 0.75, "test_metrics": {}},
    {"run": "dni", "worker": {"stage": 0}},
    {
        "run": "dni",
        "epoch": 2,
        "seconds": 0.5,
        "train_loss": 0.5,
        "test_metrics": {"accuracy": 0.25},
    },
    {"run": "baseline-1-thread", "epoch": 3, "seconds": 0.5, "train_loss": 0.1, "test_metrics": {}},
]
TOLD = (
    "the last of 5 epochs that was told is epoch 2, which came to training loss 0.5 and test "
    "accuracy 0.25"
)


@pytest.fixture
def under_way(tmp_path: Path) -> Iterator[RunFolder]:
    """A run that a launcher is at work in."""
    folder = RunFolder(tmp_path / "run")
    folder.create("epochs = 5\n")
    for line in LINES:
        folder.add_metrics(line)
    yield folder
    folder.close()


def test_of_one_under_way_how_far_it_is(under_way: RunFolder) -> None:
    said = said_of_unreported(under_way.path)
    assert said.startswith(
        f"{under_way.path}: this run is under way: {TOLD}; report.json is written"
    )
    assert said_of_unreported(under_way.path) == said  # and the launcher still holds it
    with pytest.raises(Exception, match="another launcher is at work"):
        RunFolder(under_way.path).take()


def test_of_one_that_was_killed_how_it_goes_on(under_way: RunFolder) -> None:
    path = under_way.path
    under_way.close()
    said = said_of_unreported(path)
    assert f"was ended before it could write report.json: {TOLD}; it has no checkpoint" in said
    (path / "checkpoints" / "7").mkdir(parents=True)
    (path / "checkpoints" / "7" / "manifest.json").write_text("")
    assert f"; dni-launch --resume {path} goes on from its newest" in said_of_unreported(path)


NOTHING = {
    "no file": None,
    "nothing": "",
    "cut off": "{",
    "no tables": "[]\n7\nnull\n",
    "a text for an epoch": '{"epoch": "1", "seconds": 1}',
    "a flag for one": '{"epoch": true, "seconds": 1}',
    "too deep": "[" * 9999,
    "no epoch": '{"run": 7, "worker": {}}',
}


@pytest.mark.parametrize("metrics", NOTHING.values(), ids=NOTHING)
def test_where_nothing_is_told_it_says_so(tmp_path: Path, metrics: str | None) -> None:
    (tmp_path / "config.toml").write_text("")
    if metrics is not None:
        (tmp_path / "metrics.jsonl").write_text(metrics)
    assert "no epoch of" in said_of_unreported(tmp_path)


def test_nothing_in_it_is_waited_for_or_raises(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("epochs = 'x\x1b'")
    os.mkfifo(tmp_path / "metrics.jsonl")
    assert "no epoch of its epochs" in said_of_unreported(tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    odd = {
        "epoch": 2,
        "seconds": 1,
        "train_loss": "\x1b",
        "test_metrics": {"\x1b<b>": 1e999, "a": None},
    }
    (tmp_path / "metrics.jsonl").write_text(json.dumps(odd))
    assert "\x1b" not in said_of_unreported(tmp_path)


def test_the_command_says_it_for_the_folder_and_for_the_report(
    under_way: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (under_way.path, under_way.path / "report.json"):
        for more in ([], ["--json"], ["--html", "x.html"]):
            assert exit_code_of(command, [str(path), *more], "dni-report") == 2
            told = capsys.readouterr()
            assert told.out == ""
            assert told.err.startswith(
                f"Error: {under_way.path}: this run is under way: the last of 5"
            )
