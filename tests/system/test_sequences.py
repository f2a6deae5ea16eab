"""Runs on sequences: ids in, a label for each position."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.conftest import Launch
from tests.system.sequences import write_sequences

pytestmark = pytest.mark.system


@pytest.mark.parametrize(
    "rule",
    [
        "--rule=dni",
        "--rule=fdg --window=1",
        pytest.param("--targets=bootstrap --window=1 --lr=0.003", marks=pytest.mark.slow),
        pytest.param("--rule=dgl", marks=pytest.mark.slow),
    ],
)
def test_every_rule_learns_sequences(
    launch: Callable[..., Launch], tmp_path: Path, rule: str
) -> None:
    """A window of 1 where every gradient comes late: 7 batches an epoch are few to be stale for."""
    flags = write_sequences(tmp_path / "launch-0")
    run = launch(*flags, "--epochs=60", "--lr=0.01", "--anchor-every=8", *rule.split())
    assert run.end() == 0, run.output
    first, *_, last = run.report()["runs"][0]["epochs"]
    assert last["train_loss"] < first["train_loss"] / 4
    assert last["test_metrics"]["accuracy"] > 0.82
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
