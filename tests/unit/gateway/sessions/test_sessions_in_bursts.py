"""Rows of a burst are taken together, and found is what is found one after another."""

import numpy as np
import pytest

from gateway.sessions.fingerprints import Fingerprinter
from gateway.sessions.query_attack_detection import CallerSession, Finding
from gateway.sessions.session_rows import REMEMBERED

ROWS = 3 * REMEMBERED


def rows(width: int) -> np.ndarray:
    """Most are new, some near others, some asked again; more of them than are remembered."""
    draw = np.random.default_rng(width)
    fresh = draw.random((ROWS, width), np.float32)
    near = np.clip(fresh[:40] + draw.normal(0, 0.005, (40, width)), 0, 1).astype(np.float32)
    again = fresh[draw.integers(0, ROWS, 40)]
    both = np.concatenate([fresh, near, again])
    return both[draw.permutation(len(both))]


@pytest.mark.parametrize(("width", "alike"), [(64, True), (64, False), (8, False)])
def test_a_burst_tells_what_its_rows_tell_one_by_one(width: int, alike: bool) -> None:
    draw = np.random.default_rng(1)
    x = rows(width)
    prints = Fingerprinter(b"k" * 32, "digits").of(x, 0, 1, alike)
    labels = draw.integers(3, size=len(x)).tolist()
    payoffs = draw.choice([0.0, 0.0, 0.0, 10.0, 60.0], len(x)).tolist()
    single, together = CallerSession(), CallerSession()
    expected = [single.add(*each) for each in zip(prints, labels, payoffs, strict=True)]
    found: list[Finding] = []
    while len(found) < len(x):
        part = slice(len(found), len(found) + int(draw.integers(1, 150)))
        encoded = [each.encode() for each in prints[part]]
        found += together.add_all(encoded, labels[part], payoffs[part])
    assert found == expected
    assert any(each.search for each in expected)
    assert any(each.anchor is not None for each in expected) is alike
