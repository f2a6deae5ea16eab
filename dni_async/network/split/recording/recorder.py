"""Run a module's forward once and write down, step by step, what it did.

What it calls of torch is seen by a mode for torch functions, what it calls of its modules by hooks.
Modules that no split point lies in are steps as a whole, whatever they do within.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from dni_async.network.split.recording.effects import is_shape, is_size, name_of, reads, writes
from dni_async.network.split.recording.failures import Unsplittable, user_line
from dni_async.network.split.recording.purity import Purity
from dni_async.network.split.recording.sizes import has_sizes, plain
from dni_async.network.split.recording.steps import Recording, mapped
from dni_async.network.split.recording.tape import Tape

__all__ = ["opened_for", "record"]


def record(
    module: nn.Module,
    inputs: Sequence[torch.Tensor],
    opened: Collection[str],
    call: Callable[..., torch.Tensor],
) -> Recording:
    """What module does with inputs, in the mode that it is in.

    opened: the paths of the modules whose own forward is looked into, "" for module itself; what
    is below them and not opened is a step. call: runs the module and picks its output. Raises
    Unsplittable for what cannot be written down; whatever module raises is raised.
    """
    tape = Tape(module, inputs)
    recorder = _Recorder(tape, Purity(module, opened))
    with recorder.hooked(module, opened), torch.enable_grad(), recorder:
        output = call(module, *inputs)
    recorder.purity.check()
    return tape.finished(output)


def opened_for(module: nn.Module, points: Collection[str]) -> set[str]:
    """The paths to look into, so that all points are seen: what they lie in, and lists on the way.

    Raises KeyError for a path that is none.
    """
    modules = dict(module.named_modules(remove_duplicate=False))
    opened = {""}
    for point in points:
        modules[point]
        pieces = point.split(".")
        opened.update(".".join(pieces[:end]) for end in range(1, len(pieces)))
    return opened


class _Recorder(TorchFunctionMode):
    """Sees every function of torch that is called while it is entered, and puts it on tape."""

    def __init__(self, tape: Tape, purity: Purity) -> None:
        super().__init__()
        self._tape, self.purity = tape, purity
        self._within: list[tuple[str, Any, Any, set[str]]] = []  # modules that are steps, running
        self._is_noting = False  # what hooks look at is not the module's doing

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._is_noting:
            return function(*args, **kwargs)
        plain_args, plain_kwargs = mapped(plain, args), mapped(plain, kwargs)
        if self._within:
            path, _, _, uses = self._within[0]
            uses.update(self._tape.strangers_in(args, path))
            result = function(*plain_args, **plain_kwargs)
            self._tape.weigh(function, (args, kwargs), result)
            return result
        if reads(function) and self._tape.is_loose(args):
            raise Unsplittable(
                f"{user_line()} makes a Python value of a tensor ({name_of(function)}), so what "
                "the network does depends on its data; put that into a module of its own which "
                "no split point lies in, or compute it with tensors (torch.where)"
            )
        result = function(*plain_args, **plain_kwargs)
        self._tape.weigh(function, (args, kwargs), result)
        if is_shape(function):
            return self._tape.shape(args[0], result)
        if is_size(function):
            return self._tape.sizes(args, kwargs, result)
        if not isinstance(result, torch.Tensor | tuple | list | dict) and not writes(function):
            return result
        return self._tape.note(function, args, kwargs, result)

    @contextmanager
    def hooked(self, module: nn.Module, opened: Collection[str]) -> Iterator[None]:
        """Hooks on modules that are opened, and on the steps below them."""
        with ExitStack() as held:
            for path, each in module.named_modules():
                parent = path.rpartition(".")[0]
                if path in opened:
                    hook = each.register_forward_pre_hook(self._note_entry(path), prepend=True)
                    held.callback(hook.remove)
                elif _is_list(each):
                    opened = {*opened, path}
                elif parent in opened:
                    self._hook_step(each, path, held)
            yield

    def _hook_step(self, each: nn.Module, path: str, held: ExitStack) -> None:
        def before(_module: nn.Module, args: Any, kwargs: Any) -> Any:
            if self._within:
                self._within[0][3].add(path)
            else:
                self._tape.enter(path)
                self.purity.pause()
            self._within.append((path, args, kwargs, set()))
            if not has_sizes((args, kwargs)):
                return None  # so that a list stays the user's own
            return mapped(plain, args), mapped(plain, kwargs)

        def after(_module: nn.Module, _args: Any, _kwargs: Any, output: Any) -> Any:
            path, args, kwargs, uses = self._within.pop()
            if self._within:
                return None
            self.purity.go_on()
            self._is_noting = True
            try:
                return self._tape.note(path, args, kwargs, output, uses=uses)
            finally:
                self._is_noting = False

        first = each.register_forward_pre_hook(before, prepend=True, with_kwargs=True)
        last = each.register_forward_hook(after, with_kwargs=True)
        held.callback(first.remove)
        held.callback(last.remove)

    def _note_entry(self, path: str) -> Any:
        def before(_module: nn.Module, _args: Any) -> None:
            if not self._within:
                self._tape.enter(path)

        return before


def _is_list(module: nn.Module) -> bool:
    """Whether it only holds modules, and is never called."""
    return isinstance(module, nn.ModuleList | nn.ModuleDict)
