"""What stages tell of epochs, kept by two of them until it is known to have been heard."""

from __future__ import annotations

import dataclasses
import math

from dni_async.errors import LinkError
from dni_async.wire.messages import BoundaryEpoch, EpochLoss, EpochTrained, Evaluated, Side

__all__ = ["EpochWord", "KeptWords", "speaker"]

EpochWord = EpochTrained | EpochLoss | BoundaryEpoch | Evaluated

_Key = tuple[type[EpochWord], int]  # a stage tells one of a kind of each epoch


def speaker(word: EpochWord, num_stages: int) -> int:
    """The stage that tells it."""
    match word:
        case EpochTrained():
            return 0
        case BoundaryEpoch(stage=stage):
            return stage
    return num_stages - 1


class KeptWords:
    """What one stage has to keep: its own words, and those of the stage whose witness it is.

    What a worker says in the instant of its death may not leave it any more. So each word has a
    witness, who has it before a marker is past: the stage below is told in front of the marker that
    comes down, and the stage above the source in front of all that the source sends behind it.
    Whoever takes the place of a dead one is told by the witness what that one had said, and says it
    once more; who takes a witness's place is told by the speaker. Both forget what is known to be
    entered.

    epochs: of the run; nobody tells of more.
    """

    def __init__(self, stage: int, num_stages: int, epochs: int) -> None:
        self.entered = 0  # up to this epoch nothing is kept
        self._stage = stage
        self._num_stages = num_stages
        self._epochs = epochs
        self._kept: dict[int, dict[_Key, EpochWord]] = {stage: {}}  # by speaker
        for other in (stage - 1, stage + 1):
            if self._witness_of(other) == stage:
                self._kept[other] = {}

    @property
    def own(self) -> list[EpochWord]:
        """What this stage has told and is not known to be entered, in order."""
        return list(self._kept[self._stage].values())

    @property
    def witness_side(self) -> Side | None:
        """On which side its witness is; None of a stage alone."""
        if self._num_stages == 1:
            return None
        return "above" if self._stage == 0 else "below"

    def say(self, word: EpochWord) -> None:
        """The stage tells of an epoch."""
        self._keep(self._stage, word)

    def hear(self, word: EpochWord, side: Side) -> EpochWord | None:
        """A neighbour has told word: it has just been said there, or is handed over.

        Gives what is to be said once more: what the worker before this one said. Raises LinkError
        for a word that does not concern this stage.
        """
        who, neighbour = speaker(word, self._num_stages), self._neighbour(side)
        is_known = who == self._stage or (who == neighbour and who in self._kept)
        if not is_known or not 0 < word.epoch <= self._epochs:
            name = type(word).__name__
            raise LinkError(f"stage {neighbour} sent {name} of epoch {word.epoch}, stage {who}'s")
        if who == self._stage and isinstance(word, EpochTrained):
            word = dataclasses.replace(word, again=True)
        is_new = self._keep(who, word)
        return word if is_new and who == self._stage else None

    def hand_over(self, side: Side) -> list[EpochWord]:
        """What a new neighbour on that side is told: its own words, and those it is witness of."""
        found = list(self._kept.get(self._neighbour(side), {}).values())
        return found + self.own if self.witness_side == side else found

    def enter(self, epoch: int) -> None:
        """All of the epochs up to this one is known, and may be forgotten."""
        self.entered = max(self.entered, epoch)
        for words in self._kept.values():
            for key in [key for key in words if key[1] <= self.entered]:
                del words[key]

    def again(self, run_id: str, epoch: int) -> list[EpochWord]:
        """All that this stage has to tell of an epoch that is over, empty where it is lost."""
        own, found = self._kept[self._stage], []
        empty: list[EpochWord] = []
        if self._stage == 0:
            empty.append(EpochTrained(run_id, epoch, 0.0))
        if self._stage == self._num_stages - 1:
            empty.append(EpochLoss(run_id, epoch, math.nan, 0))
            empty.append(Evaluated(run_id, epoch, math.nan, {}, 0))
        else:
            empty.append(BoundaryEpoch(run_id, self._stage, epoch, 0, 0.0, 0.0, 0.0, 0, 0))
        for word in empty:
            found.append(own.get((type(word), epoch), word))
        return found

    def _keep(self, who: int, word: EpochWord) -> bool:
        """Whether it is one that is not known yet."""
        key, words = (type(word), word.epoch), self._kept[who]
        if word.epoch <= self.entered or key in words:
            return False
        words[key] = word
        return True

    def _neighbour(self, side: Side) -> int:
        return self._stage + 1 if side == "above" else self._stage - 1

    def _witness_of(self, stage: int) -> int:
        """Of a stage of the line; -1 of what is none."""
        if not 0 <= stage < self._num_stages:
            return -1
        return 1 if stage == 0 else stage - 1
