"""Runs a stage's layers so that a user's code may do in its forward what it may do elsewhere.

It may write into its input, draw random numbers, count its calls. What it is given stays as it is
nonetheless, and a batch that is run again is the forward that it stands for.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from itertools import chain
from typing import Any

import torch
from torch import nn

from dni_async.stage.draws import Draws
from dni_async.stage.graphs.late import late_graph
from dni_async.stage.graphs.memory import channels_last
from dni_async.stage.values import Hidden, Values, address_of, each, gathered, needing, tensors_of
from dni_async.stage.volatile import State, Volatile

__all__ = ["Layers", "Passes", "is_reentrant"]

Layers = Callable[[Any], Any]
_REENTRANT = "CheckpointFunctionBackward"  # torch.utils.checkpoint with use_reentrant=True
_MAX_NODES = 20_000


class Passes:
    """Forward passes of layers.

    autocast: the dtype of matrix products; None leaves them as they are. draws: None leaves the
    generators to whoever calls, and a replay draws anew. puts_channels_last: the layers are given
    maps so, as their weights are to be.
    """

    def __init__(
        self,
        layers: nn.Sequential,
        *,
        autocast: torch.dtype | None,
        draws: Draws | None,
        puts_channels_last: bool = False,
    ) -> None:
        self._layers = layers
        self._autocast = autocast
        self._draws = draws
        self._puts_channels_last = puts_channels_last
        self._volatile = Volatile(layers)
        self._states: dict[int, State] = {}
        self._seen: set[bool] = set()  # modes (training or not) that the layers ran in
        self._writes = False

    def run(
        self,
        batch_id: int,
        inputs: Hidden,
        *,
        compiled: Layers | None = None,
        keeps_state: bool = False,
        is_replay: bool = False,
        to_inputs: bool = True,
    ) -> Hidden:
        """What the layers make of inputs [B, ...], in the mode that they are in.

        inputs is not written to, and shares no memory with what is returned. keeps_state: until
        forget, what a replay needs beside the inputs. is_replay: the batch has been run before;
        statistics and other state begin from what they were then, and do not count it again.
        to_inputs: inputs that come out as they are need a gradient, if they require one.
        """
        if keeps_state:
            self._states[batch_id] = self._volatile.state()
        given = self._safe(inputs)
        if self._puts_channels_last:
            given = channels_last(given)
        before = _versions(given)
        with ExitStack() as held:
            if self._autocast is not None:
                device = tensors_of(inputs)[0].device
                held.enter_context(torch.autocast(device.type, self._autocast))
            if self._layers.training:
                held.enter_context(
                    self._volatile.held(self._states.get(batch_id, []))
                    if is_replay
                    else self._volatile.seen()
                )
            outputs = self._through(batch_id, given, compiled)
        self._writes |= _versions(given) != before
        if isinstance(outputs, torch.Tensor):
            return self._apart(outputs, inputs)
        unwanted = () if to_inputs else tensors_of(given)
        return self._apart(gathered(outputs, unwanted=unwanted), inputs)

    def late_graph(self) -> AbstractContextManager[None]:
        """Around run: the graph is pulled back after other updates, through the weights of then."""
        return late_graph(self._layers, self._volatile.addresses())

    def forget(self, batch_id: int) -> None:
        """The batch will not be replayed any more."""
        self._states.pop(batch_id, None)

    def _safe(self, inputs: Hidden) -> Hidden:
        """inputs, or a copy: the first time in each mode, and if the layers wrote to that."""
        is_first = self._layers.training not in self._seen
        self._seen.add(self._layers.training)
        return each(inputs, torch.Tensor.clone) if is_first or self._writes else inputs

    def _apart(self, outputs: Hidden, inputs: Hidden) -> Hidden:
        """outputs, with copies of what lies in memory that somebody else may write to.

        One tensor was made by the layers, or is the input. Of several one may be a layer's own.
        """
        others = list(tensors_of(inputs))
        if isinstance(outputs, Values):
            others += chain(self._layers.parameters(), self._layers.buffers())
        taken = {address_of(tensor) for tensor in others} - {None}
        return each(outputs, lambda t: t.clone() if address_of(t) in taken else t)

    def _through(self, batch_id: int, inputs: Hidden, compiled: Layers | None) -> Any:
        draws, device = self._draws, tensors_of(inputs)[0].device
        given = inputs.restored() if isinstance(inputs, Values) else inputs
        if draws is None or not self._layers.training:
            return (compiled or self._layers)(given)
        with draws.apart(device):
            if compiled is not None:
                draws.begin(0, batch_id, device)
                return compiled(given)
            hidden = given
            for place, child in enumerate(self._layers):
                draws.begin(place, batch_id, device)
                hidden = child(hidden)
            return hidden


def is_reentrant(outputs: Hidden) -> bool:
    """Whether a reentrant checkpoint is in the graph of outputs, which needs inputs that require
    gradients, or its layers get none.
    """
    found = {output.grad_fn for output in needing(outputs) if output.grad_fn is not None}
    waiting = list(found)
    while waiting and len(found) < _MAX_NODES:
        node = waiting.pop()
        if node.name() == _REENTRANT:
            return True
        fresh = {below for below, _ in node.next_functions if below is not None} - found
        found |= fresh
        waiting.extend(fresh)
    return False


def _versions(hidden: Hidden) -> list[int]:
    return [tensor._version for tensor in tensors_of(hidden)]
