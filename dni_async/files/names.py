"""The names of all that a run leaves on disk, for those who write and those who read."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = [
    "BEST",
    "CHECKPOINTS",
    "CONFIG",
    "EVENTS",
    "INVITATION",
    "LOGS",
    "MANIFEST",
    "METRICS",
    "MLFLOW",
    "MODEL",
    "MODEL_STATE",
    "OF_RUN",
    "PART",
    "PROFILE",
    "REPORT",
    "RULE",
    "RUN_EVENTS",
    "TENSORBOARD",
    "TRACE",
    "WANDB",
    "WANDB_ID",
    "WEIGHTS",
    "earlier_events",
    "events",
    "log",
    "partial",
    "shard",
    "spans",
    "start_shard",
    "told_spans",
    "torch_profile",
    "weights",
    "worker",
]

# In the run directory.
CONFIG: Final = "config.toml"
METRICS: Final = "metrics.jsonl"
REPORT: Final = "report.json"
MODEL: Final = "model.safetensors"
MODEL_STATE: Final = "model-state.safetensors"
TRACE: Final = "trace.json"
RULE: Final = "rule.json"  # how it was chosen, of a run that left it open
INVITATION: Final = "invitation"  # how others join, while the run lasts
CHECKPOINTS: Final = "checkpoints"  # a folder, as are those that follow
LOGS: Final = "logs"
PROFILE: Final = "profile"
EVENTS: Final = "events"
WEIGHTS: Final = "weights"
TENSORBOARD: Final = "tensorboard"
MLFLOW: Final = "mlflow.json"  # the run's id there, as in the next
WANDB_ID: Final = "wandb.json"
WANDB: Final = "wandb"  # a folder again
OF_RUN: Final = (
    CONFIG, METRICS, REPORT, MODEL, MODEL_STATE, TRACE, CHECKPOINTS, LOGS, PROFILE, EVENTS,
    WEIGHTS, TENSORBOARD, MLFLOW, WANDB_ID, WANDB, INVITATION, RULE,
)  # fmt: skip

RUN_EVENTS: Final = "run.jsonl"  # beside those of the stages: what the launcher decided
BEST: Final = "best.json"  # among the checkpoints: which of them is the best network
MANIFEST: Final = "manifest.json"  # in the folder of a checkpoint
PART: Final = ".part"  # ends the name of what is not whole yet


def worker(stage: int | str, incarnation: int = 0) -> str:
    """No other worker of the run has the same name."""
    return f"stage-{stage}" + (f".{incarnation}" if incarnation else "")


def events(stage: int | str, incarnation: int = 0) -> str:
    """What a worker heard and decided; with "*", what any worker did."""
    return f"{worker(stage, incarnation)}.jsonl"


def earlier_events(number: int | str) -> str:
    """The folder of events from before the number-th resumption; with "*", before any."""
    return f"{EVENTS}-{number}"


def spans(stage: int | str) -> str:
    """A worker's spans; with "*", any worker's."""
    return f"{worker(stage)}.json"


def told_spans(stage: int | str) -> str:
    """A worker's spans as far as it has got, for who looks on; with "*", any worker's."""
    return f"{worker(stage)}.spans"


def torch_profile(stage: int) -> str:
    """What torch.profiler saw of a stage."""
    return f"torch-{worker(stage)}.json"


def weights(stage: int) -> str:
    """A stage's part of the model."""
    return f"{worker(stage)}.safetensors"


def shard(stage: int | str) -> str:
    """A stage's file of a checkpoint; with "*", any stage's."""
    return f"{worker(stage)}.safetensors"


def start_shard(stage: int) -> str:
    """What a stage starts from where shards were cut anew."""
    return f"start-{stage}.safetensors"


def log(stage: int) -> str:
    """A worker's standard output and error."""
    return f"worker-{stage}.log"


def partial(path: Path, writer: str = "") -> Path:
    """Where path is written until it is whole. writer: tells those apart who write it at once."""
    return path.with_name(f"{path.name}{'.' if writer else ''}{writer}{PART}")
