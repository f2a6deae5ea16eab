"""Who may take the place of a worker that died, and when."""

from __future__ import annotations

from dni_async.launcher.decisions.vacancies import Replacements


def test_each_replacement_is_an_incarnation_of_its_own() -> None:
    replacements = Replacements(3)
    assert replacements.incarnation(1) == 0
    assert replacements.lose(1, 100.0, "first").incarnation == 1
    assert replacements.begin_again(1, 101.0).incarnation == 2
    assert replacements.lose(2, 102.0, "second").incarnation == 1
    assert (replacements.incarnation(1), replacements.incarnation(2)) == (2, 1)


def test_they_are_used_up_by_deaths_alone() -> None:
    replacements = Replacements(2)
    replacements.lose(1, 100.0, "first")
    replacements.begin_again(1, 101.0)
    assert not replacements.are_used_up
    replacements.lose(0, 102.0, "second")
    assert replacements.are_used_up
    assert replacements.causes == ["first", "second"]
    assert Replacements(0).are_used_up


def test_a_stage_that_dies_again_soon_waits_longer_each_time() -> None:
    replacements = Replacements(99)
    now, delays = 100.0, []
    for _ in range(7):
        vacancy = replacements.lose(1, now, "it died")
        delays.append(vacancy.begins_at - now)
        replacements.seat(1)
        now = vacancy.begins_at + 1.0
    assert delays == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    assert replacements.lose(2, now, "another").begins_at == now
    now += 60.0
    assert replacements.lose(1, now, "after a while").begins_at == now


def test_a_stage_stands_still_until_one_of_its_replacements_trains() -> None:
    replacements = Replacements(9)
    replacements.lose(1, 100.0, "first")
    assert replacements.lose(1, 103.0, "while it joined").died_at == 100.0
    assert replacements.begin_again(1, 104.0).died_at == 100.0
    replacements.seat(1)
    assert (list(replacements.open), list(replacements.untried)) == ([], [1])
    assert replacements.lose(1, 105.0, "before its first update").died_at == 100.0
    replacements.seat(1)
    assert replacements.untried.pop(1).died_at == 100.0
    assert replacements.lose(1, 200.0, "later").died_at == 200.0
