"""Who joined: who gets which stage, and when somebody counts as gone."""

from __future__ import annotations

import dataclasses

import pytest

from dni_async import HandshakeError
from dni_async.launcher.decisions.joined.joiners import ANSWER_S, CUT_OFF_S, Gone, JoinedWorkers
from dni_async.wire.messages import PROTOCOL, Join

ANY = Join(PROTOCOL, 1, "host", "machine", 8, 0, "cpu", 0, True, "")


def offer(pid: int, stage: int | None = None, **changes: object) -> Join:
    """What process pid offers: one stage, or any."""
    wish = {"stage": stage or 0, "is_for_any": stage is None}
    changes = {"token": f"process {pid}", **changes}
    return dataclasses.replace(ANY, pid=pid, **wish, **changes)  # type: ignore[arg-type]


def joined_with(*wishes: int | None, wanted: tuple[int, ...] = ()) -> JoinedWorkers:
    """Four stages; peers a, b, c ... have joined with these wishes."""
    joined = JoinedWorkers(4, silent_after_s=30.0)
    for pid, wish in enumerate(wishes):
        joined.enter("abcdefgh"[pid], offer(pid, wish), 0.0)
    for stage in wanted:
        joined.want(stage, 0)
    return joined


@pytest.mark.parametrize(
    ("wishes", "wanted", "expected"),
    [
        ((None, None), (0, 1), [("a", 0, 0), ("b", 1, 0)]),
        ((None, 0), (0, 1), [("b", 0, 0), ("a", 1, 0)]),  # who wants just that goes first
        ((2,), (0, 1), []),
        ((7,), (0,), [("a", 0, 0)]),  # no such stage: any
        ((None,), (0, 1), [("a", 0, 0)]),
        ((), (0,), []),
    ],
)
def test_who_gets_which_stage(
    wishes: tuple[int | None, ...],
    wanted: tuple[int, ...],
    expected: list[tuple[str, int, int]],
) -> None:
    joined = joined_with(*wishes, wanted=wanted)
    assert joined.assign(1.0) == expected
    assert joined.assign(1.0) == []
    assert joined.wanted == [each for each in wanted if each not in {e[1] for e in expected}]
    assert joined.num_spares == len(wishes) - len(expected)


def test_of_several_with_one_rank_each_gets_a_stage_and_no_rank_loses_its_own() -> None:
    """As where SLURM_PROCID is the same for all, or a rank comes before those below it."""
    joined = joined_with(wanted=(0, 1))
    for pid, (peer, rank) in enumerate([("a", 1), ("b", 1), ("c", 0), ("d", 0)]):
        joined.enter(peer, dataclasses.replace(offer(pid, rank), is_for_any=True), 0.0)
        if peer == "a":
            assert joined.assign(0.0) == [("a", 1, 0)]  # not stage 0, which is another's
        if peer == "b":
            assert joined.assign(0.0) == [("b", 0, 0)]  # as stage 1 is taken
    assert joined.assign(0.0) == []
    joined.want(1, 1)
    assert joined.assign(0.0) == [("c", 1, 1)]
    assert joined.set_on == ""


def test_it_is_said_who_waits_for_a_stage_alone_that_another_hosts() -> None:
    joined = joined_with(0, 0, 0, wanted=(0, 1))
    assert joined.set_on == ""  # any of them may still get it
    assert joined.assign(0.0) == [("a", 0, 0)]
    assert joined.set_on == "; 2 who joined would host stage 0 alone, which another hosts"


def test_another_protocol_is_refused() -> None:
    joined = joined_with()
    with pytest.raises(HandshakeError, match="host speaks protocol 1, this launcher"):
        joined.enter("a", offer(1, protocol=1), 0.0)


def test_who_asks_again_is_one_offer() -> None:
    joined = joined_with(None)
    assert joined.enter("a", offer(0), 5.0) is None
    assert joined.num_spares == 1


def test_who_joins_again_has_left_its_stage() -> None:
    joined = joined_with(None, wanted=(2,))
    joined.assign(0.0)
    joined.seat(2, "stage-2", 0.0)
    gone = joined.enter("z", offer(0), 1.0)
    assert gone is not None
    assert (gone.joiner.stage, gone.has_left) == (2, True)
    assert joined.host_of(2) is None
    assert joined.num_spares == 1


def test_containers_of_one_host_may_have_the_same_pid() -> None:
    joined = joined_with(None, wanted=(2,))
    joined.assign(0.0)
    joined.seat(2, "stage-2", 0.0)
    assert joined.enter("z", offer(0, token="another container's"), 1.0) is None
    assert joined.host_of(2) is not None
    assert joined.num_spares == 1


def seated(peer: str | None = "stage-1") -> JoinedWorkers:
    """Stage 1 is hosted by who joined; without peer it has not said Hello yet."""
    joined = joined_with(None, wanted=(1,))
    joined.assign(0.0)
    if peer is not None:
        joined.seat(1, peer, 0.0)
    return joined


@pytest.mark.parametrize(
    ("is_training", "now", "why"),
    [
        (True, 30.0, ""),
        (True, 30.1, "it was silent for 30 s"),
        (False, 1000.0, ""),  # it builds its stage, and says nothing
    ],
)
def test_silence(is_training: bool, now: float, why: str) -> None:
    joined = seated()
    gone = joined.sweep(now, {1} if is_training else set())
    assert [each.why for each in gone] == ([why] if why else [])
    assert (joined.host_of(1) is None) == bool(why)


def test_a_spare_is_silent_too() -> None:
    assert [each.joiner.stage for each in joined_with(None).sweep(31.0, set())] == [None]


def test_a_broken_connection_may_be_made_again() -> None:
    joined = seated()
    joined.reach("stage-1", False, 1.0)
    joined.reach("stage-1", True, 1.0 + CUT_OFF_S)
    joined.reach("stage-1", False, 10.0)
    joined.reach("stage-1", False, 10.0 + CUT_OFF_S)
    joined.hear("stage-1", 10.0)
    assert joined.sweep(10.0 + CUT_OFF_S, {1}) == []
    (gone,) = joined.sweep(10.1 + CUT_OFF_S, {1})
    assert isinstance(gone, Gone)
    assert (gone.why, gone.has_left) == ("its connection has ended", False)


def test_who_does_not_take_its_stage_is_given_up() -> None:
    joined = seated(peer=None)
    assert joined.reachable == []
    assert joined.sweep(ANSWER_S, set()) == []
    (gone,) = joined.sweep(ANSWER_S + 0.1, set())
    assert gone.joiner.stage == 1


@pytest.mark.parametrize(
    ("offers", "expected"),
    [
        ([offer(0), offer(1), offer(2), offer(3)], [2, 2, 2, 2]),
        ([offer(0, num_threads=5), offer(1)], [5, 4]),
        ([offer(0, machine="x"), offer(1)], [8, 8]),
        ([offer(0, num_cores=1), offer(1, num_cores=1)], [1, 1]),
    ],
)
def test_a_machines_cores_are_shared_out(offers: list[Join], expected: list[int]) -> None:
    joined = joined_with(wanted=tuple(range(len(offers))))
    for number, each in enumerate(offers):
        joined.enter(str(number), each, 0.0)
    joined.assign(0.0)
    assert [joined.num_threads(stage) for stage in range(len(offers))] == expected


def test_a_dismissed_worker_is_forgotten() -> None:
    joined = seated()
    host = joined.dismiss(1)
    assert host is not None
    assert host.peer == "stage-1"
    assert joined.dismiss(1) is None
    assert joined.sweep(1000.0, {1}) == []
