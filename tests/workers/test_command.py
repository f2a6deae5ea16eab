"""What dni-worker takes from its command line and from schedulers."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from dni_async.transport.rings import invitation_of, make_rings
from dni_async.workers.__main__ import LOCAL_RANK_NAMES, RANK_NAMES, address_from, main, rank_from

INVITED = {"DNI_INVITATION": invitation_of(make_rings()[1])}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"MASTER_ADDR": "head", "MASTER_PORT": "29500"}, "tcp://head:29500"),
        ({"MASTER_ADDR": "10.0.0.1"}, "tcp://10.0.0.1:5555"),
        ({"MASTER_PORT": "29500"}, None),
    ],
)
def test_the_first_host(environment: dict[str, str], expected: str | None) -> None:
    assert address_from(environment) == expected


@pytest.mark.parametrize(
    ("environment", "names", "expected"),
    [
        ({}, RANK_NAMES, None),
        ({"RANK": "3"}, RANK_NAMES, 3),
        ({"SLURM_PROCID": "2"}, RANK_NAMES, 2),
        ({"RANK": "1", "SLURM_PROCID": "2"}, RANK_NAMES, 1),
        ({"RANK": "", "SLURM_PROCID": "4"}, RANK_NAMES, 4),
        ({"SLURM_LOCALID": "1"}, LOCAL_RANK_NAMES, 1),
    ],
)
def test_ranks(environment: dict[str, str], names: tuple[str, ...], expected: int | None) -> None:
    assert rank_from(environment, names) == expected


@pytest.mark.parametrize("rank", ["abc", "-1", "1.5", "\u0663", "9" * 30])
def test_a_rank_that_is_no_number_is_a_sentence(rank: str) -> None:
    with pytest.raises(click.UsageError, match="SLURM_PROCID in the environment must be a whole"):
        rank_from({"SLURM_PROCID": rank}, RANK_NAMES)


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        ([], INVITED, "--join tcp://HOST:PORT says which run"),
        (["--join=tcp://127.0.0.1:1"], {}, "the environment variable DNI_INVITATION"),
        (
            ["--join=tcp://127.0.0.1:1"],
            {"DNI_RUN_ID": "a" * 16},
            "variable DNI_INVITATION; DNI_RUN_ID is no password any more",
        ),
        (["--join=127.0.0.1:1"], INVITED, "--join must be tcp://HOST:PORT"),
        (
            ["--join=tcp://127.0.0.1:1"],
            {"DNI_INVITATION": INVITED["DNI_INVITATION"][:-1]},
            "DNI_INVITATION: is no whole invitation; copy the line",
        ),
        (
            ["--join=tcp://127.0.0.1:1", "--device=gpu"],
            INVITED,
            "--device must be auto, cpu or cuda:N",
        ),
        (
            ["--join=tcp://127.0.0.1:1", "--insecure-without-keys"],
            INVITED,
            "--insecure-without-keys is gone, as every run has keys",
        ),
        (
            ["--join=tcp://127.0.0.1:1", "--keys=/nowhere"],
            {},
            "keys: /nowhere: cannot be read",
        ),
    ],
)
def test_bad_input_is_refused(
    arguments: list[str], environment: dict[str, str], sentence: str
) -> None:
    cleared = dict.fromkeys(
        ["DNI_RUN_ID", "DNI_INVITATION", "MASTER_ADDR", *RANK_NAMES, *LOCAL_RANK_NAMES]
    )
    result = CliRunner().invoke(main, arguments, env={**cleared, **environment})
    assert result.exit_code == 2
    assert sentence in result.output
