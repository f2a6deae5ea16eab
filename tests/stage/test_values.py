"""Several values through a stage: gathered, built again, and learnt from as autograd does."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from dni_async import ConfigError
from dni_async.stage.layers import StageLayers
from dni_async.stage.values import (
    MAX_VALUES,
    Values,
    arranged,
    gathered,
    needing,
    structure_of,
    tensors_of,
)


class Pair(NamedTuple):
    """A named tuple."""

    one: Any
    other: Any


class Record:
    """A class that pytree is told of."""

    def __init__(self, hidden: Any, extra: Any) -> None:
        self.hidden, self.extra = hidden, extra


pytree.register_pytree_node(
    Record,
    lambda record: ([record.hidden, record.extra], ["hidden", "extra"]),
    lambda parts, names: Record(**dict(zip(names, parts, strict=True))),
    serialized_type_name="tests.Record",
)


def tensor(learns: bool = True) -> torch.Tensor:
    """Of three samples."""
    return torch.randn(3, 2).requires_grad_(learns)


def handed_over(given: Any) -> tuple[Any, Values]:
    """What the next stage builds of what a child gave."""
    values = gathered(given)
    assert isinstance(values, Values)
    again = arranged(values.tensors, structure_of(values.structure.text))
    assert isinstance(again, Values)
    assert again == values
    return again.restored(), values


def test_one_tensor_is_itself() -> None:
    only = tensor()
    assert gathered(only) is only
    assert structure_of("") is None
    assert arranged([only], None) is only


@pytest.mark.parametrize(
    "given",
    [
        (tensor(),),
        (tensor(), [tensor(), (tensor(),)], ()),
        {"a": tensor(), 2: [None, True, 1.5, "text", float("inf")], "b": {}},
        OrderedDict(b=tensor(), a=tensor()),
        Pair(tensor(), Pair(1, [tensor()])),
        (torch.arange(4), tensor(False), torch.ones(()), tensor()),
    ],
    ids=lambda given: type(given).__name__,
)
def test_containers_are_built_again(given: Any) -> None:
    built, _ = handed_over(given)
    assert type(built) is type(given)
    assert str(built) == str(given)


def test_a_class_that_pytree_knows_is_built_again() -> None:
    hidden = tensor()
    built, values = handed_over(Record(hidden, {"mask": hidden > 0}))
    assert type(built) is Record
    assert built.hidden is hidden
    assert values.structure.needs == (0,)


def test_those_that_require_gradients_need_one() -> None:
    relayed, made = tensor(), tensor()
    given = (torch.arange(3), relayed, tensor(False), made)
    assert needing(gathered(given)) == (relayed, made)
    assert needing(gathered(given, unwanted=[relayed])) == (made,)


class Unknown:
    """Nobody knows how to take it apart."""


class Local(NamedTuple):
    """A named tuple that is not where its name says."""

    one: Any


Local.__qualname__ = "Elsewhere"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((tensor(), Unknown()), "a layer gives a Unknown; between stages pass tensors"),
        ((tensor(), {1, 2}), "gives a set"),
        ((tensor(), Local(1)), "gives a Local"),
        (defaultdict(list, a=tensor()), "which does not travel"),
        ({(1, 2): tensor()}, "which does not travel"),
        ((), "gives 0 tensors; between stages pass 1 to"),
        ((None, 1), "gives 0 tensors"),
        ([tensor()] * (MAX_VALUES + 1), f"gives {MAX_VALUES + 1} tensors"),
    ],
)
def test_what_does_not_travel(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        gathered(given)


@pytest.mark.parametrize(
    "text",
    [
        "{", "2", "true,", "[]", "[1]", '["tuple"]', '["tuple",1]', '["tuple",[2]]', '["tuple",[]]',
        '["is",[1]]', '["is",1,1]', '["dict",["a"],[1,1]]', '["dict",[["a"]],[1]]',
        '["dict",[1]]', '["named","os:system",[1]]', '["named","no.such:thing",[1]]',
        '["named","tests.stage.test_values:Pair",[1]]', '["class","builtins:str",[],[1]]',
        '["class","collections:defaultdict",["os:system",[]],[1]]', '["what",[1]]',
        "[" * 5000, '["tuple",[' + "1," * MAX_VALUES + "1]]",
    ],
)  # fmt: skip
def test_texts_that_are_no_structure(text: str) -> None:
    with pytest.raises(ValueError, match="structure"):
        structure_of(text)


class Mixing(nn.Module):
    """Uses two values, changes one of them in place, hands on the first."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.register_buffer("scale", torch.full((3, 1), 0.5))

    def forward(self, given: Any) -> Any:
        """(W a + b, {first: a, scale, ids})."""
        one, other, ids = given
        return self.inner(one) + other.mul_(2), {"first": one, "scale": self.scale, "ids": ids}


def mixing() -> tuple[StageLayers, Values, list[torch.Tensor]]:
    """A stage, its inputs, and gradients of its outputs."""
    torch.manual_seed(0)
    layers = StageLayers(nn.Sequential(Mixing()), has_below=True)
    inputs = gathered((tensor(), tensor(), torch.arange(3)))
    assert isinstance(inputs, Values)
    values = Values(tuple(each.detach() for each in inputs.tensors), inputs.structure)
    return layers, values, [torch.randn(3, 2), torch.randn(3, 2)]


def expected(
    layers: StageLayers, inputs: Values, gradients: list[torch.Tensor]
) -> list[torch.Tensor]:
    """By autograd: of the weight, and of both inputs."""
    (module,) = layers.layers
    one, other = (each.clone().requires_grad_() for each in inputs.tensors[:2])
    outputs = module.inner(one) + other * 2
    return list(
        torch.autograd.grad([outputs, one * 1], [module.inner.weight, one, other], gradients)
    )


@pytest.mark.parametrize("keeps_graph", [True, False], ids=["kept", "replayed"])
def test_gradients_of_values_are_those_of_autograd(keeps_graph: bool) -> None:
    layers, inputs, gradients = mixing()
    before = [each.clone() for each in inputs.tensors]
    for _ in range(3):
        if keeps_graph:
            kept = layers.forward(1, inputs, needs_input_gradient=True)
            hidden = kept.activation
        else:
            kept, hidden = layers.preview(1, inputs, needs_input_gradient=True)
        assert isinstance(hidden, Values)
        assert hidden.structure.needs == (0, 1)  # the relayed one among them
        pulled = layers.pull_back(kept, tuple(gradients))
        weight, *of_inputs = expected(layers, inputs, gradients)
        parameter = layers.layers[0].inner.weight
        torch.testing.assert_close(parameter.grad, weight)
        for mine, its in zip(pulled, of_inputs, strict=True):
            torch.testing.assert_close(mine, its)
        assert all(map(torch.equal, inputs.tensors, before))  # though the layer writes to one
        layers.layers.zero_grad()
        for each in inputs.tensors:
            each.grad = None


def test_carrying_back_leaves_the_weights_alone() -> None:
    layers, inputs, gradients = mixing()
    layers.forward(1, inputs, needs_input_gradient=False, keeps_state=True)
    carried = layers.carry_back(1, inputs, tuple(gradients))
    for mine, its in zip(carried, expected(layers, inputs, gradients)[1:], strict=True):
        torch.testing.assert_close(mine, its)
    assert all(parameter.grad is None for parameter in layers.layers.parameters())


def test_a_value_that_only_passes_through_needs_no_gradient_that_nobody_asks_for() -> None:
    layers, inputs, _ = mixing()
    for keeps_inputs, needs in [(False, (0,)), (True, (0, 1)), (False, (0,))]:
        kept = layers.forward(1, inputs, needs_input_gradient=False, keeps_state=keeps_inputs)
        assert kept.activation.structure.needs == needs


def test_what_is_handed_on_lies_in_memory_of_its_own() -> None:
    layers, inputs, _ = mixing()
    for act in (
        lambda: layers.forward(1, inputs, needs_input_gradient=True).activation,
        lambda: layers.evaluate(inputs),
    ):
        for _ in range(2):
            taken = [*inputs.tensors, *layers.layers.parameters(), *layers.layers.buffers()]
            used = {each.data_ptr() for each in taken}
            assert not used & {each.data_ptr() for each in tensors_of(act())}


def test_an_evaluation_asks_for_no_gradient() -> None:
    layers, inputs, _ = mixing()
    hidden = layers.evaluate(inputs)
    assert needing(hidden) == ()
    assert not any(each.requires_grad for each in tensors_of(hidden))
