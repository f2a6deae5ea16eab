"""Which part holds which of a module's modules and weights."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import torch
from torch import nn

from dni_async.network.split.recording.failures import Unsplittable
from dni_async.network.split.recording.steps import Recording, Step, found_in

__all__ = ["Owners", "put_at"]


class Owners:
    """By part the pieces of a module: modules that are steps, and weights of those looked into.

    opened: the paths of the latter. points: the split points, in the order that they are reached.
    """

    def __init__(self, module: nn.Module, opened: Collection[str], points: Sequence[str]) -> None:
        self._module, self._points = module, points
        self._opened = {*opened, *_lists_in(module, opened)}
        self._parts: dict[int, set[int]] = {}  # by the id of a piece
        self._pieces = dict(self._find_pieces())

    def note(self, recording: Recording, starts: Sequence[int]) -> None:
        """Where a recorded forward uses what; starts: the first step of each part but the first."""
        part = 0
        for index, step in enumerate(recording.steps):
            while part < len(starts) and index >= starts[part]:
                part += 1
            for path in _uses(step):
                piece = self._pieces.get(self._piece_path(path))
                if piece is not None:
                    self._parts.setdefault(id(piece), set()).add(part)

    def pieces(self, num_parts: int) -> list[dict[str, nn.Module | torch.Tensor]]:
        """The pieces of each part, by path. What nothing uses goes to the last part.

        Raises Unsplittable for what would be in several parts and cannot.
        """
        for words, parts in self.conflicts(num_parts):
            raise Unsplittable(f"{words}, but weights live in one; {self._remedy(parts)}")
        found: list[dict[str, nn.Module | torch.Tensor]] = [{} for _ in range(num_parts)]
        for path, piece in self._pieces.items():
            for part in self._parts_of(piece, num_parts):
                found[part][path] = piece
        return found

    def _find_pieces(self) -> Iterator[tuple[str, nn.Module | torch.Tensor]]:
        for path, module in self._module.named_modules(remove_duplicate=False):
            if path in self._opened:
                for name, value in [*_tensors_of(module)]:
                    yield f"{path}.{name}" if path else name, value
            elif path.rpartition(".")[0] in self._opened:
                yield path, module

    def _piece_path(self, path: str) -> str:
        """The path of the piece that path lies in."""
        names = path.split(".")
        for end in range(1, len(names)):
            if ".".join(names[:end]) not in self._opened:
                return ".".join(names[:end])
        return path

    def conflicts(self, num_parts: int) -> Iterator[tuple[str, set[int]]]:
        """What would be in several parts and cannot: in words, and the parts."""
        for path, piece in self._pieces.items():
            parts = self._parts.get(id(piece), set())
            if len(parts) > 1 and _has_state(piece):
                yield f"{path} is used in parts {_listed(parts)}", parts
        places: dict[int, dict[str, int]] = {}
        for path, piece in self._pieces.items():
            for part in self._parts_of(piece, num_parts):
                for name, parameter in _parameters_of(path, piece):
                    places.setdefault(id(parameter), {})[name] = part
        for known in places.values():
            parts = set(known.values())
            if len(parts) > 1:
                names = " and ".join(sorted(known)[:2])
                yield f"{names} are one tensor (tied weights), in parts {_listed(parts)}", parts

    def _parts_of(self, piece: nn.Module | torch.Tensor, num_parts: int) -> set[int]:
        return self._parts.get(id(piece), {num_parts - 1})

    def _remedy(self, parts: Collection[int]) -> str:
        between = self._points[min(parts) : max(parts)]
        shown = ", ".join(between[:4]) + (", ..." if len(between) > 4 else "")
        points = "points" if len(between) > 1 else "point"
        return f"leave out the split {points} between them: {shown}; or untie them"


def put_at(part: nn.Module, path: str, piece: nn.Module | torch.Tensor, whole: nn.Module) -> None:
    """Have part hold piece under path, as whole does."""
    *above, name = path.split(".")
    holder, original = part, whole
    for each in above:
        if each not in holder._modules:
            holder.add_module(each, nn.Module())
        holder, original = holder.get_submodule(each), original.get_submodule(each)
    if isinstance(piece, nn.Module):
        holder.add_module(name, piece)
    elif isinstance(piece, nn.Parameter):
        holder.register_parameter(name, piece)
    elif name in original._buffers:
        is_kept = name not in original._non_persistent_buffers_set
        holder.register_buffer(name, piece, persistent=is_kept)
    else:
        setattr(holder, name, piece)


def _uses(step: Step) -> set[str]:
    paths = found_in((step.args, dict(step.kwargs)))[1] | step.uses
    return paths | {step.call} if isinstance(step.call, str) else paths


def _lists_in(module: nn.Module, opened: Collection[str]) -> Iterator[str]:
    """The lists of modules below what is opened: they only hold."""
    seen = set(opened)
    for path, each in module.named_modules():
        is_below = path.rpartition(".")[0] in seen and path not in seen
        if is_below and isinstance(each, nn.ModuleList | nn.ModuleDict):
            seen.add(path)
            yield path


def _tensors_of(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """A module's own parameters and buffers, and the tensors in its attributes."""
    for held in (module._parameters, module._buffers, vars(module)):
        for name, value in held.items():
            if isinstance(value, torch.Tensor):
                yield name, value


def _parameters_of(
    path: str, piece: nn.Module | torch.Tensor
) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(piece, nn.Module):
        for name, parameter in piece.named_parameters(remove_duplicate=False):
            yield f"{path}.{name}", parameter
    elif isinstance(piece, nn.Parameter):
        yield path, piece


def _has_state(piece: nn.Module | torch.Tensor) -> bool:
    if isinstance(piece, nn.Module):
        return any(True for _ in (*piece.parameters(), *piece.buffers()))
    return isinstance(piece, nn.Parameter)


def _listed(parts: Collection[int]) -> str:
    return " and ".join(map(str, sorted(parts)))
