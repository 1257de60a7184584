"""An attack on a table changes what a caller could send, and nothing else."""

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks.screening import sources
from benchmarks.screening.sources import CREDIT, Columns, cut

# A measurement, a whole number from 0 to 20, one that stays, and a word of two.
COLUMNS = Columns(
    numbers=np.array([True, True, True, False, False]),
    free=np.array([True, True, False, False, False]),
    whole=np.array([0, 0.05, 0.1, 0, 0]),
)
BEFORE = np.array([[0.5, 0.5, 0.5, 1, 0]], np.float32)
AFTER = np.array([[0.33, 0.62, 0.91, 0.4, 0.6]], np.float32)


def test_what_may_not_change_stays_and_whole_numbers_stay_whole() -> None:
    within, beyond = COLUMNS.within(BEFORE, AFTER), COLUMNS.beyond(BEFORE, AFTER)
    assert np.allclose(within, [[0.33, 0.6, 0.5, 1, 0]])
    assert np.allclose(beyond, [[0.33, 0.65, 0.5, 1, 0]])


def test_a_whole_number_that_is_met_by_rounding_is_not_passed() -> None:
    met = BEFORE.copy()
    met[0, 1] = np.float32(0.6) + np.float32(1e-7)
    assert COLUMNS.beyond(BEFORE, met)[0, 1] == pytest.approx(0.6)


def test_benign_changes_are_of_any_number_and_of_no_word() -> None:
    assert np.allclose(COLUMNS.changed(BEFORE, AFTER), [[0.33, 0.6, 0.9, 1, 0]])


def test_nothing_leaves_the_domain() -> None:
    far = BEFORE + np.array([[-3, 3, 3, 3, 3]], np.float32)
    for sent in (COLUMNS.within, COLUMNS.beyond, COLUMNS.changed):
        moved = sent(BEFORE, far)
        assert moved.min() >= 0
        assert moved.max() <= 1


@pytest.fixture
def loans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand rows of the form of German credit."""
    draw = np.random.default_rng(0)
    path = tmp_path / "germancredit.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        names = ("duration_in_month", "credit_amount", "age_in_years", "purpose", "creditability")
        writer.writerow(("", *names))
        for at in range(1000):
            numbers = draw.integers((6, 250, 19), (60, 15000, 75)).tolist()
            words = [draw.choice(["car", "radio", "repairs"]), draw.choice(["good", "bad"])]
            writer.writerow((at, *numbers, *words))
    monkeypatch.setattr(sources, "_CREDIT", path)


@pytest.mark.usefixtures("loans")
def test_a_loan_s_terms_may_change_and_who_asks_may_not() -> None:
    found = cut(CREDIT, 0)
    assert found.columns.free.tolist() == [True, True, False, False, False, False]
    assert found.columns.numbers.tolist() == [True, True, True, False, False, False]
    assert (found.unit > 0).tolist() == found.columns.free.tolist()
    train = found.slices["train"][0]
    # A month is a month, whatever the range of the training rows is.
    months = train[:, 0] / found.columns.whole[0]
    assert np.allclose(months, np.rint(months), atol=1e-3)
    assert set(np.unique(train[:, 3:])) == {0.0, 1.0}
    assert (train[:, 3:].sum(axis=1) == 1).all()


def test_a_data_set_that_is_not_there_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_CREDIT", Path("nowhere.csv"))
    with pytest.raises(FileNotFoundError, match="German credit"):
        cut(CREDIT, 0)
