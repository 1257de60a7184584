"""Fingerprints: what they tell apart, and that nobody reads them without the key."""

from itertools import pairwise

import numpy as np
import pytest

from gateway.sessions.fingerprints import (
    HASHES,
    LEVELS,
    SKETCH,
    Fingerprint,
    FingerprintColumns,
    Fingerprinter,
    distances,
)
from gateway.sessions.session_rows import NEAR

KEY = b"k" * 32
DRAW = np.random.default_rng(7)
ROWS = DRAW.random((200, 64), np.float32)


def shared(one: Fingerprint, other: Fingerprint) -> int:
    return int(np.count_nonzero(one.hashes == other.hashes))


def test_rows_that_differ_little_share_much_and_others_next_to_nothing() -> None:
    printer = Fingerprinter(KEY, "digits")
    prints = printer.of(ROWS, 0, 1)
    noisy = printer.of(np.clip(ROWS + DRAW.normal(0, 0.01, ROWS.shape), 0, 1), 0, 1)
    patched = ROWS.copy()
    patched[:, 10:13] = 0.5
    assert min(map(shared, prints, noisy)) >= NEAR
    assert np.median(list(map(shared, prints, printer.of(patched, 0, 1)))) >= NEAR
    assert max(shared(one, other) for one, other in pairwise(prints)) < NEAR // 4


def test_the_same_row_alone_has_the_same_exact_print() -> None:
    printer = Fingerprinter(KEY, "digits")
    first, again, other = printer.of(np.stack([ROWS[0], ROWS[0], ROWS[0] + 1e-6]), 0, 1)
    assert first.exact == again.exact != other.exact
    assert shared(first, other) >= HASHES - 2


def test_another_key_and_another_model_give_other_prints() -> None:
    mine = Fingerprinter(KEY, "digits").of(ROWS[:1], 0, 1)[0]
    for printer in (Fingerprinter(b"x" * 32, "digits"), Fingerprinter(KEY, "faces")):
        theirs = printer.of(ROWS[:1], 0, 1)[0]
        assert shared(mine, theirs) == 0
        assert not np.array_equal(mine.sketch, theirs.sketch)


def test_the_domain_scales_what_is_hashed() -> None:
    printer = Fingerprinter(KEY, "digits")
    wide = printer.of(ROWS[:1] * 10 - 5, -5, 5)[0]
    assert shared(printer.of(ROWS[:1], 0, 1)[0], wide) >= HASHES - 8


def test_sketches_keep_distances() -> None:
    prints = Fingerprinter(KEY, "digits").of(ROWS, 0, 1)
    true = np.sqrt(((ROWS[1:] - ROWS[0]) ** 2).sum(axis=1))
    columns = FingerprintColumns.decode([each.encode() for each in prints])
    told = distances(columns.sketches[:1], columns.sketches[1:])[0]
    assert np.median(np.abs(told / true - 1)) < 0.2


def test_texts_and_tokens_share_what_their_pairs_share() -> None:
    printer = Fingerprinter(KEY, "letters")
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


def off(one: Fingerprint, other: Fingerprint) -> int:
    return int(np.abs(one.levels - other.levels).max())


@pytest.mark.parametrize("width", [64, 784])
def test_levels_tell_how_far_the_farthest_element_moved(width: int) -> None:
    printer = Fingerprinter(KEY, "digits")
    rows = DRAW.uniform(0.3, 0.7, (50, width)).astype(np.float32)
    signs = DRAW.choice([-1.0, 1.0], rows.shape)
    prints = printer.of(rows, 0, 1, alike=True)
    assert {len(each.levels) for each in prints} == {min(width, LEVELS)}
    fifth = printer.of((rows + 0.199 * signs).astype(np.float32), 0, 1, alike=True)
    assert {off(one, other) for one, other in zip(prints, fifth, strict=True)} == {1}
    # No hash is left of such a move, and it is what an attack may make.
    assert max(map(shared, prints, fifth)) < NEAR // 4
    everywhere = printer.of((rows + 0.401 * signs).astype(np.float32), 0, 1, alike=True)
    assert min(off(one, other) for one, other in zip(prints, everywhere, strict=True)) > 1


def test_one_element_that_moved_two_fifths_shows() -> None:
    printer = Fingerprinter(KEY, "digits")
    rows = np.full((65, 64), 0.5, np.float32)
    rows[np.arange(64), np.arange(64)] = 0.95
    *moved, still = printer.of(rows, 0, 1, alike=True)
    assert min(off(each, still) for each in moved) > 1


def test_there_are_no_levels_where_they_would_say_nothing() -> None:
    printer = Fingerprinter(KEY, "table")
    assert not len(printer.of(ROWS[:1], 0, 1)[0].levels)
    assert not len(printer.of(ROWS[:1, :63], 0, 1, alike=True)[0].levels)


def test_a_print_is_read_as_it_was_written_and_holds_no_input() -> None:
    for given in (
        Fingerprinter(KEY, "digits").of(ROWS[:1], 0, 1)[0],
        Fingerprinter(KEY, "digits").of(ROWS[:1], 0, 1, alike=True)[0],
        Fingerprinter(KEY, "letters").of(np.array([b"a secret text"], object), 0, 1)[0],
    ):
        data = given.encode()
        read = FingerprintColumns.decode([data, data])
        assert read.exact.tobytes() == 2 * given.exact
        assert (given.hashes == read.hashes.T).all()
        assert (read.sketches == given.sketch).all()
        assert (given.levels == read.levels.T).all()
        assert len(data) <= 8 + 2 * HASHES + SKETCH + LEVELS
        assert b"secret" not in data
    with pytest.raises(ValueError, match="sketch"):
        FingerprintColumns.decode([data + b"surplus"])
    with pytest.raises(ValueError, match="levels"):
        FingerprintColumns.decode([data + bytes(SKETCH + 1)])


def test_many_prints_are_written_at_once() -> None:
    texts = np.array([b"a secret text", b"another"], object)
    for rows, alike in ((ROWS, True), (ROWS, False), (ROWS[:, :8], False), (texts, False)):
        printer = Fingerprinter(KEY, "digits")
        one_by_one = [each.encode() for each in printer.of(rows, 0, 1, alike)]
        assert printer.encoded(rows, 0, 1, alike) == one_by_one
