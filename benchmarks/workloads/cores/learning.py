"""What is learnt with a core for every layer, and after how many seconds."""

from __future__ import annotations

from typing import Any

from benchmarks.rivals.arms import train_arm
from benchmarks.rivals.held import OURS, train_held
from benchmarks.workloads.cores.rounds import Bench

__all__ = ["learn"]

EPOCHS = 5


def learn(place: Bench, seed: int, epochs: int | None) -> dict[str, Any]:
    """A whole run of ours on its shares, and of backpropagation with all that the machine has.

    What backpropagation learns does not depend on how fast it is, and all rivals learn the same; so
    it is not slowed for that, and the seconds of all come from their rates. Each epoch is [seconds,
    loss, accuracy] after its test: of dni and of backprop. Raises DniError.
    """
    case = place.cell.case
    path = place.folder / "all.npz"
    if not path.exists():
        case.write(path, 0)
    num_epochs = epochs or EPOCHS
    config = case.config(path, epochs=num_epochs, seed=seed)
    ours = train_held(OURS, config, place.groups, microbatches=1).to_dict()
    plain = train_arm(
        "baseline-all-threads", case.config(path, epochs=num_epochs, seed=seed, plain=True)
    )
    return {
        "seed": seed,
        "num_samples": ours["num_samples"],
        "not_comparable": ours["not_comparable"],
        "busy_share": ours["busy_share"],
        "dni": ours["epochs"],
        "backprop": [
            [each.seconds, each.test_loss, each.test_metrics.get("accuracy")]
            for each in plain.epochs
        ],
    }
