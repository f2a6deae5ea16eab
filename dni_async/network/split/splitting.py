"""Split a module at points that are named: what runs before each of them, and what from it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from dni_async.network.split.crossing import settled
from dni_async.network.split.cutting import cut
from dni_async.network.split.owners import Owners, put_at
from dni_async.network.split.parts import Chain, Part
from dni_async.network.split.points import check_points, in_order
from dni_async.network.split.program import Program
from dni_async.network.split.recording.failures import Unsplittable
from dni_async.network.split.recording.recorder import opened_for
from dni_async.network.split.recording.variants import Known, recorded
from dni_async.network.split.whole import call_whole

__all__ = ["split_at"]


def split_at(
    module: nn.Module, scratch: nn.Module, inputs: Sequence[torch.Tensor], points: Sequence[str]
) -> Chain:
    """A chain that holds module's own parameters and modules, and does what it does.

    scratch: the same once more, to try with; it is changed. inputs [B, ...]: NUM_SAMPLES
    samples as module takes them (recording.variants). points: the paths of the modules at which
    another part begins; one at the very beginning is passed over. Raises Unsplittable.
    """
    check_points(module, points)
    opened = opened_for(module, points)
    known = recorded(scratch, inputs, opened, call_whole)
    ordered = in_order(known[True].recording, points)
    if in_order(known[False].recording, points) != ordered:
        raise Unsplittable("training and evaluation reach the split points in another order")
    owners = Owners(module, opened, ordered)
    programs = {}
    for mode, each in known.items():
        entered = [each.recording.entered[point][0] for point in ordered]
        starts = settled(each.recording, entered)
        owners.note(each.recording, starts)
        programs[mode] = cut(each, starts)
    pieces = owners.pieces(len(ordered) + 1)
    parts = []
    for index, held in enumerate(pieces):
        mine = {mode: programs[mode][index] for mode in programs}
        parts.append(_part(module, held, mine, known, sizes_of=inputs if index == 0 else ()))
    return Chain.of(module, parts, ordered).train(module.training)


def _part(
    module: nn.Module,
    held: Mapping[str, nn.Module | torch.Tensor],
    programs: Mapping[bool, Program],
    known: Mapping[bool, Known],
    *,
    sizes_of: Sequence[torch.Tensor],
) -> Part:
    varied = known[True].varied & known[False].varied
    given = [[None if dim in varied else n for dim, n in enumerate(x.shape)] for x in sizes_of]
    modes: dict[bool, dict[str, bool]] = {True: {}, False: {}}
    part = Part(programs, modes, given)
    part.pieces = tuple(held)
    for path, piece in held.items():
        put_at(part, path, piece, module)
    paths = [path for path, _ in part.named_modules() if path]
    for mode, each in known.items():
        modes[mode].update((path, each.recording.modes[path]) for path in paths)
    return part
