"""Fingerprints: what they tell apart, and that nobody reads them without the key."""

from itertools import pairwise

import numpy as np
import pytest

from gateway.sessions.evidence import NEAR
from gateway.sessions.prints import HASHES, SKETCH, Print, Printer, distance

KEY = b"k" * 32
DRAW = np.random.default_rng(7)
ROWS = DRAW.random((200, 64), np.float32)


def shared(one: Print, other: Print) -> int:
    return int(np.count_nonzero(one.hashes == other.hashes))


def test_rows_that_differ_little_share_much_and_others_next_to_nothing() -> None:
    printer = Printer(KEY, "digits")
    prints = printer.of(ROWS, 0, 1)
    noisy = printer.of(np.clip(ROWS + DRAW.normal(0, 0.01, ROWS.shape), 0, 1), 0, 1)
    patched = ROWS.copy()
    patched[:, 10:13] = 0.5
    assert min(map(shared, prints, noisy)) >= NEAR
    assert np.median(list(map(shared, prints, printer.of(patched, 0, 1)))) >= NEAR
    assert max(shared(one, other) for one, other in pairwise(prints)) < NEAR // 4


def test_the_same_row_alone_has_the_same_exact_print() -> None:
    printer = Printer(KEY, "digits")
    first, again, other = printer.of(np.stack([ROWS[0], ROWS[0], ROWS[0] + 1e-6]), 0, 1)
    assert first.exact == again.exact != other.exact
    assert shared(first, other) >= HASHES - 2


def test_another_key_and_another_model_give_other_prints() -> None:
    mine = Printer(KEY, "digits").of(ROWS[:1], 0, 1)[0]
    for printer in (Printer(b"x" * 32, "digits"), Printer(KEY, "faces")):
        theirs = printer.of(ROWS[:1], 0, 1)[0]
        assert shared(mine, theirs) == 0
        assert not np.array_equal(mine.sketch, theirs.sketch)


def test_the_domain_scales_what_is_hashed() -> None:
    printer = Printer(KEY, "digits")
    wide = printer.of(ROWS[:1] * 10 - 5, -5, 5)[0]
    assert shared(printer.of(ROWS[:1], 0, 1)[0], wide) >= HASHES - 8


def test_sketches_keep_distances() -> None:
    prints = Printer(KEY, "digits").of(ROWS, 0, 1)
    true = np.sqrt(((ROWS[1:] - ROWS[0]) ** 2).sum(axis=1))
    told = distance(prints[0].sketch, np.array([each.sketch for each in prints[1:]]))
    assert np.median(np.abs(told / true - 1)) < 0.2


def test_texts_and_tokens_share_what_their_pairs_share() -> None:
    printer = Printer(KEY, "letters")
    words = " ".join(f"word{n}" for n in range(60))
    changed, other = words.replace("word30", "x"), "something else entirely, of other words"
    texts = np.array([t.encode() for t in (words, changed, other)], object)
    one, near, far = printer.of(texts, 0, 1)
    assert shared(one, near) >= NEAR > shared(one, far)
    tokens = np.arange(120, dtype=np.int64).reshape(2, 60)
    first, second = printer.of(tokens, 0, 1)
    assert shared(first, second) == 0
    assert not len(first.sketch)
    assert printer.of(np.array([b""], object), 0, 1)[0].exact


def test_a_print_is_read_as_it_was_written_and_holds_no_input() -> None:
    for given in (
        Printer(KEY, "digits").of(ROWS[:1], 0, 1)[0],
        Printer(KEY, "letters").of(np.array([b"a secret text"], object), 0, 1)[0],
    ):
        data = given.encode()
        read = Print.decode(data)
        assert (read.exact, read.encode()) == (given.exact, data)
        assert len(data) <= 8 + 4 * HASHES + SKETCH
        assert b"secret" not in data
    with pytest.raises(ValueError, match="sketch"):
        Print.decode(data + b"surplus")
