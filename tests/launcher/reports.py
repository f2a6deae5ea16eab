"""Reports as a run would leave them, made up for tests."""

from __future__ import annotations

from typing import Any

__all__ = ["boundary", "link", "report", "worker"]


def worker(stage: int, work: float, **changes: Any) -> dict[str, Any]:
    """A worker that made 100 updates of `work` seconds each, all of it on a core."""
    return {
        "stage": stage,
        "pid": 4711 + stage,
        "device": "cpu",
        "layers": [stage, stage + 1],
        "busy": 0.5,
        "waiting": 0.0,
        "sending": 0.0,
        "updates": 100,
        "max_staleness": 4,
        "max_pending": 4,
        "rss_bytes": 100 * 2**20,
        "waiting_for_credits": 0.0,
        "waiting_for_data": 0.0,
        "train_busy_seconds": work * 100,
        "train_sending_seconds": 0.0,
        "train_cpu_seconds": work * 100,
        "occupancy": 0.5,
        "staleness_median": 1,
        "staleness_p99": 3,
        "frame_bytes": 1_000_000,
        "shared_bytes": 3_000_000,
        "peak_rss_bytes": 200 * 2**20,
        "skipped": 0,
        "replayed": 0,
        "phases": {},
        **changes,
    }


def boundary(stage: int, *cosines: float) -> dict[str, Any]:
    """A boundary that agreed so well in each epoch."""
    return {
        "stage": stage,
        "epochs": [
            {
                "epoch": epoch,
                "num_gradients": 1000,
                "cosine": cosine,
                "relative_error": 1.25,
                "norm_ratio": 0.5 * epoch,
                "staleness_median": 3,
                "staleness_max": 20 - epoch,
            }
            for epoch, cosine in enumerate(cosines, start=1)
        ],
    }


def link(boundary: int, **changes: Any) -> dict[str, Any]:
    """A link over tcp whose credits take 3 ms at least, with a window of 4."""
    return {
        "boundary": boundary,
        "carrier": "tcp",
        "wire_dtype": "same",
        "window": 4,
        "activations": 100,
        "up_bytes": 100_000.0,
        "down_bytes": 1000.0,
        "up_bytes_per_second": 20_000_000,
        "credit_median_seconds": 0.004,
        "credit_least_seconds": 0.003,
        **changes,
    }


def report(
    *workers: dict[str, Any],
    rate: float,
    cores: int = 8,
    baseline: float | None = None,
    **config: Any,
) -> dict[str, Any]:
    """A run of ten batches of 100 samples that passed at `rate` samples per second."""
    rule = config.get("rule", "dni")
    num_workers = len(workers)
    common = {
        "startup_seconds": 1.0,
        "train_seconds": 1000 / rate if rate else 0.0,
        "seconds_to_target": None,
        "test_loss": 2 / 3,
        "test_metrics": {"accuracy": 0.5},
        "metric": "accuracy",
        "mode": "max",
        "best": 0.5,
        "best_epoch": 3,
        "epochs": [
            {
                "epoch": epoch,
                "seconds": 0.5,
                "train_loss": 1 / epoch,
                "test_loss": 2 / epoch,
                "test_metrics": {"accuracy": 0.1 * epoch},
            }
            for epoch in (1, 2, 3)
        ],
    }
    runs = [
        {
            **common,
            "name": rule,
            "kind": "decoupled",
            "rule": rule,
            "is_lockstep": rule == "backprop",
            "num_workers": num_workers,
            "num_threads": num_workers * (config.get("threads_per_worker") or 1),
            "samples_per_second": rate,
            "boundaries": [],
            "workers": list(workers),
        }
    ]
    if baseline is not None:
        one = {
            "num_workers": 1,
            "num_threads": 1,
            "workers": [],
            "boundaries": [],
            "rule": "backprop",
        }
        runs.append(
            {
                **common,
                **one,
                "name": "baseline-1-thread",
                "kind": "baseline",
                "samples_per_second": baseline,
            }
        )
    return {
        "schema": 1,
        "status": "finished",
        "config": {
            "rule": "dni",
            "targets": "bootstrap",
            "batch_size": 100,
            "window": 4,
            "transport": "auto",
            "target": None,
            **config,
        },
        "environment": {"cores": cores, "devices": ["cpu"], "processor": "a processor"},
        "data": {
            "name": "digits",
            "num_train": config.pop("num_train", 100_000),
            "num_test": 200,
            "num_classes": 10,
        },
        "runs": runs,
        "speedup": {"vs_one_thread": 1.5, "vs_all_threads": 0.5},
    }
