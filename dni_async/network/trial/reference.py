"""The network as its user wrote it, run and trained by plain torch, and watched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import nn

from dni_async.errors import ConfigError
from dni_async.network.split.parts import Chain
from dni_async.network.split.whole import call_whole
from dni_async.stage.autograd import pull_back
from dni_async.stage.draws import Draws
from dni_async.stage.graphs.memory import channels_last, lay_out
from dni_async.stage.values import Values, each, gathered, tensors_of

__all__ = ["Reference", "Undone"]


class Undone(Exception):
    """Plain torch cannot do it either: the network or its optimizer raises.

    child: the index of the child that was at it; None if none was.
    """

    def __init__(self, child: int | None, error: Exception) -> None:
        super().__init__(str(error))
        self.child, self.error = child, error


class Reference:
    """A network's own forward and backward, with its own hooks; of a chain, the whole module's.

    starts: the first child of each layer, at which the generators are set as for a stage. outputs:
    what each child gave last, by its index, as far as it gave tensors and stands in one place.
    """

    def __init__(
        self,
        network: nn.Sequential,
        draws: Draws,
        starts: Sequence[int],
        *,
        puts_channels_last: bool = False,
    ) -> None:
        if puts_channels_last:
            lay_out(network)
        self._puts_channels_last = puts_channels_last
        self.network: nn.Module = network
        self.outputs: dict[int, list[torch.Tensor]] = {}
        self._draws = draws
        self._batch_id = 0
        self._at: int | None = None
        self._result: torch.Tensor | None = None
        self._is_split = isinstance(network, Chain)
        if isinstance(network, Chain):
            self.network = network.whole
            self._watch_points(network, starts)
        else:
            self._watch_children(network, starts)

    def forward(self, batch_id: int, x: torch.Tensor) -> torch.Tensor:
        """The outputs of a batch in the mode that the network is in, detached. Raises Undone."""
        self.outputs.clear()
        self._at, self._batch_id = None, batch_id
        try:
            given = each(gathered(x), torch.Tensor.clone)
            if self._puts_channels_last:
                given = channels_last(given)
            with self._draws.apart(torch.device("cpu")):
                result: Any = self._run(given.restored() if isinstance(given, Values) else given)
        except Exception as error:
            raise Undone(self._at, error) from error
        self._result = result
        return result.detach() if isinstance(result, torch.Tensor) else result

    def _run(self, x: Any) -> Any:
        return call_whole(self.network, x) if self._is_split else self.network(x)

    def pull_back(self, gradient: torch.Tensor) -> dict[str, torch.Tensor]:
        """The parameters' gradients of the last batch, by name. Raises Undone."""
        assert self._result is not None
        try:
            if self._result.requires_grad:
                pull_back([self._result], [gradient])
        except Exception as error:
            raise Undone(None, error) from error
        named = self.network.named_parameters()
        return {name: each.grad for name, each in named if each.grad is not None}

    def _watch_children(self, network: nn.Sequential, starts: Sequence[int]) -> None:
        places = Counter(map(id, network))
        for index, child in enumerate(network):
            if places[id(child)] == 1:
                child.register_forward_pre_hook(self._before(index, draws=index in starts))
                child.register_forward_hook(self._after(index))

    def _watch_points(self, chain: Chain, starts: Sequence[int]) -> None:
        """Where a part begins, which is before its first module's own hooks."""
        for index, point in enumerate(("", *chain.points)):
            act = self._before(index, draws=index in starts)
            self.network.get_submodule(point).register_forward_pre_hook(act, prepend=True)

    def _before(self, index: int, *, draws: bool) -> Any:
        def act(_module: nn.Module, _inputs: object) -> None:
            self._at = index
            if draws and self.network.training:
                self._draws.begin(index, self._batch_id, torch.device("cpu"))

        return act

    def _after(self, index: int) -> Any:
        def act(_module: nn.Module, _inputs: object, output: object) -> None:
            with suppress(ConfigError):
                tensors = tensors_of(gathered(output))
                self.outputs[index] = [tensor.detach().clone() for tensor in tensors]

        return act
