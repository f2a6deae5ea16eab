"""Any optimizer of torch's: cut down to a stage, and going on from what it remembered."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from dni_async import ConfigError
from dni_async.stage.descent.optimizers import Memory
from dni_async.stage.descent.torch_optimizers import TorchOptimizers
from tests import own_optimizers as own

Named = list[tuple[str, torch.Tensor]]
MAKERS: dict[str, Callable[[Any], Any]] = {
    **{
        name: functools.partial(
            lambda kind, named: kind([p for _, p in named]), vars(torch.optim)[name]
        )
        for name in ("SGD", "NAdam", "RMSprop", "ASGD", "Rprop", "Adagrad", "RAdam", "Adafactor")
    },
    "Adam, a tensor as rate": lambda named: torch.optim.Adam(
        [p for _, p in named], lr=torch.tensor(0.01), amsgrad=True
    ),
    "SGD, momentum": lambda named: torch.optim.SGD([p for _, p in named], lr=0.1, momentum=0.9),
    "fused": lambda named: torch.optim.AdamW([p for _, p in named], fused=True),
    "foreach": lambda named: torch.optim.Adamax([p for _, p in named], foreach=True),
    "several": own.muon_beside_adamw,
    "groups": own.slower_below,
    "counting": lambda named: own.keeps_count_in_group([p for _, p in named]),
    "with names": lambda named: torch.optim.NAdam(list(named)),
}
every_kind = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


class Stages:
    """A network's parameters dealt over stages, each with what one maker makes for it."""

    def __init__(self, make: Callable[[Any], Any], cuts: Sequence[Sequence[str]]) -> None:
        torch.manual_seed(0)
        layers = [nn.Linear(3, 3) for _ in range(4)]
        self.named: Named = list(nn.Sequential(*layers).named_parameters())
        self.optimizers = []
        for children in cuts:
            optimizers = make(self.named)
            mine = [(name, p) for name, p in self.named if name.partition(".")[0] in children]
            several = optimizers if isinstance(optimizers, list) else [optimizers]
            self.optimizers.append(TorchOptimizers(several, mine))

    def update(self, first: int, end: int) -> None:
        """With gradients that depend on the update alone; some have none."""
        for update in range(first, end):
            draw = torch.Generator().manual_seed(update)
            for place, (_, parameter) in enumerate(self.named):
                gradient = torch.randn(parameter.shape, generator=draw)
                if (place + update) % 5:
                    parameter.grad = gradient
            for optimizer in self.optimizers:
                optimizer.lr = 1 / (update + 1)
                optimizer.update()
            assert all(parameter.grad is None for _, parameter in self.named)

    def memory(self) -> Memory:
        """Of all stages, by way of a file."""
        whole = Memory()
        for optimizer in self.optimizers:
            memory = optimizer.memory()
            whole.parameters.update(json.loads(json.dumps(memory.parameters)))
            whole.groups.update(json.loads(json.dumps(memory.groups)))
            whole.tensors.update({name: each.clone() for name, each in memory.tensors.items()})
        return whole

    def weights(self) -> list[torch.Tensor]:
        """As they are."""
        return [parameter.detach().clone() for _, parameter in self.named]


@every_kind
@pytest.mark.parametrize("cuts", [["0123"], ["0", "12", "3"]], ids=["as one", "in three"])
def test_stages_update_as_the_whole_and_go_on_as_any_others(
    make: Callable[[Any], Any], cuts: list[str]
) -> None:
    lasting, resumed = Stages(make, ["01", "23"]), Stages(make, cuts)
    lasting.update(0, 4)
    memory = lasting.memory()
    with torch.no_grad():
        for (_, there), here in zip(resumed.named, lasting.weights(), strict=True):
            there.copy_(here)
    for optimizer in resumed.optimizers:
        optimizer.remember(memory)
    lasting.update(4, 7)
    resumed.update(4, 7)
    for one, other in zip(lasting.weights(), resumed.weights(), strict=True):
        assert torch.equal(one, other)


class Differing(torch.optim.Optimizer):
    """Goes by the gradient before as well, which it keeps as it was given."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 0.1})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update."""
        for parameter in self.param_groups[0]["params"]:
            if parameter.grad is not None:
                before = self.state[parameter].get("before", parameter.grad)
                parameter.sub_(parameter.grad + before, alpha=self.param_groups[0]["lr"])
                self.state[parameter]["before"] = parameter.grad.view(-1)


def test_one_may_keep_gradients_whose_memory_is_written_again() -> None:
    torch.manual_seed(0)
    ours, theirs = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    optimizer, reference = (
        TorchOptimizers([Differing([ours])], [("0.w", ours)]),
        Differing([theirs]),
    )
    memory = torch.empty(3)
    for gradient in torch.randn(4, 3):
        ours.grad, theirs.grad = memory.copy_(gradient), gradient.clone()
        optimizer.update()
        reference.step()
        assert torch.equal(ours, theirs)


def test_what_a_stage_does_not_hold_is_forgotten() -> None:
    torch.manual_seed(0)
    named = list(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).named_parameters())
    made = torch.optim.Adagrad([{"params": [p], "lr": 0.1} for _, p in named])
    TorchOptimizers([made], named[2:])
    assert [group["params"] for group in made.param_groups] == [[p] for _, p in named[2:]]
    assert list(made.state) == [p for _, p in named[2:]]
    assert TorchOptimizers([torch.optim.SGD([named[0][1]], lr=1)], named[2:]).memory() == Memory()


class Hoarding(torch.optim.SGD):
    """Remembers what it should not."""

    kept: Any = None
    by: Any = None

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update."""
        super().step()
        key = self.param_groups[0]["params"][0] if self.by is None else self.by
        self.state[key]["kept"] = self.kept


@pytest.mark.parametrize(
    ("kept", "by", "said"),
    [
        (
            object(),
            None,
            "^optimizer: Hoarding remembers a object of 0.weight, which no checkpoint",
        ),
        (1, "all", "^optimizer: Hoarding remembers 'all' beside its parameters"),
    ],
)
def test_what_no_checkpoint_can_hold_is_named(kept: object, by: object, said: str) -> None:
    named = list(nn.Sequential(nn.Linear(2, 2)).named_parameters())
    made = Hoarding([p for _, p in named])
    made.kept, made.by = kept, by
    optimizer = TorchOptimizers([made], named)
    optimizer.update()
    with pytest.raises(ConfigError, match=said):
        optimizer.memory()
