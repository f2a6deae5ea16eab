"""Whole runs on GPUs: what they come to, how their tensors travel, what deaths leave."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
import torch

from tests.system.conftest import Launch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.system,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
NETWORK = ("--layers=4", "--width=1024", "--stages=4", "--batch-size=256", "--partition=even")
ON_ONE = ("--devices=cuda:0", "--threads-per-worker=1", *NETWORK)


def carriers(run: Launch) -> set[str]:
    """What large tensors travelled by in the end."""
    return {link["carrier"] for link in run.report()["runs"][0]["links"]}


def test_lockstep_comes_to_what_one_process_does(launch: Callable[..., Launch]) -> None:
    run = launch(*ON_ONE, "--rule=backprop", "--epochs=5")
    assert run.end() == 0, run.output
    ours, *baselines = run.report()["runs"]
    for baseline in baselines:
        for mine, theirs in zip(ours["epochs"], baseline["epochs"], strict=True):
            assert mine["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-3)
    assert carriers(run) == {"GPU memory"}


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--dtype=bf16",),
        ("--wire-dtype=bf16",),
        ("--wire-dtype=int8",),
        ("--targets=bootstrap",),
        ("--rule=fdg",),
        ("--unlock=forward",),
        ("--transport=tcp",),
        ("--compile", "--norm=batch"),
        ("--compile", "--unlock=forward"),
    ],
    ids=" ".join,
)
def test_a_run_learns_on_a_gpu(launch: Callable[..., Launch], flags: tuple[str, ...]) -> None:
    run = launch(*ON_ONE, "--no-baseline", "--epochs=8", *flags)
    assert run.end() == 0, run.output
    epochs = run.report()["runs"][0]["epochs"]
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"]
    assert carriers(run) == ({"tcp"} if "--transport=tcp" in flags else {"GPU memory"})
    run.assert_nothing_left()


def test_stages_over_two_gpus_share_memory(launch: Callable[..., Launch]) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs a second CUDA device")
    run = launch("--devices=cuda:0,cuda:1", *NETWORK, "--no-baseline", "--epochs=8")
    assert run.end() == 0, run.output
    assert carriers(run) <= {"GPU memory", "shared memory"}  # without peer access the latter


def test_a_killed_stage_is_replaced_and_its_memory_given_back(
    launch: Callable[..., Launch],
) -> None:
    free = torch.cuda.mem_get_info(0)[0]
    run = launch(*ON_ONE, "--no-baseline", "--epochs=300")
    for stage, pid in sorted(run.worker_pids().items())[:2]:
        run.wait_for(rf"epoch +{10 * (stage + 1)} ")
        os.kill(pid, signal.SIGKILL)
    assert run.end() == 0, run.output
    assert len(run.report()["runs"][0]["restarts"]) == 2
    assert carriers(run) == {"GPU memory"}
    run.assert_nothing_left()
    assert torch.cuda.mem_get_info(0)[0] > free - 64 * 2**20
