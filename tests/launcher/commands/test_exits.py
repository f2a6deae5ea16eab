"""How a command ends: one code and one sentence, whatever others made it say."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from dni_async.errors import ConfigError, DniError, HandshakeError
from dni_async.launcher.commands.exits import exit_code_of


def ends_with(error: DniError) -> int:
    """The exit code of a command that raises it."""

    @click.command()
    def fail() -> None:
        raise error

    return exit_code_of(fail, [], "dni-test")


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigError("amiss"), 2), (HandshakeError("nobody"), 75), (DniError("failed"), 1)],
)
def test_an_error_is_a_sentence_and_a_code(
    error: DniError, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ends_with(error) == code
    assert capfd.readouterr().err == f"Error: {error}\n"


def test_the_last_words_of_a_worker_do_not_command_the_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    ends_with(DniError("stage 1: \x1b[2Jall is well\n  traceback"))
    assert capfd.readouterr().err == "Error: stage 1: \\x1b[2Jall is well\n  traceback\n"


INTERRUPTED_TWICE = """
import atexit, signal, sys
import click
from dni_async.launcher.commands.exits import exit_code_of

@click.command()
def command():
    signal.raise_signal(signal.SIGINT)

atexit.register(signal.raise_signal, signal.SIGINT)
sys.exit(exit_code_of(command, [], "dni-test"))
"""


def test_a_second_ctrl_c_while_python_tidies_up_ends_it_without_a_traceback() -> None:
    command = [sys.executable, "-c", INTERRUPTED_TWICE]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (130, "dni-test: ended by SIGINT\n")
