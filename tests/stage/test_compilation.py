"""Compiling: what it needs is looked for, what lies in a graph's memory leaves it as a copy."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

import pytest
import torch
from torch import nn

from dni_async import ConfigError
from dni_async.stage.compilation import check_compiler, out_of_pool, warm_up
from dni_async.stage.descent.optimizers import Adam
from dni_async.stage.descent.updates import Updates
from dni_async.stage.draws import Draws
from dni_async.stage.layers import StageLayers
from dni_async.stage.losses.catalog import make_loss
from dni_async.stage.stage import Stage
from tests.stage.test_stage import random


def put_compiler(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one program on the path."""
    (folder / name).symlink_to(shutil.which("true") or "/bin/true")
    monkeypatch.setenv("PATH", str(folder))
    for variable in ("CC", "CXX"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.skipif(sys.platform != "linux", reason="other compilers elsewhere")
@pytest.mark.parametrize(
    ("there", "device", "missing"),
    [("gcc", "cpu", r"a C\+\+ compiler, but 'g\+\+' is not"), ("g++", "cuda:1", "a C compiler")],
)
def test_each_kind_of_device_needs_its_own_compiler(
    there: str, device: str, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_compiler(tmp_path, there, monkeypatch)
    with pytest.raises(ConfigError, match=missing):
        check_compiler([device])
    check_compiler([{"cpu": "cuda:0", "cuda:1": "cpu"}[device]])


def test_the_compiler_that_the_environment_names_is_the_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(ConfigError, match=r"'no-such-compiler' is not there \(set CC\)"):
        check_compiler(["cuda:0"])


@pytest.mark.skipif(sys.platform != "linux", reason="headers lie elsewhere")
def test_the_headers_of_python_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_compiler(tmp_path, "g++", monkeypatch)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(ConfigError, match=r"needs Python\.h"):
        check_compiler(["cpu"])
    (tmp_path / "Python.h").touch()
    check_compiler(["cpu"])


class _Pooled(torch.autograd.Function):
    """x * x, whose results lie where those of the last call lay, as a CUDA graph's do."""

    forward_memory, backward_memory = torch.empty(2, 3), torch.empty(2, 3)

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: torch.Tensor) -> torch.Tensor:
        """Into the one place for outputs."""
        ctx.save_for_backward(x)
        return torch.mul(x, x, out=_Pooled.forward_memory)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: torch.Tensor) -> torch.Tensor:
        """Into the one place for gradients."""
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return torch.mul(2 * x, grads[0], out=_Pooled.backward_memory)


def test_nothing_that_a_graph_gave_is_written_again() -> None:
    run = out_of_pool(_Pooled.apply)
    first, second = random(2, 3).requires_grad_(), random(2, 3, seed=2).requires_grad_()
    early = run(first)
    early.backward(torch.ones(2, 3))
    late = run(second)
    late.backward(torch.ones(2, 3))
    for inputs, outputs in ((first, early), (second, late)):
        torch.testing.assert_close(outputs, inputs * inputs)
        torch.testing.assert_close(inputs.grad, 2 * inputs)


def test_warming_up_leaves_a_stage_and_the_generators_as_they_were() -> None:
    layers = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout())
    computed = StageLayers(layers, has_below=True, draws=Draws(0, 0, [0]))
    stage = Stage(
        1,
        computed,
        Updates(layers, Adam(layers.parameters(), lr=0.1)),
        loss=make_loss("cross-entropy", (3,)),
    )
    before = {name: tensor.clone() for name, tensor in stage.tensors().items()}
    state = torch.get_rng_state()
    warm_up(stage, random(5, 4))
    assert all(torch.equal(tensor, before[name]) for name, tensor in stage.tensors().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert stage.version == 0
    assert all(parameter.grad is None for parameter in layers.parameters())
