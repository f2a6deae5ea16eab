"""Words of epochs: whoever dies when, none is lost that a marker has left behind."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dni_async import LinkError
from dni_async.decisions.machines.undrained import UndrainedMachine
from dni_async.wire.messages import (
    BoundaryEpoch,
    EndReached,
    EpochEntered,
    EpochLoss,
    EpochTrained,
    Evaluated,
    Message,
)
from dni_async.workers.reporting.telling import Telling
from tests.workers.reporting.telling_line import EPOCHS, TellingLine

SEEDS = 120
ALL = list(range(1, EPOCHS + 1))


class UndrainedTellingLine(TellingLine):
    """Where batches follow markers at once."""

    kind = UndrainedMachine


KINDS = [TellingLine, UndrainedTellingLine]


def run(
    seed: int,
    num_deaths: int,
    *,
    has_witnesses: bool = True,
    kind: type[TellingLine] = TellingLine,
) -> TellingLine:
    """A line that has come to its end; every other death is just behind a word."""

    def line(deaths_at: list[tuple[int, int]]) -> TellingLine:
        made = kind(random.Random(seed), deaths_at=deaths_at, has_witnesses=has_witnesses)
        made.run(random.Random(seed + 1))
        return made

    undisturbed, draw = line([]), random.Random(seed + 2)
    deaths = []
    for _ in range(num_deaths):
        step, stage = draw.randrange(undisturbed.num_steps), draw.randrange(undisturbed.num_stages)
        if draw.random() < 0.5:
            step, stage = draw.choice(undisturbed.announced_at)
            step += draw.randint(0, 15)
        deaths.append((step, stage))
    return line(sorted(deaths))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_single_death_loses_no_word(seed: int, kind: type[TellingLine]) -> None:
    """Each figure is told, and no epoch is entered with less than there was to know."""
    line = run(seed, 1, kind=kind)
    assert [whole.epoch for whole in line.entered] == ALL
    assert line.lost == []
    for whole in line.entered:
        assert (whole.num_samples, whole.num_tested) == (1, 1)
        assert whole.seconds > 0
        assert len(whole.boundaries) == line.num_stages - 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(SEEDS // 2))
def test_whoever_dies_all_epochs_are_entered_and_nobody_waits(
    seed: int, kind: type[TellingLine]
) -> None:
    line = run(seed, random.Random(seed).randint(2, 6), kind=kind)
    assert [whole.epoch for whole in line.entered] == ALL
    # Who dies when a stage above has left is not replaced, and by then all is known.
    assert line.dead or all(machine.finished for machine in line.machines)


def test_without_a_witness_words_are_lost_with_who_says_them() -> None:
    """Else the tests above would show little."""
    lines = [run(seed, 1, has_witnesses=False) for seed in range(SEEDS // 4)]
    assert sum(bool(line.lost) for line in lines) > len(lines) // 50


class Written:
    """What was sent over a link, or to the coordinator."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, message: Message) -> None:
        """Nobody reads it."""
        self.messages.append(message)


def make(
    stage: int, num_stages: int = 3, *, is_replacement: bool = False
) -> tuple[Telling, Written, Written, Written]:
    """What a stage tells by, and what went to the coordinator, down and up."""
    control, down, up = Written(), Written(), Written()
    seat = SimpleNamespace(
        stage=stage,
        run_id="run",
        inbox=down if stage else None,
        outbox=up if stage + 1 < num_stages else None,
        is_replacement=is_replacement,
        welcome=SimpleNamespace(num_stages=num_stages),
        config=SimpleNamespace(epochs=3),
    )
    return Telling(cast("Any", seat), cast("Any", control)), control, down, up


TRAINED, LOSS, TESTED = (
    EpochTrained("run", 1, 1.5),
    EpochLoss("run", 1, 0.25, 100),
    Evaluated("run", 1, 0.5, {}, 20),
)
BOUNDARY = BoundaryEpoch("run", 1, 1, 3, 0.5, 0.9, 0.4, 2, 7)


def test_the_witness_is_the_stage_below_and_of_the_source_the_one_above() -> None:
    for stage, word, way in ((0, TRAINED, "up"), (1, BOUNDARY, "down"), (2, LOSS, "down")):
        telling, control, down, up = make(stage)
        telling.tell(word)
        assert control.messages == [word]
        assert down.messages == ([word] if way == "down" else [])
        assert up.messages == ([word] if way == "up" else [])


def test_a_witness_hands_over_what_a_dead_neighbour_has_said_and_it_is_said_again_once() -> None:
    below, control, _, up = make(1)
    for word in (LOSS, TESTED):
        below.hear(word, "above")
    below.meet("above")
    assert control.messages == []
    assert up.messages == [LOSS, TESTED, EpochEntered("run", 0)]
    head, control, _, _ = make(2, is_replacement=True)
    for word in [*up.messages, LOSS]:
        head.hear(cast("Any", word), "below")
    assert control.messages == [LOSS, TESTED]


def test_a_source_says_again_that_it_did_not_time_an_epoch_itself() -> None:
    source, control, _, _ = make(0, is_replacement=True)
    source.hear(TRAINED, "above")
    assert control.messages == [EpochTrained("run", 1, 1.5, again=True)]


def test_a_new_witness_is_told_when_it_has_greeted_and_not_before() -> None:
    telling, _, down, _ = make(1)
    telling.part("below")
    telling.tell(BOUNDARY)
    assert down.messages == []
    telling.meet("below")
    assert down.messages == [BOUNDARY, EpochEntered("run", 0)]


def test_what_is_entered_is_forgotten() -> None:
    telling, _, down, up = make(1)
    telling.tell(BOUNDARY)
    telling.hear(TRAINED, "below")
    telling.hear(LOSS, "above")
    telling.kept.enter(1)
    for side in ("below", "above"):
        telling.meet(cast("Any", side))
    assert down.messages == [BOUNDARY, EpochEntered("run", 1)]
    assert up.messages == [EpochEntered("run", 1)]
    assert telling.kept.own == []


def test_a_question_is_answered_when_the_witness_has_said_all() -> None:
    telling, control, down, up = make(1, is_replacement=True)
    telling.begin()
    assert down.messages == up.messages == [EpochEntered("run", 0)]
    telling.tell_again(1)
    assert control.messages == []
    telling.hear(BOUNDARY, "below")
    telling.hear(EpochEntered("run", 0), "below")
    assert control.messages == [BOUNDARY, BOUNDARY]
    telling.tell_again(2)
    assert control.messages[2:] == [BoundaryEpoch("run", 1, 2, 0, 0.0, 0.0, 0.0, 0, 0)]


def test_the_end_waits_until_the_last_test_is_known() -> None:
    telling, control, _, _ = make(0)
    assert telling.may_end()
    telling.tested(2)
    assert not telling.may_end()
    assert not telling.may_end()
    assert control.messages == [EndReached("run", 2)]
    telling.kept.enter(2)
    assert telling.may_end()


@pytest.mark.parametrize(
    ("word", "side"),
    [
        (LOSS, "below"),
        (EpochTrained("run", 4, 1.0), "below"),
        (EpochTrained("run", 0, 1.0), "below"),
        (TRAINED, "above"),
        (BoundaryEpoch("run", 3, 1, 0, 0.0, 0.0, 0.0, 0, 0), "above"),
    ],
    ids=["of another", "of no epoch", "of the epoch 0", "from the wrong side", "of a far one"],
)
def test_a_word_that_does_not_concern_the_stage_is_refused(word: Any, side: Any) -> None:
    telling, *_ = make(1, 4)
    with pytest.raises(LinkError, match="sent"):
        telling.hear(word, side)
