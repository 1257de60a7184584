"""A table of the benchmark says which of its columns a caller could change, and what came later."""

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.screening import flights, sources
from benchmarks.screening.sources import CREDIT, FLIGHTS, cut
from inference.model.columns import Column


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
    monkeypatch.setattr(sources, "CREDIT_FILE", path)


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
    monkeypatch.setattr(sources, "CREDIT_FILE", Path("nowhere.csv"))
    with pytest.raises(FileNotFoundError, match="German credit"):
        cut(CREDIT, 0)


_FLIGHT = "year,month,day,dep_delay,arr_delay,sched_dep_time,sched_arr_time,distance,carrier,origin"


@pytest.fixture
def year(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flights of January and June, in the package's form: one overnight, one cancelled, one of an
    hour whose weather is unknown.
    """
    records = [
        ("1", "5", "2", "20", "2350", "110", "400", "UA", "EWR", "h1"),
        ("1", "5", "300", "16", "905", "1005", "400", "AA", "EWR", "h1"),
        ("1", "6", "NA", "NA", "905", "1005", "400", "AA", "EWR", "h1"),
        ("1", "6", "5", "15", "905", "1005", "400", "AA", "EWR", "h2"),
        ("6", "7", "9", "", "905", "1005", "400", "AA", "EWR", "h1"),
        ("6", "7", "9", "40", "905", "1035", "800", "VX", "EWR", "h1"),
    ]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow((*_FLIGHT.split(","), "time_hour"))
    writer.writerows(("2013", *record) for record in records)
    with zipfile.ZipFile(tmp_path / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", text.getvalue())
    sky = "origin,time_hour,wind_speed,precip,visib\nEWR,h1,8.5,0.1,10\nEWR,h2,NA,0,10\n"
    (tmp_path / "weather.csv").write_text(sky)
    monkeypatch.setattr(flights, "FOLDER", tmp_path)


@pytest.mark.usefixtures("year")
def test_flights_are_told_by_what_is_known_at_departure() -> None:
    found = flights.flights()
    order = np.argsort(found.x[:, 0])
    # Delay, scheduled minutes, minute of the day, distance, wind, rain, sight; four hours at most.
    assert found.x[order][:, :7].tolist() == [
        [2, 80, 1430, 400, 8.5, 0.1, 10],
        [240, 60, 545, 400, 8.5, 0.1, 10],
    ]
    assert found.y[order].tolist() == [1, 1]
    words = [(column.name, column.word) for column in found.columns[7:]]
    assert words == [("carrier", "AA"), ("carrier", "UA"), ("origin", "EWR"), ("weekday", "5")]
    # A carrier that first flies in June has no column.
    assert found.later[6][:, 7:].tolist() == [[0, 0, 1, 0]]
    assert list(found.later) == [6]


def test_later_months_are_scaled_as_the_first_and_are_in_no_slice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = np.arange(10.0)[:, None] * 10
    columns = (Column("departure_delay", step=1.0),)
    read = flights.Flights(x, np.zeros(10, np.int64), columns, {6: np.array([[45.0], [200.0]])})
    monkeypatch.setattr(sources, "flights", lambda: read)
    found = cut(FLIGHTS, 0)
    assert sum(len(rows) for rows, _ in found.slices.values()) == len(x)
    # Values beyond those of the training rows are clipped, as in any row.
    assert found.later["month 6"].tolist() == [[0.5], [1.0]]


def test_flights_that_are_not_there_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "FOLDER", tmp_path)
    with pytest.raises(FileNotFoundError, match="flights"):
        flights.flights()
