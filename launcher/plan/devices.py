"""The devices that a run asks for, each with its index."""

from __future__ import annotations

from dni_async.errors import ConfigError
from dni_async.system.machine import has_nvidia_device

__all__ = ["resolve_devices"]


def resolve_devices(asked: tuple[str, ...]) -> list[str]:
    """Every device with its index; auto is all CUDA devices there are, else the CPU.

    Raises ConfigError for one that is not there.
    """
    kinds = {device.partition(":")[0] for device in asked}
    if kinds == {"cpu"} or (kinds == {"auto"} and not has_nvidia_device()):
        return ["cpu"] * len(asked)
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kinds == {"auto"}:
        return [f"cuda:{index}" for index in range(count)] or ["cpu"]
    devices = [_expand(device, count) for device in asked]
    return [device for group in devices for device in group]


def _expand(device: str, count: int) -> list[str]:
    kind, _, index = device.partition(":")
    if kind == "cpu":
        return ["cpu"]
    if count == 0:
        raise ConfigError(
            f"devices: {device} was asked for, but torch finds no CUDA device here; say cpu or "
            "auto, or let dni-doctor say why"
        )
    if not index:
        return [f"cuda:{number}" for number in range(count)]
    if int(index) >= count:
        raise ConfigError(
            f"devices: {device} was asked for, but there are {count} CUDA devices "
            f"(cuda:0 to cuda:{count - 1})"
        )
    return [f"cuda:{int(index)}"]
