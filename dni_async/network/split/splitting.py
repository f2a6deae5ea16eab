"""Split a module at points that are named: what runs before each of them, and what from it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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

__all__ = ["Cuts", "assemble", "find_cuts", "split_at"]


@dataclass(frozen=True, slots=True)
class Cuts:
    """How a module is split: what it does in either mode, and where parts begin.

    opened: the paths of modules that are looked into. points: in the order that they are reached.
    shapes: of the inputs that it was recorded with.
    """

    known: Mapping[bool, Known]
    opened: frozenset[str]
    points: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]


def split_at(
    module: nn.Module, scratch: nn.Module, inputs: Sequence[torch.Tensor], points: Sequence[str]
) -> Chain:
    """A chain that holds module's own parameters and modules, and does what it does.

    See find_cuts; scratch is the same as module once more.
    """
    return assemble(module, find_cuts(scratch, inputs, points))


def find_cuts(scratch: nn.Module, inputs: Sequence[torch.Tensor], points: Sequence[str]) -> Cuts:
    """How a module can be split. scratch is tried with, which changes it.

    inputs [B, ...]: NUM_SAMPLES samples as module takes them (recording.variants). points: the
    paths of the modules at which another part begins; one at the very beginning is passed over.
    Raises Unsplittable.
    """
    check_points(scratch, points)
    opened = opened_for(scratch, points)
    known = recorded(scratch, inputs, opened, call_whole)
    ordered = in_order(known[True].recording, points)
    if in_order(known[False].recording, points) != ordered:
        raise Unsplittable("training and evaluation reach the split points in another order")
    shapes = tuple(tuple(x.shape) for x in inputs)
    return Cuts(known, frozenset(opened), tuple(ordered), shapes)


def assemble(module: nn.Module, cuts: Cuts) -> Chain:
    """A chain that holds module's own parameters and modules. Raises Unsplittable."""
    try:
        return _assembled(module, cuts)
    except Unsplittable:  # numbers that pass may be known where the length is
        known = {mode: each.of_one_length() for mode, each in cuts.known.items()}
        return _assembled(module, replace(cuts, known=known))


def _assembled(module: nn.Module, cuts: Cuts) -> Chain:
    owners = Owners(module, cuts.opened, cuts.points)
    programs = {}
    for mode, each in cuts.known.items():
        entered = [each.recording.entered[point][0] for point in cuts.points]
        starts = settled(each.recording, entered)
        owners.note(each.recording, starts)
        programs[mode] = cut(each, starts)
    pieces = owners.pieces(len(cuts.points) + 1)
    parts = []
    for index, held in enumerate(pieces):
        mine = {mode: programs[mode][index] for mode in programs}
        parts.append(_part(module, held, mine, cuts, checks=index == 0))
    return Chain.of(module, parts, cuts.points).train(module.training)


def _part(
    module: nn.Module,
    held: Mapping[str, nn.Module | torch.Tensor],
    programs: Mapping[bool, Program],
    cuts: Cuts,
    *,
    checks: bool,
) -> Part:
    known = cuts.known
    varied = known[True].varied & known[False].varied
    shapes = cuts.shapes if checks else ()
    given = [[None if dim in varied else n for dim, n in enumerate(shape)] for shape in shapes]
    modes: dict[bool, dict[str, bool]] = {True: {}, False: {}}
    part = Part(programs, modes, given)
    part.pieces = tuple(held)
    for path, piece in held.items():
        put_at(part, path, piece, module)
    paths = [path for path, _ in part.named_modules() if path]
    for mode, each in known.items():
        modes[mode].update((path, each.recording.modes[path]) for path in paths)
    return part
