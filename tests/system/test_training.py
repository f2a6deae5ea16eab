"""Whole runs on real data with real processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from dni_async.config import RunConfig
from dni_async.data import load_dataset
from dni_async.network import build_network
from dni_async.stage import prepare_torch
from launcher import baseline
from tests.system.conftest import Launch

pytestmark = pytest.mark.system
MNIST = Path(os.environ.get("DNI_DATA_DIR") or Path(__file__).parents[3] / "shared" / "data")


def test_default_run_trains_four_layers_and_reports_both_sides(
    launch: Callable[..., Launch],
) -> None:
    run = launch("--epochs", "4")
    assert run.end() == 0, run.output
    report = run.report()
    names = [each["name"] for each in report["runs"]]
    assert names == ["dni", "baseline-1-thread", "baseline-all-threads"]
    ours, one, _ = report["runs"]
    assert (ours["kind"], ours["num_workers"]) == ("decoupled", 4)
    assert len({worker["pid"] for worker in ours["workers"]}) == 4
    assert [worker["updates"] for worker in ours["workers"]] == [4 * 12] * 4
    assert ours["test_accuracy"] > 0.8
    assert one["test_accuracy"] > 0.8
    for each in report["runs"]:
        assert each["test_loss"] == each["epochs"][-1]["test_loss"]
        assert [epoch["epoch"] for epoch in each["epochs"]] == [1, 2, 3, 4]
    vs_one = ours["samples_per_second"] / one["samples_per_second"]
    assert report["speedup"]["vs_one_thread"] == pytest.approx(vs_one, rel=0.01)
    files = {path.name for path in run.run_dir.iterdir()}
    assert files == {"config.toml", "metrics.jsonl", "report.json", "model.safetensors", "logs"}
    assert {f"worker-{stage}.log" for stage in range(4)} <= {
        path.name for path in (run.run_dir / "logs").iterdir()
    }
    run.assert_nothing_left()


def test_saved_model_loads_into_the_plain_network_and_is_as_accurate(
    launch: Callable[..., Launch],
) -> None:
    run = launch("--epochs", "6", "--no-baseline", "--norm", "batch", "--layers", "3")
    assert run.end() == 0, run.output
    data = load_dataset("digits")
    network = build_network(RunConfig(norm="batch", layers=3), data.input_shape, 10)
    weights = safetensors.torch.load_file(run.run_dir / "model.safetensors")
    network.load_state_dict(weights, strict=True)
    network.eval()
    labels = torch.from_numpy(data.y_test)
    with torch.no_grad():
        logits = network(torch.from_numpy(data.x_test))
    accuracy = (logits.argmax(1) == labels).float().mean().item()
    told = run.report()["runs"][0]
    assert accuracy == pytest.approx(told["test_accuracy"], abs=0.003)
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
        assert [epoch["num_gradients"] for epoch in boundary["epochs"]] == [lessons] * 3
        for epoch in boundary["epochs"]:
            assert epoch["staleness_median"] <= epoch["staleness_max"]
    assert ours["boundaries"][2]["epochs"][2]["cosine"] > 0.2  # below the head, after learning
    lines = [json.loads(line) for line in (run.run_dir / "metrics.jsonl").read_text().splitlines()]
    told = [line["boundary"] for line in lines if "boundary" in line]
    assert [(each["epoch"], each["stage"]) for each in told] == [
        (epoch, stage) for epoch in (1, 2, 3) for stage in (0, 1, 2)
    ]
    assert len(re.findall(r"^dni .*/s  cosine +-?[01]\.\d\d$", run.output, re.MULTILINE)) == 3
    assert re.search(r"^ *2 +\d+ +-?[01]\.\d\d to", run.output, re.MULTILINE)


@pytest.mark.parametrize("rule", ["backprop", "fdg", "dgl", "no-bprop"])
def test_where_nothing_is_compared_nothing_is_told(
    launch: Callable[..., Launch], rule: str
) -> None:
    run = launch(f"--rule={rule}", "--epochs=2", "--no-baseline")
    assert run.end() == 0, run.output
    (ours,) = run.report()["runs"]
    assert ours["boundaries"] == []
    assert len(ours["epochs"]) == 2
    assert "cosine" not in run.output


@pytest.fixture
def as_in_a_worker() -> Iterator[None]:
    """One thread and no denormals, as the processes of a run have it; undone afterwards."""
    num_threads = torch.get_num_threads()
    prepare_torch(1)
    yield
    torch.set_flush_denormal(False)
    torch.set_num_threads(num_threads)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("stages", [1, 2, 4, 8])
def test_lockstep_equals_plain_backpropagation_bit_for_bit(
    launch: Callable[..., Launch], as_in_a_worker: None, stages: int, optimizer: str
) -> None:
    """Over every transport; 1437 samples in batches of 100 leave a last one of 37."""
    settings = {"layers": 8, "width": 256, "epochs": 3, "batch_size": 100, "optimizer": optimizer}
    if stages == 4:
        settings["accumulate"] = 2
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    transport = {1: "auto", 2: "tcp", 4: "auto", 8: "ipc"}[stages]
    run = launch(
        *flags, "--rule=backprop", f"--stages={stages}", "--no-baseline",
        "--threads-per-worker=1", f"--transport={transport}",
    )  # fmt: skip
    network = baseline.train(
        RunConfig(rule="backprop", **settings),  # type: ignore[arg-type]
        torch.device("cpu"),
        lambda: None,
        lambda *_: None,
    )
    assert run.end() == 0, run.output
    trained = safetensors.torch.load_file(run.run_dir / "model.safetensors")
    expected = network.state_dict()
    assert trained.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.equal(trained[name], weight), name
    assert run.report()["runs"][0]["workers"][0]["max_pending"] <= 1


SEQUENCES = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(16), nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x):
        q, k, v = (part[:, None] for part in self.qkv(self.norm(x)).chunk(3, -1))
        seen = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self.out(seen[:, 0])

def make():
    return nn.Sequential(nn.Embedding(7, 16), Block(), Block(), nn.Linear(16, 7))
"""


def write_sequences(folder: Path) -> tuple[str, ...]:
    """A small model of sequences and its data in folder, and what names both."""
    folder.mkdir()
    (folder / "sequences.py").write_text(SEQUENCES)
    ids = np.arange(150)[:, None] * 3 + np.arange(9) ** 2
    x, y = ids[:, :-1] % 7, ids[:, 1:] % 7
    np.savez(folder / "ids.npz", x_train=x[:100], y_train=y[:100], x_test=x[100:], y_test=y[100:])
    return "--model=sequences:make", "--data=ids.npz", "--batch-size=16", "--no-baseline"


@pytest.mark.parametrize("stages", [1, 2, 4])
def test_lockstep_equals_plain_backpropagation_for_sequences(
    launch: Callable[..., Launch],
    as_in_a_worker: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stages: int,
) -> None:
    folder = tmp_path / "launch-0"
    flags = write_sequences(folder)
    run = launch(
        *flags, "--rule=backprop", "--threads-per-worker=1", "--epochs=3", f"--stages={stages}",
        "--partition=even",
    )  # fmt: skip
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    losses: list[tuple[float, float]] = []
    network = baseline.train(
        RunConfig(model="sequences:make", data="ids.npz", batch_size=16, epochs=3),
        torch.device("cpu"),
        lambda: None,
        lambda epoch: losses.append((epoch.train_loss, epoch.test_loss)),
    )
    sys.modules.pop("sequences")
    assert run.end() == 0, run.output
    trained = safetensors.torch.load_file(run.run_dir / "model.safetensors")
    for name, weight in network.state_dict().items():
        assert torch.equal(trained[name], weight), name
    epochs = run.report()["runs"][0]["epochs"]
    assert [(epoch["train_loss"], epoch["test_loss"]) for epoch in epochs] == losses


@pytest.mark.parametrize("rule", ["--rule=dni", "--targets=bootstrap", "--rule=dgl", "--rule=fdg"])
def test_every_rule_learns_sequences(
    launch: Callable[..., Launch], tmp_path: Path, rule: str
) -> None:
    flags = write_sequences(tmp_path / "launch-0")
    run = launch(*flags, rule, "--epochs=40", "--lr=0.01", "--anchor-every=8")
    assert run.end() == 0, run.output
    first, *_, last = run.report()["runs"][0]["epochs"]
    assert last["train_loss"] < first["train_loss"] / 2
    assert last["test_accuracy"] > 0.7  # a seventh by guessing
    run.assert_nothing_left()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data=ids.npz"], "ids.npz holds int64 ids, which the built-in MLP does not take"),
        (
            ["--data=ids.npz", "--model=sequences:short"],
            "model: torch.int64 inputs [6, 8] do not pass the network: index out of range",
        ),
    ],
)
def test_sequences_that_do_not_fit_the_network_are_refused(
    launch: Callable[..., Launch], tmp_path: Path, flags: list[str], message: str
) -> None:
    """The second embedding lacks the largest id alone, which few samples hold."""
    folder = tmp_path / "launch-0"
    write_sequences(folder)
    with (folder / "sequences.py").open("a") as module:
        module.write("def short():\n    return nn.Sequential(nn.Embedding(6, 7))\n")
    run = launch(*flags, "--batch-size=16")
    assert run.end() == 2
    assert message in run.output.replace("\n", " ")


@pytest.mark.parametrize("window", [1, 2, 8])
@pytest.mark.parametrize("synthesizer", ["linear", "critic"])
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
        ["--layers=1"],
        ["--layers=5", "--stages=2"],
        ["--synthesizer=mlp", "--no-label-conditioning", "--targets=bootstrap"],
        ["--synthesizer=linear", "--optimizer=adamw", "--targets=bootstrap"],
        ["--optimizer=sgd", "--lr=0.05", "--norm=layer", "--transport=tcp"],
    ],
    ids=" ".join,
)
def test_every_setting_trains(launch: Callable[..., Launch], flags: list[str]) -> None:
    run = launch("--epochs=15", "--no-baseline", "--width=64", *flags)
    assert run.end() == 0, run.output
    assert run.report()["runs"][0]["test_accuracy"] > 0.5
    run.assert_nothing_left()


def test_a_model_and_data_of_the_users_own_train(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    folder = tmp_path / "launch-0"
    folder.mkdir()
    (folder / "workers.py").write_text("raise SystemExit('the wrong workers module')\n")
    (folder / "mynet.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3))\n"
    )
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    x = rng.normal(size=(300, 3, 4)).astype(np.float32) + 2 * labels[:, None, None]
    np.savez(
        folder / "own.npz", x_train=x[:200], y_train=labels[:200], x_test=x[200:],
        y_test=labels[200:],
    )  # fmt: skip
    run = launch(
        "--model=mynet:make", "--data=own.npz", "--epochs=30", "--batch-size=50", "--lr=0.01"
    )
    assert run.end() == 0, run.output
    assert run.report()["runs"][0]["num_workers"] == 2
    assert run.report()["runs"][0]["test_accuracy"] > 0.9


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
    assert ours["test_accuracy"] > 0.96
    assert ours["test_accuracy"] > one["test_accuracy"] - 0.015


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
        ["--dtype=bf16"],
        ["--wire-dtype=fp16", "--transport=tcp"],
        ["--dtype=bf16", "--wire-dtype=bf16", "--targets=bootstrap"],
        ["--targets=anchor", "--anchor-every=1", "--window=1"],
        ["--targets=anchor", "--anchor-every=0"],
        ["--anchor-every=4", "--anchor-updates", "--norm=batch"],
        ["--layers=6", "--stages=3"],
        ["--lr-schedule=cosine", "--warmup-updates=12", "--clip-norm=1", "--lr=0.002"],
        ["--update-probability=0.5", "--lr=0.003"],
        ["--accumulate=2", "--lr=0.003"],
        ["--rule=fdg", "--staleness-power=0.5", "--accumulate=2", "--lr=0.003"],
    ],
    ids=" ".join,
)
def test_every_way_to_run_learns(launch: Callable[..., Launch], flags: list[str]) -> None:
    """Wide enough for shared memory: 128 x 256 float32 is 128 KB."""
    run = launch("--epochs=8", "--no-baseline", *flags)
    assert run.end() == 0, run.output
    assert run.report()["runs"][0]["test_accuracy"] > 0.8
    if "--stages=3" in flags:
        assert "balanced into stages" in run.output
    run.assert_nothing_left()


@pytest.mark.parametrize("flags", [["--rule=dgl"], ["--rule=fdg"], ["--rule=fdg", "--norm=batch"]])
def test_every_rule_learns(launch: Callable[..., Launch], flags: list[str]) -> None:
    run = launch("--epochs=10", "--no-baseline", *flags)
    assert run.end() == 0, run.output
    assert run.report()["runs"][0]["test_accuracy"] > 0.8
    run.assert_nothing_left()


@pytest.mark.parametrize(
    "flags",
    [
        ["--targets=bootstrap", "--synthesizer=linear", "--norm=batch"],
        ["--anchor-every=4", "--window=3"],
        ["--anchor-every=4", "--anchor-updates", "--layers=3"],
        ["--rule=dgl", "--layers=2", "--transport=tcp"],
        ["--dtype=bf16", "--layers=6", "--stages=3", "--update-probability=0.5"],
    ],
    ids=" ".join,
)
def test_stages_that_predict_their_inputs_learn(
    launch: Callable[..., Launch], flags: list[str]
) -> None:
    run = launch("--unlock=forward", "--epochs=15", "--no-baseline", *flags)
    assert run.end() == 0, run.output
    (ours,) = run.report()["runs"]
    assert ours["test_accuracy"] > 0.8
    if "--update-probability=0.5" not in flags:
        assert {worker["updates"] for worker in ours["workers"]} == {15 * 12}
    run.assert_nothing_left()


@pytest.mark.parametrize("flags", [["--targets=bootstrap"], ["--anchor-every=3"]])
def test_stages_that_predict_their_inputs_with_a_window_of_one_train_the_same_each_time(
    launch: Callable[..., Launch], flags: list[str]
) -> None:
    """Whatever comes first, what is learnt from it is all learnt before the next batch."""
    trained = []
    for _ in range(2):
        run = launch(
            "--unlock=forward", "--window=1", "--width=64", "--epochs=3", "--no-baseline",
            "--threads-per-worker=1", *flags,
        )  # fmt: skip
        assert run.end() == 0, run.output
        trained.append((run.run_dir / "model.safetensors").read_bytes())
    assert trained[0] == trained[1]


def test_without_backpropagation_only_the_head_learns(launch: Callable[..., Launch]) -> None:
    run = launch("--rule=no-bprop", "--epochs=3", "--no-baseline", "--layers=3")
    assert run.end() == 0, run.output
    (ours,) = run.report()["runs"]
    assert [worker["updates"] for worker in ours["workers"]] == [0, 0, 3 * 12]
    trained = safetensors.torch.load_file(run.run_dir / "model.safetensors")
    drawn = build_network(RunConfig(layers=3), (64,), 10).state_dict()
    unchanged = [name for name in drawn if torch.equal(trained[name], drawn[name])]
    assert unchanged == ["0.0.weight", "0.0.bias", "1.0.weight", "1.0.bias"]
    run.assert_nothing_left()


OWN_RULE = """
from dni_async.decisions.actions import Forward, GiveCredit, Send, Update


class EveryOther:
    "The stages below the head learn from every second batch alone, by a local loss."
    needs_synthesizer, is_exact, anchor_every = True, False, 0

    def __init__(self, config):
        self.batches = 0

    def window(self, asked):
        return asked

    def on_batch(self, batch, *, has_below, has_above):
        forward = Forward(batch.batch_id, keeps_graph=True, returns_gradient=False)
        credit = [GiveCredit((batch.batch_id,))] if has_below else []
        if not has_above:
            return [forward, Update(batch.batch_id, "loss"), *credit]
        self.batches += 1
        update = [Update(batch.batch_id, "synthetic")] if self.batches % 2 else []
        return [forward, Send(batch), *update, *credit]

    def on_returned(self, batch_id, *, has_below):
        return []
"""


def test_a_rule_of_the_users_own_from_another_folder(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    folder = tmp_path / "launch-0"
    folder.mkdir()
    (folder / "myrules.py").write_text(OWN_RULE)
    run = launch("--rule=myrules:EveryOther", "--epochs=8", "--no-baseline")
    assert run.end() == 0, run.output
    (ours,) = run.report()["runs"]
    assert [worker["updates"] for worker in ours["workers"]] == [48, 48, 48, 96]
    assert ours["test_accuracy"] > 0.6
    run.assert_nothing_left()


OWN_SYNTHESIZER = """
import torch


class Constant:
    "Predicts the mean of the gradients that came back for a label."

    def __init__(self, shape, num_labels, optimize, *, device=None):
        self.means = torch.zeros(num_labels, *shape, device=device)

    @property
    def parameters(self):
        return [self.means]

    def predict(self, hidden, labels):
        return self.means[labels]

    def learn(self, hidden, labels, target):
        for label in labels.unique():
            self.means[label] += 0.1 * (target[labels == label].mean(0) - self.means[label])
"""


def test_a_synthesizer_of_the_users_own_from_another_folder(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    folder = tmp_path / "launch-0"
    folder.mkdir()
    (folder / "mysynth.py").write_text(OWN_SYNTHESIZER)
    run = launch(
        "--synthesizer=mysynth:Constant", "--targets=bootstrap", "--epochs=20", "--no-baseline"
    )
    assert run.end() == 0, run.output
    assert run.report()["runs"][0]["test_accuracy"] > 0.3  # the same gradient for a whole class
    assert run.report()["runs"][0]["boundaries"] == []  # its learn does not tell what it predicted
    run.assert_nothing_left()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sgd", "rule: must be one of backprop, dni, dgl, fdg, no-bprop, or package.module:Class"),
        ("no.such:Rule", "rule: cannot import 'no.such'"),
        ("json:loads", "rule: making json:loads raised"),
        ("builtins:id", "rule: builtins:id has no needs_synthesizer"),
    ],
)
def test_what_is_no_rule_is_refused(launch: Callable[..., Launch], name: str, said: str) -> None:
    run = launch(f"--rule={name}")
    assert run.end() == 2
    assert said in run.output


def test_a_run_and_its_baselines_stop_at_the_target(launch: Callable[..., Launch]) -> None:
    run = launch("--epochs=500", "--target-accuracy=0.8", "--early-stop")
    assert run.end() == 0, run.output
    for each in run.report()["runs"]:
        assert each["epochs"][-1]["test_accuracy"] >= 0.8
        assert all(epoch["test_accuracy"] < 0.8 for epoch in each["epochs"][:-1])
        assert each["seconds_to_target"] == pytest.approx(each["train_seconds"], abs=1e-3)
    assert "the target of 80.00% is reached" in run.output
    assert (run.run_dir / "model.safetensors").is_file()
    run.assert_nothing_left()


def test_a_run_of_stages_that_predict_their_inputs_stops_at_the_target(
    launch: Callable[..., Launch],
) -> None:
    """The stages above are ahead of the source when it is drained."""
    flags = ["--target-accuracy=0.6", "--early-stop", "--unlock=forward", "--norm=batch"]
    run = launch("--epochs=500", "--no-baseline", *flags)
    assert run.end() == 0, run.output
    (ours,) = run.report()["runs"]
    assert ours["epochs"][-1]["test_accuracy"] >= 0.6
    assert len(ours["epochs"]) < 500
    assert "the target of 60.00% is reached" in run.output
    assert (run.run_dir / "model.safetensors").is_file()
    run.assert_nothing_left()


def test_memory_is_shared_where_it_can_be(launch: Callable[..., Launch]) -> None:
    shared = launch("--epochs=2", "--no-baseline")
    framed = launch("--epochs=2", "--no-baseline", "--transport=ipc")
    for run in (shared, framed):
        assert run.end() == 0, run.output
    assert shared.report()["runs"][0]["workers"][0]["shared_bytes"] > 20 * 128 * 256 * 4
    assert framed.report()["runs"][0]["workers"][0]["shared_bytes"] == 0


def test_compiled_stages_train(launch: Callable[..., Launch]) -> None:
    run = launch(
        "--compile", "--layers=2", "--norm=batch", "--width=32", "--epochs=8", "--no-baseline"
    )
    assert run.end() == 0, run.output
    assert run.report()["runs"][0]["test_accuracy"] > 0.5
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


def test_the_first_update_of_every_stage_is_timed(launch: Callable[..., Launch]) -> None:
    run = launch("--epochs=1", "--no-baseline")
    assert run.end() == 0, run.output
    (ours,) = run.report()["runs"]
    assert ours["first_update_seconds"] > ours["startup_seconds"] > 0
