"""A query attack by large squares is told the class of the row that it began with, and no other."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
from safetensors.numpy import load_file

from gateway.sessions.fingerprints import Fingerprinter
from gateway.sessions.query_attack_detection import CallerSession, Finding, verdict_payoff
from publishing.attacks.query_attacks import square
from tests.support.harness.gateway import DATA

SLICES = load_file(DATA / "digits.safetensors")
ROWS, CLASSES = SLICES["x_test"][:40].astype(np.float32), SLICES["y_test"][:40].tolist()
PRINTER = Fingerprinter(b"k" * 32, "digits")
CLEAN = verdict_payoff("clean", 0.01, 0.05)


def asked(session: CallerSession, row: np.ndarray, label: int) -> Finding:
    (given,) = PRINTER.of(row[None], 0, 1, alike=True)
    return session.add(given, label, CLEAN)


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
def test_a_square_attack_is_not_told_that_it_succeeds(turning: int) -> None:
    draw = np.random.default_rng(1)
    for row in ROWS:
        session = CallerSession()
        assert asked(session, row, 0).anchor is None
        for number, move in enumerate(islice(moves(row, draw), turning), 1):
            found = asked(session, move, int(number == turning))
            assert (found.anchor, found.turned) == (0, number == turning)


def test_unmodified_rows_are_answered_by_their_own_class() -> None:
    session = CallerSession()
    found = [(asked(session, row, label), label) for row, label in zip(ROWS, CLASSES, strict=True)]
    assert all(each.anchor in (None, label) and not each.search for each, label in found)
