"""What modules keep beside their weights: Python attributes, hidden buffers, extra state.

It travels with a stage's weights and checkpoints: tensors as tensors, all else as JSON values, so
that nothing is ever unpickled. Names are the whole network's (``2.block.temperature``). A module's
attribute counts only where it has changed since the network was built, which all processes build
alike.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dni_async.stage.fingerprint import Print, fingerprint

__all__ = [
    "EXTRA",
    "REFILLED",
    "CannotTravel",
    "Marks",
    "OwnState",
    "attributes_of",
    "decode",
    "encode",
    "is_extra",
    "load_trained",
    "marks_of",
    "put_back",
    "refill",
    "take",
]

EXTRA: Final = "_extra_state"
"""What torch calls a module's extra state in a state dict."""
_TORCHS: Final = frozenset(vars(nn.Module()))
_CONTAINERS: Final[dict[str, type]] = {
    kind.__name__: kind for kind in (list, tuple, set, frozenset, deque)
}
REFILLED: Final = (list, deque, dict, set)
"""Containers that several modules may hold, and fill."""
_MAPPINGS: Final[dict[str, type]] = {kind.__name__: kind for kind in (dict, OrderedDict)}

Marks = dict[str, Print]


@dataclass(frozen=True, slots=True)
class OwnState:
    """values: JSON, by name. tensors: what values refer to, by the name's own key.

    left: names of what has changed and is of a kind that cannot travel, with that kind.
    """

    values: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)


class CannotTravel(Exception):
    """The text is the type's name."""


def is_extra(name: str) -> bool:
    """Whether a name of a state dict is a module's extra state."""
    return name.rpartition(".")[2] == EXTRA


def marks_of(layers: nn.Module) -> Marks:
    """What layers keep, in a form that take compares with."""
    registered = _registered(layers)
    return {name: fingerprint(value, registered) for name, _, value in attributes_of(layers)}


def take(layers: nn.Module, since: Marks) -> OwnState:
    """What layers keep that has changed since, and all extra state. Tensors are not copied."""
    state, registered = OwnState(), _registered(layers)
    has_extra = {path for path, module in layers.named_modules() if _has_extra(module)}
    for name, _, value in attributes_of(layers):
        if since.get(name) != fingerprint(value, registered):
            _add(state, name, value, is_needed=name.rpartition(".")[0] not in has_extra)
    for path, module in layers.named_modules():
        if path in has_extra:
            _add(state, f"{path}.{EXTRA}", module.get_extra_state(), is_needed=True)
    return state


def load_trained(network: nn.Module, weights: Mapping[str, torch.Tensor], state: OwnState) -> None:
    """Give network a whole network's weights, by the names of its state dict, and state.

    Raises RuntimeError, as load_state_dict does, for names or shapes that are not the network's.
    """
    extra = {name: value for name, value in network.state_dict().items() if is_extra(name)}
    network.load_state_dict({**extra, **weights}, strict=True)
    put_back(network, state)


@torch.no_grad()
def put_back(layers: nn.Module, state: OwnState) -> None:
    """Give layers what take found; what they do not have is passed over. Extra state comes last.

    So is what take never finds: torch's own attributes, methods, and names that are none.
    """
    modules = dict(layers.named_modules())
    for name in sorted(state.values, key=is_extra):
        path, _, attribute = name.rpartition(".")
        module = modules.get(path)
        if module is None or not _may_have(module, attribute):
            continue
        value = decode(state.values[name], state.tensors, _device_of(layers))
        if attribute == EXTRA:
            module.set_extra_state(value)
            continue
        live = module._buffers.get(attribute)
        if live is not None and isinstance(value, torch.Tensor) and live.shape == value.shape:
            live.copy_(value)
        elif not refill(getattr(module, attribute, None), value):
            setattr(module, attribute, value)


def _may_have(module: nn.Module, attribute: str) -> bool:
    """Whether it can be an attribute that a module keeps: files may come from anybody."""
    if attribute == EXTRA:
        return True
    is_name = attribute.isidentifier() and not attribute.startswith("__")
    is_method = callable(getattr(type(module), attribute, None))
    is_torchs = attribute in {*_TORCHS, *module._parameters, *module._modules}
    return is_name and not is_method and not is_torchs


def refill(container: Any, content: Any) -> bool:
    """Have container, which others may hold too, hold what content does.

    False, and nothing is done, where they are not both a list, deque, dict or set.
    """
    if not isinstance(container, REFILLED) or type(container) is not type(content):
        return False
    container.clear()
    container.extend(content) if isinstance(container, list | deque) else container.update(content)
    return True


def attributes_of(layers: nn.Module) -> Iterator[tuple[str, nn.Module, object]]:
    """Attributes and hidden buffers of every module below the top, with the names they go by."""
    for path, module in layers.named_modules():
        if not path:  # in a worker that is a container of our own
            continue
        for attribute, value in vars(module).items():
            if attribute not in _TORCHS:
                yield f"{path}.{attribute}", module, value
        for attribute in module._non_persistent_buffers_set:
            yield f"{path}.{attribute}", module, module._buffers.get(attribute)


def _registered(layers: nn.Module) -> frozenset[int]:
    """The ids of what has its own way to travel."""
    buffers = (
        buffer
        for module in layers.modules()
        for name, buffer in module._buffers.items()
        if name not in module._non_persistent_buffers_set
    )
    return frozenset(map(id, (*layers.parameters(), *buffers, *layers.modules())))


def _add(state: OwnState, name: str, value: object, *, is_needed: bool) -> None:
    found: dict[str, torch.Tensor] = {}
    try:
        state.values[name] = encode(value, name, found)
    except CannotTravel as error:
        if is_needed:
            state.left[name] = str(error)
        return
    state.tensors.update(found)


def encode(value: object, name: str, tensors: dict[str, torch.Tensor]) -> object:
    """JSON that decode makes value of; its tensors are added under keys that begin with name."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if isinstance(value, np.generic):
        return encode(value.item(), name, tensors)
    if isinstance(value, torch.Tensor | np.ndarray):
        key = f"{name}/{len(tensors)}"
        tensors[key] = _as_tensor(value)
        return {"array" if kind is np.ndarray else "tensor": key}
    if kind not in (*_CONTAINERS.values(), *_MAPPINGS.values()):
        raise CannotTravel(kind.__name__)
    items = value.items() if isinstance(value, Mapping) else cast("Iterable[object]", value)
    return {kind.__name__: [encode(each, name, tensors) for each in items]}


def decode(told: Any, tensors: Mapping[str, torch.Tensor], device: torch.device) -> Any:
    """What encode was given, its tensors on device."""
    if not isinstance(told, dict):
        return told
    ((kind, content),) = told.items()
    if kind == "tensor":
        return tensors[content].to(device, copy=True)
    if kind == "array":
        return tensors[content].numpy(force=True).copy()
    items = [decode(each, tensors, device) for each in content]
    return (_CONTAINERS | _MAPPINGS)[kind](items)


def _as_tensor(value: torch.Tensor | NDArray[Any]) -> torch.Tensor:
    """As a file can hold it. Raises CannotTravel."""
    if isinstance(value, torch.Tensor):
        tensor = value.detach()
    else:
        try:
            tensor = torch.from_numpy(value)
        except TypeError as error:  # text, objects
            raise CannotTravel(f"array of {value.dtype}") from error
    if tensor.layout != torch.strided or tensor.is_complex():
        raise CannotTravel(f"{tensor.layout} {tensor.dtype}")
    return tensor


def _has_extra(module: nn.Module) -> bool:
    return type(module).get_extra_state is not nn.Module.get_extra_state


def _device_of(layers: nn.Module) -> torch.device:
    first = next(layers.parameters(), None)
    return torch.device("cpu") if first is None else first.device
