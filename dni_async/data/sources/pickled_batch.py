"""Reads one pickled batch of CIFAR-10 without unpickling it: nothing in the file is executed.

The files are dicts that Python 2 pickled by protocol 2, with a numpy array inside. Their opcodes
are decoded by pickletools, which only decodes, and what they would build is noted down as plain
values; an opcode or a name that these files do not have is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dni_async.errors import DataError

__all__ = ["read_pickled_batch"]

_PROTOCOL = 2
_GLOBALS = {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NUMBERS_AND_TEXT = {"BININT", "BININT1", "BININT2", "SHORT_BINSTRING", "BINSTRING"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True, slots=True)
class _Global:
    """A name that the pickle refers to; nothing is imported."""

    name: str


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that the pickle asks for; nothing is called."""

    function: object
    arguments: object


@dataclass(frozen=True, slots=True)
class _Built:
    """A state that the pickle sets on something; nothing is set."""

    what: object
    state: object


class _Mark:
    """Where a tuple, a list's or a dict's items begin on the stack."""


def read_pickled_batch(content: bytes, where: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return images uint8 [N, M] and labels uint8 [N] from the content of one data_batch file.

    where names the file in errors. Raises DataError for anything but a dict with data, an array of
    bytes in two dimensions, and labels, a list of as many integers from 0 to 255.
    """
    try:
        batch = _Notes().follow(content)
        images = _array(batch["data"])
        if type(batch["labels"]) is not list:
            raise ValueError("labels is no list")
        labels = np.frombuffer(bytes(batch["labels"]), np.uint8)
    # Damaged bytes surface in whatever way the first wrong one leads to.
    except Exception as error:
        raise DataError(f"{where}: is no batch of CIFAR-10: {error!r}") from error
    if len(labels) != len(images):
        raise DataError(f"{where}: has {len(images)} images, {len(labels)} labels")
    return images, labels


def _array(built: Any) -> NDArray[np.uint8]:
    """The array that numpy's own __reduce__ describes."""
    made = _Call(
        _Global("numpy.core.multiarray _reconstruct"), (_Global("numpy ndarray"), (0,), "b")
    )
    _version, shape, dtype, is_fortran, content = built.state
    if built.what != made or dtype.what.function != _Global("numpy dtype"):
        raise ValueError("data is no numpy array")
    if dtype.what.arguments[0] != "u1" or len(shape) != 2:
        raise ValueError("data is no array of bytes in two dimensions")
    flat = np.frombuffer(content.encode("latin-1"), np.uint8)  # pickletools decoded it by that
    images: NDArray[np.uint8] = flat.reshape(shape, order="F" if is_fortran else "C")
    return images


class _Notes:
    """A pickle's stack and memo, with values in place of objects."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def follow(self, content: bytes) -> dict[str, Any]:
        """The dict that the pickle ends with. Raises ValueError, and what a wrong stack raises."""
        for opcode, argument, _position in pickletools.genops(content):
            if opcode.name == "STOP":
                break
            self._note(opcode.name, argument)
        (result,) = self._stack
        if type(result) is not dict:
            raise ValueError(f"ends with a {type(result).__name__}, not a dict")
        return result

    def _note(self, name: str, argument: Any) -> None:
        push, pop = self._stack.append, self._stack.pop
        if name in _NUMBERS_AND_TEXT:
            push(argument)
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            push(self._memo[argument])
        elif name in _CONSTANTS:
            push(_CONSTANTS[name])
        elif name in _TUPLES:
            push(tuple(reversed([pop() for _ in range(_TUPLES[name])])))
        else:
            self._rarer(name, argument)

    def _rarer(self, name: str, argument: Any) -> None:
        push, pop = self._stack.append, self._stack.pop
        if name == "PROTO" and argument == _PROTOCOL:
            return
        if name == "GLOBAL" and argument in _GLOBALS:
            push(_Global(argument))
            return
        handlers: dict[str, Callable[[], None]] = {
            "MARK": lambda: push(_Mark()),
            "EMPTY_DICT": lambda: push({}),
            "EMPTY_LIST": lambda: push([]),
            "TUPLE": lambda: push(tuple(self._from_mark())),
            "APPENDS": lambda: self._append(self._from_mark()),
            "SETITEMS": lambda: self._set(self._from_mark()),
            "REDUCE": lambda: push(_Call(*reversed((pop(), pop())))),
            "BUILD": lambda: push(_Built(*reversed((pop(), pop())))),
        }
        if name not in handlers:
            raise ValueError(f"{name} {argument!r:.40} is not in these files")
        handlers[name]()

    def _from_mark(self) -> list[Any]:
        items = []
        while not isinstance(item := self._stack.pop(), _Mark):
            items.append(item)
        return items[::-1]

    def _append(self, items: list[Any]) -> None:
        self._stack[-1].extend(items)

    def _set(self, items: list[Any]) -> None:
        keys = items[::2]
        # A tuple of tuples that stand in it many times takes for ever to hash, or to show.
        if any(type(key) is not str for key in keys):
            raise ValueError("a key is no text")
        self._stack[-1].update(zip(keys, items[1::2], strict=True))
