"""Files that a worker sends: only those of its own folder, in parts, and gone afterwards."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from dni_async.launcher.run_folder.folder import RunFolder
from dni_async.launcher.run_folder.received_files import ReceivedFiles
from dni_async.transport.channels import ControlServer
from dni_async.transport.interface import ControlChannel
from dni_async.transport.sockets import MAX_UNSENT, MAX_WAITING, Poller, open_sockets
from dni_async.wire.messages import (
    MAX_PART_BYTES,
    Bye,
    FileHeard,
    FileKind,
    FilePart,
    Message,
    Welcome,
)
from dni_async.workers.startup.file_courier import PARTS_AT_ONCE, UNHEARD_S, FileCourier, Incoming
from tests.launcher.run_folder.at_once import AtOnce

PATIENCE_S = 10.0


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[FileCourier, ControlServer]]:
    """A worker's courier, and the coordinator that hears it."""
    with open_sockets() as sockets:
        server = sockets.control_server(f"ipc://{tmp_path}/control")
        control = sockets.control_client(server.endpoint, b"stage-2")
        yield FileCourier(control, "run", 2, tmp_path / "carried"), server


def heard_any(server: ControlServer, courier: FileCourier | None = None) -> Message:
    """The next message; courier goes on meanwhile: a full connection takes more a while later."""
    poller = Poller()
    poller.watch(server)
    deadline = time.monotonic() + PATIENCE_S
    while (received := server.receive()) is None:
        assert time.monotonic() < deadline, "nothing came"
        if courier is not None:
            courier.push()
        poller.wait(0.05)
    return received[1]


def heard(server: ControlServer) -> FilePart:
    """The next part."""
    message = heard_any(server)
    assert isinstance(message, FilePart)
    return message


def test_a_file_is_sent_in_parts_and_removed(
    ends: tuple[FileCourier, ControlServer], tmp_path: Path
) -> None:
    courier, server = ends
    content = bytes(range(256)) * (MAX_PART_BYTES // 256) + b"the rest"
    path = tmp_path / "carried" / "weights.safetensors"
    path.write_bytes(content)
    courier.send("weights", path)
    courier.push()
    assert courier.is_idle
    first, second = heard(server), heard(server)
    assert first.data + second.data == content
    assert [first.is_last, second.is_last] == [False, True]
    assert (second.kind, second.stage, second.run_id) == ("weights", 2, "run")
    assert (first.offset, second.offset) == (0, MAX_PART_BYTES)
    assert (first.sha256, second.sha256) == ("", hashlib.sha256(content).hexdigest())
    assert path.exists()  # until it has arrived
    assert not courier.is_done
    courier.hear(FileHeard("run", "weights", 0, again=False))
    assert courier.is_done
    assert not path.exists()


def test_a_file_that_came_damaged_is_sent_once_more(
    ends: tuple[FileCourier, ControlServer], tmp_path: Path
) -> None:
    courier, server = ends
    path = tmp_path / "carried" / "weights.safetensors"
    path.write_bytes(b"content")
    courier.send("weights", path)
    courier.hear(FileHeard("run", "profile", 0, again=True))  # which was not sent
    courier.push()
    assert heard(server).data == b"content"
    courier.hear(FileHeard("run", "weights", 0, again=True))
    courier.push()
    assert heard(server).data == b"content"
    assert not courier.is_done


def test_a_file_of_which_nothing_is_heard_is_sent_once_more(tmp_path: Path) -> None:
    """Its last part, or the answer, may have been lost with a connection."""
    now = [100.0]
    with open_sockets() as sockets:
        server = sockets.control_server(f"ipc://{tmp_path}/control")
        control = sockets.control_client(server.endpoint, b"stage-2")
        courier = FileCourier(control, "run", 2, tmp_path / "carried", lambda: now[0])
        path = tmp_path / "carried" / "weights.safetensors"
        path.write_bytes(b"content")
        courier.send("weights", path)
        courier.push()
        assert heard(server).data == b"content"
        now[0] += UNHEARD_S - 1
        courier.push()
        assert courier.is_idle
        now[0] += 2
        courier.push()
        assert heard(server).data == b"content"


def test_a_shard_is_sent_once_and_removed(
    ends: tuple[FileCourier, ControlServer], tmp_path: Path
) -> None:
    courier, server = ends
    path = tmp_path / "carried" / "stage-2.safetensors"
    path.write_bytes(b"content")
    courier.send_shard(path, 7)
    courier.push()
    part = heard(server)
    assert (part.kind, part.batch_id, part.data) == ("shard", 7, b"content")
    assert courier.is_done
    assert not path.exists()


def test_what_is_not_there_or_not_its_own_is_not_sent(
    ends: tuple[FileCourier, ControlServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    courier, server = ends
    monkeypatch.chdir(tmp_path)
    foreign = tmp_path / "stage-2.json"
    foreign.write_text("a user's")
    courier.send("profile", Path("stage-2.json"))  # no folder for profiles was asked for
    courier.send("profile", tmp_path / "carried" / "stage-2.json")
    mine = tmp_path / "carried" / "mine"
    mine.write_bytes(b"")
    courier.send("events", mine)
    courier.push()
    only = heard(server)
    assert (only.kind, only.data, only.is_last) == ("events", b"", True)
    assert server.receive() is None
    assert foreign.read_text() == "a user's"


def test_a_large_file_takes_turns_and_waits_for_a_coordinator_that_does_not_read(
    ends: tuple[FileCourier, ControlServer], tmp_path: Path
) -> None:
    """So neither the loop that sends it stands still, nor the file lies in memory."""
    courier, server = ends
    num_parts = 4 * (MAX_UNSENT + MAX_WAITING)  # more than both ends of the connection hold
    path = tmp_path / "carried" / "weights.safetensors"
    path.write_bytes(bytes(num_parts * MAX_PART_BYTES))
    courier.send_shard(path, 7)
    courier.tell(Bye("run", 2))
    courier.push()
    assert not courier.is_done
    for _ in range(num_parts // PARTS_AT_ONCE + 1):  # as many turns as would do
        courier.push()
    assert not courier.is_done
    received: list[Message] = []
    while not courier.is_done:
        received.append(heard_any(server, courier))
        courier.push()
    while not isinstance(received[-1], Bye):
        received.append(heard_any(server))
    assert len(received) == num_parts + 1
    assert not path.exists()


def test_no_path_that_a_coordinator_names_is_used(
    ends: tuple[FileCourier, ControlServer], tmp_path: Path
) -> None:
    """Whoever has made itself out to be one: all is written in the worker's own folder."""
    courier, _ = ends
    own, foreign = tmp_path / "carried", tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "run-id").write_text("run")  # which once said that this is the run directory
    told = Welcome(
        run_id="run",
        num_stages=1,
        first_layer=0,
        end_layer=1,
        device="cpu",
        num_threads=1,
        peer="",
        weights_path=str(foreign / ".bashrc"),
        input_shape=(1,),
        holds_ids=False,
        num_classes=2,
        num_updates=1,
        profile_folder=str(foreign),
        events_folder=f"{own}/../foreign",
        checkpoint_folder="/",
        shard=str(foreign / "shard"),
    )
    adapted = courier.redirect(told)
    paths = {
        name: value
        for name in Welcome.__dataclass_fields__
        if name.endswith(("_path", "_folder")) or name == "shard"
        for value in [getattr(adapted, name)]
    }
    assert paths.pop("shard") == ""
    assert len(paths) == 4
    for value in paths.values():
        assert Path(value).resolve().is_relative_to(own.resolve())
    assert [path.name for path in foreign.iterdir()] == ["run-id"]


@pytest.mark.parametrize(
    ("offsets", "is_whole"), [([0, 3, 6], True), ([0, 6], False), ([0, 3, 3, 6], True)]
)
def test_a_shard_that_comes_is_whole_or_not(
    tmp_path: Path, offsets: list[int], is_whole: bool
) -> None:
    content = b"onetwosix"
    digest = hashlib.sha256(content).hexdigest()
    incoming = Incoming(tmp_path / "shard")
    for offset in offsets:
        data = content[offset : offset + 3]
        is_last = offset == 6
        part = FilePart("run", 2, "shard", 0, data, is_last, offset, digest if is_last else "")
        assert incoming.add(part) == is_last
    assert incoming.is_whole == is_whole
    assert not is_whole or incoming.path.read_bytes() == content


class LossyWay:
    """A way on which messages are lost or come twice, as random_ has it, until it is mended."""

    def __init__(self, random_: random.Random) -> None:
        self._arrived: list[Message] = []
        self.is_mended = False
        self._random = random_
        self.silent_s = 0.0

    def offer(self, message: Message) -> bool:
        self._arrived += [message] * (1 if self.is_mended else self._random.choice([0, 1, 1, 2]))
        return True

    def take(self) -> list[Message]:
        """What has arrived since."""
        arrived, self._arrived = self._arrived, []
        return arrived


def sent_over(random_: random.Random, place: Path) -> int:
    """How many of two files arrive over a way that is mended after a while: as they were."""
    folder, now, said = RunFolder(place / "run"), [0.0], list[str]()
    folder.create("")
    folder.make_events()
    way, back = LossyWay(random_), LossyWay(random_)
    control = cast("ControlChannel", way)
    courier = FileCourier(control, "run", 2, place / "own", lambda: now[0])
    received = ReceivedFiles(folder, AtOnce(), said.append, has_shards=False)
    files: dict[FileKind, bytes] = {
        "weights": random_.randbytes(random_.randrange(4 * MAX_PART_BYTES)),
        "events": random_.randbytes(random_.randrange(2 * MAX_PART_BYTES)),
    }
    for kind, content in files.items():
        (place / "own" / kind).write_bytes(content)
        courier.send(kind, place / "own" / kind)
    for turn in range(100):
        if courier.is_done:
            break
        way.is_mended = back.is_mended = turn > 3
        courier.push()
        for part in way.take():
            received.enter(cast("FilePart", part), 0, back.offer)
        for heard in back.take():
            courier.hear(cast("FileHeard", heard))
        now[0] += UNHEARD_S / 2
    assert courier.is_done
    kept = {"weights": folder.stage_weights(2), "events": folder.events / "stage-2.jsonl"}
    for kind, path in kept.items():
        is_given_up = any(f"its {kind} could not be kept" in each for each in said)
        assert path.exists() or is_given_up
        assert not path.exists() or path.read_bytes() == files[cast("FileKind", kind)]
    count = sum(path.exists() for path in kept.values())
    folder.close()
    return count


def test_whatever_is_lost_on_a_way_that_is_mended_files_arrive_as_they_were(tmp_path: Path) -> None:
    """Parts and answers are lost and come twice; the worker leaves when all is on disk."""
    random_ = random.Random(5)
    count = 0
    for turn in range(60):
        place = tmp_path / str(turn)
        place.mkdir()
        count += sent_over(random_, place)
    assert count > 100  # of 120; what comes damaged three times is given up, and that is said
