"""``docs/options.md``, written from the settings.

To write it anew: ``python -m dni_async.launcher.options_page > docs/options.md``. A test
holds the page to what this prints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

from dni_async.config.run_config import RunConfig
from dni_async.config.setting import Setting
from dni_async.config.settings import SETTINGS
from dni_async.decisions.rules import RULES, traits_of
from dni_async.launcher.cli import command
from dni_async.launcher.commands.options import RUN_GROUP, GroupedOption
from dni_async.system import output

__all__ = ["default_of", "main", "options_page"]

HEAD = """\
# Options of dni-launch

This page is written by `python -m dni_async.launcher.options_page > docs/options.md`.

Every setting can be a flag (`--batch-size 64`), a variable (`DNI_BATCH_SIZE=64`), a key of
`CONFIG.toml` (`batch_size = 64`) or an argument of `dni_async.train` (`batch_size=64`). A flag wins
over the environment, the environment over the file, the file over the default. A flag whose default
is yes or no is turned off by `--no-NAME`; lists are written with commas, in the file as lists.

**Bold** are those to start with. With a circle, \u25cb, a run that goes on by `--resume` may set it
anew; all others stay what they were. *Because* says where a default comes from; four digits are
a page of [decisions](decisions/). More on [rules and synthesizers](rules.md), [several
hosts](cluster.md), [Ray](ray.md), [failures and checkpoints](reliability.md), [figures while a run
lasts](metrics.md).
"""


def options_page(decisions: Path) -> str:
    """The page. decisions: the folder of the pages that it links to."""
    pages = {path.name[:4]: path.name for path in decisions.glob("[0-9]*.md")}
    parts = [HEAD]
    for title, settings in groupby(SETTINGS.values(), key=lambda each: each.group):
        parts.append(_section(title, [_row(each, pages) for each in settings], "| because "))
    parts.append(_section(RUN_GROUP, list(_run_rows()), ""))
    parts.append(f"These say where one run goes, and cannot stand in the file.\n\n{_rules()}")
    return "\n".join(parts)


def main() -> None:
    """Print it."""
    output.say(options_page(Path("docs/decisions")).removesuffix("\n"))


def _section(title: str, rows: list[str], last: str) -> str:
    rule = "|---" * (3 + bool(last)) + "|"
    return "\n".join([f"## {title}\n", f"| option | default | means {last}|", rule, *rows, ""])


def _row(each: Setting, pages: Mapping[str, str]) -> str:
    said = each.said
    flag = f"`{each.flag} {said.metavar}".rstrip() + "`"
    if said.starts_here:
        flag = f"**{flag}**"
    means = said.help
    if each.choices:
        means = f"{' | '.join(f'`{choice}`' for choice in each.choices)}. {means}"
    why = re.sub(r"\d{4}", lambda number: _linked(number[0], pages), said.why)
    return _cells([flag + (" \u25cb" if said.resumable else ""), default_of(each), means, why])


def default_of(each: Setting) -> str:
    """The default as the page shows it."""
    if each.said.default_text:
        return each.said.default_text
    if each.default is None:
        return ""
    if isinstance(each.default, bool):
        return "yes" if each.default else "no"
    return ",".join(each.default) if isinstance(each.default, tuple) else str(each.default)


def _run_rows() -> Iterator[str]:
    for option in command.params:
        if isinstance(option, GroupedOption) and option.group == RUN_GROUP:
            means, _, default = (option.help or "").partition("  [default: ")
            yield _cells([f"`{option.opts[0]}`", default.rstrip("]"), means])


def _rules() -> str:
    """What each built-in rule says of itself."""
    rows = []
    for name, rule in RULES.items():
        traits = traits_of(rule.made(RunConfig()))
        said = {
            "equals the baseline bit for bit": traits.is_exact,
            "waits for gradients": traits.waits_for_gradients,
            "one batch at a time": traits.is_lockstep,
            "no worker is replaced": not traits.allows_replacement,
            "goes with `--unlock forward`": traits.unlocks_forward,
            "goes with `--when-full skip` and `--when-empty replay`": traits.updates_at_once,
        }
        means = "; ".join(words for words, is_so in said.items() if is_so)
        reads = ", ".join(f"`--{each.replace('_', '-')}`" for each in rule.settings)
        rows.append(_cells([f"`{name}`", reads, means]))
    head = "## What a rule says of itself\n\n| rule | has settings | is |\n|---|---|---|"
    return "\n".join([head, *rows, "", "A rule of your own says the same: [rules.md](rules.md).\n"])


def _cells(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _linked(number: str, pages: Mapping[str, str]) -> str:
    """A page of docs/decisions; a year stays as it is."""
    return f"[{number}](decisions/{pages[number]})" if number in pages else number


if __name__ == "__main__":
    main()
