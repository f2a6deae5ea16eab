"""Hold a chain of parts against the module that it was made of."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from dni_async.network.split.parts import Chain
from dni_async.network.split.splitting import split_at
from dni_async.network.split.whole import call_whole

__all__ = ["assert_same", "split"]


def split(module: nn.Module, x: torch.Tensor, points: Sequence[str]) -> Chain:
    """A chain of a copy of module."""
    return split_at(copy.deepcopy(module), copy.deepcopy(module), [x], points)


def assert_same(module: nn.Module, chain: Chain, batches: Sequence[torch.Tensor]) -> None:
    """Outputs, gradients and state are the same, bit for bit, in both modes."""
    named = dict(chain.named_parameters())
    assert sorted(named) == sorted(name for name, _ in module.named_parameters())
    for x in batches:
        for is_training in (True, False):
            module.train(is_training)
            chain.train(is_training)
            torch.manual_seed(3)
            expected = call_whole(module, x.clone())
            torch.manual_seed(3)
            found = chain(x.clone())
            assert torch.equal(found, expected)
            module.zero_grad()
            chain.zero_grad()
            expected.square().mean().backward()
            found.square().mean().backward()
            for name, parameter in module.named_parameters():
                one, other = parameter.grad, named[name].grad
                assert (one is None) is (other is None), name
                assert one is None or (other is not None and torch.equal(one, other)), name
    state = chain.state_dict()
    assert set(state) == set(module.state_dict())
    for name, tensor in module.state_dict().items():
        assert torch.equal(state[name], tensor), name
