"""Reads one part of the data in order, pass after pass, from any place on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Final, Literal

import torch

from dni_async.data.streams.checking import BatchCheck, broken
from dni_async.data.streams.fetching import Ended, Failed, Fetch, fetch_ahead, fetch_in_turn
from dni_async.data.streams.stream import Stream
from dni_async.errors import DataError

__all__ = ["Fetches", "Reader"]

Fetches = Literal["ahead", "in turn", "here"]
"""How batches come: in a thread; when they are asked for; so and made in this very process."""

Batch = tuple[torch.Tensor, torch.Tensor]
Item = tuple[Batch, Any]  # and the state behind it
_STATES: Final = 4  # a batch may have been taken ahead of the cut that it comes behind


class Reader:
    """The batches of one part by place, counted over all passes.

    Passes of a stream that says its length have that many batches; more are left out, fewer are an
    error. One that does not is read to its end, and then again. A place that has been passed, or
    in another pass, is reached from the beginning of its pass: what lies before is made and
    dropped, so that what is drawn at random is the same.

    part: training or test. seed_of: the seed of a pass, by its number from 0. wake: called when a
    batch has come that was waited for.
    """

    def __init__(
        self,
        part: str,
        stream: Stream,
        seed_of: Callable[[int], int],
        check: BatchCheck,
        *,
        fetches: Fetches,
        wake: Callable[[], None],
    ) -> None:
        self._part = part
        self._stream = stream
        self._length = stream.length
        self._seed_of = seed_of
        self._check = check
        self._fetches = fetches
        self._wake = wake
        self._fetch: Fetch | None = None
        self._close: Callable[[], None] | None = None
        self._number = 0  # of the pass that goes on
        self._base = 0  # the place at which it began
        self._at = 0  # the place of the next batch that it gives
        self._next: Item | Failed | None = None  # that batch, once it is there
        self._states: deque[dict[str, Any]] = deque(maxlen=_STATES)

    def is_ready(self, place: int) -> bool:
        """Whether that batch can be had without waiting; if not, it is under way from now on."""
        return self._reach(place, waits=False)

    def take(self, place: int) -> Batch:
        """That batch. Raises DataError."""
        self._reach(place, waits=True)
        item, self._next = self._next, None
        assert item is not None
        if isinstance(item, Failed):
            raise item.error
        self._at += 1
        batch, state = item
        self._note(self._at, state)
        return batch

    def state(self, place: int) -> dict[str, Any] | None:
        """What a reader must know to go on at place, where this one was of late; else None."""
        return next((each for each in self._states if each["place"] == place), None)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, or where there is none of the loader's, from where its pass began."""
        has_state = state["of_loader"] is not None
        at = state["place"] if has_state else state["base"]
        self._begin(state["number"], state["base"], at, state["of_loader"])

    def _note(self, place: int, state: Any) -> None:
        if state is not None or self._length is None:
            self._states.append(
                {"place": place, "number": self._number, "base": self._base, "of_loader": state}
            )

    def close(self) -> None:
        """End what fetches ahead, and the processes of the loader with it."""
        if self._close is not None:
            self._close()
        self._fetch = self._close = self._next = None

    def _reach(self, place: int, *, waits: bool) -> bool:
        """Have the batch at place in _next; False where that takes waiting."""
        self._turn_to(place)
        while self._at < place or self._next is None:
            if isinstance(self._next, Failed):
                return True
            if self._next is not None:
                self._next, self._at = None, self._at + 1
                continue
            assert self._fetch is not None
            item = self._fetch(waits)
            if item is None:
                return False
            if isinstance(item, Ended):
                self._end()
            else:
                self._next = item
        return True

    def _turn_to(self, place: int) -> None:
        """Begin the pass that place is in, unless it goes on and has not passed it."""
        if self._length is not None:
            number = place // self._length
            if self._fetch is None or number != self._number or place < self._at:
                self._begin(number, number * self._length)
        elif self._fetch is None or place < self._at:
            self._begin(0, 0)

    def _begin(self, number: int, base: int, at: int | None = None, state: Any = None) -> None:
        """at: the place to go on at from a state; else base, where the pass begins."""
        self.close()
        self._number, self._base, self._at = number, base, base if at is None else at
        is_here, first = self._fetches == "here", self._at - base
        try:
            seed = self._seed_of(number)
            batches = self._stream.begin(number, seed, is_here=is_here, state=state)
        except Exception as error:  # whatever the user's own code raises
            raise broken(f"batch {first} of the {self._part} part", error) from None
        if self._fetches == "ahead":
            self._fetch, self._close = fetch_ahead(self._checked(batches, first), self._wake)
        else:
            self._fetch = fetch_in_turn(self._checked(batches, first))

    def _end(self) -> None:
        """The pass gives no more: the next one goes on in its place, if it may."""
        count = self._at - self._base
        if count == 0:
            raise DataError(f"data: the {self._part} part gave no batch")
        if self._length is not None:
            raise DataError(
                f"data: the {self._part} part ended after {count} batches, but its length is "
                f"{self._length}; mend its __len__, or leave it out and say updates_per_epoch"
            )
        self._begin(self._number + 1, self._at)

    def _checked(self, batches: Iterator[tuple[Any, Any]], index: int) -> Generator[Item]:
        """index: of the first one in its pass."""
        while True:
            try:
                batch, state = next(batches)
            except StopIteration:
                return
            except Exception as error:  # whatever the user's own code raises
                raise broken(f"batch {index} of the {self._part} part", error) from None
            yield self._check(index, batch), state
            index += 1
