"""A table of the benchmark says which of its columns a caller could change."""

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks.screening import sources
from benchmarks.screening.sources import CREDIT, cut


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
