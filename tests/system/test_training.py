"""Whole runs on real data with real processes."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from dni_async.config.run_config import RunConfig
from dni_async.data import load_dataset
from dni_async.launcher.report.rows import boundary_rows
from dni_async.network.building import build_network
from dni_async.system.machine import available_cores
from tests.system.conftest import Launch

pytestmark = pytest.mark.system
slow = pytest.mark.slow
MNIST = Path(os.environ.get("DNI_DATA_DIR") or Path(__file__).parents[3] / "shared" / "data")


@pytest.fixture(scope="module")
def default_run(finished: Callable[..., Launch]) -> Launch:
    """Four epochs, the rest as it comes, started as a user does."""
    return finished("--epochs=4", is_cold=True)


def test_default_run_trains_four_layers_and_reports_both_sides(default_run: Launch) -> None:
    run = default_run
    report = run.report()
    names = [each["name"] for each in report["runs"]]
    assert names == ["dni", "baseline-1-thread", "baseline-all-threads"]
    ours, one, every = report["runs"]
    assert (ours["kind"], ours["num_workers"]) == ("decoupled", 4)
    assert len({worker["pid"] for worker in ours["workers"]}) == 4
    assert [worker["updates"] for worker in ours["workers"]] == [4 * 12] * 4
    assert ours["test_metrics"]["accuracy"] > 0.8
    assert one["test_metrics"]["accuracy"] > 0.8
    for each in report["runs"]:
        assert each["test_loss"] == each["epochs"][-1]["test_loss"]
        assert [epoch["epoch"] for epoch in each["epochs"]] == [1, 2, 3, 4]
    vs_one = pytest.approx(ours["samples_per_second"] / one["samples_per_second"], rel=0.01)
    told = report["comparison"]["baselines"]["baseline-1-thread"]
    assert told["ratio"] in (vs_one, None)  # None where others are at work on this machine
    assert (told["ratio"] is None) == (told["why_not"] is not None) == (told["equal"] is None)
    assert report["speedup"]["vs_one_thread"] == told["ratio"]
    log = (run.run_dir / "logs" / "baseline-all-threads.log").read_text()
    if every["num_threads"] > 1:
        assert f"threads with nothing to do {every['waiting']}" in log
    files = {path.name for path in run.run_dir.iterdir()}
    assert files == {"config.toml", "metrics.jsonl", "report.json", "model.safetensors", "logs"}
    assert {f"worker-{stage}.log" for stage in range(4)} <= {
        path.name for path in (run.run_dir / "logs").iterdir()
    }


def test_the_first_update_of_every_stage_is_timed(default_run: Launch) -> None:
    ours = default_run.report()["runs"][0]
    assert ours["first_update_seconds"] > ours["startup_seconds"] > 0


def test_memory_is_shared_where_it_can_be(
    default_run: Launch, finished: Callable[..., Launch]
) -> None:
    framed = finished("--epochs=1", "--no-baseline", "--transport=ipc")
    # At most a window of 16 batches is sent before the stage above has mapped the memory.
    batches = 4 * 12 - 16
    shared_bytes = default_run.report()["runs"][0]["workers"][0]["shared_bytes"]
    assert shared_bytes >= batches * 128 * 256 * 4
    assert framed.report()["runs"][0]["workers"][0]["shared_bytes"] == 0


def test_saved_model_loads_into_the_plain_network_and_is_as_accurate(
    launch: Callable[..., Launch],
) -> None:
    run = launch("--epochs", "3", "--no-baseline", "--norm", "batch", "--layers", "3")
    assert run.end() == 0, run.output
    data = load_dataset("digits")
    network = build_network(RunConfig(width=256, norm="batch", layers=3), data.input_shape, 10)
    weights = safetensors.torch.load_file(run.run_dir / "model.safetensors")
    network.load_state_dict(weights, strict=True)
    network.eval()
    labels = torch.from_numpy(data.y_test)
    with torch.no_grad():
        logits = network(torch.from_numpy(data.x_test))
    accuracy = (logits.argmax(1) == labels).float().mean().item()
    told = run.report()["runs"][0]
    assert accuracy == pytest.approx(told["test_metrics"]["accuracy"], abs=0.003)
    loss = torch.nn.functional.cross_entropy(logits, labels).item()
    assert loss == pytest.approx(told["test_loss"], rel=1e-4)


@pytest.mark.parametrize("targets", ["bootstrap", "anchor"])
def test_every_boundary_tells_how_its_gradients_agree(
    launch: Callable[..., Launch], targets: str
) -> None:
    run = launch("--epochs=3", "--no-baseline", "--anchor-every=4", f"--targets={targets}")
    assert run.end() == 0, run.output
    (ours,) = run.report()["runs"]
    assert [boundary["stage"] for boundary in ours["boundaries"]] == [0, 1, 2]
    lessons = {"bootstrap": 12, "anchor": 3}[targets]
    for boundary in ours["boundaries"]:
        assert [epoch["epoch"] for epoch in boundary["epochs"]] == [1, 2, 3]
        # Those of batches that follow come before the marker of an epoch is back.
        assert sum(epoch["num_gradients"] for epoch in boundary["epochs"]) == lessons * 3
        for epoch in boundary["epochs"]:
            assert epoch["staleness_median"] <= epoch["staleness_max"]
    assert ours["boundaries"][2]["epochs"][2]["cosine"] > 0.2  # below the head, after learning
    lines = [json.loads(line) for line in (run.run_dir / "metrics.jsonl").read_text().splitlines()]
    told = [line["boundary"] for line in lines if "boundary" in line]
    assert [(each["epoch"], each["stage"]) for each in told] == [
        (epoch, stage) for epoch in (1, 2, 3) for stage in (0, 1, 2)
    ]
    assert len(re.findall(r"^dni .*/s  cosine +-?[01]\.\d\d$", run.output, re.MULTILINE)) == 3
    row = [cell for cell in boundary_rows(ours)[2] if cell]
    assert re.search("^ *" + " +".join(map(re.escape, row)) + " *$", run.output, re.MULTILINE)


@pytest.mark.parametrize(("window", "synthesizer"), [(1, "linear"), (8, "critic")])
def test_no_window_deadlocks_or_is_exceeded(
    launch: Callable[..., Launch], window: int, synthesizer: str
) -> None:
    run = launch(
        f"--window={window}", f"--synthesizer={synthesizer}", "--batch-size=32", "--epochs=2",
        "--width=64", "--no-baseline",
    )  # fmt: skip
    assert run.end() == 0, run.output
    workers = run.report()["runs"][0]["workers"]
    assert [worker["updates"] for worker in workers] == [2 * 45] * 4
    assert all(worker["max_pending"] <= window for worker in workers)
    run.assert_nothing_left()


@pytest.mark.parametrize(
    "flags",
    [
        ["--layers=5", "--stages=2"],
        ["--optimizer=sgd", "--lr=0.05", "--norm=layer", "--transport=tcp"],
    ],
    ids=" ".join,
)
def test_every_setting_trains(launch: Callable[..., Launch], flags: list[str]) -> None:
    run = launch("--epochs=15", "--no-baseline", "--width=64", *flags)
    assert run.end() == 0, run.output
    assert run.report()["runs"][0]["test_metrics"]["accuracy"] > 0.5
    run.assert_nothing_left()


@pytest.mark.slow
@pytest.mark.skipif(
    not (MNIST / "mnist").is_dir() and not list(MNIST.glob("train-images*")),
    reason="no MNIST files: set DNI_DATA_DIR",
)
def test_mnist_is_learnt_as_well_as_by_backpropagation(launch: Callable[..., Launch]) -> None:
    run = launch(
        "--data=mnist", f"--data-dir={MNIST}", "--norm=batch", "--epochs=2", "--batch-size=256"
    )
    assert run.end(110) == 0, run.output
    ours, one, _ = run.report()["runs"]
    assert ours["test_metrics"]["accuracy"] > 0.96
    assert ours["test_metrics"]["accuracy"] > one["test_metrics"]["accuracy"] - 0.015


def test_a_slow_stage_lets_those_below_run_a_window_ahead(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    """Stage 2 is slow; stages 0 and 1 fill their windows, stage 3 starves, nobody stops."""
    folder = tmp_path / "launch-0"
    folder.mkdir()
    (folder / "slow.py").write_text(
        "import time\n"
        "from torch import nn\n"
        "class Slow(nn.Linear):\n"
        "    def forward(self, x):\n"
        "        time.sleep(0.02)\n"
        "        return super().forward(x)\n"
        "def make():\n"
        "    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(),\n"
        "                         Slow(32, 32), nn.ReLU(), nn.Linear(32, 10))\n"
    )
    run = launch("--model=slow:make", "--window=6", "--epochs=3", "--no-baseline")
    assert run.end() == 0, run.output
    workers = run.report()["runs"][0]["workers"]
    assert [worker["max_pending"] for worker in workers][:2] == [6, 6]
    assert workers[1]["max_staleness"] >= 6  # updates made while the slow stage had one batch
    assert workers[3]["waiting"] > 0.5


@pytest.mark.parametrize(
    "flags",
    [
        "--dtype=bf16 --wire-dtype=bf16 --targets=bootstrap",
        "--wire-dtype=int8 --wire-rounding=stochastic --transport=tcp",
        "--anchor-every=4 --anchor-updates --norm=batch",
        "--layers=6 --stages=3",
        "--lr-schedule=cosine --warmup-updates=12 --clip-norm=1 --lr=0.002",
        "--rule=fdg --staleness-power=0.5 --accumulate=2 --lr=0.003",
    ],
)
def test_every_way_to_run_learns(launch: Callable[..., Launch], flags: str) -> None:
    """Wide enough for shared memory: 128 x 256 float32 is 128 KB."""
    run = launch("--epochs=8", "--no-baseline", *flags.split())
    assert run.end() == 0, run.output
    assert run.report()["runs"][0]["test_metrics"]["accuracy"] > 0.8
    if "--stages=3" in flags:
        assert "balanced into stages" in run.output
    run.assert_nothing_left()


def test_a_gradient_that_updates_and_teaches_has_one_staleness(
    launch: Callable[..., Launch],
) -> None:
    """One batch at a time, each updated with its own gradient: by the time it teaches, one late."""
    run = launch(
        "--anchor-every=1", "--anchor-updates", "--window=1", "--epochs=3", "--no-baseline"
    )
    assert run.end() == 0, run.output
    workers = run.report()["runs"][0]["workers"]
    assert [worker["max_staleness"] for worker in workers] == [0, 0, 0, 0]


@pytest.mark.parametrize("rule", ["dni", pytest.param("fdg", marks=slow)])
def test_there_are_as_many_stages_as_should_be_fastest(
    launch: Callable[..., Launch], rule: str
) -> None:
    run = launch(
        "--layers=5", "--width=16", "--epochs=8", "--stages=auto", "--no-baseline", f"--rule={rule}"
    )
    assert run.end() == 0, run.output
    (ours,) = run.report()["runs"]
    cores = available_cores()
    assert min(5, max(2, cores)) <= len(ours["workers"]) <= 5
    if cores < 5:
        found = re.search(r"; (\d) stages of [\d. ]+ should be fastest, .* \(others ", run.output)
        assert found, run.output
        assert int(found[1]) == len(ours["workers"])
    assert ours["workers"][-1]["layers"][1] == 5
    count = len(ours["workers"])
    assert ours["num_threads"] == count * max(1, cores // count)
    run.assert_nothing_left()


@pytest.mark.parametrize("rule", ["backprop", "dgl", "fdg"])
def test_every_rule_learns_and_tells_nothing_where_nothing_is_compared(
    launch: Callable[..., Launch], rule: str
) -> None:
    run = launch("--epochs=10", "--no-baseline", f"--rule={rule}")
    assert run.end() == 0, run.output
    assert run.report()["runs"][0]["test_metrics"]["accuracy"] > 0.8
    assert_nothing_compared(run)
    run.assert_nothing_left()


def assert_nothing_compared(run: Launch) -> None:
    """Neither in the report nor on the terminal."""
    assert run.report()["runs"][0]["boundaries"] == []
    assert "cosine" not in run.output


def test_without_backpropagation_only_the_head_learns(launch: Callable[..., Launch]) -> None:
    run = launch("--rule=no-bprop", "--epochs=3", "--no-baseline", "--layers=3")
    assert run.end() == 0, run.output
    (ours,) = run.report()["runs"]
    assert [worker["updates"] for worker in ours["workers"]] == [0, 0, 3 * 12]
    trained = safetensors.torch.load_file(run.run_dir / "model.safetensors")
    drawn = build_network(RunConfig(layers=3, width=256, norm="none"), (64,), 10).state_dict()
    unchanged = [name for name in drawn if torch.equal(trained[name], drawn[name])]
    assert unchanged == ["0.0.weight", "0.0.bias", "1.0.weight", "1.0.bias"]
    assert_nothing_compared(run)
    run.assert_nothing_left()


def test_a_network_is_tested_as_often_as_asked_for(launch: Callable[..., Launch]) -> None:
    run = launch("--epochs=5", "--evaluate-every=2")
    assert run.end() == 0, run.output
    report = run.report()
    num_train = report["data"]["num_train"]
    for each in report["runs"]:
        assert [epoch["epoch"] for epoch in each["epochs"]] == [2, 4, 5]
        samples = [epoch["num_samples"] for epoch in each["epochs"]]
        assert samples == [2 * num_train, 2 * num_train, num_train]
        rate = 5 * num_train / each["train_seconds"]
        assert each["samples_per_second"] == pytest.approx(rate, rel=0.01)
    batches = -(-num_train // report["config"]["batch_size"])
    assert [worker["updates"] for worker in report["runs"][0]["workers"]] == [5 * batches] * 4
    assert report["runs"][0]["test_metrics"]["accuracy"] > 0.7
    run.assert_nothing_left()


def test_a_run_and_its_baselines_stop_at_the_target(launch: Callable[..., Launch]) -> None:
    run = launch("--epochs=500", "--batch-size=32", "--target=0.95", "--early-stop")
    assert run.end() == 0, run.output
    for each in run.report()["runs"]:
        reached = [epoch["test_metrics"]["accuracy"] >= 0.95 for epoch in each["epochs"]]
        first = reached.index(True)
        # Workers hear of it a little later: what they have begun meanwhile is finished and tested.
        assert len(reached) - first <= (1 if each["kind"] == "baseline" else 3)
        seconds = sum(epoch["seconds"] for epoch in each["epochs"][: first + 1])
        assert each["seconds_to_target"] == pytest.approx(seconds, abs=1e-3)
    assert "the target is reached: accuracy is 0.9" in run.output
    assert (run.run_dir / "model.safetensors").is_file()
    run.assert_nothing_left()


def test_8_bits_are_a_quarter_on_every_link(finished: Callable[..., Launch]) -> None:
    """And the report tells of each link what passed it."""
    runs = {}
    for name in ("same", "int8"):
        run = finished(
            "--epochs=2", "--no-baseline", "--transport=tcp", "--layers=3", "--window=3",
            "--targets=bootstrap", f"--wire-dtype={name}",
        )  # fmt: skip
        assert "links; bytes of a batch" in run.output
        (runs[name],) = run.report()["runs"]
    sent = {name: [w["frame_bytes"] for w in run["workers"]] for name, run in runs.items()}
    for one, four in zip(sent["int8"], sent["same"], strict=True):
        assert 3.5 * one < four < 4 * one
    for boundary, link in enumerate(runs["int8"]["links"]):
        assert (link["boundary"], link["carrier"], link["wire_dtype"]) == (boundary, "tcp", "int8")
        assert link["activations"] == 2 * (12 + 3)
        assert link["window"] == 3
        # 128 x 256 integers, their scales, labels and the header; test batches are smaller.
        assert 25_000 < link["up_bytes"] < 128 * 256 + 128 * 12 + 200
        assert 15_000 < link["down_bytes"] < 128 * 256 + 128 * 4 + 200
        assert 0 < link["credit_least_seconds"] <= link["credit_median_seconds"]
        assert link["up_bytes_per_second"] > 0


@pytest.mark.parametrize("layers", [1, pytest.param(2, marks=slow)])
def test_compiled_stages_train(launch: Callable[..., Launch], layers: int) -> None:
    """In batches of a third of the samples, as each shape is compiled for itself."""
    run = launch(
        "--compile", f"--layers={layers}", "--norm=batch", "--width=32", "--epochs=8", "--lr=0.01",
        "--batch-size=479", "--no-baseline",
    )  # fmt: skip
    assert run.end(110) == 0, run.output
    assert run.report()["runs"][0]["test_metrics"]["accuracy"] > 0.5
    for cache in run.temporary.glob("torchinductor_*"):  # torch keeps what it compiled
        shutil.rmtree(cache)
    run.assert_nothing_left()


def test_compiling_without_a_compiler_is_refused(
    launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "/nonexistent/c++")
    run = launch("--compile")
    assert run.end() == 2
    assert "compile: needs a C++ compiler, but '/nonexistent/c++' is not there" in run.output
