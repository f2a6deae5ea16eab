"""A module as a chain of parts: each takes and gives a tensor, or a flat tuple of tensors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from dni_async.network.split.program import Program, Values

__all__ = ["Chain", "Part"]


class Part(nn.Module):
    """Some steps of a module's forward, with the modules and weights that they use.

    These have the paths that they have in the whole module, pieces. programs: what to do, by mode
    (training or not). modes: the mode of each of its modules, by path, in either. given: the sizes
    that the inputs must have, None for any; empty where nothing is checked.
    """

    pieces: tuple[str, ...] = ()

    def __init__(
        self,
        programs: Mapping[bool, Program],
        modes: Mapping[bool, Mapping[str, bool]],
        given: Sequence[Sequence[int | None]] = (),
    ) -> None:
        super().__init__()
        self._programs, self._modes, self._given = programs, modes, given

    def forward(self, values: Values) -> Values:
        """What the part makes of values, as the whole module does in the same mode."""
        for tensor, sizes in zip(_flat(values), self._given, strict=False):
            _check_sizes(tensor, sizes)
        return self._programs[self.training].run(self, values)

    def train(self, mode: bool = True) -> Part:
        """Set the modes that the whole module's own train sets."""
        super().train(mode)
        for path, is_training in self._modes[mode].items():
            self.get_submodule(path).training = is_training
        return self

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """As ever, but under the names of the whole module, which the part has no part in."""
        outer = prefix.rpartition(".")[0]
        yield from super().named_modules(memo, outer, remove_duplicate)


class Chain(nn.Sequential):
    """Parts, one after another. Its parameters, and its state dict, have the module's own names.

    points: the paths at which parts begin, one less than there are parts.
    """

    points: tuple[str, ...] = ()
    _whole: tuple[nn.Module, ...] = ()

    @classmethod
    def of(cls, whole: nn.Module, parts: Sequence[Part], points: Sequence[str]) -> Chain:
        """A chain of all parts of whole, whose modules and weights they hold."""
        chain = cls(OrderedDict((f"part{index}", part) for index, part in enumerate(parts)))
        chain.points = tuple(points)
        chain._whole = (whole,)  # which torch does not take for a child
        return chain

    def train(self, mode: bool = True) -> Chain:
        """Set the modes that the whole module's own train sets."""
        for whole in self._whole:
            whole.train(mode)
        return super().train(mode)

    @property
    def whole(self) -> nn.Module:
        """The module as its user wrote it; only of a chain that has all its parts."""
        return self._whole[0]

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """What all parts' modules hold, by the names in the whole module."""
        destination = kwargs.pop("destination", None)
        for part in self:
            destination = part.state_dict(*args, destination=destination, **kwargs)
        return destination

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        for index, part in self._modules.items():
            for name in part.state_dict():
                if prefix + name in state_dict:
                    state_dict[f"{prefix}{index}.{name}"] = state_dict.pop(prefix + name)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _flat(values: Values) -> tuple[torch.Tensor, ...]:
    return values if isinstance(values, tuple) else (values,)


def _check_sizes(tensor: torch.Tensor, sizes: Sequence[int | None]) -> None:
    fits = len(sizes) == tensor.ndim
    if not fits or any(
        known not in (None, size) for known, size in zip(sizes, tensor.shape, strict=False)
    ):
        shown = ["any" if size is None else size for size in sizes]
        raise ValueError(
            f"the network was split for inputs of shape {shown}, not {list(tensor.shape)}"
        )
