"""A setting: one field of a run's configuration, with all that is said about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from dni_async.config.extensions import is_extension
from dni_async.config.meant import did_you_mean
from dni_async.errors import ConfigError

__all__ = [
    "AT_LEAST_0",
    "AT_LEAST_1",
    "NOT_NEGATIVE",
    "POSITIVE",
    "SHARE",
    "Check",
    "Setting",
    "declared_in",
    "name_or_own",
    "setting",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Check:
    """What a value must be, in words that follow "must be", and whether one is.

    known: names that one who wrote another may have meant.
    """

    need: str
    holds: Callable[[Any], bool]
    known: tuple[str, ...] = ()


AT_LEAST_0 = Check("at least 0", lambda value: value >= 0)
AT_LEAST_1 = Check("at least 1", lambda value: value >= 1)
POSITIVE = Check("a positive number", lambda value: 0 < value < float("inf"))
NOT_NEGATIVE = Check("at least 0", lambda value: 0 <= value < float("inf"))
SHARE = Check("in (0, 1]", lambda value: 0 < value <= 1)


def name_or_own(names: tuple[str, ...], kind: str, *, others: tuple[str, ...] = ()) -> Check:
    """One of names, or what the user has written: ``package.module:kind``.

    others: of these what somebody may have meant, as ``module:name``.
    """
    return Check(
        f"one of {', '.join(names)}, or package.module:{kind}",
        lambda value: value in names or is_extension(value),
        known=(*names, *others),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What a declaration says beside name, type and default; see setting."""

    help: str
    why: str
    check: Check | None
    resumable: bool
    starts_here: bool
    metavar: str
    default_text: str
    counts: str
    known: tuple[str, ...]


def setting(
    default: T,
    help_text: str,
    *,
    why: str,
    check: Check | None = None,
    resumable: bool = False,
    starts_here: bool = False,
    metavar: str = "",
    default_text: str = "",
    counts: str = "",
    known: tuple[str, ...] = (),
) -> T:
    """Declare a setting as a field of a dataclass.

    why: where the default comes from; four digits are a page of docs/decisions. resumable: a
    resumed run may set it anew, as nothing of it changes what has been learnt. starts_here: among
    the first that a newcomer needs. default_text: what None, or another default, comes to. counts:
    what a setting that is a number or auto is a number of. known: names that it, or each of a list,
    can be among other things, if its check does not tell.
    """
    said = _Said(
        help=help_text,
        why=why,
        check=check,
        resumable=resumable,
        starts_here=starts_here,
        metavar=metavar,
        default_text=default_text,
        counts=counts,
        known=known,
    )
    made: Any = field(default=default, metadata={"said": said})
    return made  # type: ignore[no-any-return]  # a field, which the dataclass takes for its default


@dataclass(frozen=True, slots=True)
class Setting:
    """One of them, as options, files, checks and docs/options.md are made from it.

    annotation: its type as written. choices: the words that it can be, where those are all.
    """

    name: str
    annotation: str
    default: Any
    group: str
    choices: tuple[str, ...]
    said: _Said

    @property
    def kinds(self) -> set[str]:
        """The types that its values may have, as written."""
        return {part.strip() for part in self.annotation.split("|")}

    @property
    def is_list(self) -> bool:
        """Whether it is a list of texts, with commas on the command line."""
        return self.annotation.startswith("tuple")

    @property
    def flag(self) -> str:
        """The option of dni-launch."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"DNI_{self.name.upper()}"

    @property
    def known(self) -> tuple[str, ...]:
        """The names that it can be, or each of a list; all of them where choices are."""
        said = self.said
        of_check = () if said.check is None else said.check.known
        return self.choices or said.known or of_check or (("auto",) if said.counts else ())

    def check(self, value: Any) -> None:
        """Raises ConfigError, which begins with the name, for a value that it cannot have."""
        if value is None and "None" in self.kinds:
            return
        if self.choices and value not in self.choices:
            need = f"one of {', '.join(self.choices)}"
        elif self.said.check is not None and not self.said.check.holds(value):
            need = self.said.check.need
        else:
            return
        hint = did_you_mean(value, self.known) if isinstance(value, str) else ""
        raise ConfigError(f"{self.name}: must be {need}, but is {value!r}{hint}")


def declared_in(group: type, title: str) -> Iterator[Setting]:
    """The settings that a dataclass declares, in their order."""
    types = get_type_hints(group)
    for each in fields(group):
        said = each.metadata["said"]
        choices = _choices(types[each.name])
        yield Setting(each.name, str(each.type), each.default, title, choices, said)


def _choices(kind: object) -> tuple[str, ...]:
    """Those of a type that is words alone, or words or None."""
    kinds = [each for each in get_args(kind) if each is not type(None)]
    if get_origin(kind) in (Union, UnionType) and len(kinds) == 1:
        kind = kinds[0]
    return get_args(kind) if get_origin(kind) is Literal else ()
