"""A query attack by large squares is flagged at the latest with the query that succeeds."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
from safetensors.numpy import load_file

from gateway.sessions.fingerprints import Printer
from gateway.sessions.query_attacks import CallerSession, verdict_payoff
from publishing.calibration.query_attacks import square
from tests.support.harness.gateway import DATA

ROWS = load_file(DATA / "digits.safetensors")["x_test"][:40].astype(np.float32)
PRINTER = Printer(b"k" * 32, "digits")
CLEAN = verdict_payoff("clean", 0.01, 0.05)


def asked(session: CallerSession, row: np.ndarray, label: int) -> bool:
    (given,) = PRINTER.of(row[None], 0, 1, alike=True)
    return session.add(given, label, CLEAN)[0]


def moves(row: np.ndarray, draw: np.random.Generator) -> Iterator[np.ndarray]:
    """What Square asks, each row once, where every answer is class 0."""
    attack, seen = square(row, 0, 0.2, 5000, 0.8, draw), set()
    move = next(attack)
    while True:
        if move.tobytes() not in seen:
            yield move
        seen.add(move.tobytes())
        move = attack.send(0)


@pytest.mark.parametrize("turning", [1, 2, 6])
def test_a_square_attack_is_flagged_at_the_latest_when_it_succeeds(turning: int) -> None:
    draw = np.random.default_rng(1)
    for row in ROWS:
        session = CallerSession()
        flagged = asked(session, row, 0)
        for number, move in enumerate(islice(moves(row, draw), turning), 1):
            flagged |= asked(session, move, int(number == turning))
        assert flagged


def test_a_failing_square_attack_is_flagged_after_a_few_queries() -> None:
    draw = np.random.default_rng(1)
    for row in ROWS:
        session = CallerSession()
        asked(session, row, 0)
        assert any(asked(session, move, 0) for move in islice(moves(row, draw), 6))


def test_unmodified_rows_are_not_flagged() -> None:
    session = CallerSession()
    assert not any(asked(session, row, number % 10) for number, row in enumerate(ROWS))
