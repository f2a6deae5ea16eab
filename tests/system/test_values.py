"""Several values between processes: over shared memory and over tcp, exact, and after a death."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch.nn import functional

from dni_async.config.run_config import RunConfig
from dni_async.launcher.jobs import baseline
from tests.system.conftest import Launch
from tests.workers import value_networks

pytestmark = pytest.mark.system


@pytest.fixture
def launch_values(launch: Callable[..., Launch], tmp_path: Path) -> Callable[..., Launch]:
    """Start a run of one of the networks of values, as a file of the user's own."""

    def start(factory: str, *flags: str) -> Launch:
        folder = tmp_path / "launch-0"
        folder.mkdir()
        shutil.copy(value_networks.__file__, folder / "own.py")
        return launch(f"--model=own:{factory}", "--no-baseline", "--threads-per-worker=1", *flags)

    return start


def test_lockstep_is_exact_where_values_lie_in_shared_memory(
    launch_values: Callable[..., Launch], as_in_a_worker: None
) -> None:
    run = launch_values("masked", "--rule=backprop", "--batch-size=600", "--epochs=4")
    config = RunConfig(
        model="tests.workers.value_networks:masked", batch_size=600, epochs=4, rule="backprop"
    )
    expected = baseline.train(config, torch.device("cpu"), lambda: None, lambda _: None)
    assert run.end() == 0, run.output
    trained = safetensors.torch.load_file(run.run_dir / "model.safetensors")
    for name, weight in expected.state_dict().items():
        assert torch.equal(trained[name], weight), name
    assert run.report()["runs"][0]["workers"][0]["shared_bytes"] > 0
    run.assert_nothing_left()


def test_batches_longer_than_the_first_travel_in_frames_beside_shared_memory(
    launch_values: Callable[..., Launch], as_in_a_worker: None
) -> None:
    run = launch_values(
        "sequences", "--data=own:lengths", "--rule=backprop", "--optimizer=sgd", "--lr=0.1",
        "--epochs=2", "--stages=3",
    )  # fmt: skip
    torch.manual_seed(0)
    network = value_networks.sequences()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, fused=True)
    for ids, labels in [*value_networks.Lengths()] * 2:
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(ids).flatten(0, 1), labels.flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert run.end() == 0, run.output
    trained = safetensors.torch.load_file(run.run_dir / "model.safetensors")
    for name, weight in network.state_dict().items():
        assert torch.equal(trained[name], weight), name
    row = run.report()["runs"][0]["workers"][0]
    assert min(row["frame_bytes"], row["shared_bytes"]) > 0
    run.assert_nothing_left()


def test_over_tcp_a_worker_that_died_goes_on_with_what_its_synthesizers_knew(
    launch_values: Callable[..., Launch],
) -> None:
    run = launch_values(
        "named_pairs", "--transport=tcp", "--targets=bootstrap", "--epochs=40",
        "--checkpoint-every=10",
    )  # fmt: skip
    pids = run.worker_pids()
    run.wait_for("epoch +5 ")
    os.kill(pids[1], signal.SIGKILL)
    run.wait_for("stage 1 trains again")
    assert run.end(60) == 0, run.output
    row = run.report()["runs"][0]
    assert row["test_metrics"]["accuracy"] > 0.8
    assert [restart["stage"] for restart in row["restarts"]] == [1]
    assert len(row["boundaries"]) == 4
    run.assert_nothing_left()
