"""What a rule costs is counted in products and convolutions, as by hand."""

from __future__ import annotations

from benchmarks.workloads.deep.arithmetic import counted
from dni_async.config.run_config import RunConfig

SIZES = ((64, 16), (16, 16), (16, 10))  # three layers of digits
LAYERS = sum(inputs * outputs for inputs, outputs in SIZES)
SHAPE = {"layers": 3, "width": 16, "norm": "none"}


def test_backpropagation_is_two_forwards_but_for_the_first_layers_input() -> None:
    found = counted(RunConfig(rule="backprop", stages=1, **SHAPE), None)  # type: ignore[arg-type]
    backward = 2 * LAYERS - SIZES[0][0] * SIZES[0][1]
    assert found == {"forward": LAYERS, "backward": backward, "anchors": 0, "synthesizers": 0}


def test_a_local_loss_saves_every_stages_input_and_pays_for_the_critics() -> None:
    found = counted(RunConfig(rule="dgl", **SHAPE), None)  # type: ignore[arg-type]
    # p = A h, the gradient p A, and that of A, of 16 units and 10 classes at two boundaries
    assert found["synthesizers"] == 2 * 3 * 16 * 10
    assert (found["forward"], found["backward"], found["anchors"]) == (LAYERS, LAYERS, 0)


def test_an_anchor_is_carried_down_once_in_its_period() -> None:
    settings = SHAPE | {"anchor_every": 4}
    found = counted(RunConfig(**settings), None)  # type: ignore[arg-type]
    # The middle stage replays its forward and takes the gradient of its inputs; the head takes one.
    assert found["anchors"] == 2 * 16 * 16 / 4
    assert found["backward"] == LAYERS + 16 * 10 / 4
