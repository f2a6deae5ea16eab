"""Networks and synthesizers that a run can name, with real processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.system.conftest import Launch

pytestmark = pytest.mark.system
slow = pytest.mark.slow
MLP = "--synthesizer=mlp --synthesizer-layers=0 --synthesizer-lr=0.001"


@pytest.mark.parametrize(
    "flags",
    [
        "--model=cnn --norm=layer --stages=2",
        "--model=cnn --norm=batch --synthesizer=conv --targets=bootstrap --window=1",
        "--model=residual --norm=batch --layers=5",
        f"{MLP} --synthesizer-clip=1 --synthesizer-warmup=20 --targets=bootstrap --window=1",
        *(
            pytest.param(flags, marks=slow)
            for flags in (
                "--model=cnn --norm=batch",
                "--model=cnn --norm=batch --synthesizer-pool=0",
                "--model=residual --layers=4 --rule=fdg",
                "--synthesizer-scale=0.5 --synthesizer-warmup=10",
            )
        ),
    ],
)
def test_every_network_and_synthesizer_trains(launch: Callable[..., Launch], flags: str) -> None:
    """A window of 1 where targets are bootstrapped: 12 batches an epoch are few to be stale for."""
    width = 16 if "--model=cnn" in flags else 64
    run = launch("--epochs=20", "--layers=3", f"--width={width}", "--no-baseline", *flags.split())
    assert run.end() == 0, run.output
    assert run.report()["runs"][0]["test_metrics"]["accuracy"] > 0.8
    if "--stages=2" in flags:
        assert "balanced into stages" in run.output
    run.assert_nothing_left()


def test_a_warm_up_holds_back_exactly_the_updates_it_says(launch: Callable[..., Launch]) -> None:
    """Rule dgl: each of 12 batches an epoch teaches the critic's labels once."""
    run = launch("--rule=dgl", "--epochs=3", "--synthesizer-warmup=10", "--no-baseline")
    assert run.end() == 0, run.output
    workers = run.report()["runs"][0]["workers"]
    assert [worker["updates"] for worker in workers] == [26, 26, 26, 36]


def test_dropout_and_layer_norm_work_in_a_network_of_the_users_own(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    """With anchors, whose inputs are replayed, and as one network again when it is evaluated."""
    folder = tmp_path / "launch-0"
    folder.mkdir()
    (folder / "mynet.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(\n"
        "        nn.Linear(64, 96), nn.LayerNorm(96), nn.ReLU(), nn.Dropout(0.2),\n"
        "        nn.Linear(96, 96), nn.LayerNorm(96), nn.ReLU(), nn.Dropout(0.2),\n"
        "        nn.Linear(96, 10))\n"
    )
    run = launch("--model=mynet:make", "--epochs=12", "--anchor-every=4", "--no-baseline")
    assert run.end() == 0, run.output
    (ours,) = run.report()["runs"]
    assert ours["num_workers"] == 3
    assert ours["test_metrics"]["accuracy"] > 0.85
    run.assert_nothing_left()


def save_images(path: Path, shape: tuple[int, ...]) -> None:
    """Two classes that differ in the brightness of their samples."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    x = rng.normal(size=(200, *shape)).astype(np.float32)
    x += y.reshape(-1, *[1] * len(shape))
    np.savez(path, x_train=x[:160], y_train=y[:160], x_test=x[160:], y_test=y[160:])


@pytest.mark.parametrize(
    "model",
    [[], ["--model=cnn", "--width=4"], pytest.param(["--model=residual"], marks=slow)],
)
def test_samples_need_not_be_flat(
    launch: Callable[..., Launch], tmp_path: Path, model: list[str]
) -> None:
    folder = tmp_path / "launch-0"
    folder.mkdir()
    save_images(folder / "own.npz", (3, 6, 5))
    run = launch("--data=own.npz", "--epochs=10", "--batch-size=20", "--layers=3", *model)
    assert run.end() == 0, run.output
    assert run.report()["runs"][0]["test_metrics"]["accuracy"] > 0.8


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((5,), "model: cnn needs images, [C, H, W], [H, W] or flat squares of 1 or 3 channels"),
        ((6, 6, 3), "model: cnn takes images as [C, H, W], but a sample is [6, 6, 3]"),
    ],
)
def test_a_cnn_of_what_is_no_image_is_refused(
    launch: Callable[..., Launch], tmp_path: Path, shape: tuple[int, ...], said: str
) -> None:
    folder = tmp_path / "launch-0"
    folder.mkdir()
    save_images(folder / "own.npz", shape)
    run = launch("--model=cnn", "--data=own.npz")
    assert run.end() == 2
    assert said in run.output


def test_conv_at_a_boundary_without_images_ends_the_run(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    folder = tmp_path / "launch-0"
    folder.mkdir()
    (folder / "mynet.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10))\n"
    )
    run = launch("--model=mynet:make", "--synthesizer=conv", "--no-baseline")
    assert run.end() == 1
    assert "synthesizer: conv needs activations [B, C, H, W], but these are [B, 6]" in run.output
    run.assert_nothing_left()
