"""CUDA's calls for shared memory, against a stand-in for its library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dni_async.transport.slots.cuda_runtime import HANDLE_BYTES, CudaRuntime

OUT_OF_MEMORY = 2


class StandIn:
    """Behaves as libcudart: a call that fails leaves an error that stays until it is asked for.

    fails: the call that is refused. held: addresses of what was allocated or mapped.
    """

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.held: set[int] = set()
        self.last_error = 0

    def cudaMalloc(self, pointer: Any, size: Any) -> int:
        """Addresses are numbers like others."""
        return self._take(pointer, 4096 + size.value, "cudaMalloc")

    def cudaIpcOpenMemHandle(self, pointer: Any, handle: Any, flags: int) -> int:
        """The handle names the address."""
        assert flags == 1
        return self._take(pointer, int(bytes(handle)[:8].strip(b"\0")), "cudaIpcOpenMemHandle")

    def cudaIpcGetMemHandle(self, handle: Any, pointer: Any) -> int:
        """The address as text."""
        handle.value = str(pointer.value).encode()
        return self._end("cudaIpcGetMemHandle")

    def cudaFree(self, pointer: Any) -> int:
        """Once for each allocation."""
        return self._end("cudaFree") or self.held.remove(pointer.value) or 0

    def cudaIpcCloseMemHandle(self, pointer: Any) -> int:
        """Once for each mapping."""
        return self._end("cudaIpcCloseMemHandle") or self.held.remove(pointer.value) or 0

    def cudaGetLastError(self) -> int:
        """Tells the error, and clears it."""
        told, self.last_error = self.last_error, 0
        return told

    def _take(self, pointer: Any, address: int, call: str) -> int:
        code = self._end(call)
        if code == 0:
            pointer._obj.value = address
            self.held.add(address)
        return code

    def _end(self, call: str) -> int:
        if call == self.fails:
            self.last_error = OUT_OF_MEMORY
            return OUT_OF_MEMORY
        return 0


def test_memory_is_allocated_exported_opened_closed_and_freed() -> None:
    library = StandIn()
    runtime = CudaRuntime(library)
    address = runtime.allocate(512)
    handle = runtime.export(address)
    assert len(handle) == HANDLE_BYTES
    assert runtime.open(handle) == address
    assert library.held == {address}
    runtime.close(address)
    assert library.held == set()
    library.held.add(address)
    runtime.free(address)
    assert library.held == set()


CALLS: list[tuple[str, Callable[[CudaRuntime], object]]] = [
    ("cudaMalloc", lambda runtime: runtime.allocate(512)),
    ("cudaIpcGetMemHandle", lambda runtime: runtime.export(4096)),
    ("cudaIpcOpenMemHandle", lambda runtime: runtime.open(b"4096".ljust(HANDLE_BYTES, b"\0"))),
    ("cudaIpcCloseMemHandle", lambda runtime: runtime.close(4096)),
    ("cudaFree", lambda runtime: runtime.free(4096)),
]


@pytest.mark.parametrize(("name", "call"), CALLS, ids=[name for name, _ in CALLS])
def test_a_call_that_fails_says_which_and_leaves_no_error_for_the_next_kernel(
    name: str, call: Callable[[CudaRuntime], object]
) -> None:
    library = StandIn(fails=name)
    with pytest.raises(OSError, match=f"{name} failed with CUDA error {OUT_OF_MEMORY}"):
        call(CudaRuntime(library))
    assert library.last_error == 0
