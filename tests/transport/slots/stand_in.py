"""A stand-in for CUDA: its runtime's calls on main memory, and torch's GPUs.

Several processes' ends live in one. A mapping has an address of its own and the same bytes. A call
that fails leaves an error that stays until it is asked for, as in libcudart. Work that is queued
before an event ends when the event has been asked for often enough.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from dni_async.transport.slots.cuda_runtime import CudaRuntime
from dni_async.transport.slots.device import Cuda

__all__ = ["CALLS", "GPU", "OUT_OF_MEMORY", "StandIn", "StandInGpus", "make_cuda", "slow_event"]

OUT_OF_MEMORY, NOT_READY = 2, 600
GPU = torch.device("cpu")
CALLS = (
    "cudaMalloc",
    "cudaFree",
    "cudaIpcGetMemHandle",
    "cudaIpcOpenMemHandle",
    "cudaIpcCloseMemHandle",
    "cudaEventCreateWithFlags",
    "cudaIpcGetEventHandle",
    "cudaIpcOpenEventHandle",
    "cudaEventDestroy",
    "cudaEventRecord",
    "cudaEventQuery",
    "cudaStreamSynchronize",
)


class StandIn:
    """Behaves as libcudart.

    fails: the call that is refused, and from which time on. calls: all that were made, with what
    they were about. slow: of an event, how often it is asked for in vain, and what happens then;
    ``slow_next`` is for the next that is recorded.
    """

    def __init__(self, fails: str = "", after: int = 0) -> None:
        self.fails, self.after = fails, after
        self.made: Counter[str] = Counter()
        self.calls: list[tuple[str, int]] = []
        self.last_error = 0
        self.memory: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self.mapped: dict[int, int] = {}
        self.events: dict[int, int] = {}  # those that were opened: which they are
        self.slow: dict[int, tuple[float, Callable[[], object]]] = {}
        self.slow_next: tuple[float, Callable[[], object]] | None = None
        self.somebody_was_killed = False  # whose order of ends is nobody's choice
        self._next = 4096

    @property
    def is_clean(self) -> bool:
        """Whether all was given back, and no error is left for the next kernel."""
        return not (self.memory or self.mapped or self.events or self.last_error)

    def __getattr__(self, call: str) -> Callable[..., int]:
        if call not in CALLS:
            raise AttributeError(call)
        return lambda *arguments: self._perform(call, arguments)

    def cudaGetLastError(self) -> int:
        """Tells the error, and clears it."""
        told, self.last_error = self.last_error, 0
        return told

    def bytes_at(self, address: int) -> ctypes.Array[ctypes.c_char]:
        """What lies there, or is mapped there."""
        return self.memory[self.mapped.get(address, address)]

    def _perform(self, call: str, arguments: tuple[Any, ...]) -> int:
        self.made[call] += 1
        if call == self.fails and self.made[call] > self.after:
            self.last_error = OUT_OF_MEMORY
            return OUT_OF_MEMORY
        first, rest = arguments[0], arguments[1:]
        made = getattr(self, f"_{call}")(first, *rest)
        about = first._obj.value if hasattr(first, "_obj") else getattr(first, "value", 0)
        self.calls.append((call, about if isinstance(about, int) else 0))
        return made or 0

    def _place(self, pointer: Any) -> int:
        self._next += 2**32  # more than an allocation takes
        pointer._obj.value = self._next
        return self._next

    def _cudaMalloc(self, pointer: Any, size: Any) -> None:
        self.memory[self._place(pointer)] = ctypes.create_string_buffer(size.value)

    def _cudaFree(self, address: Any) -> None:
        if not self.somebody_was_killed:
            assert address.value not in self.mapped.values(), "another process has it mapped"
        del self.memory[address.value]

    def _cudaIpcGetMemHandle(self, handle: Any, address: Any) -> None:
        assert address.value in self.memory
        handle.value = str(address.value).encode()

    def _cudaIpcOpenMemHandle(self, pointer: Any, handle: Any, flags: int) -> int:
        assert flags == 1
        address = int(bytes(handle).strip(b"\0") or b"0")
        if address not in self.memory:
            self.last_error = 201
            return 201
        self.mapped[self._place(pointer)] = address
        return 0

    def _cudaIpcCloseMemHandle(self, address: Any) -> None:
        assert self.somebody_was_killed or address.value in self.mapped
        self.mapped.pop(address.value, None)

    def _cudaEventCreateWithFlags(self, pointer: Any, flags: int) -> None:
        assert flags == 6  # without times, for other processes
        event = self._place(pointer)
        self.events[event] = event

    def _cudaIpcGetEventHandle(self, handle: Any, event: Any) -> None:
        assert self.events[event.value] == event.value
        handle.value = str(event.value).encode()

    def _cudaIpcOpenEventHandle(self, pointer: Any, handle: Any) -> None:
        event = int(bytes(handle).strip(b"\0"))
        assert self.events[event] == event
        self.events[self._place(pointer)] = event

    def _cudaEventDestroy(self, event: Any) -> None:
        of = self.events.pop(event.value)
        if not self.somebody_was_killed:
            is_theirs = of != event.value
            assert is_theirs or of not in self.events.values(), "another process has it"

    def _cudaEventRecord(self, event: Any, stream: Any) -> None:
        assert self.events[event.value] == event.value, "it is another process's"
        if self.slow_next is not None:
            self.slow[event.value], self.slow_next = self.slow_next, None

    def _cudaEventQuery(self, event: Any) -> int:
        of = self.events[event.value]
        polls, then = self.slow.get(of, (0, lambda: None))
        if polls > 0:
            self.slow[of] = (polls - 1, then)
            self.last_error = NOT_READY
            return NOT_READY
        if self.slow.pop(of, None):
            then()
        return 0

    def _cudaStreamSynchronize(self, stream: Any) -> None:
        pass


class StandInGpus:
    """GPUs of one end's process. uuids: of those that it sees, by index; none: it uses no GPU."""

    def __init__(self, library: StandIn, *uuids: str) -> None:
        self._library = library
        self._uuids = uuids

    def are_up(self) -> bool:
        """Whether there is one."""
        return bool(self._uuids)

    def present(self) -> torch.device:
        """Main memory stands in for all of them."""
        return GPU

    def uuid(self, device: torch.device) -> str:
        """The first one's."""
        return self._uuids[0]

    def find(self, uuid: str) -> torch.device | None:
        """Whether it is among them."""
        return GPU if uuid in self._uuids else None

    def stream(self, device: torch.device) -> int:
        """The default one."""
        return 0

    def on(self, device: torch.device) -> AbstractContextManager[object]:
        """Nothing to do."""
        return nullcontext()

    def view(self, address: int, size: int, device: torch.device, owner: object) -> torch.Tensor:
        """Of the bytes that the library keeps, from within an allocation too."""
        base = max(at for at in (*self._library.memory, *self._library.mapped) if at <= address)
        kind = type("Span", (ctypes.c_char * size,), {})  # its instances hold on to others
        span = kind.from_buffer(self._library.bytes_at(base), address - base)
        span.owner = owner
        return torch.frombuffer(span, dtype=torch.uint8)


def make_cuda(library: StandIn, *uuids: str) -> Cuda:
    """One end's."""
    return Cuda(CudaRuntime(library), StandInGpus(library, *uuids))


@contextmanager
def slow_event(
    library: StandIn, polls: float, then: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """What is recorded first within is done after so many questions, and then does something."""
    library.slow_next = (polls, then)
    yield
    assert library.slow_next is None, "nothing was recorded"
