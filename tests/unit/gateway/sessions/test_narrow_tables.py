"""Honest sessions on tables of few columns are not taken for a search."""

import numpy as np
from sklearn import datasets

from gateway.sessions.fingerprints import Fingerprinter
from gateway.sessions.query_attack_detection import CallerSession

ROWS, SESSIONS = 80, 50


def test_honest_sessions_are_not_flagged() -> None:
    x = datasets.load_iris().data
    x = ((x - x.min(axis=0)) / np.ptp(x, axis=0)).astype(np.float32)
    draw, prints = np.random.default_rng(0), Fingerprinter(b"k" * 32, "iris").of(x, 0, 1)
    for _ in range(SESSIONS):
        session = CallerSession()
        drawn = draw.permutation(len(x))[:ROWS]
        found = [session.add(prints[at], 0, 1.0) for at in drawn]
        assert not any(each.search or each.extraction for each in found)


def test_a_repeated_row_is_recognised() -> None:
    x = datasets.load_iris().data[:2].astype(np.float32)
    once, other, again = Fingerprinter(b"k" * 32, "iris").of(np.stack([*x, x[0]]), 0, 10)
    assert (once.hashes == again.hashes).all()
    assert not (once.hashes == other.hashes).any()
