"""What a run asks of a Ray cluster, and the sentence that says what the cluster lacks."""

from __future__ import annotations

import pytest

from dni_async.launcher.places.ray.bundles import Bundle, make_bundles, whats_missing


def test_a_worker_takes_a_cpu_for_each_thread() -> None:
    assert make_bundles(2, threads=3, gpus=0) == [{"CPU": 3.0}, {"CPU": 3.0}]


def test_a_worker_may_take_a_gpu_or_a_part_of_one() -> None:
    assert make_bundles(1, threads=1, gpus=1) == [{"CPU": 1.0, "GPU": 1.0}]
    assert make_bundles(1, threads=1, gpus=0.25) == [{"CPU": 1.0, "GPU": 0.25}]


FOUR = make_bundles(4, threads=1, gpus=0)
WIDE = make_bundles(2, threads=4, gpus=0)
ON_GPU = make_bundles(4, threads=1, gpus=0.5)


@pytest.mark.parametrize(
    ("bundles", "nodes", "free", "sentence"),
    [
        (FOUR, [{"CPU": 2}], {"CPU": 2}, "the cluster has 2 CPUs, 4 are needed"),
        (FOUR, [{"CPU": 1}], {"CPU": 1}, "the cluster has 1 CPU, 4 are needed"),
        (FOUR, [], {}, "the cluster has 0 CPUs, 4 are needed"),
        (FOUR, [{"memory": 9}, {}], {}, "the cluster has 0 CPUs, 4 are needed"),
        (ON_GPU, [{"CPU": 8}], {"CPU": 8}, "the cluster has 0 GPUs, 2 are needed"),
        (
            ON_GPU,
            [{"CPU": 8, "GPU": 1.5}],
            {"CPU": 8, "GPU": 1.5},
            "the cluster has 1.5 GPUs, 2 are needed",
        ),
        (
            FOUR,
            [{"CPU": 2}, {"CPU": 2}],
            {"CPU": 1},
            "of the 4 CPUs of the cluster 1 is free, 4 are needed",
        ),
        (
            FOUR,
            [{"CPU": 4}],
            {},  # Ray leaves out what is used up
            "of the 4 CPUs of the cluster 0 are free, 4 are needed",
        ),
        (
            WIDE,
            [{"CPU": 2}] * 4,
            {"CPU": 8},
            "a worker needs 4 CPUs on one node, and the largest has 2",
        ),
        (
            WIDE,
            [{"CPU": 6}, {"CPU": 2}],
            {"CPU": 8},
            "the cluster has enough in all, but not 2 times 4 CPUs in one piece on a node",
        ),
    ],
)
def test_the_sentence_names_the_resource(
    bundles: list[Bundle], nodes: list[Bundle], free: Bundle, sentence: str
) -> None:
    assert whats_missing(bundles, nodes, free) == sentence


def test_fractions_that_add_up_are_enough() -> None:
    thirds = make_bundles(3, threads=1, gpus=1 / 3)
    text = whats_missing(thirds, [{"CPU": 3, "GPU": 1}], {"CPU": 2, "GPU": 1})
    assert text == "of the 3 CPUs of the cluster 2 are free, 3 are needed"
