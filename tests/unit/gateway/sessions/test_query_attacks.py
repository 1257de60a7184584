"""Sessions: honest ones stay quiet, searches and extractions do not."""

import numpy as np

from gateway.sessions.comparison import REMEMBERED
from gateway.sessions.fingerprints import Printer
from gateway.sessions.query_attacks import (
    NORMAL,
    CallerSession,
    normality,
    verdict_payoff,
)

PRINTER = Printer(b"k" * 32, "digits")
CLEAN = verdict_payoff("clean", 0.01, 0.05)
ATTACK = verdict_payoff("adversarial", 0.01, 0.05)


def rows(draw: np.random.Generator, number: int) -> np.ndarray:
    return draw.random((number, 64), np.float32)


def play(
    session: CallerSession, given: np.ndarray, payoff: float = CLEAN, alike: bool = False
) -> tuple[int, int]:
    """How often a search, and an extraction, was found."""
    found = [session.add(each, 0, payoff) for each in PRINTER.of(given, 0, 1, alike)]
    return sum(search for search, _ in found), sum(extraction for _, extraction in found)


def test_an_honest_session_stays_quiet() -> None:
    draw = np.random.default_rng(3)
    assert play(CallerSession(), rows(draw, 3 * REMEMBERED)) == (0, 0)


def test_the_same_row_again_and_again_says_nothing() -> None:
    row = rows(np.random.default_rng(3), 1)
    assert play(CallerSession(), np.repeat(row, 500, axis=0), ATTACK) == (0, 0)


def test_near_duplicates_are_a_search_after_two() -> None:
    draw = np.random.default_rng(3)
    row = rows(draw, 1)
    near = np.clip(row + draw.normal(0, 0.01, (4, 64)), 0, 1).astype(np.float32)
    assert play(CallerSession(), near[:2])[0] == 0
    assert play(CallerSession(), near[:3])[0] == 1


def test_near_duplicates_among_honest_rows_are_found_all_the_same() -> None:
    draw = np.random.default_rng(3)
    given = rows(draw, 200)
    given[::10] = np.clip(given[0] + draw.normal(0, 0.01, (20, 64)), 0, 1)
    assert play(CallerSession(), given)[0] >= 1


def test_adversarial_verdicts_are_a_search() -> None:
    assert play(CallerSession(), rows(np.random.default_rng(3), 4), ATTACK)[0] == 1


def close(draw: np.random.Generator, number: int) -> np.ndarray:
    """Rows that lie within a fifth of the first in every element, and share no hash."""
    row = draw.uniform(0.2, 0.8, 64)
    moved = row + 0.19 * draw.choice([-1.0, 1.0], (number - 1, 64))
    return np.concatenate([row[None], moved]).astype(np.float32)


def test_a_row_close_to_another_that_is_answered_otherwise_is_a_search_at_once() -> None:
    one, other = PRINTER.of(close(np.random.default_rng(3), 2), 0, 1, alike=True)
    session = CallerSession()
    assert not any(session.add(one, 4, CLEAN))
    assert session.add(other, 7, CLEAN) == (True, False)
    again = CallerSession()
    assert [again.add(each, 4, CLEAN) for each in (one, other)] == [(False, False)] * 2


def test_close_rows_answered_alike_are_a_search_the_sooner_the_worse_they_look() -> None:
    draw = np.random.default_rng(3)
    suspect = verdict_payoff("suspect", 0.01, 0.05)
    for payoff, rows_needed in ((CLEAN, 5), (suspect, 3)):
        session = CallerSession()
        steps = draw.uniform(0.2, 0.8, 64) + 0.09 * draw.choice([-1.0, 1.0], (8, 64))
        prints = PRINTER.of(steps.astype(np.float32), 0, 1, alike=True)
        found = [session.add(prints[0], 4, CLEAN)[0]]
        found += [session.add(each, 4, payoff)[0] for each in prints[1:]]
        assert found.index(True) + 1 == rows_needed


def test_without_levels_close_rows_say_nothing() -> None:
    """Of a table's honest rows most lie so close to another."""
    one, other = PRINTER.of(close(np.random.default_rng(3), 2), 0, 1, alike=False)
    session = CallerSession()
    assert [session.add(one, 4, CLEAN), session.add(other, 7, CLEAN)] == [(False, False)] * 2


def test_texts_that_share_much_may_be_answered_otherwise() -> None:
    words = " ".join(f"word{n}" for n in range(60))
    texts = np.array([words.encode(), words.replace("word30", "x").encode()], object)
    session = CallerSession()
    found = [session.add(each, n, CLEAN) for n, each in enumerate(PRINTER.of(texts, 0, 1))]
    assert found == [(False, False)] * 2


def test_a_model_whose_rows_get_levels_begins_anew() -> None:
    draw = np.random.default_rng(3)
    session = CallerSession()
    assert play(session, rows(draw, 2)) == (0, 0)
    assert play(session, rows(draw, 2), alike=True) == (0, 0)
    one, other = PRINTER.of(close(draw, 2), 0, 1, alike=True)
    assert [session.add(one, 4, CLEAN)[0], session.add(other, 7, CLEAN)[0]] == [False, True]


def test_an_honest_session_of_images_stays_quiet() -> None:
    draw = np.random.default_rng(3)
    session = CallerSession()
    prints = PRINTER.of(rows(draw, 2 * REMEMBERED), 0, 1, alike=True)
    found = [session.add(each, n % 10, CLEAN) for n, each in enumerate(prints)]
    assert not any(map(any, found))


def test_steps_of_one_size_are_an_extraction() -> None:
    draw = np.random.default_rng(3)
    seeds = rows(draw, 150)
    session = CallerSession()
    assert play(session, seeds) == (0, 0)
    moved = seeds + 0.05 * np.sign(draw.normal(0, 1, seeds.shape))
    assert play(session, np.clip(moved, 0, 1).astype(np.float32))[1] >= 1


def test_the_statistic_is_near_one_for_a_normal_sample_alone() -> None:
    draw = np.random.default_rng(3)
    assert normality(draw.normal(5, 2, 300)) > 0.97
    two = np.concatenate([draw.normal(1, 0.02, 150), draw.normal(3, 0.02, 150)])
    assert normality(two) < NORMAL
    assert normality(np.ones(50)) == 0
