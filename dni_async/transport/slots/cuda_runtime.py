"""The few calls of the CUDA runtime that torch does not offer: memory that processes share."""

from __future__ import annotations

import ctypes
from typing import Any, Final

import torch

__all__ = ["HANDLE_BYTES", "CudaRuntime", "loaded_runtime"]

HANDLE_BYTES: Final = 64  # of cudaIpcMemHandle_t and cudaIpcEventHandle_t
_LAZY_PEER_ACCESS: Final = 1


class _Handle(ctypes.Structure):
    """cudaIpcMemHandle_t, which is passed by value."""

    _fields_ = (("reserved", ctypes.c_char * HANDLE_BYTES),)


class CudaRuntime:
    """Memory on the current device, and handles by which another process maps it.

    library: libcudart, or what behaves like it. Every call raises OSError when CUDA refuses, and
    leaves no error behind: one that stays latched is raised by torch's next kernel.
    """

    def __init__(self, library: Any) -> None:
        self._library = library

    def allocate(self, size_bytes: int) -> int:
        """The address of new memory."""
        pointer = ctypes.c_void_p()
        code = self._library.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(size_bytes))
        self._check(code, "cudaMalloc")
        return pointer.value or 0

    def free(self, address: int) -> None:
        """Give allocated memory back."""
        self._check(self._library.cudaFree(ctypes.c_void_p(address)), "cudaFree")

    def export(self, address: int) -> bytes:
        """The handle of allocated memory."""
        handle = ctypes.create_string_buffer(HANDLE_BYTES)
        code = self._library.cudaIpcGetMemHandle(handle, ctypes.c_void_p(address))
        self._check(code, "cudaIpcGetMemHandle")
        return handle.raw

    def open(self, handle: bytes) -> int:
        """The address at which another process's memory is mapped here."""
        pointer = ctypes.c_void_p()
        code = self._library.cudaIpcOpenMemHandle(
            ctypes.byref(pointer), _Handle.from_buffer_copy(handle), _LAZY_PEER_ACCESS
        )
        self._check(code, "cudaIpcOpenMemHandle")
        return pointer.value or 0

    def close(self, address: int) -> None:
        """Take the mapping of another process's memory back."""
        code = self._library.cudaIpcCloseMemHandle(ctypes.c_void_p(address))
        self._check(code, "cudaIpcCloseMemHandle")

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
