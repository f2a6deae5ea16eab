"""What a stage must know to go on: taken at a checkpoint, put back before a worker is ready.

In flight at the cut, and so lost to a resumed run: returned gradients that have not come back yet,
and copies kept for replays. With a window of 1 there are none of the former.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from dni_async.decisions.actions import Cut
from dni_async.decisions.rules import restore_rule, rule_state
from dni_async.errors import CheckpointError
from dni_async.files.beside import METADATA, OWN, apart
from dni_async.files.shards import GATHERED, OPTIMIZER, RNG, Shard, read_part
from dni_async.network.building import layer_children
from dni_async.stage.descent.optimizers import Memory
from dni_async.stage.own_state import OwnState, put_back, take
from dni_async.stage.stage import Stage
from dni_async.system import output
from dni_async.wire.messages import Regroup
from dni_async.workers.reporting.epochs import Epochs
from dni_async.workers.startup.equipment import Equipment
from dni_async.workers.startup.seat import Seat

__all__ = ["capture", "regroup", "restore", "save_weights", "start_of"]


def capture(cut: Cut, seat: Seat, equipment: Equipment, epochs: Epochs) -> Shard:
    """The stage as it is, copied to the CPU: what is learnt later does not reach the copy."""
    welcome, stage, boundary = seat.welcome, equipment.stage, equipment.boundary
    first, end = welcome.first_layer, welcome.end_layer
    tensors = {
        name: tensor.detach().to("cpu", copy=True)
        for name, tensor in _live_tensors(equipment, first, end).items()
    }
    beside = take(stage.layers, stage.marks)
    tensors |= {f"{OWN}/{name}": t.to("cpu", copy=True) for name, t in beside.tensors.items()}
    memory = stage.updates.memory()
    of_optimizer = {f"{OPTIMIZER}/{name}": tensor for name, tensor in memory.tensors.items()}
    tensors |= {name: tensor.to("cpu", copy=True) for name, tensor in of_optimizer.items()}
    own: dict[str, Any] = {
        "updates": stage.version,
        "scheduled": stage.updates.scheduled,
        "rule": rule_state(equipment.rule),
    }
    if stage.updates.accumulated is not None:
        own["gathered"], sums = stage.updates.accumulated.gathered
        tensors |= {
            f"{GATHERED}/{stage.updates.named_parameters[place][0]}": each.to("cpu", copy=True)
            for place, each in sums.items()
        }
    boundaries = {}
    if boundary is not None and boundary.shapes:
        agreement, staleness = boundary.comparison.state(), epochs.staleness.state()
        boundaries[str(end - 1)] = {
            "shapes": list(boundary.shapes.items()),
            "agreement": agreement,
            "staleness": staleness,
        }
    facts = {
        "layers": {child: first + i for i, child in layer_children(stage.layers)},
        "cut": [cut.batch_id, cut.epoch, cut.index],
        "stage": own,
        "own": beside.values,
        "optimizer": {"parameters": memory.parameters, "groups": memory.groups},
        "boundaries": boundaries,
        "run": epochs.state(cut) | _of_data(cut, equipment),
    }
    return Shard(tensors | _generators(stage.layers), facts)


def _of_data(cut: Cut, equipment: Equipment) -> dict[str, Any]:
    """Where the data are, of who reads them and has to say more than which batch is next."""
    feed = equipment.inputs
    state = None if feed is None else feed.state(cut.epoch, cut.index)
    return {} if state is None else {"data": state}


def save_weights(stage: Stage, path: Path) -> None:
    """Write the trained layers, and what their modules keep beside the weights, to path.

    What cannot travel, though no trial before the run showed it, is named in the worker's log.
    """
    beside = take(stage.layers, stage.marks)
    tensors = {n: t for n, t in stage.layers.state_dict().items() if isinstance(t, torch.Tensor)}
    tensors |= {f"{OWN}/{name}": tensor for name, tensor in beside.tensors.items()}
    # Copies: safetensors refuses two names for the same memory.
    copies = {n: t.detach().to("cpu", copy=True).contiguous() for n, t in tensors.items()}
    safetensors.torch.save_file(copies, path, {METADATA: json.dumps(beside.values)})
    for name, kind in beside.left.items():
        output.complain(f"{name} has changed, but a {kind} cannot travel")


def start_of(shard: Shard | None) -> tuple[int, int]:
    """Epoch and index of the first training batch to do; without a shard, of the run's first."""
    if shard is None:
        return 1, 0
    _, epoch, index = shard.facts["cut"]
    return epoch, index


def restore(shard: Shard, seat: Seat, equipment: Equipment, epochs: Epochs) -> None:
    """Make the stage what it was. Raises CheckpointError if the shard is not of its layers."""
    own, stage = shard.facts["stage"], equipment.stage
    _put_in(shard, seat, equipment, epochs)
    stage.updates.version, stage.updates.scheduled = own["updates"], own["scheduled"]
    restore_rule(equipment.rule, own.get("rule"))
    if equipment.inputs is not None and "data" in shard.facts["run"]:
        equipment.inputs.restore(shard.facts["run"]["data"])
    if not seat.is_replacement:  # which enters an epoch that has gone on since
        epochs.restore(shard.facts["run"], start_of(shard)[0])
    _set_generators(shard.tensors)


def regroup(order: Regroup, seat: Seat, equipment: Equipment, epochs: Epochs) -> None:
    """Have the stage hold the layers that order names, as they are in its checkpoint.

    Its counts of updates, its rule, its data and what it knows of the epoch go on, and so do the
    random numbers. Raises CheckpointError if the checkpoint is none of these layers.
    """
    first, end = order.first_layer, order.end_layer
    shard = read_part(Path(order.checkpoint), (first, end))
    seat.welcome = dataclasses.replace(seat.welcome, first_layer=first, end_layer=end)
    updates = equipment.stage.updates
    counts = updates.version, updates.scheduled
    equipment.regroup(seat.welcome)
    epochs.regroup(equipment.boundary)
    _put_in(shard, seat, equipment, epochs)
    updates = equipment.stage.updates
    updates.version, updates.scheduled = counts


def _put_in(shard: Shard, seat: Seat, equipment: Equipment, epochs: Epochs) -> None:
    """What the shard holds of the stage's layers and of its boundary."""
    welcome, stage, boundary = seat.welcome, equipment.stage, equipment.boundary
    first, end = welcome.first_layer, welcome.end_layer
    own, known = shard.facts["stage"], shard.facts["boundaries"].get(str(end - 1))
    if boundary is not None and known is not None:
        for place, shape in known["shapes"]:
            boundary.make(tuple(shape), place)
        boundary.comparison.restore(known["agreement"])
        epochs.staleness.restore(known["staleness"])
    with torch.no_grad():
        for name, tensor in _live_tensors(equipment, first, end).items():
            _put_back(name, tensor, shard.tensors)
    put_back(stage.layers, OwnState(shard.facts.get("own", {}), apart(shard.tensors)[1]))
    stage.updates.remember(_memory(shard))
    if stage.updates.accumulated is not None and own.get("gathered"):
        device = next(stage.layers.parameters()).device
        sums = {
            place: shard.tensors[f"{GATHERED}/{name}"].to(device)
            for place, (name, _) in enumerate(stage.updates.named_parameters)
            if f"{GATHERED}/{name}" in shard.tensors
        }
        stage.updates.accumulated.restore(own["gathered"], sums)


def _memory(shard: Shard) -> Memory:
    """What an optimizer of the user's own went by, of a stage with one."""
    begin = f"{OPTIMIZER}/"
    tensors = {n.removeprefix(begin): t for n, t in shard.tensors.items() if n.startswith(begin)}
    return Memory(tensors=tensors, **shard.facts.get("optimizer", {}))


def _live_tensors(equipment: Equipment, first: int, end: int) -> dict[str, torch.Tensor]:
    """Everything that learning changes, by its name in a shard."""
    found = equipment.stage.tensors()
    if equipment.boundary is not None:
        named = equipment.boundary.tensors()
        found |= {f"synthesizer-{end - 1}/{name}": tensor for name, tensor in named.items()}
    if equipment.input_synthesizer is not None:
        named = equipment.input_synthesizer.tensors()
        found |= {f"input-{first}/{name}": tensor for name, tensor in named.items()}
    return found


def _put_back(name: str, tensor: torch.Tensor, saved: Mapping[str, torch.Tensor]) -> None:
    """Give tensor its saved values; a synthesizer that was not there before stays as made."""
    found = saved.get(name)
    if found is None and name.startswith(("synthesizer-", "input-")):
        return
    if found is None or found.shape != tensor.shape or found.dtype != tensor.dtype:
        what = "nothing" if found is None else f"{found.dtype} {list(found.shape)}"
        raise CheckpointError(
            f"resume: {name} is {tensor.dtype} {list(tensor.shape)}, the checkpoint has {what}"
        )
    tensor.copy_(found)


def _generators(layers: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The states of torch's generators that the stage draws from."""
    states = {f"{RNG}/cpu": torch.get_rng_state()}
    device = next(layers.parameters()).device
    if device.type == "cuda":
        states[f"{RNG}/cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_generators(tensors: Mapping[str, torch.Tensor]) -> None:
    if f"{RNG}/cpu" in tensors:
        torch.set_rng_state(tensors[f"{RNG}/cpu"])
    if f"{RNG}/cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors[f"{RNG}/cuda"])
