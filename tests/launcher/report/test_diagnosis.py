"""What bounds a run and what to change: numbers in, sentences out."""

from __future__ import annotations

from typing import Any

import pytest

from dni_async.launcher.report.ceiling import measure_line
from dni_async.launcher.report.diagnosis import diagnose
from tests.launcher.reports import link, report, worker

# Batches have 100 samples; 1000 of them make an epoch. A worker's seconds are for one batch.
CEILINGS: dict[str, tuple[dict[str, Any], int, str, float]] = {
    "the slowest stage": (report(worker(0, 0.01), worker(1, 0.02), rate=1), 1, "stage", 5000),
    "the cores": (
        report(worker(0, 0.01), worker(1, 0.02), worker(2, 0.02), rate=1, cores=2),
        1,
        "cores",
        2 / 0.05 * 100,
    ),
    "one batch at a time": (
        report(worker(0, 0.01), worker(1, 0.04), rate=1, rule="backprop"),
        1,
        "lockstep",
        2000,
    ),
    "sending is work too": (
        report(worker(0, 0.01, train_sending_seconds=2.0), worker(1, 0.02), rate=1),
        0,
        "stage",
        100 / 0.03,
    ),
    "waiting for a core is no work": (
        report(
            worker(0, 0.01, train_busy_seconds=9.0),
            worker(1, 0.02),
            worker(2, 0.01),
            rate=1,
            cores=2,
        ),
        1,
        "stage",
        5000,
    ),
    "two threads share a stage's work": (
        report(worker(0, 0.04), worker(1, 0.06), rate=1, cores=3, threads_per_worker=2),
        1,
        "cores",
        3000,
    ),
    "a GPU's processor time says little": (
        report(
            worker(0, 0.01, device="cuda:0", train_cpu_seconds=0.1),
            worker(1, 0.02, device="cuda:0", train_cpu_seconds=0.1),
            rate=1,
            cores=1,
        ),
        1,
        "stage",
        5000,
    ),
    "spans leave out what is no batch's": (
        report(
            worker(0, 0.5, train_cpu_seconds=0.1, phases={"forward": 0.01, "send": 0.03}),
            worker(1, 0.02),
            rate=1,
        ),
        0,
        "stage",
        2500,
    ),
}


@pytest.mark.parametrize("name", CEILINGS)
def test_the_ceiling_is_set_by(name: str) -> None:
    told, bottleneck, limit, ceiling = CEILINGS[name]
    diagnosis = diagnose(told)
    assert diagnosis is not None
    line = diagnosis.line
    assert (line.slowest.stage, line.limit) == (bottleneck, limit)
    assert line.ceiling == pytest.approx(ceiling)
    assert diagnosis.findings[0].startswith(f"Stage {bottleneck} is the bottleneck: ")


EVEN = (worker(0, 0.01), worker(1, 0.01))
ADVICE: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing stands out": (report(*EVEN, rate=7000, cores=3), []),
    "lockstep": (
        report(*EVEN, rate=4900, rule="backprop"),
        ["In lockstep only one stage works at a time: --rule dni lets all work at once."],
    ),
    "cores": (
        report(*EVEN, worker(2, 0.01), rate=6000, cores=2),
        [
            (
                "All cores are busy: the run is at the ceiling. Less work per sample helps: "
                "a larger --batch-size or --targets anchor. --stages auto finds out whether fewer "
                "workers do."
            )
        ],
    ),
    "cores, which chose the stages": (
        report(*EVEN, worker(2, 0.01), rate=6000, cores=2, targets="anchor", stages="auto"),
        [
            (
                "All cores are busy: the run is at the ceiling. Less work per sample helps: "
                "a larger --batch-size."
            )
        ],
    ),
    "cores, with workers from elsewhere": (
        report(*EVEN, worker(2, 0.01), rate=6000, cores=2, targets="anchor", workers=["remote"]),
        [
            (
                "All cores are busy: the run is at the ceiling. Less work per sample helps: "
                "a larger --batch-size."
            )
        ],
    ),
    "cores, with anchors": (
        report(*EVEN, worker(2, 0.01), rate=6000, cores=2, targets="anchor"),
        [
            (
                "All cores are busy: the run is at the ceiling. Less work per sample helps: "
                "a larger --batch-size. --stages auto finds out whether fewer workers do."
            )
        ],
    ),
    "even stages": (
        report(*EVEN, rate=9900, cores=3),
        ["The stages are even and the run is at the ceiling: only faster stages help."],
    ),
    "a stage of many layers": (
        report(worker(0, 0.01), worker(1, 0.03, layers=[1, 4], busy=0.97), rate=3300, cores=3),
        ["Stage 1 is busy 97% and the others wait for it: give it fewer than its 3 layers."],
    ),
    "layers shared out by number": (
        report(worker(0, 0.01), worker(1, 0.03, busy=0.97), rate=3300, cores=3, partition="even"),
        [
            (
                "Stage 1 is busy 97% and the others wait for it: --partition balanced groups the "
                "layers by the time they take."
            )
        ],
    ),
    "a stage of one layer": (
        report(worker(0, 0.01), worker(1, 0.03, busy=0.97), rate=3300, cores=3),
        [
            (
                "Stage 1 is busy 97% and the others wait for it: its one layer cannot be divided, "
                "so fewer stages (--stages) lose nothing."
            )
        ],
    ),
    "a full window": (
        report(
            worker(0, 0.01, waiting=0.4, waiting_for_credits=0.3),
            worker(1, 0.01, waiting=0.3),
            rate=7000,
            cores=3,
        ),
        ["Stage 0 waits 30% of the time for credits from stage 1: raise --window (now 4)."],
    ),
    "full windows below a stage without time": (
        report(
            worker(0, 0.01, waiting=0.5, waiting_for_credits=0.5),
            worker(1, 0.01, waiting=0.4, waiting_for_credits=0.4),
            worker(2, 0.01, waiting=0.1),
            rate=7000,
            cores=4,
        ),
        [
            (
                "Stage 1 waits 40% of the time for credits from stage 2, which has no time left: "
                "that stage needs less work, or fewer beside it."
            )
        ],
    ),
    "short epochs": (
        report(*EVEN, rate=7000, cores=3, num_train=1200),
        [
            (
                "A test of the network follows after only 12 batches: to fill and drain 2 stages "
                "takes about 8% of the time. --evaluate-every tests less often; more data and a "
                "smaller --batch-size help too."
            )
        ],
    ),
    "idle cores": (
        report(*EVEN, rate=7000, cores=8),
        ["6 of 8 cores have no thread: raise --threads-per-worker."],
    ),
    "other programs": (
        report(
            worker(0, 0.01, train_busy_seconds=4.0),
            worker(1, 0.01, train_busy_seconds=4.0),
            worker(2, 0.01),
            rate=2000,
            cores=2,
        ),
        [
            (
                "The stages were ready to use 1.8 cores and had 0.6: other programs, or calls in "
                "the model that block, held them up."
            )
        ],
    ),
    "sending": (
        report(worker(0, 0.01, sending=0.25), worker(1, 0.01), rate=7000, cores=3),
        [
            (
                "Stage 0 spends 25% of the time sending: fewer stages (--stages) or larger layers "
                "make it worth while."
            )
        ],
    ),
    "sending in frames": (
        report(worker(0, 0.01, sending=0.25), worker(1, 0.01), rate=7000, cores=3, transport="tcp"),
        [
            (
                "Stage 0 spends 25% of the time sending: --transport auto passes large tensors in "
                "shared memory."
            )
        ],
    ),
    "a baseline out of reach": (
        report(*EVEN, rate=7000, cores=3, baseline=20_000),
        [
            (
                "Plain backpropagation does 20,000 samples/s, more than this line could at best: "
                "such layers cost more to pass on than to compute. Larger --width or --batch-size, "
                "or fewer workers (--stages auto)."
            )
        ],
    ),
    "one stage": (report(worker(0, 0.01, occupancy=None), rate=9000, cores=1), []),
    "interrupted before an epoch's end": (report(*EVEN, rate=0, cores=8), []),
}


@pytest.mark.parametrize("name", ADVICE)
def test_the_advice_for(name: str) -> None:
    told, advice = ADVICE[name]
    diagnosis = diagnose(told)
    assert diagnosis is not None
    assert list(diagnosis.advice) == advice


def test_a_baseline_that_was_disturbed_is_not_held_up_as_better() -> None:
    told, _ = ADVICE["a baseline out of reach"]
    runs = [*told["runs"][:-1], {**told["runs"][-1], "others_cores": 1.5}]
    diagnosis = diagnose({**told, "runs": runs})
    assert diagnosis is not None
    assert diagnosis.advice == ()


def test_short_epochs_cost_nothing_where_no_line_is_drained() -> None:
    told, _ = ADVICE["short epochs"]
    epochs = [{**epoch, "test_seconds": 0.1} for epoch in told["runs"][0]["epochs"]]
    assert epochs
    diagnosis = diagnose({**told, "runs": [{**told["runs"][0], "epochs": epochs}]})
    assert diagnosis is not None
    assert diagnosis.advice == ()


HELD_UP = (
    worker(0, 0.01, waiting=0.4, waiting_for_credits=0.3),
    worker(1, 0.01, waiting=0.3),
)
START = "Stage 0 waits 30% of the time for credits from stage 1: "
LINKS: dict[str, tuple[dict[str, Any], str]] = {
    "delay": (
        link(0, credit_least_seconds=0.06, credit_median_seconds=0.07),
        (
            "a credit takes 60.00 ms and the slowest stage 10.00 ms, so --window 12 would fill the "
            "link (now 4), and --window auto finds it."
        ),
    ),
    "bandwidth": (
        link(0, up_bytes_per_second=5_000_000, credit_median_seconds=0.08),
        (
            "the link passes 5.0 MB/s, and a larger --window would only queue. --wire-zeros omit "
            "loses nothing, --wire-dtype int8 sends a quarter of float32's bytes."
        ),
    ),
    "bandwidth, of 8 bits already": (
        link(0, up_bytes_per_second=5_000_000, credit_median_seconds=0.08, wire_dtype="int8"),
        (
            "the link passes 5.0 MB/s, and a larger --window would only queue. Smaller activations "
            "at that boundary help."
        ),
    ),
    "bandwidth and delay": (
        link(
            0,
            up_bytes_per_second=5_000_000,
            credit_least_seconds=0.13,
            credit_median_seconds=0.3,
        ),
        (
            "a credit takes 130.00 ms and the slowest stage 10.00 ms, so --window 14 would fill "
            "the link (now 4), and --window auto finds it."
        ),
    ),
    "bandwidth, from afar": (
        link(
            0,
            up_bytes_per_second=5_000_000,
            credit_least_seconds=0.03,
            credit_median_seconds=0.08,
            window=32,
        ),
        (
            "the link passes 5.0 MB/s, and a larger --window would only queue (dni-doctor says "
            "whether that is the link's limit or tcp's buffers'). --wire-zeros omit loses nothing, "
            "--wire-dtype int8 sends a quarter of float32's bytes."
        ),
    ),
    "neither": (link(0), "raise --window (now 4)."),
    "queues in memory": (
        link(0, credit_median_seconds=0.08, carrier="shared memory"),
        "raise --window (now 4).",
    ),
    "no credit yet": (
        link(0, credit_median_seconds=None, credit_least_seconds=None),
        "raise --window (now 4).",
    ),
    "another link": (link(1, credit_least_seconds=1.0), "raise --window (now 4)."),
}


@pytest.mark.parametrize("name", LINKS)
def test_a_full_window_over_a_link_held_up_by(name: str) -> None:
    measured, said = LINKS[name]
    told = report(*HELD_UP, rate=7000, cores=3)
    told["runs"][0]["links"] = [measured]
    diagnosis = diagnose(told)
    assert diagnosis is not None
    assert list(diagnosis.advice) == [START + said]


def test_zeros_that_do_not_travel_are_not_advised_again() -> None:
    told = report(*HELD_UP, rate=7000, cores=3)
    told["config"]["wire_zeros"] = "omit"
    slow = link(0, up_bytes_per_second=5_000_000, credit_median_seconds=0.08)
    told["runs"][0]["links"] = [slow]
    diagnosis = diagnose(told)
    assert diagnosis is not None
    (said,) = diagnosis.advice
    assert said.endswith("would only queue. --wire-dtype int8 sends a quarter of float32's bytes.")


def test_a_window_that_widens_by_itself_and_has_not_come_to_its_end() -> None:
    told = report(*HELD_UP, rate=7000, cores=3)
    told["config"]["window"] = "auto"
    told["runs"][0]["links"] = [
        link(0, credit_least_seconds=0.06, credit_median_seconds=0.07, window=8)
    ]
    diagnosis = diagnose(told)
    assert diagnosis is not None
    assert list(diagnosis.advice) == [
        START + "a credit takes 60.00 ms and the slowest stage 10.00 ms, so --window 12 would fill "
        "the link from the start (--window auto has come to 8)."
    ]


def test_the_findings_tell_the_numbers() -> None:
    phases = {"forward": 0.002, "backward": 0.007, "send": 0.001}
    told = report(worker(0, 0.01, phases=phases), worker(1, 0.005), rate=8000, cores=3)
    diagnosis = diagnose(told)
    assert diagnosis is not None
    assert diagnosis.findings == (
        (
            "Stage 0 is the bottleneck: it works 10.00 ms on a batch, the mean stage 7.50 ms "
            "(backward 70%, forward 20%, send 10%)."
        ),
        "8,000 samples/s measured, 80% of the ceiling of 10,000 that stage 0 sets.",
    )


@pytest.mark.parametrize(
    ("stage", "waiting", "for_credits", "waits_for"),
    [
        (1, 0.3, 0.2, "credits from stage 2"),
        (1, 0.3, 0.1, "activations from stage 0"),
        (2, 0.3, 0.0, "activations from stage 1"),
        (0, 0.3, 0.0, "epochs to end"),
        (1, 0.05, 0.05, ""),
    ],
)
def test_what_a_stage_waits_for(
    stage: int, waiting: float, for_credits: float, waits_for: str
) -> None:
    told = report(worker(stage, 0.01, waiting=waiting, waiting_for_credits=for_credits), rate=1000)
    diagnosis = diagnose(told)
    assert diagnosis is not None
    assert diagnosis.line.loads[0].waits_for == waits_for


def test_a_source_without_data_is_the_bottleneck() -> None:
    starved = worker(0, 0.01, waiting=0.6, waiting_for_data=0.45)
    diagnosis = diagnose(report(starved, worker(1, 0.02), rate=1000))
    assert diagnosis is not None
    assert diagnosis.line.loads[0].waits_for == "data"
    start = "The data loader is the bottleneck: stage 0 waits 45% of the time for its next batch. "
    assert diagnosis.findings[0].startswith(start + "Stage 1 is the slowest: it works 20.00 ms")
    assert diagnosis.advice[0].startswith("Batches come sooner from more processes of the loader")


def test_of_a_stream_the_batches_are_known_and_not_the_samples() -> None:
    told = report(worker(0, 0.01), worker(1, 0.02), rate=1000)
    batch_size = told["config"]["batch_size"]
    told["data"] |= {"num_train": None, "num_train_batches": 7}
    diagnosis = diagnose(told)
    assert diagnosis is not None
    assert (diagnosis.line.num_batches, diagnosis.line.batch_samples) == (7, batch_size)


def test_a_report_that_tells_too_little_has_no_diagnosis() -> None:
    older = worker(0, 0.01)
    del older["train_cpu_seconds"]
    assert diagnose(report(older, rate=1000)) is None
    assert diagnose(report(worker(0, 0.01, updates=0), rate=0)) is None
    assert diagnose(report(rate=0)) is None
    assert diagnose({**report(rate=0), "runs": []}) is None


def test_batches_are_counted_where_not_each_is_an_update() -> None:
    full = measure_line(report(worker(0, 0.01, updates=100), rate=1000))
    half = measure_line(report(worker(0, 0.01, updates=50), rate=1000, update_probability=0.5))
    assert full is not None
    assert half is not None
    assert half.loads[0].cpu_seconds == pytest.approx(full.loads[0].cpu_seconds)
