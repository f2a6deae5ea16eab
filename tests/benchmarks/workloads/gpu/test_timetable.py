"""What is measured on GPUs: which first, how interleaved, and what when time is short."""

from __future__ import annotations

from benchmarks.workloads.gpu.timetable import (
    GUESS_S,
    Network,
    Timetable,
    arms_of,
    networks,
    planned,
)


def test_the_narrowest_and_the_widest_come_first() -> None:
    found = networks([1024, 2048, 4096, 8192], ["bf16", "fp32"])
    assert [network.width for network in found] == [1024, 1024, 8192, 8192, 2048, 2048, 4096, 4096]
    assert [network.dtype for network in found[:2]] == ["bf16", "fp32"]
    assert networks([512, 8192], ["fp32"]) == [Network(8192, "fp32"), Network(512, "fp32")]
    assert [network.num_batches for network in found[::2]] == [128, 32, 64, 32]


def test_ours_is_on_one_device_and_over_as_many_as_there_are_stages_for() -> None:
    baseline, *ours = arms_of(1, 4)
    assert (baseline.num_stages, baseline.has_graphs, baseline.devices) == (1, True, ("cuda:0",))
    assert [(arm.devices, arm.has_graphs) for arm in ours] == [
        (("cuda:0",), True),
        (("cuda:0",), False),
    ]
    over = arms_of(8, 4)[3:]
    assert {arm.devices for arm in over} == {("cuda:0", "cuda:1", "cuda:2", "cuda:3")}
    assert [arm.name for arm in over] == ["dni, 4 devices, graphs", "dni, 4 devices"]


def test_each_round_begins_with_the_next_arm() -> None:
    arms = arms_of(1, 4)
    rounds = list(planned([Network(1024, "bf16"), Network(8192, "bf16")], arms, 2))
    assert len(rounds) == 2 * 2 * 3
    assert [arm.name for _, _, arm in rounds[:3]] == [arm.name for arm in arms]
    assert [arm.name for number, _, arm in rounds if number == 1][:3] == [
        arms[1].name,
        arms[2].name,
        arms[0].name,
    ]


def test_what_there_is_no_time_for_is_left_out_and_named() -> None:
    """By what it took before; a wider network that is not known by the longest of its arm."""
    narrow, wide = Network(1024, "bf16"), Network(8192, "bf16")
    baseline, ours, _ = arms_of(1, 4)
    timetable = Timetable(100.0)
    assert timetable.expected_s(narrow, ours) == GUESS_S
    assert timetable.admits(0, narrow, ours)
    timetable.took(narrow, ours, 60.0)
    assert not timetable.admits(0, wide, ours)
    assert timetable.admits(0, wide, baseline)
    timetable.took(wide, baseline, 6.0)
    assert timetable.expected_s(wide, baseline) == 6.0
    assert timetable.admits(1, wide, baseline)
    assert timetable.left_out == ["8192 bf16, dni, one device, graphs, round 1"]
    assert timetable.spent_s == 66.0
