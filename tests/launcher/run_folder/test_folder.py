"""The run directory: written whole or not at all, never over another run unasked."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from dni_async import ConfigError, DniError
from dni_async.launcher.run_folder.folder import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run's folder, made."""
    folder = RunFolder(tmp_path / "deep" / "run")
    folder.create("layers = 3\n")
    return folder


def names(path: Path) -> set[str]:
    """What lies in a folder."""
    return {child.name for child in path.iterdir()}


def test_a_new_folder_holds_the_configuration_and_room_for_the_rest(folder: RunFolder) -> None:
    assert (folder.path / "config.toml").read_text() == "layers = 3\n"
    assert names(folder.path) == {"config.toml", "metrics.jsonl", "logs", "weights"}
    assert folder.log(2) == folder.path / "logs" / "worker-2.log"
    folder.close()


def test_a_place_without_a_run_is_free(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "missing"):
        RunFolder(path).check_free(overwrite=False)


def test_a_run_is_replaced_only_when_asked(folder: RunFolder) -> None:
    folder.add_metrics({"epoch": 1})
    folder.close()
    (folder.path / "notes.txt").write_text("mine")
    (folder.path / "report.json").write_text("{}")
    again = RunFolder(folder.path)
    with pytest.raises(ConfigError, match=re.escape(f"run_dir: {folder.path} already holds a run")):
        again.check_free(overwrite=False)
    again.check_free(overwrite=True)
    again.create("layers = 4\n")
    assert names(folder.path) == {"config.toml", "metrics.jsonl", "logs", "weights", "notes.txt"}
    assert (folder.path / "metrics.jsonl").read_text() == ""
    assert (folder.path / "notes.txt").read_text() == "mine"
    again.close()


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_file_is_no_folder(tmp_path: Path, overwrite: bool) -> None:
    path = tmp_path / "run"
    path.write_text("")
    with pytest.raises(ConfigError, match=r"run_dir: .* is a file"):
        RunFolder(path).check_free(overwrite=overwrite)


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"run_dir: .*/file/run: Not a directory"):
        RunFolder(tmp_path / "file" / "run").create("")


def test_metrics_can_be_read_line_by_line_while_the_run_goes_on(folder: RunFolder) -> None:
    lines = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]
    for line in lines:
        folder.add_metrics(line)
    text = (folder.path / "metrics.jsonl").read_text()
    assert [json.loads(line) for line in text.splitlines()] == lines
    folder.close()


def test_the_report_is_written_here_and_where_asked(folder: RunFolder, tmp_path: Path) -> None:
    copy = tmp_path / "copy.json"
    copy.write_text("older")
    folder.write_report({"schema": 1}, copy)
    folder.write_report({"schema": 1})
    for path in (folder.path / "report.json", copy):
        assert json.loads(path.read_text()) == {"schema": 1}
    assert not list(tmp_path.rglob("*.part"))
    folder.close()


def test_weights_that_were_never_joined_are_dropped(folder: RunFolder) -> None:
    folder.stage_weights(0).write_bytes(b"half a model")
    folder.close()
    assert names(folder.path) == {"config.toml", "metrics.jsonl", "logs"}
    folder.close()  # once more does no harm


def test_the_default_is_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = []
    for _ in range(3):
        folder = RunFolder.default()
        folder.create("")
        folder.close()
        made.append(folder.path)
    assert len(set(made)) == 3
    assert all(re.fullmatch(r"runs/\d{8}-\d{6}(-\d+)?", str(path)) for path in made)


def test_one_launcher_at_a_time_works_in_a_folder(folder: RunFolder) -> None:
    for enter in (lambda: RunFolder(folder.path).create(""), lambda: reopen(folder.path)):
        with pytest.raises(ConfigError, match="run_dir: another launcher is at work in"):
            enter()
    folder.add_metrics({"epoch": 1})
    folder.close()
    reopen(folder.path).close()


def reopen(path: Path) -> RunFolder:
    """The run in path, gone on with."""
    folder = RunFolder(path)
    folder.take()
    folder.reopen("layers = 9\n", '{"epoch": 1}\n')
    return folder


def test_a_reopened_folder_goes_on_with_what_stays_and_drops_what_was_half_made(
    folder: RunFolder,
) -> None:
    folder.add_metrics({"epoch": 1})
    folder.add_metrics({"epoch": 2})
    (folder.checkpoints / "7.part").mkdir(parents=True)
    (folder.checkpoints / "6").mkdir()
    folder.log(0).write_text("said before")
    again = RunFolder(folder.path)
    folder.close()
    again.reopen("layers = 4\n", '{"epoch": 1}\n')
    again.add_metrics({"epoch": 2})
    again.close()
    assert (folder.path / "config.toml").read_text() == "layers = 4\n"
    lines = (folder.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    assert names(folder.checkpoints) == {"6"}
    assert folder.log(0).read_text() == "said before"


def test_a_report_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create("")
    with pytest.raises(DniError, match="report: /dev/full cannot be written: No space left"):
        folder.write_report({}, Path("/dev/full"))
    folder.close()


def test_the_line_by_which_others_join_is_for_this_user_alone(folder: RunFolder) -> None:
    path, elsewhere = folder.path / "invitation", folder.path / "elsewhere"
    path.symlink_to(elsewhere)  # whoever left it there
    with folder.inviting("how to join"):
        assert path.read_text() == "how to join\n"
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    assert not path.exists()
    assert not elsewhere.exists()
    folder.close()
