"""What a shell is told that completes a command: by click's own protocol, and no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    ShellComplete,
    get_completion_class,
    split_arg_string,
)

from dni_async.files import names
from dni_async.system import output

__all__ = ["complete_run_dirs", "completion", "run_dirs", "words_that_fit"]

Items = list[CompletionItem]
BREAKS: Final = frozenset(":=")  # where bash begins another word
RUNS: Final = "runs/"  # where a run is kept that says nothing else


def completion(
    name: str, command: click.Command, subcommands: Mapping[str, click.Command]
) -> int | None:
    """Answer a shell that completes a line of the command called name; the exit code.

    None where no shell has asked, as it does by the environment: ``_DNI_LAUNCH_COMPLETE``.
    """
    variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
    shell, _, wish = os.environ.get(variable, "").partition("_")
    made = _Bash if shell == "bash" else get_completion_class(shell)
    if not shell or made is None or wish not in ("source", "complete"):
        return None if not shell else 1
    asking = made(command, {}, name, variable)
    output.say(asking.source() if wish == "source" else _answer(asking, subcommands))
    return 0


def _answer(asking: ShellComplete, subcommands: Mapping[str, click.Command]) -> str:
    args, incomplete = asking.get_completion_args()
    begun = [] if args else [name for name in subcommands if name.startswith(incomplete)]
    if args and args[0] in subcommands:
        asking.cli, args = subcommands[args[0]], args[1:]
    # A shell that is told to look for files forgets what it was told before.
    items = [*asking.get_completions(args, incomplete), *map(CompletionItem, begun)]
    return "\n".join(map(asking.format_completion, items))


class _Bash(BashComplete):
    """Bash hands a word over in parts, cut at every ``:`` and ``=``, and replaces the last part."""

    _typed = ""  # of the word, in front of its last part

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one that is completed, and that one, put together again."""
        parts = split_arg_string(os.environ["COMP_WORDS"])
        at = int(os.environ["COMP_CWORD"])
        *before, word = _joined([*parts[1:at], parts[at] if at < len(parts) else ""])
        value = word.partition("=")[2] if word.startswith("-") else word
        self._typed = value[: value.rfind(":") + 1]
        return before, word

    def format_completion(self, item: CompletionItem) -> str:
        """A line of the answer."""
        return f"{item.type},{str(item.value).removeprefix(self._typed)}"


def _joined(parts: list[str]) -> list[str]:
    """Words from what bash made of them."""
    words: list[str] = []
    is_open = False
    for part in parts:
        is_break = bool(part) and set(part) <= BREAKS
        if words and (is_break or is_open):
            words[-1] += part
        else:
            words.append(part)
        is_open = is_break
    return words


def words_that_fit(known: Sequence[str], incomplete: str, *, is_list: bool) -> Items:
    """The known names that a word may become, or the last of several between commas; else files."""
    before, comma, last = incomplete.rpartition(",") if is_list else ("", "", incomplete)
    given = before.split(",")
    found = [f"{before}{comma}{each}" for each in known if each.startswith(last)]
    left = [each for each in found if each.rpartition(",")[2] not in given]
    return [*map(CompletionItem, left)] or [CompletionItem(incomplete, type="file")]


def complete_run_dirs(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> Items:
    """Of an argument that is a run directory, or a folder of them."""
    found = run_dirs(incomplete) or ([] if incomplete else run_dirs(RUNS))
    return [*map(CompletionItem, found)] or [CompletionItem(incomplete, type="dir")]


def run_dirs(beginning: str) -> list[str]:
    """The run directories whose paths begin so; also those in a folder that is named in full."""
    path = Path(beginning)
    folder, name = (path, "") if beginning.endswith("/") else (path.parent, path.name)
    prefix = beginning[: len(beginning) - len(name)]
    try:
        inside = sorted(each.name for each in folder.iterdir() if each.name.startswith(name))
    except OSError:  # no folder, or one that nobody may look into
        return []
    return [f"{prefix}{each}" for each in inside if _is_run(folder / each)]


def _is_run(path: Path) -> bool:
    return any(os.path.isfile(path / name) for name in (names.CONFIG, names.REPORT))
