"""A run as it stands in a narrow terminal, from its start to Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable

import pytest

from tests.system.conftest import Launch

pytestmark = pytest.mark.system
COLUMNS = 60
CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")  # colours, and where the cursor goes


def test_a_narrow_terminal_shows_a_run_a_death_and_what_was_told_until_ctrl_c(
    launch: Callable[..., Launch],
) -> None:
    run = launch("--epochs=100000", "--evaluate-every=20", "--width=64", columns=COLUMNS)
    pid = int(run.wait_for(r"workers started.*\s1:(\d+)\s").group(1))
    run.wait_for(r"dni .*epoch  20")
    run.wait_for("updates/s")
    os.kill(pid, signal.SIGKILL)
    run.wait_for("stage 1 trains again after")
    run.wait_for("1 restart")
    run.interrupt()
    assert run.end(20) == 128 + signal.SIGINT, run.output
    lines = re.split("[\r\n]+", CONTROL.sub("", run.output))
    paths = [line for line in lines if line.strip().startswith("/")]
    assert [line for line in lines if len(line) > COLUMNS and line not in paths] == []
    said = "\n".join(lines)
    assert re.search(r"epoch [\d,]+ of 100,000  batch \d+ of 12", said)
    end = said[said.index("digits (interrupted)") :]
    assert re.search(r"dni +\d+ of 100000", end)
    assert "workers of dni" in end
    assert "stage 1 was replaced" in end
    assert "Traceback" not in said
    assert run.output.rindex("\x1b[?25h") > run.output.rindex("\x1b[?25l")  # a cursor again
    run.assert_nothing_left()
