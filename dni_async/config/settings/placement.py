"""Settings of what runs where: stages, their devices, and other hosts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from dni_async.config.setting import AT_LEAST_1, POSITIVE, Check, setting

__all__ = ["HostSettings", "StageSettings"]

Partition = Literal["balanced", "even"]
Engine = Literal["own", "ray"]
Rebalance = Literal["off", "on"]
_MOVE = re.compile(r"([0-9]{1,12}):([1-9][0-9]{0,5}(?:\+[1-9][0-9]{0,5})*)")
RayStrategy = Literal["PACK", "SPREAD"]


@dataclass(frozen=True, kw_only=True)
class StageSettings:
    """How the network is cut, and what its stages compute on."""

    stages: int | Literal["auto"] | None = setting(
        None,
        "Group the layers into this many workers; auto: as many as should be fastest on the cores, "
        "by what each layer takes.",
        why="what this program is about; fastest where every worker has a core (0024)",
        check=Check("at least 1", lambda value: value == "auto" or value >= 1),
        resumable=True,
        starts_here=True,
        metavar="N|auto",
        default_text="one per layer",
        counts="workers",
    )
    partition: Partition = setting(
        "balanced",
        "balanced: group layers by the time each takes on a real batch; even: by count.",
        why="equal counts leave one stage with most of the work (0016)",
        resumable=True,
    )
    devices: tuple[str, ...] = setting(
        ("auto",),
        "cpu, cuda, or a list cuda:0,cuda:1,... dealt over the stages in contiguous groups; auto "
        "is every GPU there is, else the CPU.",
        why="what is there",
        resumable=True,
        starts_here=True,
        metavar="DEVICE[,DEVICE...]",
        known=("auto", "cpu", "cuda", "cuda:0"),
    )
    threads_per_worker: int | None = setting(
        None,
        "Compute threads of each worker.",
        why="workers with all threads each take each other's cores: 32 times slower (0010)",
        check=AT_LEAST_1,
        resumable=True,
        default_text="the cores shared out",
    )

    rebalance: Rebalance = setting(
        "off",
        "on: move layers to other workers while the run trains, when a stage has become so slow "
        "that it pays.",
        why="a move is a pause, and makes a checkpoint (0129)",
        resumable=True,
    )
    moves: tuple[str, ...] = setting(
        (),
        "Move layers when that many batches have been trained on: so many layers for each stage.",
        why="who measures himself what is fastest (0129)",
        check=Check(
            "batches and layers such as 500:4+2+1",
            lambda value: all(_MOVE.fullmatch(each) for each in value),
        ),
        resumable=True,
        metavar="BATCHES:LAYERS+LAYERS...[,...]",
        default_text="none",
    )

    @property
    def asked_moves(self) -> list[tuple[int, list[int]]]:
        """Of moves: the batches before each, and how many layers each stage is to hold."""
        found = [_MOVE.fullmatch(each) for each in self.moves]
        return [
            (int(each[1]), [int(count) for count in each[2].split("+")])
            for each in found
            if each is not None
        ]

    @property
    def may_move(self) -> bool:
        """Whether layers may change stages while the run trains."""
        return self.rebalance == "on" or bool(self.moves)

    @property
    def num_stages(self) -> int | None:
        """As many as asked for; None: one per layer, which auto goes down from."""
        return None if self.stages == "auto" else self.stages


@dataclass(frozen=True, kw_only=True)
class HostSettings:
    """Workers that are started elsewhere."""

    workers: tuple[str, ...] = setting(
        ("local",),
        "local: started here; remote: joined from elsewhere by dni-worker --join. A list is dealt "
        "over the stages as devices are.",
        why="one host is where everybody begins",
        resumable=True,
        metavar="local|remote[,...]",
        known=("local", "remote"),
    )
    listen: str | None = setting(
        None,
        "Where remote workers join: an address of this host.",
        why="nothing listens unasked (0070)",
        resumable=True,
        metavar="tcp://HOST:PORT",
        default_text="nowhere",
    )
    join_timeout_s: float = setting(
        600.0,
        "Seconds that remote workers may take to join.",
        why="somebody starts them by hand, or a scheduler does",
        check=POSITIVE,
        resumable=True,
    )
    silent_after_s: float = setting(
        30.0,
        "Seconds of silence after which a remote worker counts as dead.",
        why="longer than a network's usual trouble; who breaks off is noticed at once (0090)",
        check=POSITIVE,
        resumable=True,
    )
    engine: Engine = setting(
        "own",
        "Who starts the workers: own, this launcher; ray, a Ray cluster, which places them and "
        "starts new ones for those that die (pip install 'dni-async[ray]').",
        why="needs nothing else",
        resumable=True,
    )
    address: str | None = setting(
        None,
        "With --engine ray: the cluster, as HOST:PORT; local starts one on this host for the run.",
        why="where Ray itself looks",
        resumable=True,
        metavar="ADDRESS",
        default_text="RAY_ADDRESS, or the one that this host is a node of",
    )
    ray_strategy: RayStrategy = setting(
        "PACK",
        "With --engine ray: PACK workers on few nodes, or SPREAD them.",
        why="neighbours on one node share memory (0092)",
        resumable=True,
    )
    ray_gpus: float = setting(
        0.0,
        "With --engine ray: GPUs of each worker; 0 is a worker on CPUs, 0.5 half of a GPU.",
        why="a cluster need not have any",
        resumable=True,
    )

    @property
    def has_remote(self) -> bool:
        """Whether any worker joins from elsewhere."""
        return "remote" in self.workers or self.engine == "ray"

    @property
    def listen_host(self) -> str:
        """The host of listen, empty where nothing is asked for."""
        return (self.listen or "").removeprefix("tcp://").rpartition(":")[0]
