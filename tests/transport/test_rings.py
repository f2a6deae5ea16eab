"""The keys of a run, and the word that they are told in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dni_async import ConfigError
from dni_async.transport.rings import (
    invitation_of,
    make_rings,
    read_invitation,
    ring_from,
    told_ring,
)

COORDINATOR, WORKER = make_rings()
WORD = invitation_of(WORKER)


def test_every_run_has_pairs_of_its_own() -> None:
    assert COORDINATOR.coordinator == WORKER.coordinator == COORDINATOR.own.public
    assert COORDINATOR.allowed == WORKER.allowed == {WORKER.own.public}
    other, others = make_rings()
    keys = [pair for ring in (COORDINATOR, WORKER, other, others) for pair in (ring.own,)]
    assert len({pair.public for pair in keys} | {pair.secret for pair in keys}) == 8


def test_an_invitation_is_one_word_that_holds_a_workers_ring() -> None:
    assert WORD.replace("-", "").replace("_", "").isalnum()
    assert read_invitation(WORD) == read_invitation(f" {WORD}\n") == WORKER
    assert invitation_of(read_invitation(WORD)) == WORD


BROKEN = {
    "nothing": "",
    "another word": "word",
    "cut off": WORD[:-1],
    "too long": WORD + "A",
    "begun late": WORD[1:],
    "another version": WORD.replace("dni1", "dni2"),
    "no letters": "\N{SNOWMAN}" * 96,
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_whole_invitation_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_invitation(text)
    assert str(caught.value).startswith("DNI_INVITATION: is no whole invitation; copy the line")
    assert "\n" not in str(caught.value)


@given(place=st.integers(5, len(WORD) - 2), letter=st.sampled_from("AZaz09-_"))
def test_a_letter_that_is_another_one_is_noticed(place: int, letter: str) -> None:
    changed = WORD[:place] + letter + WORD[place + 1 :]
    if changed != WORD:
        with pytest.raises(ConfigError):
            read_invitation(changed)


def test_a_ring_goes_through_a_pipe() -> None:
    for ring in (COORDINATOR, WORKER):
        assert ring_from(json.loads(json.dumps(told_ring(ring)))) == ring
