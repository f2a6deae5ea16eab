"""What a trial says: the child, what is wrong with it, what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from dni_async.errors import ConfigError
from dni_async.network.split.parts import Chain, Part
from dni_async.network.trial.line import StageFailed
from dni_async.network.trial.reference import Undone

__all__ = ["Words"]

_PLAIN = (int, float, complex, str, bytes, bool, type(None), type, nn.Module)


class Words:
    """Sentences about one network. bounds: the first child of each layer, and how many there are.

    ranges: the layers of each stage.
    """

    def __init__(
        self,
        network: nn.Sequential,
        bounds: Sequence[int],
        ranges: Sequence[tuple[int, int]],
        name: str | None,
    ) -> None:
        self._network = network
        self._children = [(bounds[first], bounds[end]) for first, end in ranges]
        self._name = name or "the network"
        self._shared = list(_shared_objects(network))
        self._own = _own_way(network)

    def last_child(self, stage: int) -> int:
        """The index of a stage's last child."""
        return self._children[stage][1] - 1

    def children(self, stage: int) -> range:
        """The indices of a stage's children."""
        return range(*self._children[stage])

    def undone(self, error: Undone) -> str:
        """Training raises, by plain torch too."""
        where = "" if error.child is None else f"{self._child(error.child)} "
        return f"model: {where}raises in training: {_said(error.error)}"

    def failed(self, error: StageFailed) -> str:
        """A stage raises, the whole network does not."""
        if isinstance(error.error, ConfigError):  # of what it gives
            return str(error.error).replace("a layer", self._stage(error.stage), 1)
        return (
            f"model: {self._stage(error.stage)} raises where it runs apart from the others: "
            f"{_said(error.error)}{self._remedy(error.stage)}"
        )

    def other_outputs(self, stage: int | None, mode: str) -> str:
        """A stage gives something else; None: the whole line does."""
        if self._own is not None:
            return (
                f"model: {self._own}, so in {mode} it is not its children one after another, which "
                "is what workers run; put what it does into a module that stands as one child"
            )
        where = "the network" if stage is None else self._stage(stage)
        return (
            f"model: {where} gives something else in {mode} where it runs apart from the others"
            f"{self._remedy(stage)}"
        )

    def other_gradient(self, name: str, *, replays: bool) -> str:
        """A parameter gets another gradient, or only one of the two gives it any."""
        stage = self._stage_of(name)
        if replays:
            return (
                f"model: {self._stage(stage)} does not repeat itself, but this rule runs batches "
                f"again (the gradient of {name} differs); draw from torch's, Python's or numpy's "
                "own generator, which are set for each batch, or take a rule that does not replay"
            )
        if self._own is not None:
            return (
                f"model: {self._own}, and the gradient of {name} is another without it; put what "
                "it does into a module that stands as one child"
            )
        return (
            f"model: the gradient of {name} is another where {self._stage(stage)} runs apart from "
            f"the others{self._remedy(stage)}"
        )

    def no_update(self, error: Exception) -> str:
        """The optimizer raises."""
        return f"optimizer: {_said(error)}"

    def no_tensor(self, result: object) -> str:
        """The network's own forward gives something else than a tensor."""
        return f"model: {self._name} gives a {type(result).__name__}, needs one tensor"

    def other_dtype(self, stage: int, value: torch.Tensor, dtypes: Sequence[torch.dtype]) -> str:
        """Stages compute in other numbers."""
        return (
            f"model: {self._stage(stage)} gives {value.dtype} that needs a gradient, but this run "
            f"computes in {' and '.join(sorted(map(str, dtypes)))}; cast it before it is given"
        )

    def several_values(self, stage: int) -> str:
        """Inputs of several values are not predicted."""
        return (
            f"unlock: forward predicts inputs that are one tensor, but {self._stage(stage)} gives "
            "several values; leave unlock at backward"
        )

    def no_samples(self, stage: int, value: torch.Tensor, leading: Sequence[int]) -> str:
        """A value that needs a gradient is not one of samples."""
        return (
            f"model: {self._stage(stage)} gives {value.dtype} {list(value.shape)} that needs a "
            f"gradient, which must be [{', '.join(map(str, leading))}, ...] for a synthesizer; "
            "detach it, put who gives it and who takes it into one stage, or take --rule fdg"
        )

    def other_size(self, stage: int, first: Sequence[int], size: Sequence[int]) -> str:
        """Synthesizers are made for one size of a sample."""
        return (
            f"synthesizer: {self._stage(stage)} gives samples {list(first)} of one batch and "
            f"{list(size)} of another, but a synthesizer is made for one size; pad all batches to "
            "it, label every position, or take --rule fdg"
        )

    def left(self, name: str, kind: str) -> str:
        """An attribute changes that cannot travel."""
        path, _, attribute = name.rpartition(".")
        child = self._position(path)
        return (
            f"model: {self._child(child)} changes its attribute {attribute!r} in training, but a "
            f"{kind} cannot come back from its worker; keep numbers, strings, tensors or lists and "
            "dicts of these, or give the module get_extra_state and set_extra_state"
        )

    def not_loaded(self, error: Exception) -> str:
        """What was saved does not load."""
        return (
            f"model: what {self._name} has learnt cannot be put into a new one: {_said(error)}; "
            "parameters and buffers must keep their names and shapes"
        )

    def lost(self, stage: int | None) -> str:
        """What was saved and loaded evaluates to something else."""
        where = self._name if stage is None else self._stage(stage)
        return (
            f"model: {where} gives something else once its weights are saved and loaded; keep what "
            "training changes in parameters, buffers or plain attributes of its modules"
        )

    def _remedy(self, stage: int | None) -> str:
        """What two stages have in common, if anything, and what to do."""
        for kind, places in self._shared:
            stages = {self._holder(place) for place in places}
            if len(stages) > 1 and (stage is None or stage in stages):
                both = " and ".join(str(place) for place in places[:2])
                return (
                    f"; children {both} share a {kind}, which is not shared between processes: put "
                    "them into one child, or into one stage with --stages"
                )
        return "; nothing but what a child gives passes to the next"

    def _holder(self, child: int) -> int:
        ends = [end for _, end in self._children]
        return next(stage for stage, end in enumerate(ends) if child < end)

    def _stage_of(self, parameter: str) -> int:
        return self._holder(self._position(parameter))

    def _position(self, path: str) -> int:
        """The index of the child that path lies in."""
        names = path.split(".")
        above = {".".join(names[:end]) for end in range(1, len(names) + 1)}
        return next(
            index
            for index, (name, child) in enumerate(self._network._modules.items())
            if above & set(child.pieces if isinstance(child, Part) else [name])
        )

    def _child(self, index: int) -> str:
        if isinstance(self._network, Chain):
            begin = self._network.points[index - 1] if index else "the beginning"
            return f"part {index} (from {begin} on)"
        return f"child {index} ({type(self._network[index]).__name__})"

    def _stage(self, stage: int) -> str:
        first, end = self._children[stage]
        if end == first + 1:
            return self._child(first)
        if isinstance(self._network, Chain):
            return f"the line of {self._child(first)} to {self._child(end - 1)}"
        kinds = ", ".join(type(self._network[index]).__name__ for index in range(first, end))
        return f"the line of children {first} to {end - 1} ({kinds})"


def _said(error: Exception) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    kind = type(error).__name__
    return f"{kind}: {text}" if text else kind


def _own_way(network: nn.Sequential) -> str | None:
    """How the container does more than to run its children."""
    kind = type(network).__name__
    if "forward" in vars(network) or type(network).forward is not nn.Sequential.forward:
        return f"{kind} has a forward of its own"
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if any(getattr(network, name) for name in hooks):
        return f"{kind} has a hook of its own"
    return None


def _shared_objects(network: nn.Sequential) -> Iterator[tuple[str, list[int]]]:
    """The kind of each object that modules of several children hold, and these children."""
    holders: dict[int, list[int]] = {}
    kinds: dict[int, str] = {}
    for index, child in enumerate(network):
        for value in (v for module in child.modules() for v in vars(module).values()):
            if isinstance(value, _PLAIN) or callable(value):
                continue
            kinds[id(value)] = type(value).__name__
            places = holders.setdefault(id(value), [])
            if index not in places:
                places.append(index)
    for identity, places in holders.items():
        if len(places) > 1:
            yield kinds[identity], places
