"""Processes of a loader end with the one that began the pass."""

from __future__ import annotations

import multiprocessing
from typing import Literal

import pytest

from dni_async.data.streams.stream import _Begin

GONE = 9  # the exit code of a process that went on


def _go_on(begin: _Begin) -> None:
    begin(0)
    raise SystemExit(GONE)


def _pass_on(begin: _Begin) -> None:
    """A process of a loader whose parent is not the one that began."""
    process = multiprocessing.get_context("fork").Process(target=_go_on, args=(begin,))
    process.start()
    process.join()
    raise SystemExit(process.exitcode)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize(("method", "code"), [("fork", 1), ("forkserver", GONE)])
def test_one_that_is_begun_after_its_parent_is_gone_ends_at_once_unless_a_server_forked_it(
    method: Literal["fork", "forkserver"], code: int
) -> None:
    begin = _Begin(None, multiprocessing.get_context(method))
    process = multiprocessing.get_context("fork").Process(target=_pass_on, args=(begin,))
    process.start()
    process.join()
    assert process.exitcode == code
