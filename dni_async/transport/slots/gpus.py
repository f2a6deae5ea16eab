"""Which GPUs a process sees, by what identifies them everywhere, and what torch knows of them.

An index identifies nothing: where each process has CUDA_VISIBLE_DEVICES of its own, as under Ray
and SLURM, all are on cuda:0. A GPU's UUID is the same everywhere.
"""

from __future__ import annotations

import os
import struct
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

import torch

__all__ = ["WHEREABOUTS_BYTES", "Gpus", "TorchGpus", "Whereabouts", "pid_namespace"]

_WHEREABOUTS: Final = struct.Struct("<64sq")
WHEREABOUTS_BYTES: Final = _WHEREABOUTS.size


class Gpus(Protocol):
    """What is asked of torch; TorchGpus is the one."""

    def are_up(self) -> bool:
        """Whether this process uses a GPU already."""

    def present(self) -> torch.device:
        """The GPU that this process works on."""

    def uuid(self, device: torch.device) -> str:
        """What identifies it on this host. Raises OSError where that is not told."""

    def find(self, uuid: str) -> torch.device | None:
        """The GPU of that UUID, as this process counts; None where it does not see it."""

    def stream(self, device: torch.device) -> int:
        """The stream that torch queues work on, as CUDA knows it."""

    def on(self, device: torch.device) -> AbstractContextManager[object]:
        """Within it device is the present one."""

    def view(self, address: int, size: int, device: torch.device, owner: object) -> torch.Tensor:
        """size bytes of memory there, as uint8 [size]; owner lives as long as any view of it."""


class TorchGpus:
    """By torch.cuda."""

    def are_up(self) -> bool:
        """Whether this process uses a GPU already."""
        return torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]

    def present(self) -> torch.device:
        """The GPU that this process works on."""
        return torch.device("cuda", torch.cuda.current_device())

    def uuid(self, device: torch.device) -> str:
        """What identifies it on this host. Raises OSError where that is not told."""
        uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
        if uuid is None:
            raise OSError(f"torch {torch.__version__} does not tell a GPU's UUID")
        return str(uuid)

    def find(self, uuid: str) -> torch.device | None:
        """The GPU of that UUID, as this process counts; None where it does not see it."""
        devices = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
        return next((device for device in devices if self.uuid(device) == uuid), None)

    def stream(self, device: torch.device) -> int:
        """The stream that torch queues work on, as CUDA knows it."""
        return int(torch.cuda.current_stream(device).cuda_stream)

    def on(self, device: torch.device) -> AbstractContextManager[object]:
        """Within it device is the present one."""
        context: AbstractContextManager[object] = torch.cuda.device(device)
        return context

    def view(self, address: int, size: int, device: torch.device, owner: object) -> torch.Tensor:
        """size bytes of memory there, as uint8 [size]; owner lives as long as any view of it."""
        return torch.as_tensor(_Span(address, size, owner), device=device)


class _Span:
    """Device memory as others take it over without a copy: torch holds on to it."""

    def __init__(self, address: int, size: int, owner: object) -> None:
        self._owner = owner
        self.__cuda_array_interface__ = {
            "shape": (size,),
            "typestr": "|u1",
            "data": (address, False),
            "version": 3,
        }


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where memory lies: the UUID of its GPU, and the process's PID namespace; 0 if unknown."""

    uuid: str
    namespace: int

    @classmethod
    def here(cls, gpus: Gpus, device: torch.device) -> Whereabouts:
        """Of memory on device. Raises OSError where its UUID is not told."""
        return cls(gpus.uuid(device), pid_namespace())

    def packed(self) -> bytes:
        """As it is told, in WHEREABOUTS_BYTES."""
        return _WHEREABOUTS.pack(self.uuid.encode(), self.namespace)

    @classmethod
    def unpacked(cls, told: bytes) -> Whereabouts:
        """What packed told."""
        uuid, namespace = _WHEREABOUTS.unpack(told)
        return cls(uuid.rstrip(b"\0").decode(errors="replace"), namespace)

    def found(self, gpus: Gpus) -> torch.device:
        """That GPU, as this process counts.

        Raises OSError, with the reason, where memory there cannot be had.
        """
        here = pid_namespace()
        if 0 not in (here, self.namespace) and here != self.namespace:
            raise OSError(
                "the two workers are in separate PID namespaces, which CUDA IPC does not cross"
            )
        device = gpus.find(self.uuid)
        if device is None:
            raise OSError(f"the stage above does not see GPU {self.uuid}")
        return device


def pid_namespace() -> int:
    """What tells this process's PID namespace from others; 0 where the system does not say."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0
