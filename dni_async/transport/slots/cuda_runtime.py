"""The few calls of the CUDA runtime that torch lacks: memory and events of two processes."""

from __future__ import annotations

import ctypes
from typing import Any, Final

import torch

__all__ = ["HANDLE_BYTES", "CudaRuntime", "loaded_runtime"]

HANDLE_BYTES: Final = 64  # of cudaIpcMemHandle_t and cudaIpcEventHandle_t
_LAZY_PEER_ACCESS: Final = 1
_DISABLE_TIMING, _INTERPROCESS = 2, 4
_NOT_READY: Final = 600


class _Handle(ctypes.Structure):
    """cudaIpcMemHandle_t and cudaIpcEventHandle_t, which are passed by value."""

    _fields_ = (("reserved", ctypes.c_char * HANDLE_BYTES),)


class CudaRuntime:
    """Memory and events on the current device, and handles by which another process has them.

    library: libcudart, or what behaves like it. Every call raises OSError when CUDA refuses, and
    leaves no error behind: one that stays latched is raised by torch's next kernel.
    Addresses, events and streams are pointers, as numbers; stream 0 is the default one.
    """

    def __init__(self, library: Any) -> None:
        self._library = library

    def allocate(self, size_bytes: int) -> int:
        """The address of new memory."""
        return self._made("cudaMalloc", ctypes.c_size_t(size_bytes))

    def free(self, address: int) -> None:
        """Give allocated memory back."""
        self._call("cudaFree", ctypes.c_void_p(address))

    def export(self, address: int) -> bytes:
        """The handle of allocated memory."""
        return self._handle("cudaIpcGetMemHandle", address)

    def open(self, handle: bytes) -> int:
        """The address at which another process's memory is mapped here."""
        return self._made(
            "cudaIpcOpenMemHandle", _Handle.from_buffer_copy(handle), _LAZY_PEER_ACCESS
        )

    def close(self, address: int) -> None:
        """Take the mapping of another process's memory back."""
        self._call("cudaIpcCloseMemHandle", ctypes.c_void_p(address))

    def new_event(self) -> int:
        """An event that another process can have; done until it is recorded."""
        return self._made("cudaEventCreateWithFlags", _DISABLE_TIMING | _INTERPROCESS)

    def export_event(self, event: int) -> bytes:
        """The handle of an event that was made here."""
        return self._handle("cudaIpcGetEventHandle", event)

    def open_event(self, handle: bytes) -> int:
        """Another process's event, as it is known here."""
        return self._made("cudaIpcOpenEventHandle", _Handle.from_buffer_copy(handle))

    def end_event(self, event: int) -> None:
        """Give an event back; that of another process stays with that."""
        self._call("cudaEventDestroy", ctypes.c_void_p(event))

    def record(self, event: int, stream: int) -> None:
        """Done, from here on, is event when all is that was queued on stream."""
        self._call("cudaEventRecord", ctypes.c_void_p(event), ctypes.c_void_p(stream))

    def is_done(self, event: int) -> bool:
        """Whether all that was queued before the event was recorded has ended; does not wait."""
        code = self._library.cudaEventQuery(ctypes.c_void_p(event))
        if code == _NOT_READY:
            self._library.cudaGetLastError()  # it counts as an error, and would stay
            return False
        self._check(code, "cudaEventQuery")
        return True

    def drain(self, stream: int) -> None:
        """Wait until all that was queued on stream has ended."""
        self._call("cudaStreamSynchronize", ctypes.c_void_p(stream))

    def _made(self, call: str, *arguments: Any) -> int:
        """What a call writes where its first argument points."""
        pointer = ctypes.c_void_p()
        self._call(call, ctypes.byref(pointer), *arguments)
        return pointer.value or 0

    def _handle(self, call: str, of: int) -> bytes:
        handle = ctypes.create_string_buffer(HANDLE_BYTES)
        self._call(call, handle, ctypes.c_void_p(of))
        return handle.raw

    def _call(self, call: str, *arguments: Any) -> None:
        self._check(getattr(self._library, call)(*arguments), call)

    def _check(self, code: int, call: str) -> None:
        if code == 0:
            return
        self._library.cudaGetLastError()  # which also clears it
        raise OSError(f"{call} failed with CUDA error {code}")


def loaded_runtime() -> CudaRuntime:
    """The one that torch has loaded. Raises OSError where this torch has none."""
    version = torch.version.cuda
    if version is None:
        raise OSError("this torch has no CUDA")
    major = version.partition(".")[0]
    return CudaRuntime(ctypes.CDLL(f"libcudart.so.{'11.0' if major == '11' else major}"))
