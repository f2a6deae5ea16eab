"""What a run is: one frozen value, validated when made, read from and written to TOML."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import tomli_w

from dni_async.errors import ConfigError
from dni_async.extensions import is_extension

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Norm = Literal["none", "batch", "layer"]
ModelName = Literal["cnn", "residual"]
RuleName = Literal["backprop", "dni", "dgl", "fdg", "no-bprop"]
Targets = Literal["bootstrap", "anchor"]
SynthesizerName = Literal["linear", "mlp", "conv", "critic"]
OptimizerName = Literal["sgd", "adam", "adamw"]
Dtype = Literal["fp32", "bf16"]
WireDtype = Literal["same", "bf16", "fp16"]
Schedule = Literal["constant", "linear", "cosine", "step"]
Partition = Literal["balanced", "even"]
Transport = Literal["auto", "ipc", "tcp"]

CHOICES: dict[str, tuple[str, ...]] = {
    "norm": get_args(Norm),
    "targets": get_args(Targets),
    "optimizer": get_args(OptimizerName),
    "lr_schedule": get_args(Schedule),
    "dtype": get_args(Dtype),
    "wire_dtype": get_args(WireDtype),
    "partition": get_args(Partition),
    "transport": get_args(Transport),
}


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
    stages: int | None = None  # None: one layer per stage
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
    synthesizer: str = "critic"  # a SynthesizerName, or "package.module:Class"
    label_conditioning: bool = True
    synthesizer_lr: float | None = None  # None: critic 1e-2, linear and conv 1e-3, mlp 1e-4
    synthesizer_layers: int | None = None  # hidden ones of mlp and conv; None: 2
    synthesizer_width: int | None = None  # None: mlp 1024 units, conv the activation's channels
    synthesizer_pool: int = 4  # critic on images: regions in each direction; 0: every place
    synthesizer_warmup: int = 0  # its updates before its gradients are applied
    synthesizer_scale: float = 1.0  # multiplies its gradients
    synthesizer_clip: float | None = None  # norm of the gradients it learns by
    epochs: int = 10
    batch_size: int = 128
    optimizer: OptimizerName = "adam"
    lr: float = 1e-3
    lr_schedule: Schedule = "constant"
    warmup_updates: int = 0
    clip_norm: float | None = None  # of each stage's own gradients
    update_probability: float = 1.0  # of every stage, at every batch
    momentum: float = 0.9  # sgd only
    weight_decay: float = 0.0
    seed: int = 0
    compile: bool = False  # torch.compile of every stage and of the baseline
    dtype: Dtype = "fp32"  # bf16: matrix products by autocast, weights stay fp32
    wire_dtype: WireDtype = "same"
    # Where it runs.
    devices: tuple[str, ...] = ("auto",)
    window: int | None = None  # see places
    transport: Transport = "auto"
    threads_per_worker: int | None = None  # None: the cores shared out among the workers
    start_timeout_s: float = 60.0
    # What it is compared with.
    baseline: bool = True
    target_accuracy: float | None = None
    early_stop: bool = False  # after the epoch that reaches the target
    # What is recorded.
    profile: bool = False  # spans of every worker, merged into trace.json
    torch_profiler: int | None = None  # the stage on which torch.profiler runs for a few updates

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
        for name in ("layers", "width", "epochs", "batch_size"):
            _require(getattr(self, name) >= 1, name, "at least 1", self)
        for name in ("stages", "threads_per_worker", "window", "synthesizer_width"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, "at least 1", self)
        positive = ("lr", "synthesizer_lr", "synthesizer_scale", "synthesizer_clip", "clip_norm")
        for name in (*positive, "start_timeout_s"):
            value = getattr(self, name)
            _require(value is None or 0 < value < float("inf"), name, "a positive number", self)
        counts = ("synthesizer_layers", "synthesizer_pool", "synthesizer_warmup")
        for name in ("anchor_every", "warmup_updates", *counts):
            value = getattr(self, name)
            _require(value is None or value >= 0, name, "at least 0", self)
        for name in ("gradient_shrink", "update_probability"):
            _require(0 < getattr(self, name) <= 1, name, "in (0, 1]", self)
        _require(0 <= self.momentum < 1, "momentum", "in [0, 1)", self)
        _require(0 <= self.weight_decay < float("inf"), "weight_decay", "at least 0", self)
        _require(
            self.torch_profiler is None or self.torch_profiler >= 0,
            "torch_profiler",
            "a stage, counted from 0",
            self,
        )
        _require(0 <= self.seed < 2**31, "seed", "in [0, 2**31)", self)
        if self.target_accuracy is not None:
            _require(0 < self.target_accuracy <= 1, "target_accuracy", "in (0, 1]", self)
        self._check_devices()
        self._check_combinations()

    def _check_devices(self) -> None:
        _require(len(self.devices) >= 1, "devices", "at least one device", self)
        for device in self.devices:
            if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,4})?", device):
                raise ConfigError(
                    f"devices: unknown device {device!r}; use cpu, cuda, or cuda:0,cuda:1,..."
                )
        if len(self.devices) > 1 and "auto" in self.devices:
            raise ConfigError("devices: 'auto' cannot be listed beside other devices")

    def _check_combinations(self) -> None:
        is_own = self.model is not None and is_extension(self.model)
        if not is_own and self.stages is not None and self.stages > self.layers:
            raise ConfigError(
                f"stages: {self.stages} stages need at least as many layers, "
                f"but there are {self.layers}"
            )
        self._check_synthesizer()
        if self.early_stop and self.target_accuracy is None:
            raise ConfigError("early_stop: needs a target_accuracy to stop at")
        if self.rule == "backprop" and self.wire_dtype != "same":
            raise ConfigError("wire_dtype: lockstep backprop is exact; links must keep the dtype")

    def _check_synthesizer(self) -> None:
        if self.rule == "dgl" and self.synthesizer != "critic":
            raise ConfigError(
                "synthesizer: rule dgl learns from labels at each boundary, which critic does alone"
            )
        if (
            self.rule in ("dni", "dgl")
            and self.synthesizer == "critic"
            and not self.label_conditioning
        ):
            raise ConfigError(
                "label_conditioning: the critic is a classifier and needs labels; "
                "use --synthesizer linear or mlp with --no-label-conditioning"
            )
        if self.synthesizer == "conv" and self.model in (None, "residual"):
            raise ConfigError(
                "synthesizer: conv is for activations [B, C, H, W], and this network has none; "
                "use --model cnn or a network of your own"
            )
        for name in ("synthesizer_layers", "synthesizer_width"):
            if getattr(self, name) is not None and self.synthesizer not in ("mlp", "conv"):
                raise ConfigError(
                    f"{name}: is of mlp and conv, but --synthesizer is {self.synthesizer}"
                )
        is_taught = self.targets == "bootstrap" or self.anchor_every > 0
        if self.synthesizer_warmup and self.synthesizer != "critic" and not is_taught:
            raise ConfigError(
                "synthesizer_warmup: with anchor_every 0 no gradient comes back to learn from, and "
                "the warm-up would not end"
            )

    @property
    def places(self) -> int:
        """The window of every link.

        As asked; else 16, and 4 where every returned gradient is learnt from and is as stale as
        the window is wide (docs/decisions/0017).
        """
        if self.window is not None:
            return self.window
        is_stale = self.rule == "fdg" or (self.rule == "dni" and self.targets == "bootstrap")
        return 4 if is_stale else 16

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
            checked[key] = _coerce(key, value, known[key])
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
            values[key] = _coerce(key, value, known[key])
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
    return values


def unknown_key(key: str, known: Mapping[str, object]) -> str:
    """The sentence for a key that is no setting, with the nearest valid name."""
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(known))}"
    return f"unknown key {key!r}{hint}"


def _require(ok: bool, name: str, need: str, config: RunConfig) -> None:
    if not ok:
        raise ConfigError(f"{name}: must be {need}, but is {getattr(config, name)!r}")


def _coerce(key: str, value: Any, annotation: str) -> Any:
    """value as the type that annotation names; ints pass for floats, lists for tuples."""
    kinds = {part.strip() for part in annotation.split("|")}
    if value is None and "None" in kinds:
        return None
    if annotation.startswith("tuple"):
        items = value.split(",") if isinstance(value, str) else value
        if isinstance(items, list | tuple) and all(isinstance(item, str) for item in items):
            return tuple(item.strip() for item in items)
        raise ConfigError(f"{key}: must be a list of strings, but is {value!r}")
    if "bool" in kinds:
        expected: type = bool
    elif "int" in kinds:
        expected = int
    elif "float" in kinds:
        expected = float
        if type(value) is int and abs(value) < 2**1000:
            value = float(value)
    else:
        expected = str
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise ConfigError(f"{key}: must be {expected.__name__}, but is {value!r}")
    return value
