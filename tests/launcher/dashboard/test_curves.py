"""What is drawn over seconds and epochs."""

from __future__ import annotations

from dni_async.launcher.dashboard.curves import learning_of, row_of_run
from tests.launcher.told import EPOCH, decoupled


def test_curves_go_over_seconds_of_training_added_up() -> None:
    run = {
        "name": "dni",
        "kind": "decoupled",
        "metric": "accuracy",
        "epochs": [
            {"epoch": 1, "seconds": 0.5, "train_loss": 2.0, "num_samples": 100,
             "test_metrics": {"accuracy": 0.5}, "test_loss": 1.5},
            {"epoch": 2, "seconds": 0.25, "train_loss": None, "num_samples": 0,
             "test_metrics": {}, "test_loss": None},
        ],
    }  # fmt: skip
    told = learning_of([run])
    (curve,) = told["runs"]
    assert (curve["epochs"], curve["seconds"]) == ([1, 2], [0.5, 0.75])
    assert (curve["train_loss"], curve["test_loss"]) == ([2.0, None], [1.5, None])
    assert (curve["metric"], curve["samples_per_second"]) == ([0.5, None], [200.0, None])
    assert (told["metric"], told["is_share"], told["boundaries"]) == ("accuracy", True, [])


def test_a_run_that_goes_on_gives_the_curves_of_its_report() -> None:
    run = decoupled(EPOCH)
    told = learning_of([row_of_run(run)])
    assert told["runs"][0]["seconds"] == [0.5]
    assert told["boundaries"] == [
        {"stage": 0, "epochs": [1], "cosine": [0.5], "norm_ratio": [0.25], "relative_error": [0.75]}
    ]
