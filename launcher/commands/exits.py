"""How a command ends: its exit code, and the sentence that goes with it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import Final

import click

from dni_async.errors import ConfigError, DniError, HandshakeError, WorkerDied
from dni_async.launcher.commands.completion import completion
from dni_async.launcher.commands.telling import tell
from dni_async.launcher.interruption import Interrupted, interruptible
from dni_async.system import output
from dni_async.wire.foreign_text import legible

__all__ = ["exit_code_of"]

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOBODY_JOINED: Final = 75


def exit_code_of(
    command: click.Command,
    arguments: Sequence[str],
    name: str,
    subcommands: Mapping[str, click.Command] | None = None,
) -> int:
    """Run the command, or the subcommand that arguments begin with; its exit code.

    Prints why it failed, if it did. Answers a shell instead that completes a line of it.

    0: done. 2: usage, settings or data. 75: not all workers joined. 129, 130, 143: SIGHUP, SIGINT,
    SIGTERM. A dead worker's own code, or 128 + its signal. 1: any other failure that has a
    sentence, and where what was asked for could not be printed. What the command itself returns, if
    that is a number.
    """
    with output.lasting_output():
        code = _code(command, arguments, name, subcommands or {})
    lost = output.unwritten()
    if code or lost is None:
        return code
    output.complain(f"{name}: standard output cannot be written: {lost.strerror}")
    return EXIT_FAILED


def _code(
    command: click.Command,
    arguments: Sequence[str],
    name: str,
    subcommands: Mapping[str, click.Command],
) -> int:
    if (answered := completion(name, command, subcommands)) is not None:
        return answered
    if arguments and arguments[0] in subcommands:
        first, *arguments = arguments
        command, name = subcommands[first], f"{name} {first}"
    try:
        with interruptible():
            code = command.main(list(arguments), prog_name=name, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except DniError as error:
        _say(f"Error: {error}")
        return _code_of(error)
    except Interrupted as error:
        tell(f"{name}: ended by {error}", to_stderr=True)
        return error.exit_code


def _say(text: str) -> None:
    """On standard error, where lines break between words if that is a terminal."""
    text = legible(text)
    if output.has_terminal():
        from dni_async.launcher.report.terminal.sentences import broken

        text = "\n".join(broken(text, shutil.get_terminal_size().columns))
    tell(text, to_stderr=True)


def _code_of(error: DniError) -> int:
    if isinstance(error, ConfigError):
        return EXIT_USAGE
    if isinstance(error, HandshakeError):
        return EXIT_NOBODY_JOINED
    return error.exit_code if isinstance(error, WorkerDied) else EXIT_FAILED
