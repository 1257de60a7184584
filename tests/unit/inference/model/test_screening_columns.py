"""An attack on a table changes what a caller could send, and a request is held to the same."""

from dataclasses import replace

import numpy as np
import pytest

from inference.model.columns import Column, RowRules
from sealgate.reasons import Reason, SealgateError

# A measurement, a whole number from 0 to 20, one to 10 that stays, and a word of two; as sent.
DECLARED = (
    Column("measured"),
    Column("whole", step=0.05),
    Column("stays", step=0.1, immutable=True),
    Column("word", "yes"),
    Column("word", "no"),
)
COLUMNS = RowRules.of(DECLARED, (0.0, 1.0))
BEFORE = np.array([[0.5, 0.5, 0.5, 1, 0]], np.float32)
AFTER = np.array([[0.33, 0.62, 0.91, 0.4, 0.6]], np.float32)
# A loan: months from 6, marks, an age on record, and what it is for.
LOAN = (
    Column("duration", step=1, min=6),
    Column("amount", step=1),
    Column("age", step=1, immutable=True),
    Column("purpose", "car"),
    Column("purpose", "radio"),
)
OFFSET, SCALE = np.array([4, 250, 19, 0, 0]), np.array([68, 18174, 56, 1, 1])
TABLE = RowRules.of(LOAN, (0.0, 1.0), OFFSET.tolist(), SCALE.tolist())
MOVES = (TABLE.within, TABLE.beyond, TABLE.changed)


def loans(n: int, seed: int = 0) -> np.ndarray:
    """As they were measured."""
    draw = np.random.default_rng(seed)
    numbers = draw.integers([6, 250, 19], [73, 18425, 76], (n, 3))
    return np.concatenate([numbers, np.eye(2)[draw.integers(0, 2, n)]], axis=1)


def sent(raw: np.ndarray, dtype: type = np.float64) -> np.ndarray:
    scaled = (raw.astype(dtype) - OFFSET.astype(dtype)) / SCALE.astype(dtype)
    return np.clip(scaled, 0, 1).astype(np.float32)


def refuse(table: RowRules, row: np.ndarray) -> None:
    with pytest.raises(SealgateError) as refused:
        table.check(row)
    assert refused.value.reason is Reason.TENSOR_RANGE


def test_what_may_not_change_stays_and_whole_numbers_stay_whole() -> None:
    within, beyond = COLUMNS.within(BEFORE, AFTER), COLUMNS.beyond(BEFORE, AFTER)
    assert np.allclose(within, [[0.33, 0.6, 0.5, 1, 0]])
    assert np.allclose(beyond, [[0.33, 0.65, 0.5, 1, 0]])
    down = BEFORE - (AFTER - BEFORE)
    assert np.allclose(COLUMNS.within(BEFORE, down), [[0.67, 0.4, 0.5, 1, 0]])
    assert np.allclose(COLUMNS.beyond(BEFORE, down), [[0.67, 0.35, 0.5, 1, 0]])


def test_a_whole_number_that_is_met_by_rounding_is_not_passed() -> None:
    for off in (1e-7, -1e-7):
        met = BEFORE.copy()
        met[0, 1] = np.float32(0.6) + np.float32(off)
        assert COLUMNS.beyond(BEFORE, met)[0, 1] == pytest.approx(0.6)
        assert COLUMNS.within(BEFORE, met)[0, 1] == pytest.approx(0.6)


def test_a_whole_number_that_goes_no_step_keeps_its_rounding() -> None:
    before = BEFORE.copy()
    before[0, 1] = np.nextafter(np.float32(0.6), np.float32(0))
    after = before + np.array([[0, 0.01, 0, 0, 0]], np.float32)
    assert COLUMNS.within(before, after).tobytes() == before.tobytes()
    assert COLUMNS.changed(before, after).tobytes() == before.tobytes()


def test_benign_changes_are_of_any_number_and_of_no_word() -> None:
    assert np.allclose(COLUMNS.changed(BEFORE, AFTER), [[0.33, 0.6, 0.9, 1, 0]])


@pytest.mark.parametrize("move", MOVES)
def test_whatever_is_made_of_a_loan_could_be_sent(move) -> None:
    draw = np.random.default_rng(1)
    x = sent(loans(400), np.float32)
    far = (x + draw.normal(0, 0.5, x.shape)).astype(np.float32)
    moved = move(x, far)
    TABLE.check(moved)
    assert (moved != x).any(axis=0)[:2].all()
    stays = ~(TABLE.numbers if move == TABLE.changed else TABLE.free)
    assert moved[:, stays].tobytes() == x[:, stays].tobytes()
    # After scaling in float32, what is whole is whole, and no shorter loan is made.
    raw = moved.astype(np.float64) * SCALE + OFFSET
    assert np.abs(raw - np.rint(raw)).max() < 0.01
    assert raw[:, 0].min() > 5.99


def test_within_goes_no_further_and_beyond_no_less_far() -> None:
    x = sent(loans(400))
    draw = np.random.default_rng(2)
    after = np.clip(x + draw.normal(0, 0.2, x.shape), [0.03, 0, 0, 0, 0], 1).astype(np.float32)
    asked = np.where(TABLE.free, np.abs(after - x), 0)
    within, beyond = (np.abs(move(x, after) - x) for move in (TABLE.within, TABLE.beyond))
    assert (within <= asked + 1e-6).all()
    assert (beyond >= asked - 1e-6).all()


def test_a_walk_may_go_as_far_as_its_reach_and_the_range() -> None:
    x = sent(loans(50))
    least, most = TABLE.reach(x, 0.25)
    assert np.array_equal(least[:, 2:], x[:, 2:])
    assert np.array_equal(most[:, 2:], x[:, 2:])
    assert least[:, 0].min() == np.float32((6 - 4) / 68)
    assert (most - least).max() == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_was_measured_may_be_sent_however_it_was_scaled(dtype: type) -> None:
    TABLE.check(sent(loans(1000), dtype))


def test_what_was_clipped_to_the_domain_may_be_sent() -> None:
    # 4.4 years on, the domain ends between two values.
    table = RowRules.of((Column("years", step=1),), (0.0, 1.0), (0.0,), (4.4,))
    table.check(np.array([[1.0]], np.float32))
    refuse(table, np.array([[0.99]], np.float32))
    # From there the next whole year behind is 4.
    before, after = np.array([[[1.0]], [[0.95]]], np.float32)
    assert table.within(before, after) == before
    assert table.beyond(before, after) == pytest.approx(4 / 4.4)
    assert table.beyond(after * 0 + np.float32(4 / 4.4), before) == before


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, (5 - 4) / 68),
        (0, (6.5 - 4) / 68),
        (0, 1.02),
        (0, np.nan),
        (1, (1000.4 - 250) / 18174),
        (2, (30.5 - 19) / 56),
        (2, -0.01),
        (3, 0.5),
        (3, 1.0),
        (4, 0.01),
    ],
)
def test_what_nobody_could_send_is_refused(place: int, value: float) -> None:
    rows = sent(np.array([[12, 1000, 30, 0, 1], [12, 1000, 30, 0, 1], [12, 1000, 30, 0, 0]]))
    TABLE.check(rows)
    # In whichever row of a request.
    for at in (0, 1):
        moved = rows.copy()
        moved[at, place] = value
        refuse(TABLE, moved)


def test_words_of_several_columns_stand_apart() -> None:
    names = ("sex", "purpose", "sex", "purpose")
    columns = [Column("a"), *(Column(name, str(at)) for at, name in enumerate(names))]
    table = RowRules.of(columns, (0.0, 1.0))
    table.check(np.array([[0.3, 1, 1, 0, 0], [0.3, 0, 1, 1, 0]], np.float32))
    refuse(table, np.array([[0.3, 1, 0, 1, 0]], np.float32))
    refuse(table, np.array([[0.3, 0, 1, 0, 1]], np.float32))


def test_a_scale_may_turn_a_column_round() -> None:
    # Sent from -1 to 1: what is left of 10, and a word that is -1 where it is the word.
    columns = (Column("left", step=2, min=2, max=8), Column("word", "yes"), Column("word", "no"))
    table = RowRules.of(columns, (-1.0, 1.0), (5.0, 0.5, 0.5), (-5.0, -0.5, 0.5))
    assert table.low.tolist() == [-0.6, -1, -1]
    assert table.high.tolist() == [0.6, 1, 1]
    table.check(np.array([[0.6, -1, -1], [-0.2, 1, 1]], np.float32))
    refuse(table, np.array([[0.4, 1, 1]], np.float32))
    refuse(table, np.array([[1.0, 1, 1]], np.float32))
    refuse(table, np.array([[0.6, -1, 1]], np.float32))


def test_columns_that_hold_anything_change_no_bit() -> None:
    anything = RowRules.of([Column(str(at)) for at in range(5)], (0.0, 1.0))
    draw = np.random.default_rng(3)
    before, after = draw.random((2, 200, 5), np.float32)
    for move in (anything.within, anything.beyond, anything.changed):
        assert move(before, after).tobytes() == after.tobytes()
    assert replace(anything).rounding.tolist() == anything.rounding.tolist()
