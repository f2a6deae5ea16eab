"""A run's configuration: what is accepted reads back the same, what is not is named."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dni_async import ConfigError, RunConfig
from dni_async.config.coercion import unknown_key
from dni_async.config.run_config import read_toml
from dni_async.config.settings import CHOICES, RESUMABLE

EVERY = "checkpoint_every: must be seconds such as 30s or training batches such as 500"
ABOVE_ZERO = st.floats(min_value=1e-30, max_value=1e30)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "synthesizer": st.sampled_from(["linear", "mlp", "critic", "my.own:Class"]),
    "rule": st.sampled_from(["backprop", "dni", "fdg", "no-bprop", "my.rules:Mine"]),
    **{name: st.sampled_from(choices) for name, choices in CHOICES.items()},
    "layers": st.integers(5, 2**31),
    "width": st.integers(1, 2**31),
    "model": st.sampled_from([None, "cnn", "residual", "package.module:factory"]),
    "split": st.just(()),  # of a network of the user's own; see CONFIGS
    "rebalance": st.just("off"),
    "moves": st.just(()),  # see test_moving
    "stages": st.none() | st.integers(1, 5),  # or auto; see CONFIGS
    "loss": st.sampled_from(["cross-entropy", "mse", "my.losses:mine"]),
    "label_smoothing": st.just(0.0),  # of cross-entropy alone
    "ignore_index": st.just(-100),
    "data": st.text(),
    "data_dir": st.none() | st.text(),
    "anchor_every": st.integers(0, 2**31),
    "anchor_updates": st.booleans(),
    "foretell_weights": st.booleans(),
    "early_stop": st.just(False),
    "optimizer": st.sampled_from(["sgd", "adam", "adamw", "muon", "torch.optim:NAdam"]),
    "lr_schedule": st.sampled_from(["constant", "linear", "cosine", "step", "my.own:schedule"]),
    "warmup_updates": st.integers(0, 2**31),
    "clip_norm": st.none() | st.floats(0, 1e6, exclude_min=True),
    "update_probability": st.floats(0, 1, exclude_min=True),
    "gradient_shrink": st.floats(0, 1, exclude_min=True),
    "accumulate": st.integers(1, 9),
    "staleness_power": st.floats(0, 3),
    "when_full": st.just("wait"),
    "when_empty": st.just("wait"),
    "replay_batches": st.integers(1, 99),
    "replay_limit": st.integers(1, 99),
    "compile": st.booleans(),
    "synthesizer_lr": st.none() | ABOVE_ZERO,
    "synthesizer_layers": st.none(),  # of mlp and conv alone; see CONFIGS
    "synthesizer_width": st.none(),
    "synthesizer_pool": st.integers(0, 2**31),
    "synthesizer_warmup": st.just(0),
    "synthesizer_scale": ABOVE_ZERO,
    "synthesizer_clip": st.none() | ABOVE_ZERO,
    "epochs": st.integers(1, 2**31),
    "batch_size": st.integers(1, 2**31),
    "lr": ABOVE_ZERO,
    "momentum": st.floats(0, 1, exclude_max=True),
    "weight_decay": st.floats(0, 1e30),
    "seed": st.integers(0, 2**31 - 1),
    "devices": st.sampled_from([("auto",), ("cpu",), ("cpu", "cpu"), ("cuda:0", "cuda:12")]),
    "evaluate_every": st.integers(1, 2**31),
    "updates_per_epoch": st.none() | st.integers(1, 2**31),
    "window": st.none() | st.just("auto") | st.integers(1, 2**31),
    "workers": st.just(("local",)),  # remote ones need more; see CONFIGS
    "listen": st.none(),
    "engine": st.just("own"),  # ray: see CONFIGS
    "address": st.none(),
    "ray_gpus": st.just(0.0),
    "join_timeout_s": ABOVE_ZERO,
    "silent_after_s": ABOVE_ZERO,
    "interface": st.just("127.0.0.1"),  # another needs more; see CONFIGS
    "keys": st.none(),
    "threads_per_worker": st.none() | st.integers(1, 256),
    "start_timeout_s": ABOVE_ZERO,
    "max_restarts": st.integers(0, 2**31),
    "stuck_after_s": st.floats(0, 1e30),
    "baseline": st.booleans(),
    "metrics": st.none()
    | st.lists(st.sampled_from(["iou", "top-3", "a=b:c", "loss"]), unique=True).map(tuple),
    "metric": st.none() | st.sampled_from(["loss", "mae"]),
    "metric_mode": st.none() | st.sampled_from(["max", "min"]),
    "target": st.none() | st.floats(0, 1, exclude_min=True),
    "patience": st.none() | st.integers(1, 2**31),
    "profile": st.booleans(),
    "record_events": st.booleans(),
    "torch_profiler": st.none() | st.integers(0, 2**31),
    "mlflow": st.none() | st.just("runs"),
    "wandb": st.none() | st.just("project"),
    "log_every": st.none() | st.integers(0, 1000),
    "tensorboard": st.booleans(),
    "metrics_port": st.none() | st.integers(0, 65535),
    "metrics_host": st.text(),
    "dashboard": st.booleans(),
    "dashboard_port": st.integers(0, 65535),
    "dashboard_host": st.text(),
    "dashboard_url": st.none() | st.sampled_from(["http://127.0.0.1:8417/", "https://a.b/c/"]),
    "checkpoint_every": st.sampled_from([None, "500", "30s", "0.5s"]),
    "keep_checkpoints": st.integers(1, 99),
    "keep_best": st.booleans(),
}
# Lockstep keeps the dtype on its links, forward is not for every rule; all else goes together.
CONFIGS = st.one_of(
    st.builds(RunConfig, **{**VALUES, "rule": st.just("dni")}),
    st.builds(RunConfig, **{**VALUES, "rule": st.just("dni"), "stages": st.just("auto")}),
    st.builds(
        RunConfig,
        rule=st.sampled_from(["dni", "dgl", "my.own:Class"]),
        when_full=st.sampled_from(["wait", "skip"]),
        when_empty=st.sampled_from(["wait", "replay"]),
    ),
    st.builds(RunConfig, **{**VALUES, "wire_dtype": st.just("same"), "unlock": st.just("update")}),
    st.builds(
        RunConfig,
        synthesizer=st.sampled_from(["mlp", "conv"]),
        model=st.just("cnn"),
        synthesizer_layers=st.none() | st.integers(0, 2**31),
        synthesizer_width=st.none() | st.integers(1, 2**31),
        synthesizer_warmup=st.integers(0, 2**31),
    ),
    st.builds(
        RunConfig,
        transport=st.just("tcp"),
        interface=st.sampled_from(["127.0.0.1", "10.1.2.3"]),
        keys=st.text(min_size=1),
    ),
    st.builds(
        RunConfig,
        model=st.just("package.module:factory"),
        split=st.sampled_from([(), ("auto",), ("layer2.1", "fc"), ("my.own:places",)]),
    ),
    st.builds(RunConfig, target=st.floats(0.1, 1), early_stop=st.booleans()),
    st.builds(
        RunConfig,
        engine=st.just("ray"),
        address=st.sampled_from([None, "local", "10.1.2.3:6379"]),
        ray_gpus=st.floats(0, 1) | st.integers(2, 2**31 - 1).map(float),
        listen=st.sampled_from([None, "tcp://10.1.2.3:0"]),
        keys=st.text(min_size=1),
    ),
    st.builds(
        RunConfig,
        workers=st.sampled_from([("remote",), ("local", "remote")]),
        listen=st.sampled_from(["tcp://10.1.2.3:5555", "tcp://0.0.0.0:1", "tcp://localhost:0"]),
        keys=st.text(min_size=1),
    ),
)


@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(config=CONFIGS)
def test_every_config_reads_back_from_toml_and_dict(config: RunConfig, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(config.to_toml(), encoding="utf-8")
    assert RunConfig.from_dict(read_toml(path)) == config
    assert RunConfig.from_dict(config.to_dict()) == config


def test_every_field_is_varied_above() -> None:
    varied = {*VALUES, "label_conditioning"}  # which the critic needs
    assert varied == {field.name for field in dataclasses.fields(RunConfig)}


def test_a_config_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().layers = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": 0}, "layers: must be at least 1, but is 0"),
        ({"keep_checkpoints": 0}, "keep_checkpoints: must be at least 1"),
        ({"metric_mode": "maxx"}, "metric_mode: must be one of max, min, but is 'maxx'; did"),
        *(
            (
                {"checkpoint_every": every},
                f"{EVERY}, but is {every!r}",
            )
            for every in ("", "0", "-5", "0s", "0.0s", "s", "often", "1.5", "5 s", "1e3s")
        ),
        ({"width": -1}, "width: must be at least 1, but is -1"),
        ({"epochs": 0}, "epochs: must be at least 1"),
        ({"batch_size": 0}, "batch_size: must be at least 1"),
        ({"window": 0}, "window: must be at least 1"),
        ({"window": "wide"}, "window: must be at least 1, or auto"),
        ({"stages": 0}, "stages: must be at least 1"),
        ({"threads_per_worker": 0}, "threads_per_worker: must be at least 1"),
        ({"lr": 0.0}, "lr: must be a positive number, but is 0.0"),
        ({"lr": float("nan")}, "lr: must be a positive number, but is nan"),
        ({"lr": float("inf")}, "lr: must be a positive number, but is inf"),
        ({"synthesizer_lr": -1.0}, "synthesizer_lr: must be a positive number"),
        ({"start_timeout_s": 0.0}, "start_timeout_s: must be a positive number"),
        ({"max_restarts": -1}, "max_restarts: must be at least 0, but is -1"),
        ({"stuck_after_s": -1.0}, "stuck_after_s: must be at least 0, but is -1.0"),
        ({"stuck_after_s": float("inf")}, "stuck_after_s: must be at least 0"),
        ({"anchor_every": -1}, "anchor_every: must be at least 0, but is -1"),
        ({"torch_profiler": -1}, "torch_profiler: must be a stage, counted from 0, but is -1"),
        ({"momentum": 1.0}, "momentum: must be in [0, 1), but is 1.0"),
        ({"momentum": -0.1}, "momentum: must be in [0, 1)"),
        ({"weight_decay": float("nan")}, "weight_decay: must be at least 0"),
        ({"weight_decay": float("inf")}, "weight_decay: must be at least 0"),
        ({"seed": -1}, "seed: must be in [0, 2**31)"),
        ({"seed": 2**31}, "seed: must be in [0, 2**31)"),
        ({"target": float("nan")}, "target: must be a finite number"),
        (
            {"target": 97.0, "metric": "accuracy"},
            "target: accuracy is a share, so it must be in (0, 1], but is 97.0",
        ),
        ({"patience": 0}, "patience: must be at least 1"),
        ({"metric": "none"}, "metric: must be loss or another metric with a name (accuracy, "),
        ({"metrics": ("acuracy",)}, "metrics: each must be one of accuracy, "),
        ({"metrics": ("f=a:b", "a:f")}, "metrics: two are called 'f'; give one another name"),
        ({"metrics": ("loss=a:b",)}, "metrics: 'loss' cannot be the name of one"),
        ({"norm": "group"}, "norm: must be one of none, batch, layer, but is 'group'"),
        ({"rule": "sgd"}, "rule: must be one of backprop, dni"),
        ({"targets": ""}, "targets: must be one of bootstrap, anchor"),
        ({"synthesizer": "cnn"}, "synthesizer: must be one of linear, mlp, conv, critic"),
        (
            {"split": ("layer2",)},
            "split: is for a network of your own, but the layers of the MLP are known; leave it",
        ),
        (
            {"model": "a.b:c", "split": ("layer2", "")},
            "split: must be names of modules, but is 'layer2,'",
        ),
        (
            {"model": "a.b:c", "split": ("auto", "fc")},
            "split: 'auto' cannot be listed beside names",
        ),
        (
            {"optimizer": "lion"},
            "optimizer: must be one of sgd, adam, adamw, muon, or package.module:fac",
        ),
        ({"optimizer": "nadam"}, "but is 'nadam'; did you mean 'torch.optim:NAdam'?"),
        ({"optimizer": "Adam"}, "did you mean 'adam'?"),
        ({"lr_schedule": "cosin"}, "but is 'cosin'; did you mean 'cosine'?"),
        ({"dtype": "fp8"}, "dtype: must be one of fp32"),
        ({"wire_zeros": "no"}, "wire_zeros: must be one of send, omit"),
        ({"wire_rounding": "up"}, "wire_rounding: must be one of nearest, stochastic"),
        ({"wire_dtype": "int4"}, "wire_dtype: must be one of same, bf16, fp16, int8"),
        *(
            ({"rule": "backprop", "wire_dtype": lossy}, "wire_dtype: rule backprop is exact")
            for lossy in ("bf16", "fp16", "int8")
        ),
        ({"transport": "udp"}, "transport: must be one of auto, ipc, tcp"),
        ({"devices": ()}, "devices: must be at least one device"),
        ({"devices": ("tpu",)}, "devices: unknown device 'tpu'"),
        ({"devices": ("cpu:0",)}, "devices: unknown device 'cpu:0'"),
        ({"devices": ("cuda:",)}, "devices: unknown device 'cuda:'"),
        ({"devices": ("cuda:x",)}, "devices: unknown device 'cuda:x'"),
        ({"devices": ("cuda:-1",)}, "devices: unknown device 'cuda:-1'"),
        ({"devices": ("cuda:\N{SUPERSCRIPT TWO}",)}, "devices: unknown device"),
        ({"devices": ("auto:0",)}, "devices: unknown device 'auto:0'"),
        ({"devices": ("cpu", "auto")}, "devices: 'auto' cannot be listed beside other devices"),
        (
            {"model": "module"},
            "model: must be one of cnn, residual, or package.module:factory, but is",
        ),
        ({"model": ":factory"}, "model: must be one of cnn, residual"),
        ({"model": "module:"}, "model: must be one of cnn, residual"),
        ({"model": "a:b:c"}, "model: must be one of cnn, residual"),
        ({"model": "cnn", "stages": 5}, "stages: 5 stages need at least as many layers"),
        ({"synthesizer": "conv"}, "synthesizer: conv is for activations [B, C, H, W]"),
        (
            {"synthesizer": "linear", "synthesizer_layers": 1},
            "synthesizer_layers: is of mlp, conv, critic and copy, but --synthesizer is linear",
        ),
        (
            {"synthesizer": "copy", "synthesizer_layers": 1, "synthesizer_width": 8},
            "synthesizer_width: is of mlp, conv and critic, but --synthesizer is copy",
        ),
        ({"synthesizer_width": 8}, "synthesizer_width: is of hidden layers, and the critic has"),
        (
            {"synthesizer_width": 8, "synthesizer_layers": 0},
            "synthesizer_width: is of hidden layers, and the critic has",
        ),
        ({"synthesizer_width": 0}, "synthesizer_width: must be at least 1"),
        ({"synthesizer_layers": -1}, "synthesizer_layers: must be at least 0"),
        ({"synthesizer_pool": -1}, "synthesizer_pool: must be at least 0"),
        ({"synthesizer_warmup": -1}, "synthesizer_warmup: must be at least 0"),
        ({"synthesizer_scale": 0.0}, "synthesizer_scale: must be a positive number"),
        ({"synthesizer_clip": -1.0}, "synthesizer_clip: must be a positive number"),
        (
            {"synthesizer": "linear", "anchor_every": 0, "synthesizer_warmup": 1},
            "synthesizer_warmup: with anchor_every 0 no gradient comes back",
        ),
        ({"stages": 5}, "stages: 5 stages need at least as many layers, but layers is 4"),
        ({"stages": "auto", "rule": "backprop"}, "stages: auto looks for the fastest line, but"),
        (
            {"stages": "auto", "workers": ("remote",), "listen": "tcp://127.0.0.1:0"},
            "stages: auto counts the cores of this host, but workers are to join from others",
        ),
        ({"stages": "auto", "engine": "ray"}, "stages: auto counts the cores of this host"),
        ({"label_conditioning": False}, "label_conditioning: the critic is a classifier"),
        ({"accumulate": 0}, "accumulate: must be at least 1"),
        ({"replay_limit": 0}, "replay_limit: must be at least 1"),
        ({"staleness_power": -1.0}, "staleness_power: must be at least 0"),
        ({"when_full": "drop"}, "when_full: must be one of wait, skip"),
        ({"when_full": "skip", "rule": "fdg"}, "when_full: skip needs a rule that updates"),
        ({"when_empty": "replay", "rule": "backprop"}, "when_empty: replay needs a rule"),
        ({"when_full": "skip", "anchor_updates": True}, "anchor_updates: an anchor that is"),
        (
            {"when_empty": "replay", "unlock": "forward"},
            "when_empty: with --unlock forward no stage waits",
        ),
        ({"interface": "localhost"}, "interface: must be one IPv4 address of this machine"),
        ({"interface": "0.0.0.0"}, "interface: must be one IPv4 address of this machine"),
        ({"interface": "10.1.2.3"}, "interface: is for --transport tcp, but that is auto"),
        ({"keys": "k"}, "keys: is for --transport tcp, but that is auto"),
        ({"address": "10.1.2.3:6379"}, "address: is for engine ray, but that is own"),
        ({"ray_gpus": 1.0}, "ray_gpus: is for engine ray, but that is own"),
        ({"engine": "ray", "ray_gpus": 1.5}, "ray_gpus: must be a fraction of a GPU or a number"),
        ({"engine": "ray", "ray_gpus": -1.0}, "ray_gpus: must be a fraction of a GPU or a number"),
        ({"engine": "ray", "transport": "ipc"}, "transport: ipc reaches no other host"),
        (
            {"engine": "ray", "listen": "tcp://127.0.0.1:5", "workers": ("local", "remote")},
            "workers: with engine ray Ray places them all",
        ),
        ({"early_stop": True}, "early_stop: needs a target to stop at"),
        ({"unlock": "backward"}, "unlock: must be one of update, forward, but is 'backward'"),
        ({"rule": "backprop", "unlock": "forward"}, "unlock: forward is for stages that wait for"),
        (
            {"rule": "fdg", "unlock": "forward"},
            "with rule fdg they wait for gradients; use it with",
        ),
        (
            {"rule": "dgl", "synthesizer": "linear"},
            "synthesizer: rule dgl learns from labels at each boundary, which critic and copy do",
        ),
        (
            {"synthesizer": "oracle"},
            "synthesizer: must be one of linear, mlp, conv, critic, copy, or package",
        ),
        (
            {"rule": "a:b:c"},
            "rule: must be one of backprop, dni, dgl, fdg, no-bprop, auto, or package",
        ),
        ({"gradient_shrink": 0.0}, "gradient_shrink: must be in (0, 1]"),
        ({"update_probability": 1.5}, "update_probability: must be in (0, 1]"),
        ({"clip_norm": 0.0}, "clip_norm: must be a positive number"),
        ({"warmup_updates": -1}, "warmup_updates: must be at least 0"),
        ({"lr_schedule": "none"}, "lr_schedule: must be one of constant, linear, cosine, step"),
    ],
)
def test_values_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        RunConfig(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"synthesizer": "conv", "model": "cnn"},
        {"synthesizer": "conv", "model": "m:f"},
        {"synthesizer": "mlp", "synthesizer_layers": 0, "synthesizer_width": 8},
        {"synthesizer_layers": 0},
        {"rule": "dgl", "synthesizer": "copy", "synthesizer_layers": 2, "synthesizer_warmup": 3},
        {"synthesizer_layers": 2, "synthesizer_width": 8, "rule": "dgl"},
        {"synthesizer_warmup": 5, "rule": "dgl"},
        {"synthesizer_warmup": 5, "anchor_every": 0},  # the critic learns from labels
        {"stages": 5, "model": "m:f"},  # how many layers a model has shows when it is built
        {"label_conditioning": False, "synthesizer": "linear"},
        {"label_conditioning": False, "synthesizer": "mlp"},
        {"label_conditioning": False, "rule": "backprop"},
        {"devices": ("cuda", "cpu", "cuda:3")},
        {"engine": "ray", "ray_gpus": 0.25},
        {"engine": "ray", "ray_gpus": 2.0, "keys": "k", "listen": "tcp://10.1.2.3:0"},
    ],
)
def test_values_that_go_together(values: dict[str, Any]) -> None:
    RunConfig(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": "3"}, "layers: must be int, but is '3'"),
        ({"layers": 3.0}, "layers: must be int, but is 3.0"),
        ({"layers": True}, "layers: must be int, but is True"),
        ({"layers": None}, "layers: must be int, but is None"),
        ({"stages": False}, "stages: must be int or auto, but is False"),
        ({"stages": "most"}, "stages: must be int or auto, but is 'most'"),
        ({"lr": True}, "lr: must be float, but is True"),
        ({"lr": "fast"}, "lr: must be float, but is 'fast'"),
        ({"lr": 10**400}, "lr: must be float"),
        ({"baseline": 1}, "baseline: must be bool, but is 1"),
        ({"data": 5}, "data: must be str, but is 5"),
        ({"norm": ["batch"]}, "norm: must be str, but is ['batch']"),
        ({"devices": 5}, "devices: must be a list of strings, but is 5"),
        ({"devices": ["cpu", 1]}, "devices: must be a list of strings"),
        ({"layer": 3}, "unknown key 'layer'; did you mean 'layers'?"),
    ],
)
def test_values_of_the_wrong_type(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        RunConfig.from_dict(values)


def test_lenient_spellings() -> None:
    config = RunConfig.from_dict({"devices": "cuda:0, cuda:1", "lr": 1, "data_dir": None})
    assert config.devices == ("cuda:0", "cuda:1")
    assert config.lr == 1.0
    assert isinstance(config.lr, float)


def test_keys_of_a_file_may_have_dashes(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('batch-size = 32\ndevices = ["cpu", "cpu"]\nlr = 1\n', encoding="utf-8")
    assert read_toml(path) == {"batch_size": 32, "devices": ("cpu", "cpu"), "lr": 1.0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"layers = ", "is not valid TOML"),
        (b"layers = 3\nlayers = 4", "is not valid TOML"),
        (b'data = "\xff"', "is not valid TOML"),
        (b"layers = " + b"9" * 5000, "is not valid TOML"),
        (b"layers = " + b"[" * 5000, "is not valid TOML"),
        (b"batchsize = 32", "unknown key 'batchsize'; did you mean 'batch_size'?"),
        (b"[network]\nlayers = 3", "unknown key 'network'"),
        (b'layers = "3"', "layers: must be int, but is '3'"),
        (b"seed = 1979-05-27", "seed: must be int"),
    ],
)
def test_files_that_are_no_run(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(f"{path}: {message}")):
        read_toml(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_toml(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_toml(tmp_path)


def test_a_key_like_no_other_lists_those_there_are() -> None:
    assert unknown_key("zzz", {"b": 1, "a": 2}) == "unknown key 'zzz'; known: a, b"


@pytest.mark.parametrize(
    ("every", "seconds", "batches"),
    [(None, 0, 0), ("500", 0, 500), ("30s", 30, 0), ("0.5s", 0.5, 0)],
)
def test_checkpoints_go_by_seconds_or_by_batches(
    every: str | None, seconds: float, batches: int
) -> None:
    config = RunConfig(checkpoint_every=every)
    assert (config.checkpoint_s, config.checkpoint_batches) == (seconds, batches)


def test_what_a_resumed_run_keeps_is_all_but_what_may_change() -> None:
    fixed = RunConfig(stages=2, lr=0.5).fixed()
    assert fixed["lr"] == 0.5
    assert not fixed.keys() & RESUMABLE
    assert fixed.keys() | RESUMABLE == {field.name for field in dataclasses.fields(RunConfig)}


@pytest.mark.parametrize(
    "changed",
    [
        {"max_restarts": 9},  # a run that is out of them
        {"record_events": True},
        {"interface": "127.0.0.2"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_does_not_change_what_is_learnt_may_be_set_anew(changed: dict[str, Any]) -> None:
    assert RunConfig(**changed).fixed() == RunConfig().fixed()
