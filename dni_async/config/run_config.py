"""What a run is: one frozen value, validated when made, read from and written to TOML."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import tomli_w

from dni_async.config.checks import check_together
from dni_async.config.coercion import coerce, unknown_key
from dni_async.config.extensions import is_extension
from dni_async.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Norm = Literal["none", "batch", "layer"]
ModelName = Literal["cnn", "residual"]
RuleName = Literal["backprop", "dni", "dgl", "fdg", "no-bprop"]
Targets = Literal["bootstrap", "anchor"]
Unlock = Literal["update", "forward"]
SynthesizerName = Literal["linear", "mlp", "conv", "critic"]
OptimizerName = Literal["sgd", "adam", "adamw"]
Dtype = Literal["fp32", "bf16"]
WireDtype = Literal["same", "bf16", "fp16", "int8"]
WireRounding = Literal["nearest", "stochastic"]
WireZeros = Literal["send", "omit"]
Schedule = Literal["constant", "linear", "cosine", "step"]
WhenFull = Literal["wait", "skip"]
WhenEmpty = Literal["wait", "replay"]
Partition = Literal["balanced", "even"]
Transport = Literal["auto", "ipc", "tcp"]
Engine = Literal["own", "ray"]
RayStrategy = Literal["PACK", "SPREAD"]

CHOICES: dict[str, tuple[str, ...]] = {
    "norm": get_args(Norm),
    "targets": get_args(Targets),
    "unlock": get_args(Unlock),
    "optimizer": get_args(OptimizerName),
    "lr_schedule": get_args(Schedule),
    "dtype": get_args(Dtype),
    "wire_dtype": get_args(WireDtype),
    "wire_rounding": get_args(WireRounding),
    "wire_zeros": get_args(WireZeros),
    "when_full": get_args(WhenFull),
    "when_empty": get_args(WhenEmpty),
    "partition": get_args(Partition),
    "transport": get_args(Transport),
    "engine": get_args(Engine),
    "ray_strategy": get_args(RayStrategy),
}


# What a resumed run may set anew: none of it changes what has been learnt so far.
RESUMABLE = frozenset(
    {
        "stages", "partition", "devices", "window", "threads_per_worker", "transport", "wire_zeros",
        "start_timeout_s", "stuck_after_s", "engine", "address", "ray_strategy", "ray_gpus",
        "workers", "listen", "join_timeout_s", "silent_after_s", "data_dir", "keys", "epochs",
        "baseline", "target_accuracy", "early_stop", "profile", "torch_profiler",
        "checkpoint_every", "keep_checkpoints", "tensorboard", "metrics_port", "metrics_host",
        "max_restarts", "record_events", "interface", "insecure_without_keys",
    }
)  # fmt: skip

MAX_AUTO_WINDOW = 256
"""As wide as --window auto makes any: 50 ms there and back, and a batch every 0.2 ms."""

_COUNTS = (
    "layers",
    "width",
    "epochs",
    "evaluate_every",
    "batch_size",
    "accumulate",
    "replay_batches",
    "replay_limit",
    "keep_checkpoints",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """One run. Field names are the long options of ``dni-launch`` with underscores.

    Raises ConfigError when a value is out of range or two values do not go together. What
    needs the data or the machine (enough samples, devices that exist) is checked by the launcher.
    """

    # The network.
    layers: int = 4
    width: int = 256
    norm: Norm = "none"
    model: str | None = None  # an MLP; else a ModelName, or "package.module:factory"
    stages: int | Literal["auto"] | None = None  # auto: as are fastest; None: one layer each
    partition: Partition = "balanced"  # with fewer stages than layers
    # The data.
    data: str = "digits"
    data_dir: str | None = None
    # How it learns.
    rule: str = "dni"  # a RuleName, or "package.module:Class"
    targets: Targets = "anchor"
    anchor_every: int = 32  # targets "anchor" only; 0: never
    anchor_updates: bool = False  # an anchor's own gradient is what it updates with
    gradient_shrink: float = 1.0  # rule fdg only: at each boundary
    unlock: Unlock = "update"  # forward: stages predict their inputs too
    synthesizer: str = "critic"  # a SynthesizerName, or "package.module:Class"
    label_conditioning: bool = True
    synthesizer_lr: float | None = None  # None: critic 1e-2, linear and conv 1e-3, mlp 1e-4
    synthesizer_layers: int | None = None  # hidden ones; None: critic 0, mlp and conv 2
    synthesizer_width: int | None = None  # None: mlp 1024, critic and conv the activation's
    synthesizer_pool: int = 4  # critic on images: regions in each direction; 0: every place
    synthesizer_warmup: int = 0  # its updates before its gradients are applied
    synthesizer_scale: float = 1.0  # multiplies its gradients
    synthesizer_clip: float | None = None  # norm of the gradients it learns by
    epochs: int = 10
    evaluate_every: int = 1  # epochs from one test to the next; see tested_at
    batch_size: int = 128
    optimizer: OptimizerName = "adam"
    lr: float = 1e-3
    lr_schedule: Schedule = "constant"
    warmup_updates: int = 0
    clip_norm: float | None = None  # of each stage's own gradients
    update_probability: float = 1.0  # of every stage, at every batch
    accumulate: int = 1  # batches per update
    staleness_power: float = 0.0  # a late gradient's rate is divided by (1 + staleness) ** this
    momentum: float = 0.9  # sgd only
    weight_decay: float = 0.0
    seed: int = 0
    compile: bool = False  # torch.compile of every stage and of the baseline
    dtype: Dtype = "fp32"  # bf16: matrix products by autocast, weights stay fp32
    wire_dtype: WireDtype = "same"
    wire_rounding: WireRounding = "nearest"  # of int8
    wire_zeros: WireZeros = "send"  # omit: activations in frames travel without them
    # Where it runs.
    devices: tuple[str, ...] = ("auto",)
    engine: Engine = "own"  # ray: a Ray cluster places the workers, starts and restarts them
    address: str | None = None  # of that cluster; None: the one of this host, or RAY_ADDRESS
    ray_strategy: RayStrategy = "PACK"  # few nodes, or many
    ray_gpus: float = 0.0  # of each worker there; a fraction is shared
    workers: tuple[str, ...] = ("local",)  # or "remote"; dealt over the stages as devices are
    listen: str | None = None  # tcp://HOST:PORT, where remote workers join
    join_timeout_s: float = 600.0  # that remote workers may take
    silent_after_s: float = 30.0  # then a remote worker counts as dead
    window: int | Literal["auto"] | None = None  # see places and first_window
    when_full: WhenFull = "wait"  # skip: learn on, without sending that batch up
    when_empty: WhenEmpty = "wait"  # replay: learn from the inputs seen last
    replay_batches: int = 16  # kept for when_empty "replay"
    replay_limit: int = 4  # replays of each of them
    transport: Transport = "auto"
    interface: str = "127.0.0.1"  # address of this machine that tcp sockets listen on
    keys: str | None = None  # folder of the keys that they use; see dni-launch keys
    insecure_without_keys: bool = False  # listen beyond loopback, readable and open to tampering
    threads_per_worker: int | None = None  # None: the cores shared out among the workers
    start_timeout_s: float = 60.0
    max_restarts: int = 3  # workers replaced in the whole run
    stuck_after_s: float = 120.0  # without a word from its loop a worker is replaced; 0: never
    # What it is compared with.
    baseline: bool = True
    target_accuracy: float | None = None
    early_stop: bool = False  # after the epoch that reaches the target
    # What is recorded.
    profile: bool = False  # spans of every worker, merged into trace.json
    record_events: bool = False  # what every stage heard and decided
    torch_profiler: int | None = None  # the stage on which torch.profiler runs for a few updates
    tensorboard: bool = False  # curves as event files
    metrics_port: int | None = None  # where figures are served; 0: a free one; None: nowhere
    metrics_host: str = "127.0.0.1"  # the address of this machine that they are served at
    # What is kept, to be resumed.
    checkpoint_every: str | None = None  # seconds ("30s") or training batches ("500")
    keep_checkpoints: int = 3

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            _require(getattr(self, name) in choices, name, f"one of {', '.join(choices)}", self)
        names = f"one of {', '.join(get_args(SynthesizerName))}, or package.module:Class"
        is_known = self.synthesizer in get_args(SynthesizerName) or is_extension(self.synthesizer)
        _require(is_known, "synthesizer", names, self)
        rules = f"one of {', '.join(get_args(RuleName))}, or package.module:Class"
        _require(self.rule in get_args(RuleName) or is_extension(self.rule), "rule", rules, self)
        models = f"one of {', '.join(get_args(ModelName))}, or package.module:factory"
        is_known = self.model in (None, *get_args(ModelName)) or is_extension(str(self.model))
        _require(is_known, "model", models, self)
        for name in _COUNTS:
            _require(getattr(self, name) >= 1, name, "at least 1", self)
        _require(self.num_stages is None or self.num_stages >= 1, "stages", "at least 1", self)
        for name in ("threads_per_worker", "synthesizer_width"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, "at least 1", self)
        is_window = isinstance(self.window, int) and self.window >= 1
        _require(is_window or self.window in (None, "auto"), "window", "at least 1, or auto", self)
        positive = ("lr", "synthesizer_lr", "synthesizer_scale", "synthesizer_clip", "clip_norm")
        for name in (*positive, "start_timeout_s", "join_timeout_s", "silent_after_s"):
            value = getattr(self, name)
            _require(value is None or 0 < value < float("inf"), name, "a positive number", self)
        counts = ("synthesizer_layers", "synthesizer_pool", "synthesizer_warmup")
        for name in ("anchor_every", "warmup_updates", "max_restarts", *counts):
            value = getattr(self, name)
            _require(value is None or value >= 0, name, "at least 0", self)
        for name in ("gradient_shrink", "update_probability"):
            _require(0 < getattr(self, name) <= 1, name, "in (0, 1]", self)
        _require(0 <= self.momentum < 1, "momentum", "in [0, 1)", self)
        for name in ("weight_decay", "staleness_power", "stuck_after_s"):
            _require(0 <= getattr(self, name) < float("inf"), name, "at least 0", self)
        _require(
            self.torch_profiler is None or self.torch_profiler >= 0,
            "torch_profiler",
            "a stage, counted from 0",
            self,
        )
        _require(0 <= self.seed < 2**31, "seed", "in [0, 2**31)", self)
        is_port = self.metrics_port is None or 0 <= self.metrics_port < 2**16
        _require(is_port, "metrics_port", "a port, or 0 for a free one", self)
        if self.target_accuracy is not None:
            _require(0 < self.target_accuracy <= 1, "target_accuracy", "in (0, 1]", self)
        check_together(self)
        if self.checkpoint_every is not None:
            is_one = re.fullmatch(
                r"[1-9][0-9]{0,8}|[0-9]{1,6}(\.[0-9]{1,6})?s", self.checkpoint_every
            )
            every = "seconds such as 30s or training batches such as 500"
            is_positive = self.checkpoint_batches > 0 or self.checkpoint_s > 0 if is_one else False
            _require(is_positive, "checkpoint_every", every, self)

    @property
    def places(self) -> int:
        """The places of every link, as many as its window can ever be."""
        return MAX_AUTO_WINDOW if self.window == "auto" else self.first_window

    @property
    def first_window(self) -> int:
        """The window of every link, with "auto" the one that it begins with.

        As asked; else 16, and 4 where every returned gradient is learnt from and is as stale as
        the window is wide (docs/decisions/0017).
        """
        if isinstance(self.window, int):
            return self.window
        is_stale = self.rule == "fdg" or (self.rule == "dni" and self.targets == "bootstrap")
        return 4 if is_stale else 16

    @property
    def num_stages(self) -> int | None:
        """As many as asked for; None: one per layer, which auto goes down from."""
        return None if self.stages == "auto" else self.stages

    @property
    def has_remote(self) -> bool:
        """Whether any worker joins from elsewhere."""
        return "remote" in self.workers or self.engine == "ray"

    @property
    def listen_host(self) -> str:
        """The host of listen, empty where nothing is asked for."""
        return (self.listen or "").removeprefix("tcp://").rpartition(":")[0]

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

    def fixed(self) -> dict[str, Any]:
        """The settings that a resumed run may not change, as plain values."""
        return {name: v for name, v in self.to_dict().items() if name not in RESUMABLE}

    def tested_at(self, epoch: int) -> int:
        """The end of which epoch the network is tested at next, when this one is trained.

        Every evaluate_every-th and the last one; epochs in between go on without a pause.
        """
        return min(self.epochs, -(-epoch // self.evaluate_every) * self.evaluate_every)

    def ends_at(self, accuracy: float) -> bool:
        """Whether an epoch with this test accuracy is the last one, by early_stop."""
        return (
            self.early_stop
            and self.target_accuracy is not None
            and accuracy >= self.target_accuracy
        )

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values (str, int, float, bool, None, list of str)."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    def to_toml(self) -> str:
        """The run as TOML text; unset values are left out, so it reads back the same."""
        return tomli_w.dumps({k: v for k, v in self.to_dict().items() if v is not None})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunConfig:
        """Check keys and types, then build. Raises ConfigError for what is unknown or ill-typed."""
        known = {f.name: str(f.type) for f in fields(cls)}
        checked: dict[str, Any] = {}
        for key, value in values.items():
            if key not in known:
                raise ConfigError(unknown_key(key, known))
            checked[key] = coerce(key, value, known[key])
        return cls(**checked)


def read_toml(path: Path) -> dict[str, Any]:
    """The keys of a TOML run file, dashes as underscores.

    Raises ConfigError when the file is missing, is no TOML, holds an unknown key or a wrong type.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # also for numbers or nesting without end
        raise ConfigError(f"{path}: is not valid TOML: {error}") from error
    values = {key.replace("-", "_"): value for key, value in values.items()}
    known = {f.name: str(f.type) for f in fields(RunConfig)}
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"{path}: {unknown_key(key, known)}")
        try:
            values[key] = coerce(key, value, known[key])
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
    return values


def _require(ok: bool, name: str, need: str, config: RunConfig) -> None:
    if not ok:
        raise ConfigError(f"{name}: must be {need}, but is {getattr(config, name)!r}")
