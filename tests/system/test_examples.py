"""The examples as a user runs them, on less data."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.marked_process import outcome
from tests.system.conftest import Launch

pytestmark = pytest.mark.system
EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_transformer_learns_in_four_workers(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    folder = tmp_path / "launch-0"
    folder.mkdir()
    shutil.copy(EXAMPLES / "transformer.py", folder)
    (folder / "write.py").write_text(
        "import transformer, pathlib as p; transformer.write_data(p.Path('c.npz'), max_samples=320)"
    )
    assert outcome([sys.executable, "-u", str(folder / "write.py")], folder) == (0, "")
    flags = "--model=transformer:model --data=c.npz --stages=4 --batch-size=16 --epochs=3"
    run = launch(*flags.split(), "--no-baseline")
    assert run.end() == 0, run.output
    told = run.report()["runs"][0]
    assert told["num_workers"] == 4
    losses = [epoch["test_loss"] for epoch in told["epochs"]]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.8 * math.log(96)
    run.assert_nothing_left()
