"""The bins of calibration rows, and how far other rows are from them."""

from typing import Any

import numpy as np
import pytest

from inference.screening.column_bins import MOST_COLUMNS, ColumnBins
from sealgate.reasons import Reason
from sealgate.trust import canonical
from tests.support.builders.documents.people import refused

RNG = np.random.default_rng(0)
ROWS = np.column_stack(
    [RNG.normal(size=5000), RNG.integers(0, 2, 5000), RNG.random(5000) < 0.03, np.ones(5000)]
).astype(np.float32)


def bins(rows: Any = ROWS) -> ColumnBins:
    found = ColumnBins.of(rows)
    assert found is not None
    return found


def test_each_bin_of_a_number_has_a_tenth_and_words_have_one_each() -> None:
    found = bins()
    assert found.shares[0] == pytest.approx([0.1] * 10, abs=0.001)
    assert found.bounds[1:] == ((0.0,), (0.0,), ())
    assert found.shares[2][1] == pytest.approx(0.03, abs=0.01)
    assert found.shares[3] == (1.0,)


def test_the_rows_themselves_have_not_drifted() -> None:
    found = bins()
    counts = found.count(ROWS)
    assert counts.sum(axis=1).tolist() == [5000] * 4
    assert found.psi(counts) == pytest.approx(np.zeros(4), abs=1e-9)
    assert found.ks(counts) == pytest.approx(np.zeros(4), abs=1e-9)


def test_the_index_is_worked_out_by_hand() -> None:
    found = ColumnBins(((0.0,),), ((0.5, 0.5),))
    counts = found.count(np.array([[-1.0], [0.0], [0.0], [1.0]]))
    assert counts[0, :2].tolist() == [3, 1]
    assert found.psi(counts)[0] == pytest.approx(0.25 * np.log(1.5) - 0.25 * np.log(0.5))
    assert found.ks(counts)[0] == pytest.approx(0.25)


def test_a_shift_shows_in_its_column_alone() -> None:
    found, moved = bins(), ROWS.copy()
    moved[:, 0] += 1
    psi, ks = found.psi(found.count(moved)), found.ks(found.count(moved))
    assert psi[0] > 0.5
    # Of a normal distribution moved by its deviation: 2 Φ(1/2) - 1.
    assert ks[0] == pytest.approx(0.383, abs=0.03)
    assert max(*psi[1:], *ks[1:]) < 1e-9


def test_a_bin_without_values_is_no_infinity() -> None:
    found = bins()
    assert np.isfinite(found.psi(found.count(np.full((9, 4), 99.0)))).all()


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((5, 2), np.int64),
        np.zeros((5, 2, 2), np.float32),
        np.zeros((5, MOST_COLUMNS + 1), np.float32),
    ],
)
def test_other_rows_have_no_bins(rows: Any) -> None:
    assert ColumnBins.of(rows) is None


def test_a_document_reads_back() -> None:
    found = bins()
    assert ColumnBins.read(canonical.decode(canonical.encode(found.value()))) == found


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        [{"bounds": [0]}],
        [{"bounds": [0], "shares": [1]}],
        [{"bounds": ["0"], "shares": [0.5, 0.5]}],
        [{"bounds": [True], "shares": [0.5, 0.5]}],
        [{"bounds": [0], "shares": [0.5, 0.4]}],
        [{"bounds": [0], "shares": [1.5, -0.5]}],
        [{"bounds": [0, 0], "shares": [0.5, 0.25, 0.25]}],
        [{"bounds": list(range(10)), "shares": [1] + [0] * 10}],
        [{"bounds": [], "shares": [1]}] * (MOST_COLUMNS + 1),
    ],
)
def test_another_form_is_refused(value: object) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        ColumnBins.read(value)
