"""Settings of failures, of what a run is compared with, and of what it writes down."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dni_async.config.setting import (
    AT_LEAST_0,
    AT_LEAST_1,
    NOT_NEGATIVE,
    POSITIVE,
    Check,
    setting,
)

__all__ = ["ComparisonSettings", "FailureSettings", "RecordSettings"]


def _is_interval(value: str) -> bool:
    """Whether value is a positive number of batches, or of seconds with an s."""
    if value.endswith("s"):
        is_one = re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?s", value) is not None
        return is_one and float(value[:-1]) > 0
    return re.fullmatch(r"[1-9][0-9]{0,8}", value) is not None


@dataclass(frozen=True, kw_only=True)
class FailureSettings:
    """What happens when something fails, and what is kept to go on from."""

    start_timeout_s: float = setting(
        60.0,
        "Seconds that workers may take to join.",
        why="64 workers of one host start in 6 s on two cores",
        check=POSITIVE,
        resumable=True,
    )
    max_restarts: int = setting(
        3,
        "Workers that are replaced when they die, in the whole run; after that, and with 0, a "
        "worker's death ends the run.",
        why="one bad moment is outlived, a fault that comes back is not hidden (0060)",
        check=AT_LEAST_0,
        resumable=True,
    )
    stuck_after_s: float = setting(
        120.0,
        "Seconds without a sign of progress after which a worker is shown with its stack, killed "
        "and replaced, whatever it is at; a hundred times as long as that took before, and 10 s at "
        "least (30 s over tcp), are enough. 0 is never.",
        why="the slowest honest pause is shorter (0061)",
        check=NOT_NEGATIVE,
        resumable=True,
    )
    checkpoint_every: str | None = setting(
        None,
        "Make a checkpoint so often, in seconds (30s) or training batches (500).",
        why="runs that last seconds need none",
        check=Check("seconds such as 30s or training batches such as 500", _is_interval),
        resumable=True,
        metavar="SECONDSs|BATCHES",
        default_text="never",
    )
    keep_checkpoints: int = setting(
        3,
        "How many checkpoints are kept, the newest.",
        why="some to fall back on where the newest is damaged",
        check=AT_LEAST_1,
        resumable=True,
    )

    keep_best: bool = setting(
        False,
        "Make a checkpoint after each test of the network, and keep the one with the best value of "
        "the metric; dni_async.load(run_dir, best=True) gives that network.",
        why="the last network is what a run is asked for (0106)",
        resumable=True,
    )

    @property
    def checkpoint_s(self) -> float:
        """Seconds from one checkpoint to the next; 0 where they do not go by time."""
        every = self.checkpoint_every or ""
        return float(every[:-1]) if every.endswith("s") else 0.0

    @property
    def checkpoint_batches(self) -> int:
        """Training batches from one checkpoint to the next; 0 where they do not go by batches."""
        every = self.checkpoint_every or "0"
        return 0 if every.endswith("s") else int(every)


@dataclass(frozen=True, kw_only=True)
class ComparisonSettings:
    """What the run is held against."""

    baseline: bool = setting(
        True,
        "Also train by plain backpropagation in one process, to compare.",
        why="a speed without its baseline says nothing",
        resumable=True,
    )


@dataclass(frozen=True, kw_only=True)
class RecordSettings:
    """What is written down or served while the run lasts."""

    log_every: int | None = setting(
        None,
        "Updates from one point of the curves to the next, in metrics.jsonl and every logger; 0 is "
        "no points.",
        why="a curve that one can see, of a run of any length (0108)",
        check=AT_LEAST_0,
        resumable=True,
        metavar="UPDATES",
        default_text="100 points a run",
    )
    profile: bool = setting(
        False,
        "Record what every worker does when; the run directory gets a trace.json.",
        why="costs a little time and some megabytes",
        resumable=True,
    )
    record_events: bool = setting(
        False,
        "Record what every worker's decisions rest on; dni-report --replay takes them again.",
        why="for finding faults (0071)",
        resumable=True,
    )
    torch_profiler: int | None = setting(
        None,
        "Also run torch.profiler on this stage, for updates 20 to 40.",
        why="slows that stage down",
        check=Check("a stage, counted from 0", lambda value: value >= 0),
        resumable=True,
        metavar="STAGE",
        default_text="on none",
    )
    tensorboard: bool = setting(
        False,
        "Write curves for TensorBoard into the run directory.",
        why="needs a package of its own (0093)",
        resumable=True,
    )
    mlflow: str | None = setting(
        None,
        "Log the run to MLflow: the URI of a server or a database, or a folder for one.",
        why="needs a package of its own (0108)",
        check=Check("a URI or a folder", lambda value: bool(value.strip())),
        resumable=True,
        metavar="URI|FOLDER",
        default_text="nowhere",
    )
    wandb: str | None = setting(
        None,
        "Log the run to this project of Weights & Biases; WANDB_MODE=offline needs no network.",
        why="needs a package of its own, and an account (0108)",
        check=Check("the name of a project", lambda value: bool(value.strip())),
        resumable=True,
        metavar="PROJECT",
        default_text="nowhere",
    )
    metrics_port: int | None = setting(
        None,
        "Serve the run's figures for Prometheus at http://HOST:PORT/metrics; 0 is a free port.",
        why="nothing listens unasked (0093)",
        check=Check("a port, or 0 for a free one", lambda value: 0 <= value < 2**16),
        resumable=True,
        default_text="served nowhere",
    )
    metrics_host: str = setting(
        "127.0.0.1",
        "The address of this machine that they are served at.",
        why="it asks nobody who they are (0093)",
        resumable=True,
    )
    dashboard: bool = setting(
        False,
        "Show the run in a browser while it lasts, at the address that is printed.",
        why="nothing listens unasked; needs packages of its own (0097)",
        resumable=True,
    )
    dashboard_port: int = setting(
        0,
        "The port of the dashboard.",
        why="a bookmark needs one, nothing else does",
        check=Check("a port, or 0 for a free one", lambda value: 0 <= value < 2**16),
        resumable=True,
        default_text="a free one",
    )
    dashboard_host: str = setting(
        "127.0.0.1",
        "The address of this machine that the dashboard is served at; beyond loopback it asks for "
        "a token, which is printed with the address.",
        why="logs and settings are nobody else's business (0097)",
        resumable=True,
    )
    dashboard_url: str | None = setting(
        None,
        "What is printed as its address, where it is reached by another, such as http://HOST:PORT/ "
        "of a port that a container publishes. The token comes behind it.",
        why="only who publishes a port knows where it went (0109)",
        check=Check(
            "http://... or https://... without a query",
            lambda value: value.startswith(("http://", "https://")) and not {"?", "#"} & set(value),
        ),
        resumable=True,
        default_text="its own",
    )
