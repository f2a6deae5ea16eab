"""How many cores others keep busy while a network is trained."""

from __future__ import annotations

import time

import pytest

from dni_async.launcher.monitoring.others import OthersWatch
from dni_async.launcher.report.results import RunResult
from dni_async.system.machine import core_use


@pytest.mark.skipif(core_use() is None, reason="needs Linux's account of cores and children")
def test_what_others_took_is_told_once_it_can_be() -> None:
    run = RunResult("baseline", "baseline", "backprop", 1, 1)
    watch = OthersWatch(run)
    watch.look(is_last=True)
    assert run.others_cores is None  # it has not begun
    watch.begin()
    watch.look(is_last=True)
    assert run.others_cores is None  # too short to tell
    deadline = time.monotonic() + 10
    while run.others_cores is None and time.monotonic() < deadline:
        watch.look()  # as often as one likes
    use = core_use()
    assert use is not None
    assert run.others_cores is not None
    assert 0 <= run.others_cores < use.num_cores  # what this process took is not theirs
