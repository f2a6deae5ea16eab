"""A run that was cut short goes on from its newest whole checkpoint."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import safetensors.torch
import torch

from tests.marked_process import DEADLINE_S
from tests.system.conftest import Launch

pytestmark = pytest.mark.system
slow = pytest.mark.slow
NADAM = "--optimizer=torch.optim:NAdam"  # whose state is made at its first update
EXACT = [
    "--rule=backprop", "--layers=3", "--width=64", "--epochs=15", "--batch-size=32",
    "--no-baseline", "--threads-per-worker=1", "--partition=even", "--checkpoint-every=20",
]  # fmt: skip


def weights_of(run: Launch) -> dict[str, torch.Tensor]:
    """The whole network's, after the run's end."""
    return safetensors.torch.load_file(run.run_dir / "model.safetensors")


def kill_at_a_checkpoint(run: Launch, at_least: int) -> None:
    """SIGKILL the launcher as soon as a checkpoint with that many batches before it is whole."""
    deadline = time.monotonic() + DEADLINE_S
    launcher = psutil.Process(run.process.pid)
    while max(checkpoints(run), default=0) < at_least:
        assert time.monotonic() < deadline, run.output
        gone, _ = psutil.wait_procs([launcher], timeout=0.01)
        assert not gone, run.output
    run.process.kill()
    run.process.wait()
    while left := run.alive():
        assert time.monotonic() < deadline
        psutil.wait_procs(left, timeout=0.1)


def checkpoints(run: Launch) -> list[int]:
    """The batch ids of those that are whole."""
    folders = run.run_dir.glob("checkpoints/*")
    return sorted(int(folder.name) for folder in folders if folder.name.isdecimal())


def losses_of(run: Launch) -> list[tuple[int, float]]:
    """The curve of the decoupled run's loss: update and loss of each point."""
    text = (run.run_dir / "metrics.jsonl").read_text()
    points = [line["point"] for line in map(json.loads, text.splitlines()) if "point" in line]
    return [(point["updates"], point["loss"]) for point in points if "loss" in point]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(["--optimizer=adam"], [], marks=slow),
        (["--optimizer=sgd", "--accumulate=3", "--lr=0.05"], ["--transport=tcp"]),
        (
            ["--norm=batch", "--lr-schedule=cosine", "--evaluate-every=7", NADAM],
            ["--stages=2"],
        ),
        pytest.param(["--stages=1"], ["--stages=3"], marks=slow),
        pytest.param(["--evaluate-every=7"], [], marks=slow),
    ],
)
def test_a_lockstep_run_that_was_killed_goes_on_bit_for_bit(
    launch: Callable[..., Launch], before: list[str], after: list[str]
) -> None:
    whole = launch(*EXACT, *before, "--log-every=15")
    assert whole.end() == 0, whole.output
    killed = launch(*EXACT, *before, "--log-every=15")
    kill_at_a_checkpoint(killed, 100)
    resumed = launch("--resume", str(killed.run_dir), *after)
    assert resumed.end() == 0, resumed.output
    assert "resumed from checkpoint" in resumed.output
    expected, trained = weights_of(whole), weights_of(resumed)
    assert trained.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.equal(trained[name], weight), name
    ours, theirs = resumed.report()["runs"][0], whole.report()["runs"][0]
    told = ("epoch", "train_loss", "test_metrics", "test_loss", "num_samples")
    assert [[epoch[name] for name in told] for epoch in ours["epochs"]] == [
        [epoch[name] for name in told] for epoch in theirs["epochs"]
    ]
    lines = [
        json.loads(line) for line in (resumed.run_dir / "metrics.jsonl").read_text().splitlines()
    ]
    every = 7 if "--evaluate-every=7" in before else 1
    tested = [epoch for epoch in range(1, 16) if epoch % every == 0 or epoch == 15]
    assert [line["epoch"] for line in lines if "epoch" in line] == tested
    assert sum("resumed" in line for line in lines) == 1
    assert losses_of(resumed) == losses_of(whole) != []
    assert len(checkpoints(resumed)) == 3
    for cache in resumed.temporary.glob("torchinductor_*"):  # made as torch.optim is first used
        shutil.rmtree(cache)
    resumed.assert_nothing_left()


@pytest.mark.parametrize(
    "flags",
    [
        ["--targets=bootstrap", "--synthesizer=mlp", "--synthesizer-width=32"],
        ["--stages=auto"],  # as many as they were, without another measurement
        *(
            pytest.param(flags, marks=slow)
            for flags in (
                ["--synthesizer=critic", "--synthesizer-warmup=100", "--update-probability=0.7"],
                ["--unlock=forward"],
                ["--when-full=skip", "--when-empty=replay"],
                ["--rule=dgl", "--stages=2"],
                ["--rule=fdg"],
            )
        ),
    ],
)
def test_every_way_to_train_goes_on_from_a_checkpoint(
    launch: Callable[..., Launch], flags: list[str]
) -> None:
    settings = ["--layers=3", "--width=64", "--epochs=30", "--no-baseline", "--batch-size=64"]
    killed = launch(*settings, *flags, "--checkpoint-every=0.05s", "--keep-checkpoints=2")
    kill_at_a_checkpoint(killed, 100)
    resumed = launch("--resume", str(killed.run_dir))
    assert resumed.end() == 0, resumed.output
    (ours,) = resumed.report()["runs"]
    assert [epoch["epoch"] for epoch in ours["epochs"]] == list(range(1, 31))
    assert ours["test_metrics"]["accuracy"] > 0.5
    resumed.assert_nothing_left()


def test_damaged_checkpoints_are_named_and_the_one_before_is_used(
    launch: Callable[..., Launch],
) -> None:
    whole = launch(*EXACT, "--epochs=5", "--keep-checkpoints=4")
    assert whole.end() == 0, whole.output
    first, second, third, fourth = checkpoints(whole)
    trained, folder = weights_of(whole), whole.run_dir / "checkpoints"
    (folder / str(fourth) / "stage-1.safetensors").unlink()
    os.truncate(folder / str(third) / "stage-0.safetensors", 100)
    shutil.copy(folder / str(first) / "stage-2.safetensors", folder / str(second))
    resumed = launch("--resume", str(whole.run_dir))
    assert resumed.end() == 0, resumed.output
    for batch_id, name in ((fourth, "stage-1"), (third, "stage-0"), (second, "stage-2")):
        pattern = rf"passed over: .*/{batch_id}/{name}\.safetensors: "
        assert re.search(pattern, resumed.output), resumed.output
    assert f"resumed from checkpoint {first}:" in resumed.output
    for name, weight in weights_of(resumed).items():
        assert torch.equal(trained[name], weight), name
    assert checkpoints(resumed) == [first, second, third, fourth]


def test_what_cannot_be_resumed_is_refused_in_one_sentence(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    run = launch("--epochs=1", "--no-baseline", "--layers=2")
    assert run.end() == 0, run.output
    config = (run.run_dir / "config.toml").read_bytes()
    place = str(run.run_dir)
    for arguments, complaint in [
        ([place], "resume: .* holds no whole checkpoint; a run makes them with --checkpoint-every"),
        ([place, "--lr=0.5"], r"lr: a resumed run keeps what it began with, its default, but 0\.5"),
        ([place, "--overwrite"], "resume: goes on with a run where it is .* leave out"),
        ([str(tmp_path)], "resume: .* holds no run; dni-report FOLDER lists"),
    ]:
        refused = launch("--resume", *arguments)
        assert refused.end() == 2
        assert re.search(f"Error: {complaint}", refused.output.replace("\n", " ")), refused.output
    assert (run.run_dir / "config.toml").read_bytes() == config
    assert (run.run_dir / "model.safetensors").exists()


def test_a_run_that_is_under_way_cannot_be_resumed(launch: Callable[..., Launch]) -> None:
    run = launch(*EXACT, "--epochs=100000")
    run.wait_for("epoch   3")
    refused = launch("--resume", str(run.run_dir))
    assert refused.end() == 2
    assert "run_dir: another launcher is at work in" in refused.output
    assert run.process.poll() is None
    run.interrupt()
    run.end()


def fill(path: Path, *, left: int) -> None:
    """Take what its disk has but so many bytes, beside others that write there meanwhile."""
    with path.open("wb", buffering=0) as file:
        with suppress(OSError):
            while file.write(bytes(1 << 16)):
                pass
        file.truncate(file.tell() - left)


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(
    launch: Callable[..., Launch], small_disk: Path
) -> None:
    run = launch(
        "--layers=3", "--width=128", "--epochs=200", "--no-baseline", "--checkpoint-every=10",
        "--keep-checkpoints=1", run_dir=small_disk / "run",
    )  # fmt: skip
    run.wait_for("epoch   1")
    ballast = small_disk / "ballast"
    fill(ballast, left=60_000)
    failed = run.wait_for(
        r"checkpoint (\d+) was not made: stage \d: No space left on device; training goes on"
    )
    ballast.unlink()
    assert run.end() == 0, run.output
    assert "epoch 200" in run.output
    assert checkpoints(run)[-1] > int(failed[1])
    run.assert_nothing_left()
