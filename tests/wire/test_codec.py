"""The wire: what is sent is what arrives, and any other bytes are one kind of error."""

from __future__ import annotations

import math
import random
import tracemalloc
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dni_async import WireError
from dni_async.wire.codec import (
    DTYPE_SIZES,
    MAX_DIMENSIONS,
    MAX_HEADER_BYTES,
    MAX_TENSOR_BYTES,
    MAX_TENSORS,
    decode,
    encode,
    mask_bytes,
    size_bytes,
)
from dni_async.wire.counters import Counters
from dni_async.wire.foreign_text import legible, one_line
from dni_async.wire.messages import (
    MAX_CREDITS,
    MAX_FIGURES,
    MAX_NAME,
    PACKED,
    PROTOCOL,
    Activation,
    Bye,
    Credit,
    EpochLoss,
    Evaluated,
    Failed,
    Marker,
    Message,
    Progress,
    ReturnedGradient,
    TensorMeta,
    Welcome,
)
from dni_async.wire.points import MAX_POINTS, Point
from dni_async.wire.tensors import from_buffer
from dni_async.wire.text import Exact, Words, plain_of

MESSAGE_TYPES: tuple[Any, ...] = get_args(Union[Message])  # noqa: UP007 - flattens nested unions
INTS = st.integers(0, 2**63 - 1)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
)
METAS = st.lists(st.integers(0, 4), max_size=MAX_DIMENSIONS).flatmap(
    lambda shape: st.builds(
        TensorMeta,
        dtype=st.sampled_from(sorted(DTYPE_SIZES)),
        shape=st.just(tuple(shape)),
        place=st.integers(PACKED, 2) | st.just(2**31 - 1),
        is_channels_last=st.booleans() if len(shape) == 4 else st.just(False),
    )
)


def values_of(annotation: Any) -> st.SearchStrategy[Any]:
    """Any value that a message's field of this type may have."""
    simple = {
        int: INTS,
        float: st.floats(allow_nan=False),
        str: st.text(max_size=50).map(one_line),
        Words: st.text(max_size=50).map(legible),
        Exact: st.text(max_size=50),
        bool: st.booleans(),
        bytes: st.binary(max_size=100),
    }
    if annotation in simple:
        return simple[annotation]
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation))
    if annotation == tuple[int, ...]:
        return st.lists(INTS, min_size=1, max_size=MAX_DIMENSIONS).map(tuple)
    if annotation == tuple[TensorMeta, ...]:
        return st.lists(METAS, max_size=4).map(tuple)
    if annotation == tuple[Point, ...]:
        return st.lists(messages_of(Point), max_size=4).map(tuple)
    if is_dataclass(annotation):
        return messages_of(annotation)
    if annotation == dict[str, float]:
        names = st.from_regex(r"[A-Za-z0-9_.@+-]{1,64}", fullmatch=True)
        return st.dictionaries(names, simple[float], max_size=MAX_FIGURES)
    assert get_origin(annotation) is dict
    return st.dictionaries(st.text(max_size=20), SCALARS | st.lists(st.text(max_size=9)))


def messages_of(message_type: Any) -> st.SearchStrategy[Any]:
    """Any message of this type, whose names and words are legible."""
    hints = get_type_hints(message_type, include_extras=True)
    return st.builds(
        message_type, **{f.name: values_of(plain_of(hints[f.name])) for f in fields(message_type)}
    )


def payload_of(message: Message) -> list[bytes]:
    """A frame of the right length for each inline tensor."""
    metas = getattr(message, "tensors", ())
    return [pattern(meta) for meta in metas if meta.place < 0]


def pattern(meta: TensorMeta) -> bytes:
    """Bytes that differ from place to place, as many as the tensor has; packed, none is zero."""
    if meta.place == PACKED:
        count = math.prod(meta.shape)
        mask = ((1 << count) - 1) << (-count % 8)
        return mask.to_bytes(mask_bytes(count), "big") + pattern(replace(meta, place=-1))
    return bytes(index % 251 for index in range(size_bytes(meta)))


ACTIVATION = Activation(
    "run", 7, 3, "train", True, (TensorMeta("float32", (2, 3)), TensorMeta("int64", (2,)))
)


def sample_of(message_type: Any) -> Message:
    """One plain message of this type, with small tensors where it has any."""
    metas = (
        TensorMeta("int8", (2, 3)),
        TensorMeta("float32", (2,), PACKED),
        TensorMeta("int64", (2,)),
        TensorMeta("int64", (9,), 0),
    )
    plain = {int: 7, float: 0.5, str: "text", bool: True, bytes: b"bytes"}
    plain[tuple[int, ...]] = (28, 28)
    plain[tuple[TensorMeta, ...]] = metas
    settings_map = {"layers": 4, "lr": 1e-3, "baseline": True, "model": None, "devices": ["cpu"]}
    values = []
    hints = get_type_hints(message_type)
    for field in fields(message_type):
        hint = hints[field.name]
        choice = get_args(hint)[0] if get_origin(hint) is Literal else settings_map
        values.append(sample_of(hint) if is_dataclass(hint) else plain.get(hint, choice))
    message: Message = message_type(*values)
    return message


SAMPLES = [sample_of(message_type) for message_type in MESSAGE_TYPES]


@pytest.mark.parametrize("message_type", MESSAGE_TYPES, ids=lambda t: t.__name__)
def test_every_message_arrives_as_it_was_sent(message_type: Any) -> None:
    @settings(deadline=None, max_examples=40, database=None)
    @given(message=messages_of(message_type))
    def round_trip(message: Message) -> None:
        payload = payload_of(message)
        decoded, views = decode(encode(message, payload))
        assert decoded == message
        assert type(decoded) is type(message)
        assert [bytes(view) for view in views] == payload

    round_trip()


@pytest.mark.parametrize("kind_of_buffer", [bytes, bytearray, memoryview])
def test_frames_may_be_any_buffer(kind_of_buffer: Any) -> None:
    frames = encode(ACTIVATION, payload_of(ACTIVATION))
    decoded, views = decode([kind_of_buffer(bytes(frame)) for frame in frames])
    assert decoded == ACTIVATION
    assert [view.nbytes for view in views] == [24, 16]


def test_tensors_are_not_copied() -> None:
    header, *_ = encode(ACTIVATION)
    hidden, labels = bytearray(24), bytearray(16)
    _, views = decode([header, hidden, labels])
    hidden[5] = 9
    assert views[0][5] == 9


def test_nan_and_infinity_arrive() -> None:
    """A diverged loss is news to be told, not a broken message."""
    decoded, _ = decode(encode(EpochLoss("run", 1, float("nan"), 9)))
    assert isinstance(decoded, EpochLoss)
    assert decoded.loss != decoded.loss
    assert decode(encode(EpochLoss("run", 1, float("-inf"), 9)))[0].loss == float("-inf")  # type: ignore[union-attr]


BOUNDARY_FIELDS = (
    "run_id stage epoch num_gradients cosine relative_error norm_ratio staleness_median "
    "staleness_max corrected tested_s"
)
WELCOME_FIELDS = (
    "run_id num_stages first_layer end_layer device num_threads peer weights_path input_shape "
    "holds_ids num_classes num_updates config profile_folder events_folder checkpoint_folder "
    "next_batch_id shard target_shape target_dtype has_ignored output_shape "
    "num_test_batches peer_key"
)


COUNTERS = get_type_hints(Counters)


TIMES = (
    *("busy_s", "waiting_s", "sending_s", "credit_waiting_s", "data_waiting_s"),
    *("train_busy_s", "train_sending_s", "train_cpu_s"),
)


def test_protocol_10_stays_what_it_was() -> None:
    """Both ends must agree: whoever changes a message bumps PROTOCOL and this table."""
    assert PROTOCOL == 10
    table = [(t.__name__, " ".join(f.name for f in fields(t))) for t in MESSAGE_TYPES]
    assert table == [
        ("LinkHello", "run_id stage window"),
        ("LinkReady", "run_id stage next_batch_id slots"),
        ("SlotsOffered", "run_id"),
        ("SlotsAnswer", "run_id accepted reason"),
        ("Activation", "run_id batch_id version purpose anchor tensors structure"),
        ("ReturnedGradient", "run_id batch_id version releases tensors"),
        ("Credit", "run_id batch_ids"),
        ("Marker", "run_id kind epoch next_batch_id index"),
        ("CheckpointMark", "run_id batch_id epoch index"),
        ("Join", "protocol pid host machine num_cores num_threads device stage is_for_any token"),
        ("Alive", "pid"),
        ("Hello", "protocol run_id stage pid host endpoint incarnation place near key ticket"),
        ("Ready", "run_id stage"),
        ("Progress", "run_id stage counters points longest_s"),
        ("EpochTrained", "run_id epoch seconds again"),
        ("EpochLoss", "run_id epoch loss num_samples tested_s"),
        ("BoundaryEpoch", BOUNDARY_FIELDS),
        ("Evaluated", "run_id epoch loss metrics num_samples"),
        (
            "Saved",
            "run_id stage batch_id epoch index size_bytes sha256 reason first_layer end_layer",
        ),
        ("Failed", "run_id stage device summary traceback"),
        ("Bye", "run_id stage"),
        ("InboxMoved", "run_id stage incarnation endpoint near key"),
        ("FileWanted", "run_id stage"),
        ("FilePart", "run_id stage kind batch_id data is_last offset sha256"),
        ("EndReached", "run_id epoch"),
        ("Paused", "run_id number epoch batch_id"),
        ("Regrouped", "run_id stage number"),
        ("Assigned", "run_id stage incarnation ticket"),
        ("Heartbeat", "run_id"),
        ("Welcome", WELCOME_FIELDS),
        ("Start", "run_id"),
        ("Stop", "run_id reason again"),
        ("Drain", "run_id"),
        ("NeighbourReplaced", "run_id side incarnation endpoint key"),
        ("EpochEntered", "run_id epoch"),
        ("TellAgain", "run_id epoch"),
        ("FileHeard", "run_id kind batch_id again"),
        ("Hold", "run_id number batch_id is_over"),
        ("GoOn", "run_id number"),
        ("Regroup", "run_id number first_layer end_layer checkpoint"),
    ]
    groups = [(name, " ".join(f.name for f in fields(group))) for name, group in COUNTERS.items()]
    assert groups == [
        (
            "times",
            " ".join(TIMES),
        ),
        ("work", "updates skipped replayed next_batch_id epoch epoch_s loss"),
        ("staleness", "max_staleness staleness_median staleness_p99"),
        ("window", "max_pending occupancy"),
        ("traffic", "frame_bytes shared_bytes"),
        ("memory", "rss_bytes peak_rss_bytes"),
        (
            "link",
            (
                "activations up_bytes down_bytes in_flight_s credit_s least_credit_s carrier "
                "window in_flight"
            ),
        ),
    ]
    assert encode(Credit("a", (5, 6))) == [b"\x94\x0a\x06\xa1a\x92\x05\x06"]
    assert encode(ACTIVATION)[0] == (
        b"\x99\x0a\x04\xa3run\x07\x03\xa5train\xc3\x92"
        b"\x94\xa7float32\x92\x02\x03\xff\xc2"
        b"\x94\xa5int64\x91\x02\xff\xc2\xa0"
    )


KINDS = {message_type: kind for kind, message_type in enumerate(MESSAGE_TYPES)}
ACTIVE, GRADIENT, CREDIT, MARKER, BYE = (
    KINDS[t] for t in (Activation, ReturnedGradient, Credit, Marker, Bye)
)
WELCOME, FAILED, LOSS, PROGRESS = (KINDS[t] for t in (Welcome, Failed, EpochLoss, Progress))
EVALUATED = KINDS[Evaluated]
# The start of a Bye's header: protocol, kind, run id "a"; its stage is to follow.
BYE_OF = bytes([0x94, PROTOCOL, BYE]) + b"\xa1a"


def packed(*values: Any) -> bytes:
    """A header of these values after the protocol."""
    frame: bytes = msgpack.packb([PROTOCOL, *values])
    return frame


def gradient(*tensors: Any) -> bytes:
    """The header of a returned gradient with these descriptions of tensors."""
    return packed(GRADIENT, "run", 1, 1, True, list(tensors))


def welcome(config: Any, shape: Any = (1,)) -> bytes:
    """The header of a welcome with this config and input shape."""
    fields = ("run", 1, 0, 1, "cpu", 1, "", "", shape, False, 10, 1, config, "", "", "", 0, "")
    return packed(WELCOME, *fields, (1,), "int64", False, (1, 10), 1, "")


def evaluated(metrics: object) -> bytes:
    """The header of an Evaluated."""
    return packed(EVALUATED, "run", 1, 0.5, metrics, 10)


def plain_counters() -> list[Any]:
    """What an empty Counters is in a header."""
    header = msgpack.unpackb(encode(Progress("run", 1, Counters()))[0])
    counters: list[Any] = header[4]
    return counters


def plain_point() -> list[Any]:
    """What a point is in a header."""
    point = Point(7, 0.5, 640, loss=0.25)
    return [getattr(point, each.name) for each in fields(Point)]


def progress(points: object) -> bytes:
    """The header of a Progress with these points."""
    return packed(PROGRESS, "run", 1, plain_counters(), points, 0.5)


def nested(depth: int) -> bytes:
    """depth arrays, each the only element of the one around it."""
    return b"\x91" * depth + b"\x00"


MAX_INT = 2**63 - 1
BAD_FRAMES: dict[str, list[bytes]] = {
    "no frames": [],
    "empty header": [b""],
    "cut header": [packed(BYE, "run", 1)[:-1]],
    "two headers in one frame": [packed(BYE, "run", 1) * 2],
    "unused byte": [b"\xc1"],
    "number": [b"\x07"],
    "map": [msgpack.packb({"kind": 4})],
    "string": [msgpack.packb("Credit")],
    "no elements": [msgpack.packb([])],
    "protocol alone": [msgpack.packb([PROTOCOL])],
    "older protocol": [msgpack.packb([PROTOCOL - 1, BYE, "run", 1])],
    "newer protocol": [msgpack.packb([PROTOCOL + 1, BYE, "run", 1])],
    "protocol true": [msgpack.packb([True, BYE, "run", 1])],
    "protocol 1.0": [msgpack.packb([1.0, BYE, "run", 1])],
    "protocol as text": [msgpack.packb(["1", BYE, "run", 1])],
    "unknown kind": [packed(99, "run", 1)],
    "negative kind": [packed(-1, "run", 1)],
    "kind true": [packed(True, "run", 1)],
    "kind 4.0": [packed(4.0, "run", 1)],
    "kind as text": [packed("Credit", "run", 1)],
    "kind a list": [packed([CREDIT], "run", 1)],
    "field missing": [packed(BYE, "run")],
    "field too many": [packed(BYE, "run", 1, 1)],
    "bool for int": [packed(BYE, "run", True)],
    "float for int": [packed(BYE, "run", 1.0)],
    "negative int": [packed(BYE, "run", -1)],
    "2**63": [packed(BYE, "run", 2**63)],
    "2**64 - 1": [packed(BYE, "run", 2**64 - 1)],
    "nil for int": [packed(BYE, "run", None)],
    "bytes for text": [packed(BYE, b"run", 1)],
    "int for text": [packed(BYE, 5, 1)],
    "text that is no utf-8": [BYE_OF[:-1] + b"\xff\x05"],
    "int for float": [packed(LOSS, "run", 1, 1)],
    "int for bool": [packed(GRADIENT, "run", 1, 1, 1, [])],
    "unknown purpose": [packed(ACTIVE, "run", 1, 1, "test", False, [], "")],
    "unknown marker": [packed(MARKER, "run", "paused", 1, 7, 0)],
    "unhashable marker": [packed(MARKER, "run", ["stop"], 1, 7, 0)],
    "ext type": [packed(BYE, "run", msgpack.ExtType(5, b"x"))],
    "empty ext type": [packed(BYE, "run", msgpack.ExtType(5, b""))],
    "timestamp": [packed(BYE, "run", msgpack.Timestamp(1))],
    "empty timestamp": [BYE_OF + b"\xc7\x00\xff"],
    "array said to be huge": [BYE_OF + b"\xdd\xff\xff\xff\xff"],
    "map said to be huge": [BYE_OF + b"\xdf\xff\xff\xff\xff"],
    "text said to be huge": [BYE_OF[:-2] + b"\xdb\xff\xff\xff\xff"],
    "bytes said to be huge": [BYE_OF[:-2] + b"\xc6\xff\xff\xff\xff"],
    "header an endless array": [b"\xdd\xff\xff\xff\xff" + b"\x00" * 1000],
    "long array": [packed(BYE, "run", [0] * 257)],
    "header too long": [packed(FAILED, "run", 1, "cpu", "", "x" * MAX_HEADER_BYTES)],
    "nested 300 deep": [BYE_OF + nested(300)],
    "nested 1000 deep": [BYE_OF + nested(1000)],
    "nested 60000 deep": [BYE_OF + nested(60000)],
    "kind nested 1000 deep": [b"\x92\x01" + nested(1000)],
    "protocol nested 1000 deep": [b"\x92" + nested(1000) + b"\x00"],
    "setting nested 1000 deep": [welcome({})[:-2] + b"\x81\xa1k" + nested(1000) + b"\xa0"],
    "tensors no list": [packed(GRADIENT, "run", 1, 1, True, {})],
    "tensors nil": [packed(GRADIENT, "run", 1, 1, True, None)],
    "too many tensors": [gradient(*[["int64", [1], 0, False]] * (MAX_TENSORS + 1))],
    "tensor no list": [gradient("int64")],
    "tensor of two parts": [gradient(["int64", [1]])],
    "tensor of three parts": [gradient(["int64", [1], -1]), b"\0" * 8],
    "tensor of five parts": [gradient(["int64", [1], -1, False, 0]), b"\0" * 8],
    "order 0": [gradient(["int64", [1, 1, 1, 1], -1, 0]), b"\0" * 8],
    "channels last of three sizes": [gradient(["int64", [1, 1, 1], -1, True]), b"\0" * 8],
    "unknown dtype": [gradient(["float80", [1], -1, False]), b"\0" * 8],
    "dtype object": [gradient(["object", [1], -1, False]), b"\0" * 8],
    "unhashable dtype": [gradient([["int64"], [1], -1, False]), b"\0" * 8],
    "sizes nil": [gradient(["int64", None, -1, False]), b"\0" * 8],
    "nine sizes": [gradient(["int64", [1] * 9, -1, False]), b"\0" * 8],
    "sizes no list": [gradient(["int64", 1, -1, False]), b"\0" * 8],
    "negative size": [gradient(["int64", [-1], -1, False]), b"\0" * 8],
    "two negative sizes": [gradient(["int64", [-1, -1], -1, False]), b"\0" * 8],
    "size true": [gradient(["int64", [True], -1, False]), b"\0" * 8],
    "size 1.0": [gradient(["int64", [1.0], -1, False]), b"\0" * 8],
    "size 2**64 - 1": [gradient(["int64", [2**64 - 1], -1, False])],
    "bytes past 64 bits": [gradient(["int64", [2**32, 2**32, 2**32], -1, False]), b""],
    "one byte too large": [gradient(["bfloat16", [MAX_TENSOR_BYTES // 2 + 1], 0, False])],
    "empty, with sizes that torch refuses": [
        gradient(["int64", [0, MAX_INT, MAX_INT], -1, False]),
        b"",
    ],
    "empty, with the empty size last": [gradient(["int64", [MAX_INT, MAX_INT, 0], -1, False]), b""],
    "place -3": [gradient(["int64", [1], -3, False]), b"\0" * 8],
    "packed, without its mask": [gradient(["int64", [1], -2, False]), b""],
    "packed, with a value that the mask has not": [gradient(["int64", [1], -2, False]), b"\0" * 9],
    "packed, without a value that it has": [gradient(["int8", [9], -2, False]), b"\x80\x80\1"],
    "packed, with bits for no number": [gradient(["int8", [9], -2, False]), b"\x80\x40\1\1"],
    "place 2**31": [gradient(["int64", [1], 2**31, False])],
    "place false": [gradient(["int64", [1], False, False])],
    "place nil": [gradient(["int64", [1], None, False])],
    "tensor frame missing": [gradient(["int64", [1], -1, False])],
    "tensor frame too many": [gradient(["int64", [1], -1, False]), b"\0" * 8, b"\0" * 8],
    "tensor frame for a place": [gradient(["int64", [1], 0, False]), b"\0" * 8],
    "credit for nothing": [packed(CREDIT, "run", [])],
    "credit for nine": [packed(CREDIT, "run", list(range(MAX_CREDITS + 1)))],
    "credit for one, not a list": [packed(CREDIT, "run", 1)],
    "credit for a truth": [packed(CREDIT, "run", [True])],
    "credit for less than nothing": [packed(CREDIT, "run", [-1])],
    "tensor frame for a bye": [packed(BYE, "run", 1), b""],
    "tensor frame too short": [gradient(["int64", [1], -1, False]), b"\0" * 7],
    "tensor frame too long": [gradient(["int64", [1], -1, False]), b"\0" * 9],
    "tensor frame of another dtype": [gradient(["bfloat16", [1], -1, False]), b"\0" * 4],
    "8 bits in the frame of 32": [gradient(["int8", [4], -1, False]), b"\0" * 16],
    "32 bits in the frame of 8": [gradient(["float32", [4], -1, False]), b"\0" * 4],
    "8 bits without their scales' frame": [
        gradient(["int8", [2, 2], -1, False], ["float32", [2], -1, False]),
        b"\0" * 4,
    ],
    "unsigned words": [gradient(["uint16", [4], -1]), b"\0" * 8],
    "tensor frames swapped": [
        gradient(["int64", [1], -1, False], ["int64", [2], -1, False]),
        b"\0" * 16,
        b"\0" * 8,
    ],
    "input shape empty": [welcome({}, [])],
    "input shape negative": [welcome({}, [28, -28])],
    "settings no map": [welcome([])],
    "settings with a number for a key": [welcome({1: 2})],
    "settings with bytes for a key": [welcome({b"layers": 2})],
    "settings with bytes": [welcome({"data": b"digits"})],
    "settings with a map": [welcome({"data": {}})],
    "settings with a list of numbers": [welcome({"devices": [1]})],
    "settings with a list of lists": [welcome({"devices": [["cpu"]]})],
    "metrics no map": [evaluated([])],
    "metrics with a number for a name": [evaluated({1: 0.5})],
    "metrics with an empty name": [evaluated({"": 0.5})],
    "metrics with a long name": [evaluated({"x" * (MAX_NAME + 1): 0.5})],
    "metrics with a whole number": [evaluated({"mae": 1})],
    "metrics with text": [evaluated({"mae": "low"})],
    "too many metrics": [evaluated({str(index): 0.5 for index in range(MAX_FIGURES + 1)})],
    "counters no array": [packed(PROGRESS, "run", 1, {}, [])],
    "counters nil": [packed(PROGRESS, "run", 1, None, [])],
    "a group of counters missing": [packed(PROGRESS, "run", 1, plain_counters()[:-1], [])],
    "a group of counters no array": [packed(PROGRESS, "run", 1, [0.0, *plain_counters()[1:]], [])],
    "a counter too many": [packed(PROGRESS, "run", 1, [[0.0] * 9, *plain_counters()[1:]], [])],
    "a counter of another kind": [packed(PROGRESS, "run", 1, [[0] * 8, *plain_counters()[1:]], [])],
    "points no array": [progress({})],
    "a point no array": [progress([7])],
    "a point with less": [progress([plain_point()[:-1]])],
    "a point of an update in part": [progress([[0.5, *plain_point()[1:]]])],
    "too many points": [progress([plain_point()] * (MAX_POINTS + 1))],
    "settings without end": [welcome({str(index): 0 for index in range(257)})],
}


@pytest.mark.parametrize("frames", BAD_FRAMES.values(), ids=BAD_FRAMES.keys())
def test_bad_frames_are_refused(frames: list[bytes]) -> None:
    with pytest.raises(WireError) as caught:
        decode(frames)
    assert len(str(caught.value)) < 300  # whatever came, the log stays readable


def test_the_helpers_above_make_good_frames() -> None:
    """Else the cases above could be refused for the wrong reason."""
    assert decode([gradient(["int64", [1], -1, False]), b"\0" * 8])
    assert decode([gradient(["bfloat16", [MAX_TENSOR_BYTES // 2], 2**31 - 1, False])])
    assert decode([gradient(["int64", [3, 0], -1, False]), b""])
    assert decode([gradient(["int64", [3, 0], -2, False]), b""])
    assert decode([gradient(["int64", [1], -2, False]), b"\0"])
    assert decode([gradient(["int8", [9], -2, False]), b"\x80\x80\1\1"])
    assert decode([packed(PROGRESS, "run", 1, plain_counters(), [plain_point()] * MAX_POINTS, 0.5)])
    assert decode([packed(BYE, "run", MAX_INT)])
    assert decode([packed(CREDIT, "run", [MAX_INT] * MAX_CREDITS)])
    assert decode([packed(FAILED, "run", 1, "cpu", "", "x" * (MAX_HEADER_BYTES - 100))])
    assert decode([welcome({"a": None, "b": ["c"]}, [28, 28])])
    assert decode([packed(ACTIVE, "run", 1, 1, "train", False, [], "")])
    assert decode([gradient(["int64", [], -1, False]), b"\0" * 8])
    assert decode([gradient(["int64", [1, 1, 1, 1], -1, True]), b"\0" * 8])
    assert decode([gradient(*[["int64", [1], 0, False]] * MAX_TENSORS)])
    assert decode([packed(MARKER, "run", "stop", 1, 7, 0)])


@pytest.mark.parametrize(
    "like_it",
    [["int64", [True], 0, False], ["int64", [1], False, False], ["int64", [1], 0, 0]],
    ids=["size", "place", "order"],
)
def test_what_equals_a_tensor_that_came_before_is_no_tensor(like_it: list[Any]) -> None:
    """In Python 1 equals True, and descriptions that have come before are known again."""
    for _ in range(2):
        assert decode([gradient(["int64", [1], 0, False])])
        with pytest.raises(WireError):
            decode([gradient(like_it)])


def test_size_counts_bytes() -> None:
    assert size_bytes(TensorMeta("bfloat16", (3, 5))) == 30
    assert size_bytes(TensorMeta("int64", (3, 0))) == 0
    assert size_bytes(TensorMeta("int8", (3, 5))) == 15


NUM_MUTANTS = 3_000
TELLING_BYTES = (0x00, 0x7F, 0x80, 0x90, 0x9F, 0xC0, 0xC1, 0xC7, 0xCF, 0xD3, 0xDD, 0xDF, 0xFF)


def mutate_bytes(frame: bytearray, draw: random.Random) -> None:
    """Change frame in place: set, flip, cut, insert or delete."""
    where = draw.randrange(len(frame) + 1)
    match draw.randrange(6):
        case 0 | 1:
            frame[where : where + 1] = bytes([draw.choice(TELLING_BYTES)])
        case 2 if where < len(frame):
            frame[where] ^= 1 << draw.randrange(8)
        case 3:
            del frame[where:]
        case 4:
            frame[where:where] = draw.randbytes(draw.randrange(1, 9))
        case _:
            del frame[where : where + draw.randrange(1, 9)]


def mutate(frames: list[bytearray], draw: random.Random, others: Sequence[list[bytes]]) -> None:
    """Change frames in place: the bytes of one, mostly the header's, or which there are."""
    index = draw.randrange(len(frames)) if frames and draw.random() < 0.3 else 0
    match draw.randrange(10):
        case _ if not frames:
            frames.append(bytearray(draw.randbytes(draw.randrange(8))))
        case 0:
            del frames[index]
        case 1:
            frames.insert(draw.randrange(len(frames) + 1), bytearray(frames[index]))
        case 2:
            frames[index] = bytearray(draw.choice(draw.choice(others)))
        case 3:
            draw.shuffle(frames)
        case _:
            mutate_bytes(frames[index], draw)


@pytest.mark.parametrize(
    ("seed", "num_mutants"),
    [
        (0, NUM_MUTANTS),
        *(pytest.param(n, 10 * NUM_MUTANTS, marks=pytest.mark.slow) for n in (1, 2, 3, 4)),
    ],
)
def test_mutated_frames_give_a_message_or_a_wire_error(seed: int, num_mutants: int) -> None:
    """Nothing else escapes, what decodes makes tensors, and no mutant makes memory grow."""
    draw = random.Random(seed)
    valid = [[bytes(f) for f in encode(message, payload_of(message))] for message in SAMPLES]
    accepted = 0
    tracemalloc.start()
    try:
        for count in range(num_mutants):
            frames = [bytearray(frame) for frame in valid[count % len(valid)]]
            for _ in range(draw.choice((1, 1, 1, 2, 5))):
                mutate(frames, draw, valid)
            try:
                message, views = decode(frames)
            except WireError:
                continue
            assert isinstance(message, MESSAGE_TYPES)
            metas = [m for m in getattr(message, "tensors", ()) if m.place < 0]
            for meta, view in zip(metas, views, strict=True):
                assert tuple(from_buffer(meta, view).shape) == meta.shape
            accepted += 1
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert accepted > num_mutants / 30  # the mutants reach past the first check
    assert peak_bytes < 8 * 2**20
