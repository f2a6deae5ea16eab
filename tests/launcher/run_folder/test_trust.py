"""A run directory of somebody else's: what it holds is not followed, waited for or run unasked."""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from torch import nn

import dni_async
from dni_async import ConfigError, RunConfig
from dni_async.files import names
from dni_async.files.checkpoint import drop_partial, find_newest, prune
from dni_async.files.writing import write_whole
from dni_async.launcher.cli import command
from dni_async.launcher.commands.replay_events import replay_run
from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.trust import check_contents, check_places
from tests.launcher.reports import report, worker

is_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to give files away")


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """What a run has left."""
    path = tmp_path / "run"
    folder = RunFolder(path)
    folder.create(RunConfig().to_toml())
    folder.log(0).write_text("said")
    folder.make_profile()
    folder.make_events()
    (folder.checkpoints / "7").mkdir(parents=True)
    (folder.checkpoints / "7" / "manifest.json").write_text("{}")
    folder.write_report({})
    folder.close()
    folder.weights.mkdir()
    return path


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of the user's that no run has anything to do with."""
    path = tmp_path / "elsewhere"
    (path / "9").mkdir(parents=True)
    (path / "9" / "manifest.json").write_text("mine")
    (path / "8.part").mkdir()
    (path / "8.part" / "file").write_text("mine")
    (path / "file").write_text("mine")
    return path


def untouched(elsewhere: Path) -> bool:
    files = [each for each in elsewhere.rglob("*") if each.is_file()]
    return len(files) == 3 and all(each.read_text() == "mine" for each in files)


def test_a_run_of_ones_own_is_gone_on_with(run_dir: Path) -> None:
    wandb = run_dir / names.WANDB
    wandb.mkdir()
    (wandb / "latest-run").symlink_to("run-1")  # as Weights & Biases makes them
    (run_dir / "notes.md").symlink_to("elsewhere")  # the user's own
    check_contents(run_dir)
    link = run_dir.parent / "latest"
    link.symlink_to(run_dir)
    check_contents(link)


FOLDERS = ["checkpoints", "weights", "events", "logs", "profile", "tensorboard", "wandb"]


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("is_resumed", [False, True])
def test_a_folder_that_is_a_link_is_one_sentence_and_where_it_leads_stays_as_it_is(
    run_dir: Path, elsewhere: Path, name: str, is_resumed: bool
) -> None:
    path = run_dir / name
    if path.exists():
        path.rename(run_dir / "away")
    path.symlink_to(elsewhere)
    arguments = ["--resume", str(run_dir)]
    if not is_resumed:
        arguments = ["--run-dir", str(run_dir), "--overwrite", "--no-baseline", "--epochs=1"]
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == (
        f"run_dir: {path} is a symbolic link, and a run would write and remove files where it "
        "leads; remove the link, or keep the whole run there and link that"
    )
    assert untouched(elsewhere)


@pytest.mark.parametrize("name", FOLDERS)
def test_what_is_no_folder_is_one_sentence(run_dir: Path, name: str) -> None:
    path = run_dir / name
    if path.exists():
        path.rename(run_dir / "away")
    path.write_text("in the way")
    said = re.escape(f"run_dir: {path} is no folder, which a run needs; move it away")
    with pytest.raises(ConfigError, match=said):
        check_contents(run_dir)
    with pytest.raises(ConfigError, match=said):
        RunFolder(run_dir).check_free(overwrite=True)


def test_a_new_run_says_so_too(tmp_path: Path) -> None:
    (tmp_path / "weights").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="holds no run, but 'weights', which a run would replace"):
        RunFolder(tmp_path).check_free(overwrite=False)


@pytest.mark.parametrize("name", ["config.toml", "report.json", "metrics.jsonl", "best.json"])
def test_a_file_that_is_a_pipe_is_not_waited_for(run_dir: Path, name: str) -> None:
    path = run_dir / ("checkpoints" if name == "best.json" else "") / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    with pytest.raises(ConfigError, match=r"is no file, which a run writes|is a pipe or a device"):
        check_contents(run_dir)
    if name != "best.json":
        with pytest.raises(ConfigError, match="is no file, which a run writes; move it away"):
            check_places(run_dir)


@pytest.mark.parametrize(
    "place",
    [
        "logs/worker-0.log",
        "checkpoints/9",
        "checkpoints/7/stage-0.safetensors",
        "report.json.part",
        "events/run.jsonl",
        "profile/stage-0.json",
        "weights/start-0.safetensors",
    ],
)
def test_a_link_at_any_depth_is_one_sentence(run_dir: Path, elsewhere: Path, place: str) -> None:
    path = run_dir / place
    path.unlink(missing_ok=True)
    path.symlink_to(elsewhere / "file")
    said = re.escape(f"run_dir: {path} is a symbolic link, which no run leaves there; remove it")
    with pytest.raises(ConfigError, match=said):
        check_contents(run_dir)
    assert untouched(elsewhere)


@is_root
@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("", "a run that goes on runs the code that its settings name"),
        ("config.toml", "it may have been put there"),
        ("checkpoints/7/manifest.json", "it may have been put there"),
        ("logs", "it may have been put there"),
    ],
)
def test_what_is_another_users_is_not_gone_on_with(run_dir: Path, place: str, why: str) -> None:
    path = run_dir / place if place else run_dir
    os.chown(path, 12345, 12345)
    said = re.escape(f"run_dir: {path} belongs to user 12345, and {why}; if you trust them, make")
    with pytest.raises(ConfigError, match=said):
        check_contents(run_dir)
    result = CliRunner().invoke(command, ["--resume", str(run_dir)])
    assert re.match(said, str(result.exception))


@is_root
def test_who_this_user_is_on_a_file_server_is_this_user() -> None:
    """Where it takes root for somebody else, what root writes is that one's."""
    with tempfile.TemporaryDirectory() as name:
        run_dir, libc = Path(name), ctypes.CDLL(None)
        (run_dir / "config.toml").touch()
        for path in (run_dir, run_dir / "config.toml"):
            os.chown(path, 65534, 65534)
        with pytest.raises(ConfigError, match="belongs to user 65534"):
            check_contents(run_dir)
        libc.setfsuid(65534)
        try:
            check_contents(run_dir)
        finally:
            libc.setfsuid(0)


def test_checkpoints_that_lead_elsewhere_are_none(run_dir: Path, elsewhere: Path) -> None:
    """Whoever may have called what removes them."""
    root = run_dir / "checkpoints"
    (root / "9").symlink_to(elsewhere)
    (root / "8.part").symlink_to(elsewhere)
    prune(root, 1)
    drop_partial(root)
    linked = run_dir / "linked"
    linked.symlink_to(elsewhere)
    drop_partial(linked)
    assert untouched(elsewhere)


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": "1"},
        {"index": None},
        {"batch_id": 5.0},
        {"run": []},
        {"shards": [{"first_layer": 0, "end_layer": 1, "size_bytes": -1, "sha256": "0" * 64}]},
        {"shards": [{"first_layer": 0, "end_layer": 1, "size_bytes": 1, "sha256": "../x"}]},
        {"shards": 3},
        {"shards": [{"first_layer": 0, "end_layer": 1, "size_bytes": 1, "sha256": 3}]},
    ],
)
def test_a_manifest_of_other_values_is_none(tmp_path: Path, changes: dict[str, object]) -> None:
    folder = tmp_path / "5"
    folder.mkdir()
    told = {"format": 1, "batch_id": 5, "epoch": 1, "index": 0, "run": {}, "shards": []}
    (folder / "manifest.json").write_text(json.dumps(told | changes))
    refused: list[str] = []
    assert find_newest(tmp_path, {}, refused.append) is None
    assert len(refused) == 1
    assert "manifest.json: is no manifest" in refused[0]


def test_a_shard_of_another_size_is_not_read(tmp_path: Path) -> None:
    """A file may seem to have more bytes than any disk."""
    folder = tmp_path / "5"
    folder.mkdir()
    shard = {"first_layer": 0, "end_layer": 1, "size_bytes": 1, "sha256": "0" * 64}
    told = {"format": 1, "batch_id": 5, "epoch": 1, "index": 0, "run": {}, "shards": [shard]}
    (folder / "manifest.json").write_text(json.dumps(told))
    with (folder / "stage-0.safetensors").open("wb") as file:
        file.truncate(1 << 42)
    refused: list[str] = []
    assert find_newest(tmp_path, {}, refused.append) is None
    assert refused == [f"{folder}/stage-0.safetensors: has {1 << 42} bytes, needs 1"]


def test_what_is_written_does_not_follow_a_link_that_lies_there(
    tmp_path: Path, elsewhere: Path
) -> None:
    for place in ("file", "file.part"):
        (tmp_path / place).symlink_to(elsewhere / "file")
    write_whole(tmp_path / "file", b"ours")
    assert (tmp_path / "file").read_bytes() == b"ours"
    assert not (tmp_path / "file").is_symlink()
    assert untouched(elsewhere)


NAMES_CODE = ("model", "loss", "optimizer", "rule", "synthesizer", "lr_schedule", "data")


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module in the working folder, as beside a run that was unpacked; a file says if it ran."""
    ran = tmp_path / "ran"
    name = f"evil_{os.getpid()}_{len(sys.modules)}"
    (tmp_path / f"{name}.py").write_text(
        f"open({str(ran)!r}, 'w').close()\ndef make(*args, **named): pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    return tmp_path / f"{name}.py"


def hostile(tmp_path: Path, evil: Path) -> Path:
    """A run that has ended, whose settings name code of somebody's."""
    code = f"{evil.stem}:make"
    folder = tmp_path / "run"
    folder.mkdir()
    settings = dict.fromkeys(NAMES_CODE, code) | {"metrics": [code]}
    config = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    (folder / "config.toml").write_text(config)
    told = report(worker(0, 0.01), rate=1)
    told["data"] |= {"input_shape": [4], "num_classes": 2}
    told["config"] |= settings
    (folder / "report.json").write_text(json.dumps(told))
    weights = {"0.weight": torch.ones(2, 4), "0.bias": torch.zeros(2)}
    safetensors.torch.save_file(weights, folder / "model.safetensors")
    return folder


def test_loading_into_a_network_that_is_given_runs_no_code_that_the_run_names(
    tmp_path: Path, evil: Path
) -> None:
    folder = hostile(tmp_path, evil)
    network = dni_async.load(folder, model=nn.Sequential(nn.Linear(4, 2)))
    assert network(torch.ones(1, 4)).tolist() == [[4, 4]]
    assert not (tmp_path / "ran").exists()
    with pytest.raises(ConfigError):
        dni_async.load(folder)
    assert (tmp_path / "ran").exists()  # of a run of one's own it is run


@is_root
def test_another_users_run_names_no_code_that_is_run(tmp_path: Path, evil: Path) -> None:
    folder = hostile(tmp_path, evil)
    (folder / "events").mkdir()
    os.chown(folder, 12345, 12345)
    said = f"belongs to user 12345, and its settings name code to run ({evil.stem}:make)"
    with pytest.raises(ConfigError, match=re.escape(said)):
        dni_async.load(folder)
    with pytest.raises(ConfigError, match="belongs to user 12345, and a replay runs the code"):
        replay_run(folder)
    assert not (tmp_path / "ran").exists()
    (folder / "config.toml").write_text(RunConfig(layers=1, width=4).to_toml())
    weights = {"0.0.weight": torch.ones(2, 4), "0.0.bias": torch.zeros(2)}
    safetensors.torch.save_file(weights, folder / "model.safetensors")
    network = dni_async.load(folder)  # one of ours, whoever has trained it
    assert network(torch.ones(1, 4)).shape == (1, 2)


def test_events_name_no_code_but_the_runs_own_rule(tmp_path: Path, evil: Path) -> None:
    """A worker from elsewhere may have written its events."""
    folder = tmp_path / "run"
    (folder / "events").mkdir(parents=True)
    (folder / "config.toml").write_text(RunConfig().to_toml())
    config = RunConfig().to_dict() | {"rule": f"{evil.stem}:make"}
    header = {"stage": 0, "num_stages": 1, "seed": 0, "num_batches": [1, 0], "config": config}
    (folder / "events" / "stage-0.jsonl").write_text(json.dumps(header | {"format": 2}) + "\n")
    with pytest.raises(ConfigError, match=r"its rule .*:make is not the run's, and is not run"):
        replay_run(folder)
    assert not (tmp_path / "ran").exists()


REPORTED: list[Callable[[Path], list[str]]] = [
    lambda folder: [str(folder)],
    lambda folder: ["--json", str(folder)],
    lambda folder: [str(folder.parent)],
    lambda folder: ["--html", str(folder.parent / "page.html"), str(folder)],
    lambda folder: [str(folder), str(folder)],
]


@pytest.mark.parametrize("arguments", REPORTED, ids=["tables", "json", "list", "page", "two"])
def test_a_report_runs_no_code_and_waits_for_no_pipe(
    tmp_path: Path, evil: Path, arguments: Callable[[Path], list[str]]
) -> None:
    from dni_async.launcher.commands.report import command as report_command

    folder = hostile(tmp_path, evil)
    for name in ("trace.json", "metrics.jsonl", "model-state.safetensors"):
        os.mkfifo(folder / name)
    result = CliRunner().invoke(report_command, arguments(folder))
    assert result.exception is None or isinstance(result.exception, SystemExit | ConfigError)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "model-state.safetensors"])
def test_loading_waits_for_no_pipe(tmp_path: Path, evil: Path, name: str) -> None:
    folder = hostile(tmp_path, evil)
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(ConfigError, match=r"is no regular file|has no model.safetensors"):
        dni_async.load(folder, model=nn.Sequential(nn.Linear(4, 2)))


def test_a_configuration_without_end_is_not_read(tmp_path: Path, evil: Path) -> None:
    folder = hostile(tmp_path, evil)
    with (folder / "config.toml").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ConfigError, match="has more than 1,048,576 characters"):
        dni_async.load(folder)
