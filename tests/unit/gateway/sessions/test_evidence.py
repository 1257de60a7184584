"""Sessions: honest ones stay quiet, searches and extractions do not."""

import numpy as np

from gateway.sessions.bets import verdict_payoff
from gateway.sessions.evidence import NORMAL, REMEMBERED, Session, normality
from gateway.sessions.prints import Printer

PRINTER = Printer(b"k" * 32, "digits")
CLEAN = verdict_payoff("clean", 0.01, 0.05)
ATTACK = verdict_payoff("adversarial", 0.01, 0.05)


def rows(draw: np.random.Generator, number: int) -> np.ndarray:
    return draw.random((number, 64), np.float32)


def play(session: Session, given: np.ndarray, payoff: float = CLEAN) -> tuple[int, int]:
    """How often a search, and an extraction, was found."""
    found = [session.add(each, 0, payoff) for each in PRINTER.of(given, 0, 1)]
    return sum(search for search, _ in found), sum(extraction for _, extraction in found)


def test_an_honest_session_stays_quiet() -> None:
    draw = np.random.default_rng(3)
    assert play(Session(), rows(draw, 3 * REMEMBERED)) == (0, 0)


def test_the_same_row_again_and_again_says_nothing() -> None:
    row = rows(np.random.default_rng(3), 1)
    assert play(Session(), np.repeat(row, 500, axis=0), ATTACK) == (0, 0)


def test_near_duplicates_are_a_search_after_two() -> None:
    draw = np.random.default_rng(3)
    row = rows(draw, 1)
    near = np.clip(row + draw.normal(0, 0.01, (4, 64)), 0, 1).astype(np.float32)
    assert play(Session(), near[:2])[0] == 0
    assert play(Session(), near[:3])[0] == 1


def test_near_duplicates_among_honest_rows_are_found_all_the_same() -> None:
    draw = np.random.default_rng(3)
    given = rows(draw, 200)
    given[::10] = np.clip(given[0] + draw.normal(0, 0.01, (20, 64)), 0, 1)
    assert play(Session(), given)[0] >= 1


def test_adversarial_verdicts_are_a_search() -> None:
    assert play(Session(), rows(np.random.default_rng(3), 4), ATTACK)[0] == 1


def test_steps_of_one_size_are_an_extraction() -> None:
    draw = np.random.default_rng(3)
    seeds = rows(draw, 150)
    session = Session()
    assert play(session, seeds) == (0, 0)
    moved = seeds + 0.05 * np.sign(draw.normal(0, 1, seeds.shape))
    assert play(session, np.clip(moved, 0, 1).astype(np.float32))[1] >= 1


def test_the_statistic_is_near_one_for_a_normal_sample_alone() -> None:
    draw = np.random.default_rng(3)
    assert normality(draw.normal(5, 2, 300)) > 0.97
    two = np.concatenate([draw.normal(1, 0.02, 150), draw.normal(3, 0.02, 150)])
    assert normality(two) < NORMAL
    assert normality(np.ones(50)) == 0
