"""Runs whose stages predict their inputs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.system.conftest import Launch

pytestmark = pytest.mark.system


@pytest.mark.parametrize(
    "flags",
    [
        "--targets=bootstrap --synthesizer=linear --norm=batch",
        "--anchor-every=4 --anchor-updates --window=3 --layers=3",
        "--rule=dgl --layers=2 --transport=tcp",
    ],
)
def test_stages_that_predict_their_inputs_learn(launch: Callable[..., Launch], flags: str) -> None:
    run = launch("--unlock=forward", "--epochs=15", "--no-baseline", *flags.split())
    assert run.end() == 0, run.output
    (ours,) = run.report()["runs"]
    assert ours["test_metrics"]["accuracy"] > 0.8
    assert {worker["updates"] for worker in ours["workers"]} == {15 * 12}
    run.assert_nothing_left()


def test_stages_that_predict_their_inputs_with_a_window_of_one_train_the_same_each_time(
    launch: Callable[..., Launch],
) -> None:
    """Whatever comes first, what is learnt from it is all learnt before the next batch."""
    trained = []
    for _ in range(2):
        run = launch(
            "--unlock=forward", "--window=1", "--width=64", "--epochs=3", "--no-baseline",
            "--threads-per-worker=1", "--anchor-every=3",
        )  # fmt: skip
        assert run.end() == 0, run.output
        trained.append((run.run_dir / "model.safetensors").read_bytes())
    assert trained[0] == trained[1]


def test_a_run_of_stages_that_predict_their_inputs_stops_at_the_target(
    launch: Callable[..., Launch],
) -> None:
    """The stages above are ahead of the source when it is drained."""
    flags = ["--target=0.6", "--early-stop", "--unlock=forward", "--norm=batch"]
    run = launch("--epochs=500", "--no-baseline", *flags)
    assert run.end() == 0, run.output
    (ours,) = run.report()["runs"]
    assert ours["epochs"][-1]["test_metrics"]["accuracy"] >= 0.6
    assert len(ours["epochs"]) < 500
    assert "the target is reached: accuracy is 0." in run.output
    assert (run.run_dir / "model.safetensors").is_file()
    run.assert_nothing_left()
