"""What modules keep beside their weights: it travels if it changed, or is named."""

from __future__ import annotations

import collections
import json
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dni_async.stage.own_state import OwnState, load_trained, marks_of, put_back, take


class Keeper(nn.Module):
    """A layer with attributes."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.register_buffer("hidden", torch.zeros(2), persistent=False)
        for name, value in attributes.items():
            setattr(self, name, value)


class Extra(nn.Module):
    """State of the module's own making."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.count = nn.Linear(2, 2), object()

    def get_extra_state(self) -> object:
        """Plain values."""
        return {"count": getattr(self.count, "n", 0), "seen": torch.ones(2)}

    def set_extra_state(self, state: Any) -> None:
        """What get_extra_state gave."""
        self.count = Count(state["count"])


class Count:
    """No plain value."""

    def __init__(self, n: int) -> None:
        self.n = n


def travelled(state: OwnState) -> OwnState:
    """As it comes out of a file: JSON, and copies."""
    tensors = {name: tensor.clone() for name, tensor in state.tensors.items()}
    return OwnState(json.loads(json.dumps(state.values)), tensors)


VALUES: dict[str, tuple[Any, Any]] = {
    "float": (5.0, 0.1 + 0.2),
    "infinite": (0.0, float("inf")),
    "large": (0, 2**80),
    "text": ("warm", "cold"),
    "none": (None, True),
    "list": ([], [1, [2.5, "x"], None]),
    "tuple": ((1, 2), (1, (3,))),
    "dict": ({}, {1: "a", "b": {2: [3]}, (1, 2): 4}),
    "ordered": (collections.OrderedDict(), collections.OrderedDict(b=1, a=2)),
    "deque": (collections.deque(), collections.deque([1, 2])),
    "set": (set(), {1, 2}),
}


@pytest.mark.parametrize(("before", "after"), VALUES.values(), ids=VALUES.keys())
def test_plain_values_travel(before: Any, after: Any) -> None:
    trained, fresh = (nn.Sequential(Keeper(kept=before, same=[1])) for _ in range(2))
    marks = marks_of(trained)
    assert take(trained, marks).values == {}
    trained[0].kept = after
    state = take(trained, marks)
    assert list(state.values) == ["0.kept"]
    put_back(fresh, travelled(state))
    assert fresh[0].kept == after
    assert type(fresh[0].kept) is type(after)


@pytest.mark.parametrize(
    "name",
    ["forward", "training", "_parameters", "_forward_hooks", "__class__", "weight", "inner", "a b"],
)
def test_what_a_module_never_keeps_so_is_passed_over(name: str) -> None:
    """Whoever has written the file."""
    layers = nn.Sequential(Keeper(kept=1))
    before = dict(vars(layers[0]))
    put_back(layers, OwnState({f"0.{name}": "of others", "0.inner.weight": [1], "0.kept": 2}))
    if name == "weight":  # which this module does not have
        assert vars(layers[0]).pop("weight") == "of others"
    assert vars(layers[0]) == before | {"kept": 2}
    assert isinstance(layers[0].inner.weight, nn.Parameter)


def test_a_value_that_changes_inside_is_found() -> None:
    kept: dict[str, Any] = {"all": [1, {"deep": [2]}]}
    layers = nn.Sequential(Keeper(kept=kept))
    marks = marks_of(layers)
    kept["all"][1]["deep"].append(3)
    assert list(take(layers, marks).values) == ["0.kept"]


def test_tensors_arrays_and_hidden_buffers_travel() -> None:
    attributes = {"mean": torch.zeros(3), "array": np.zeros(2), "parts": [torch.zeros(2)]}
    trained, fresh = (
        nn.Sequential(nn.Sequential(Keeper(**{n: _copy(v) for n, v in attributes.items()})))
        for _ in range(2)
    )
    marks, keeper = marks_of(trained), trained[0][0]
    with torch.no_grad():
        keeper.mean += 1
        keeper.parts[0] += 2
        keeper.hidden += 3
        keeper.inner.weight += 1  # which travels elsewhere
    keeper.array += 4
    state = take(trained, marks)
    assert sorted(state.values) == ["0.0.array", "0.0.hidden", "0.0.mean", "0.0.parts"]
    live = fresh[0][0].hidden
    put_back(fresh, travelled(state))
    assert fresh[0][0].hidden is live
    assert fresh[0][0].mean.tolist() == [1, 1, 1]
    assert fresh[0][0].parts[0].tolist() == [2, 2]
    assert live.tolist() == [3, 3]
    assert fresh[0][0].array.tolist() == [4, 4]


def _copy(value: Any) -> Any:
    return (
        [each.clone() for each in value]
        if isinstance(value, list)
        else value.copy()
        if (isinstance(value, np.ndarray))
        else value.clone()
    )


@pytest.mark.parametrize(
    ("value", "change", "kind"),
    [
        (Count(0), lambda keeper: setattr(keeper.kept, "n", 1), "Count"),
        (random.Random(0), lambda keeper: keeper.kept.random(), "Random"),
        (torch.Generator(), lambda keeper: torch.rand(1, generator=keeper.kept), "Generator"),
        (collections.Counter(), lambda keeper: keeper.kept.update("a"), "Counter"),
        ([nn.Linear(2, 2)], lambda keeper: setattr(keeper.kept[0], "n", 1), "Linear"),
        (np.random.default_rng(0), lambda keeper: keeper.kept.random(), "Generator"),
    ],
)
def test_what_cannot_travel_is_named_once_it_changes(value: Any, change: Any, kind: str) -> None:
    layers = nn.Sequential(Keeper(kept=value))
    marks = marks_of(layers)
    assert take(layers, marks).left == {}
    change(layers[0])
    state = take(layers, marks)
    assert state.left == {"0.kept": kind}
    assert state.values == {}


def test_extra_state_travels_and_speaks_for_its_module() -> None:
    trained, fresh = nn.Sequential(Extra()), nn.Sequential(Extra())
    marks = marks_of(trained)
    trained[0].count = Count(7)
    state = take(trained, marks)
    assert state.left == {}
    weights = {n: t for n, t in trained.state_dict().items() if isinstance(t, torch.Tensor)}
    load_trained(fresh, weights, travelled(state))
    assert fresh[0].count.n == 7
    assert torch.equal(fresh[0].inner.weight, trained[0].inner.weight)


def test_what_torchs_own_modules_keep_is_no_state() -> None:
    layers = nn.Sequential(
        nn.LSTM(2, 2), nn.BatchNorm1d(2), nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2))
    )
    marks = marks_of(layers)
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter += 1
        for buffer in layers.buffers():
            buffer += 1
    assert take(layers, marks) == OwnState()
