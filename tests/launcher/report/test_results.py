"""The runs of report.json: their keys and digits, which others read."""

from __future__ import annotations

from dni_async.decisions.goal import Goal
from dni_async.launcher.report.results import EpochResult, RestartResult, RunResult
from dni_async.launcher.report.worker_results import LinkResult, WorkerResult
from dni_async.wire.messages import BoundaryEpoch
from tests.launcher.told import counted

THIRD = 1 / 3
WORKER = {
    "stage": 1,
    "pid": 4711,
    "device": "cpu",
    "layers": [2, 4],
    "busy": 0.3333,
    "waiting": 0.5,
    "sending": 0.1667,
    "waiting_for_credits": 0.1111,
    "waiting_for_data": 0.0,
    "train_busy_seconds": 0.3333,
    "train_sending_seconds": 0.6667,
    "train_cpu_seconds": 1.0,
    "updates": 10,
    "skipped": 5,
    "replayed": 6,
    "max_staleness": 3,
    "staleness_median": 1,
    "staleness_p99": 2,
    "max_pending": 2,
    "occupancy": 0.3333,
    "frame_bytes": 30,
    "shared_bytes": 40,
    "rss_bytes": 2**20,
    "peak_rss_bytes": 2**21,
    "phases": {"forward": 0.3333333},
}
LINK = {
    "boundary": 0,
    "carrier": "tcp",
    "wire_dtype": "same",
    "window": 4,
    "activations": 3,
    "up_bytes": 0.3,
    "down_bytes": 0.3,
    "up_bytes_per_second": 7,
    "credit_median_seconds": None,
    "credit_least_seconds": 0.003,
}
RUN = {
    "name": "dni",
    "kind": "decoupled",
    "rule": "dni",
    "is_lockstep": False,
    "num_workers": 2,
    "num_threads": 2,
    "startup_seconds": 0.3333,
    "first_update_seconds": None,
    "train_seconds": 0.3333,
    "samples_per_second": 3000.0,
    "others_cores": 0.33,
    "waiting": None,
    "test_loss": THIRD,
    "test_metrics": {"accuracy": THIRD},
    "metric": "accuracy",
    "mode": "max",
    "best": THIRD,
    "best_epoch": 1,
    "best_checkpoint": None,
    "seconds_to_target": THIRD,
    "stopped": None,
    "epochs": [
        {
            "epoch": 1,
            "seconds": 0.3333,
            "train_loss": THIRD,
            "test_loss": THIRD,
            "test_metrics": {"accuracy": THIRD},
            "num_samples": 1000,
            "num_tested": None,
            "test_seconds": 0.0,
        }
    ],
    "restarts": [
        {"stage": 1, "cause": "killed", "at_seconds": 0.333, "seconds": None},
        {"stage": 0, "cause": "killed", "at_seconds": 1, "seconds": 0.333},
    ],
    "moves": [
        {
            "before": [1, 3],
            "after": [2, 2],
            "at_seconds": 0.333,
            "before_seconds": 0.333333,
            "foretold_seconds": None,
            "stood_still_seconds": None,
            "brought_seconds": 0.333333,
        }
    ],
    "boundaries": [
        {
            "stage": stage,
            "epochs": [
                {
                    "epoch": 1,
                    "num_gradients": 9,
                    "cosine": 0.333333,
                    "relative_error": 0.333333,
                    "norm_ratio": 0.333333,
                    "staleness_median": 2,
                    "staleness_max": 7,
                    "corrected": 0.333333,
                }
            ],
        }
        for stage in (0, 1)
    ],
    "links": [LINK],
    "workers": [WORKER],
}


def test_a_run_has_the_keys_and_digits_that_it_always_had() -> None:
    counters = counted(
        busy_s=1.0, waiting_s=1.5, sending_s=0.5, credit_waiting_s=THIRD, train_busy_s=THIRD,
        train_sending_s=2 / 3, train_cpu_s=1.0, occupancy=THIRD,
    )  # fmt: skip
    goal = Goal("accuracy", "max", target=0.3)
    run = RunResult("dni", "decoupled", "dni", 2, 2, startup_seconds=THIRD, goal=goal)
    run.others_cores = THIRD
    run.epochs = [EpochResult(1, THIRD, THIRD, THIRD, {"accuracy": THIRD}, 1000)]
    run.restarts = [RestartResult(1, "killed", THIRD), RestartResult(0, "killed", 1, THIRD)]
    run.layers = [(0, 1), (1, 4)]
    run.move([(0, 2), (2, 4)], THIRD, THIRD, 0.0)
    run.moves[0].brought_seconds = THIRD
    run.boundaries = [
        BoundaryEpoch("run", stage, 1, 9, THIRD, THIRD, THIRD, 2, 7, THIRD) for stage in (1, 0)
    ]
    run.links = [LinkResult(0, "tcp", "same", 4, 3, THIRD, THIRD, 6.6, None, 0.003)]
    run.workers = [WorkerResult(1, 4711, "cpu", (2, 4), counters, {"forward": THIRD})]
    assert run.to_dict() == RUN


def test_a_baseline_has_the_same_keys() -> None:
    run = RunResult("baseline-1-thread", "baseline", "backprop", 1, 1)
    assert run.to_dict().keys() == RUN.keys()


def test_tests_that_lost_samples_are_neither_the_best_nor_reach_the_target() -> None:
    run = RunResult("dni", "decoupled", "dni", 2, 2, goal=Goal("mae", "min", target=0.5))
    for epoch, (mae, num_tested) in enumerate([(0.9, 10), (0.1, 4), (0.5, 10), (0.7, 10)], start=1):
        run.epochs.append(EpochResult(epoch, 2.0, 1.0, 1.0, {"mae": mae}, 100, num_tested))
    told = run.to_dict()
    assert (told["best"], told["best_epoch"], told["seconds_to_target"]) == (0.5, 3, 6.0)
    assert (run.seconds_to(0.8), run.seconds_to(0.4)) == (6.0, None)


def test_a_run_that_was_never_tested_has_no_best() -> None:
    run = RunResult("dni", "decoupled", "dni", 2, 2, goal=Goal("mae", "min", target=0.5))
    run.epochs.append(EpochResult(1, 2.0, 1.0, None, {}, 100, 0))
    told = run.to_dict()
    assert (told["best"], told["best_epoch"], told["seconds_to_target"]) == (None, 0, None)
