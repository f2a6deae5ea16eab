"""Choose where to split: at the blocks that repeat, where little passes and there is work between.

Blocks are the members of lists and of Sequentials; where there are none, the children of the
module. A list in a block counts where no more passes between its members than comes into the block,
so no cut goes through a residual branch.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

import torch
from torch import nn

from dni_async.network.split.crossing import crossing, settled
from dni_async.network.split.owners import Owners
from dni_async.network.split.points import in_order
from dni_async.network.split.recording.failures import Unsplittable
from dni_async.network.split.recording.recorder import opened_for, record
from dni_async.network.split.recording.steps import Recording
from dni_async.network.split.whole import call_whole

__all__ = ["choose_points"]

SMALLEST = 1 / 8  # of the work of a part on average: what has less is none
_UPDATE = 3  # multiplications that an update takes for each weight


def choose_points(scratch: nn.Module, inputs: Sequence[torch.Tensor]) -> list[str]:
    """The paths of modules of which each begins a part, in the order of the forward.

    See splitting.find_cuts for the arguments. Raises Unsplittable where no way leads into the
    module, or weights that are tied leave no place.
    """
    blocks = _blocks(scratch)
    scratch.train()
    for parameter in scratch.parameters():  # a frozen block has branches, too
        if parameter.is_floating_point():
            parameter.requires_grad_()
    while True:
        opened = opened_for(scratch, blocks)
        try:
            recording = record(scratch, list(inputs), opened, call_whole)
        except Unsplittable:
            if not blocks:
                raise
            deepest = max(path.count(".") for path in blocks)
            blocks = [path for path in blocks if path.count(".") < deepest]
        else:
            return _Seen(scratch, recording, opened).points()


class _Seen:
    """One recorded forward, and what it says of where to split."""

    def __init__(self, module: nn.Module, recording: Recording, opened: Collection[str]) -> None:
        self._module, self._recording, self._opened = module, recording, opened
        self._weights = _weights_before(module, recording)

    def points(self) -> list[str]:
        """The chosen points."""
        return self._apart(self._merged(in_order(self._recording, self._candidates())))

    def _candidates(self) -> list[str]:
        """Modules that are entered once, at places that differ, between which little passes."""
        entered = self._recording.entered
        widths: dict[str, float] = {"": float("inf")}
        found: dict[int, str] = {}
        for path in sorted(entered, key=lambda path: path.count(".")):
            above = _above(path, entered)
            if not path or above not in widths or len(entered[path]) > 1:
                continue
            (start,) = settled(self._recording, entered[path])
            # Masks and positions cost little, and are no sign of a branch.
            width = max(1, len(crossing(self._recording, start) & self._recording.derived))
            if width <= widths[above]:
                widths[path] = width
                if any(True for _ in self._module.get_submodule(path).parameters()):
                    found.setdefault(entered[path][0], path)
        return list(found.values())

    def _merged(self, points: list[str]) -> list[str]:
        """Without those that part off next to nothing."""
        points = list(points)
        while points:
            bounds = [
                0.0,
                *map(self._work_before, points),
                self._recording.effort + self._weights[-1],
            ]
            work = [end - start for start, end in pairwise(bounds)]
            least = min(range(len(work)), key=work.__getitem__)
            if work[least] >= SMALLEST * sum(work) / len(work):
                break
            joins_next = least == 0 or (least < len(points) and work[least + 1] < work[least - 1])
            del points[least if joins_next else least - 1]
        return points

    def _work_before(self, point: str) -> float:
        first = self._recording.entered[point][0]
        return self._recording.effort_before[point] + self._weights[first]

    def _apart(self, points: list[str]) -> list[str]:
        """Without those that would part what is tied. Raises Unsplittable if none is left."""
        words = ""
        while points:
            owners = Owners(self._module, self._opened, points)
            owners.note(self._recording, [self._recording.entered[each][0] for each in points])
            conflict = next(owners.conflicts(len(points) + 1), None)
            if conflict is None:
                return points
            words, parts = conflict
            del points[min(parts) : max(parts)]
        if words:
            raise Unsplittable(
                f"no place to split it is left: {words}; untie them (in transformers "
                "tie_word_embeddings=False)"
            )
        return points


def _blocks(module: nn.Module) -> list[str]:
    """The members of lists and Sequentials that have several; else the module's children."""
    found = []
    for path, each in module.named_modules():
        if isinstance(each, nn.ModuleList | nn.ModuleDict | nn.Sequential) and len(each) > 1:
            found += [f"{path}.{name}" if path else name for name, _ in each.named_children()]
    return found


def _above(path: str, entered: Collection[str]) -> str:
    """The innermost module that path lies in and that is called."""
    above = path.rpartition(".")[0]
    while above and above not in entered:
        above = above.rpartition(".")[0]
    return above


def _weights_before(module: nn.Module, recording: Recording) -> list[float]:
    """Before each step, and in the end, the work of updating what the steps so far have used."""
    seen: set[int] = set()
    sums = [0.0]
    for step in recording.steps:
        used = 0
        if isinstance(step.call, str):
            for parameter in module.get_submodule(step.call).parameters():
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    used += parameter.numel()
        sums.append(sums[-1] + _UPDATE * used)
    return sums
