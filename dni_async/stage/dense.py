"""Linear layers with ReLU between them, forwards and backwards without autograd's bookkeeping.

The products and kernels are the ones that autograd would call, in the same order, so the numbers
are the same bit for bit; what is saved is the graph, its nodes and fresh memory for gradients. At
64 samples and 256 units that is a quarter of a layer's time. With autocast what is
converted has memory of its own as well, which at 256 samples and 1024 units is a tenth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import torch
from torch import nn

from dni_async.stage.autograd import without_graph

__all__ = ["DenseLayers", "flattened", "lone_linear"]


_through_relu = torch.ops.aten.threshold_backward.default  # found once, not at every call


class _Block:
    """One linear layer, and whether a ReLU follows it; dtype: what its products are computed in,
    as autocast has it.
    """

    def __init__(self, linear: nn.Linear, dtype: torch.dtype | None = None) -> None:
        self.has_relu = False
        self.weight = linear.weight
        self.bias = cast("nn.Parameter | None", linear.bias)
        # Detached tensors share the parameters' memory and follow every update; converted ones do
        # when convert is called.
        self._converted = [
            _Converted(parameter, dtype)
            for parameter in (self.weight, self.bias)
            if parameter is not None and dtype is not None
        ]
        both = [each.now for each in self._converted]
        if not both:
            both = [p.detach() for p in (self.weight, self.bias) if p is not None]
        self.plain_weight, self.plain_bias = both[0], (None if self.bias is None else both[1])
        self.transposed = self.plain_weight.t()
        self.weight_gradient = torch.empty_like(self.plain_weight)
        self.bias_gradient = None if self.plain_bias is None else torch.empty_like(self.plain_bias)

    def convert(self) -> None:
        """Take the present weights, where they are used in another dtype."""
        for each in self._converted:
            each.convert()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.plain_bias is None:
            outputs = torch.mm(x, self.transposed)
        else:
            outputs = torch.addmm(self.plain_bias, x, self.transposed)
        return outputs.relu_() if self.has_relu else outputs

    def leave_gradients(self, x: torch.Tensor, gradient: torch.Tensor) -> None:
        if self.weight.requires_grad:
            torch.mm(gradient.t(), x, out=self.weight_gradient)
            self.weight.grad = self._as_its(0, self.weight_gradient)
        if self.bias is not None and self.bias.requires_grad:
            torch.sum(gradient, 0, out=self.bias_gradient)
            assert self.bias_gradient is not None
            self.bias.grad = self._as_its(1, self.bias_gradient)

    def _as_its(self, place: int, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient in its parameter's dtype."""
        return self._converted[place].of_it(gradient) if self._converted else gradient


class _Converted:
    """A parameter as it is used in another dtype, and the memory for its gradient in its own."""

    def __init__(self, parameter: torch.Tensor, dtype: torch.dtype) -> None:
        self._parameter = parameter.detach()
        self.now = torch.empty_like(self._parameter, dtype=dtype)
        self._gradient = torch.empty_like(self._parameter)

    def convert(self) -> None:
        self.now.copy_(self._parameter)

    def of_it(self, gradient: torch.Tensor) -> torch.Tensor:
        return self._gradient.copy_(gradient)


class DenseLayers:
    """Computes what ``layers`` compute; make it with match."""

    def __init__(self, blocks: list[_Block], dtype: torch.dtype | None = None) -> None:
        self._blocks = blocks
        self._dtype = dtype

    @classmethod
    def match(cls, layers: nn.Sequential, dtype: torch.dtype | None = None) -> DenseLayers | None:
        """For layers that are nn.Linear and nn.ReLU after it, float32 and without hooks.

        dtype: of products, as by torch.autocast. None for all other layers, and where two share a
        weight: its gradients add up.
        """
        blocks: list[_Block] = []
        for module in flattened(layers):
            if _has_hooks(module):
                return None
            if type(module) is nn.Linear and module.weight.dtype == torch.float32:
                blocks.append(_Block(module, dtype))
            elif type(module) is nn.ReLU and blocks and not blocks[-1].has_relu:
                blocks[-1].has_relu = True
            else:
                return None
        owned = [id(p) for block in blocks for p in (block.weight, block.bias) if p is not None]
        return cls(blocks, dtype) if blocks and len(owned) == len(set(owned)) else None

    def takes(self, inputs: torch.Tensor) -> bool:
        """Whether inputs are [B, D] float32, or of the products' dtype, as those need them."""
        return inputs.ndim == 2 and inputs.dtype in (torch.float32, self._dtype)

    @without_graph
    def forward(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        """The inputs [B, D] and every layer's activation, the last one being the stage's."""
        tensors = [inputs if self._dtype is None else inputs.to(self._dtype)]
        for block in self._blocks:
            block.convert()
            tensors.append(block.forward(tensors[-1]))
        return tensors

    @without_graph
    def pull_back(
        self,
        tensors: list[torch.Tensor],
        gradient: torch.Tensor,
        *,
        to_parameters: bool,
        to_inputs: bool,
        is_late: bool = False,
    ) -> torch.Tensor | None:
        """Pull the gradient of the last of forward's tensors back through the present weights.

        is_late: updates were made since.

        to_parameters: leave each parameter's gradient in ``parameter.grad``, in memory that the
        next call writes again. to_inputs: return the gradient of the inputs, else None. Raises
        ValueError for a gradient of another shape.
        """
        if gradient.shape != tensors[-1].shape:
            raise ValueError(f"gradient is {list(gradient.shape)}, needs {list(tensors[-1].shape)}")
        if gradient.dtype != tensors[-1].dtype:
            gradient = gradient.to(tensors[-1].dtype)  # as autograd does
        for index in reversed(range(len(self._blocks))):
            block = self._blocks[index]
            if block.has_relu:
                gradient = _through_relu(gradient, tensors[index + 1], 0)
            if to_parameters:
                block.leave_gradients(tensors[index], gradient)
            if index > 0 or to_inputs:
                if is_late:
                    block.convert()
                gradient = torch.mm(gradient, block.plain_weight)
        return gradient if to_inputs else None


def lone_linear(network: nn.Sequential) -> nn.Linear | None:
    """The one linear layer, float32, with a bias, trainable and without hooks, that a network is.

    A Flatten of all but the samples may stand before it. None for all other networks.
    """
    leaves = list(flattened(network))
    if any(map(_has_hooks, leaves)):
        return None
    if leaves and type(leaves[0]) is nn.Flatten and leaves[0].start_dim == 1:
        del leaves[0]
    if len(leaves) != 1 or type(leaves[0]) is not nn.Linear:
        return None
    weights = list(leaves[0].parameters())
    is_plain = all(each.requires_grad and each.dtype == torch.float32 for each in weights)
    return leaves[0] if len(weights) == 2 and is_plain else None


def flattened(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """What modules are made of: a sequence among them without hooks is its own modules."""
    for module in modules:
        if type(module) is nn.Sequential and not _has_hooks(module):
            yield from flattened(module)
        else:
            yield module


def _has_hooks(module: nn.Module) -> bool:
    """Whether calling module does more than its class's forward, or its parameters' gradients are
    looked at.
    """
    if "forward" in vars(module) or any(map(_has_own_hooks, module._parameters.values())):
        return True
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def _has_own_hooks(parameter: nn.Parameter | None) -> bool:
    hooks = getattr(parameter, "_post_accumulate_grad_hooks", None)
    return bool(hooks or getattr(parameter, "_backward_hooks", None))
