"""Messages to frames and back; any bytes decode to a message or to one WireError.

Frame 0 is a msgpack array ``[protocol, kind, field, field, ...]`` in the order of the message's
fields; a field that is a value of several parts, as a ``TensorMeta`` is, is an array of those. Then
one raw frame for each tensor whose place is negative. Nothing is ever unpickled, and text that is
shown arrives harmless (``text``).
"""

from __future__ import annotations

import functools
import math
import operator
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgpack

from dni_async.errors import WireError
from dni_async.wire.messages import (
    MAX_FIGURES,
    MAX_PART_BYTES,
    PACKED,
    PROTOCOL,
    Message,
    TensorMeta,
)
from dni_async.wire.points import MAX_POINTS, Point
from dni_async.wire.text import TEXT_CHECKS, is_label, plain_of

__all__ = [
    "DTYPE_SIZES",
    "MAX_HEADER_BYTES",
    "MAX_TENSORS",
    "MAX_TENSOR_BYTES",
    "Buffer",
    "decode",
    "encode",
    "mask_bytes",
    "size_bytes",
]

MAX_HEADER_BYTES: Final = 64 * 1024  # a traceback fits; a bomb does not
MAX_TENSOR_BYTES: Final = 2**31
MAX_DIMENSIONS: Final = 8  # and at least MAX_CREDITS, which are a list of integers too
MAX_TENSORS: Final = 64  # of a message
DTYPE_SIZES: Final = {
    "float32": 4,
    "bfloat16": 2,
    "float16": 2,
    "float64": 8,
    "complex64": 8,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}

Buffer = bytes | bytearray | memoryview
Check = Callable[[Any], Any]


def encode(message: Message, payload: Sequence[Buffer] = ()) -> list[Buffer]:
    """The frames of message: its header, then payload (one buffer for each inline tensor)."""
    kind, fields_of = _BY_TYPE[type(message)]
    header = [PROTOCOL, kind, *fields_of(message)]
    return [msgpack.packb(header, default=_parts), *payload]


def decode(frames: Sequence[Buffer]) -> tuple[Message, list[memoryview]]:
    """The message in frames and its inline tensors' bytes, checked in number and length.

    Raises WireError for everything else, whatever the bytes.
    """
    if not frames:
        raise WireError("no frames, need at least a header")
    header = _unpack(frames[0])
    if len(header) < 2 or type(header[0]) is not int or header[0] != PROTOCOL:
        got = header[0] if header else None
        raise WireError(f"protocol is {_show(got)}, this side speaks {PROTOCOL}")
    kind = header[1]
    known = _BY_KIND.get(kind) if type(kind) is int else None
    if known is None:
        raise WireError(f"unknown message kind {_show(kind)}")
    message_type, names, checks = known
    message: Message = _build(message_type, names, checks, header[2:])
    return message, _match_payload(message, frames[1:])


def size_bytes(meta: TensorMeta) -> int:
    """How many bytes the tensor that meta describes takes."""
    return math.prod(meta.shape) * DTYPE_SIZES[meta.dtype]


def mask_bytes(num_numbers: int) -> int:
    """How long the mask is that tells which of so many numbers are not zero."""
    return -(-num_numbers // 8)


def _parts(value: Any) -> list[Any]:
    """What a value within a message consists of."""
    return [*_getter(value.__class__)(value)]


@functools.cache
def _getter(value_type: Any) -> Callable[[Any], tuple[Any, ...]]:
    """Gives the values of all fields, in order."""
    names = _names(value_type)
    get = operator.attrgetter(*names)
    return get if len(names) > 1 else lambda value: (get(value),)


@functools.cache
def _names(value_type: Any) -> tuple[str, ...]:
    return tuple(each.name for each in fields(value_type))


def _unpack(frame: Buffer) -> list[Any]:
    if len(frame) > MAX_HEADER_BYTES:
        raise WireError(f"header has {len(frame)} bytes, at most {MAX_HEADER_BYTES} are allowed")
    try:
        header = msgpack.unpackb(
            frame,
            max_array_len=256,
            max_map_len=256,
            max_ext_len=0,
            max_str_len=MAX_HEADER_BYTES,
            strict_map_key=True,
        )
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        raise WireError(f"header is not msgpack: {error!r}") from None
    if type(header) is not list:
        raise WireError(f"header is a {type(header).__name__}, not an array")
    return header


def _build(
    value_type: Any, names: Sequence[str], checks: Sequence[Check], values: list[Any]
) -> Any:
    """A message, or a value within one, of its parts, each as its check leaves it."""
    if len(values) != len(names):
        raise WireError(f"{value_type.__name__} has {len(values)} fields, needs {len(names)}")
    for index, check in enumerate(checks):
        try:
            values[index] = check(values[index])
        except WireError as error:
            raise WireError(f"{value_type.__name__}.{names[index]}: {error}") from None
    return value_type(*values)


def _match_payload(message: Message, frames: Sequence[Buffer]) -> list[memoryview]:
    metas = getattr(message, "tensors", None)
    inline = [meta for meta in metas if meta.place < 0] if metas else []
    if len(frames) != len(inline):
        raise WireError(
            f"{type(message).__name__} came with {len(frames)} tensor frames, needs {len(inline)}"
        )
    views = [memoryview(frame) for frame in frames]
    for view, meta in zip(views, inline, strict=True):
        needed = _packed_bytes(meta, view) if meta.place == PACKED else size_bytes(meta)
        if view.nbytes != needed:
            raise WireError(
                f"{meta.dtype} tensor {list(meta.shape)} came with {view.nbytes} bytes, "
                f"needs {needed}"
            )
    return views


def _packed_bytes(meta: TensorMeta, view: memoryview) -> int:
    """How long the frame of a packed tensor must be, by the mask that it begins with."""
    num_numbers = math.prod(meta.shape)
    mask = int.from_bytes(view[: mask_bytes(num_numbers)], "big")
    if mask & ((1 << -num_numbers % 8) - 1):
        raise WireError(f"packed tensor {list(meta.shape)} has bits for numbers that it has not")
    return mask_bytes(num_numbers) + mask.bit_count() * DTYPE_SIZES[meta.dtype]


def _show(value: Any) -> str:
    """A received value for people: short, however long or deep it is."""
    return reprlib.repr(value)


def _check_int(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise WireError(f"{_show(value)} is no non-negative 63-bit integer")
    return value


def _check_float(value: Any) -> float:
    if type(value) is not float:
        raise WireError(f"{_show(value)} is no float")
    return value


def _check_bool(value: Any) -> bool:
    if type(value) is not bool:
        raise WireError(f"{_show(value)} is no boolean")
    return value


def _check_bytes(value: Any) -> bytes:
    if type(value) is not bytes or len(value) > MAX_PART_BYTES:
        raise WireError(f"{_show(value)} are not at most {MAX_PART_BYTES} bytes")
    return value


def _check_sizes(value: Any) -> tuple[int, ...]:
    if type(value) is not list or not 1 <= len(value) <= MAX_DIMENSIONS:
        raise WireError(f"need a list of 1 to {MAX_DIMENSIONS} integers")
    return tuple(map(_check_int, value))


def _check_tensors(value: Any) -> tuple[TensorMeta, ...]:
    if type(value) is not list or len(value) > MAX_TENSORS:
        raise WireError(f"tensors must be an array of at most {MAX_TENSORS}")
    return tuple(map(_check_tensor, value))


def _check_tensor(value: Any) -> TensorMeta:
    if type(value) is not list or len(value) != 4:
        raise WireError("a tensor needs [dtype, shape, place, is_channels_last]")
    dtype, shape, place, is_channels_last = value
    if type(shape) is list:
        try:
            return _known_tensor(dtype, place, is_channels_last, *shape)
        except TypeError:  # something in it is no key
            pass
    return _checked_tensor(dtype, shape, place, is_channels_last)


@functools.lru_cache(maxsize=1024, typed=True)
def _known_tensor(dtype: Any, place: Any, is_channels_last: Any, *shape: Any) -> TensorMeta:
    """As _checked_tensor: the same few tensors travel again and again. An error is not kept."""
    return _checked_tensor(dtype, [*shape], place, is_channels_last)


def _checked_tensor(dtype: Any, shape: Any, place: Any, is_channels_last: Any) -> TensorMeta:
    if type(dtype) is not str or dtype not in DTYPE_SIZES:
        raise WireError(f"unknown dtype {_show(dtype)}")
    sizes = () if shape == [] else _check_sizes(shape)
    if type(place) is not int or not PACKED <= place < 2**31:
        raise WireError(f"{_show(place)} is no place")
    # Sizes of 0 count as 1, as torch refuses huge sizes even where there is no element.
    length = math.prod(max(size, 1) for size in sizes) * DTYPE_SIZES[dtype]
    if length > MAX_TENSOR_BYTES:
        raise WireError(f"tensor of {length} bytes, at most {MAX_TENSOR_BYTES}")
    if type(is_channels_last) is not bool or (is_channels_last and len(sizes) != 4):
        raise WireError(f"{_show(is_channels_last)} is no order of {len(sizes)} dimensions")
    return TensorMeta(dtype, sizes, place, is_channels_last)


def _check_settings(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise WireError("settings must be a map")
    for key, item in value.items():
        plain = item is None or isinstance(item, str | int | float)
        listed = type(item) is list and all(type(part) is str for part in item)
        if type(key) is not str or not (plain or listed):
            raise WireError(f"setting {_show(key)} is no plain value")
    return value


def _check_figures(value: Any) -> dict[str, float]:
    if type(value) is not dict or len(value) > MAX_FIGURES:
        raise WireError(f"figures must be a map of at most {MAX_FIGURES}")
    for name, figure in value.items():
        if type(name) is not str or not is_label(name) or type(figure) is not float:
            raise WireError(f"figure {_show(name)} is no float with a name")
    return value


def _value_of(value_type: Any) -> Check:
    """The check of a value of several parts, which becomes one of value_type."""
    names, checks = _names(value_type), _checks_of(value_type)

    def check(value: Any) -> Any:
        if type(value) is not list:
            raise WireError(f"{_show(value)} is no array of {', '.join(names)}")
        return _build(value_type, names, checks, value)

    return check


def _check_points(value: Any) -> tuple[Point, ...]:
    if type(value) is not list or len(value) > MAX_POINTS:
        raise WireError(f"points must be an array of at most {MAX_POINTS}")
    return tuple(_check_point(point) for point in value)


def _one_of(choices: tuple[str, ...]) -> Check:
    def check(value: Any) -> str:
        if type(value) is not str or value not in choices:
            raise WireError(f"{_show(value)} is none of {', '.join(choices)}")
        return value

    return check


def _check_for(annotation: Any) -> Check:
    """The check of a field, from its type annotation."""
    simple: dict[Any, Check] = {
        **TEXT_CHECKS,
        int: _check_int,
        float: _check_float,
        bool: _check_bool,
        bytes: _check_bytes,
        dict[str, float]: _check_figures,
    }
    if annotation in simple:
        return simple[annotation]
    if get_origin(annotation) is Literal:
        return _one_of(get_args(annotation))
    if get_origin(annotation) is tuple:
        return _check_for_all(get_args(annotation)[0])
    if is_dataclass(annotation):
        return _value_of(annotation)
    return _check_settings


def _check_for_all(part: Any) -> Check:
    """The check of an array, from the type of what is in it."""
    if part is int:
        return _check_sizes
    return _check_tensors if part is TensorMeta else _check_points


def _checks_of(value_type: Any) -> tuple[Check, ...]:
    """The checks of all fields, in order."""
    hints = get_type_hints(value_type, include_extras=True)
    return tuple(_check_for(plain_of(hints[name])) for name in _names(value_type))


def _table() -> list[tuple[Any, tuple[str, ...], tuple[Check, ...]]]:
    message_types = get_args(Union[Message])  # noqa: UP007 - flattens the nested unions
    return [(each, _names(each), _checks_of(each)) for each in message_types]


_check_point = _value_of(Point)
_BY_KIND = dict(enumerate(_table()))
_BY_TYPE = {row[0]: (kind, _getter(row[0])) for kind, row in _BY_KIND.items()}
