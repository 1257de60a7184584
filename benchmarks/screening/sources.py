"""The rows of numbers of `make bench NAME=screening`, and what a caller may change of them.

A seed shuffles a data set and cuts it in four slices that share no row: `train` for the weights and
for what clean rows look like in each layer, `fit` for the detector, `calibration` for its
thresholds, `test` for all that is reported. Columns are scaled by what `train` spans.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn import datasets

from benchmarks.screening.flights import flights
from benchmarks.subjects import fashion_rows
from demo.train_models import MlpRecipe
from inference.model.columns import Column, RowRules
from training.recipe.recipe import CONVOLUTION, PERCEPTRON, StudentSection
from training.recipe.sections import HARDEN, RecipeStep

Rows = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
SLICES = ("train", "fit", "calibration", "test")
_FASHION_ROWS, _FASHION_ALL = 6600, 70_000
# Of Fashion-MNIST beyond these, the first ones harden models, and the next ones fit detectors.
_HARDENING_ROWS = 20_000
CREDIT_FILE = Path("build/bench/credit/germancredit.csv")
_CREDIT_LABEL = "creditability"
# The columns that an applicant can choose. Their person, property and history are on record: an
# attack that changes them could not be sent.
_ASKED_FOR = ("duration_in_month", "credit_amount", "installment_rate")


@dataclass(frozen=True, slots=True)
class Hardening:
    """A student of the workshop's, and the step by which it is hardened; on `more` rows beside
    those of `train`, which are in no slice.
    """

    student: StudentSection
    step: RecipeStep
    more: int = 0


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set. An attack of size 1 moves a column by its `unit` [D] at most: by `eps` for a
    whole image's pixels, by that many interquartile ranges for a table's columns. A hardened model
    is trained as `recipe` says against attacks of up to `harder` of the domain; or by the workshop.
    Its detector is fitted on `more_fit` rows that are in no slice, beside those of `fit`.
    """

    name: str
    title: str
    image: tuple[int, int] | None
    eps: float
    sizes: tuple[int, int, int]
    recipe: MlpRecipe
    harder: float | Hardening
    more_fit: int = 0


DIGITS = DataSet(
    "digits",
    "digits",
    (8, 8),
    0.2,
    (617, 300, 480),
    MlpRecipe(seed=0, hidden=(128, 64), smoothing=0.05),
    Hardening(
        StudentSection(CONVOLUTION, width=64, layers=2, strides=True),
        RecipeStep(
            HARDEN,
            epochs=200,
            learning_rate=4e-3,
            attack=0.2,
            attack_steps=5,
            shift=0.5,
            turn=10.0,
            smoothing=0.05,
        ),
    ),
)
CANCER = DataSet(
    "breast-cancer",
    "breast cancer",
    None,
    0.1,
    (249, 100, 110),
    MlpRecipe(0, (128, 96), epochs=80, learning_rate=2e-3, dropout=0.2, noise=0.02, smoothing=0.05),
    0.05,
)
CREDIT = DataSet(
    "german-credit",
    "German credit",
    None,
    0.1,
    (380, 120, 300),
    MlpRecipe(0, (64, 32), epochs=40, learning_rate=2e-3, dropout=0.3, noise=0.02, smoothing=0.05),
    0.05,
)
FASHION = DataSet(
    "fashion-mnist",
    "Fashion-MNIST",
    (28, 28),
    0.1,
    (4000, 600, 1000),
    MlpRecipe(seed=0, hidden=(128, 64), epochs=25, smoothing=0.05),
    Hardening(
        StudentSection(PERCEPTRON, width=256, layers=3),
        RecipeStep(
            HARDEN,
            epochs=20,
            learning_rate=2e-3,
            attack=0.1,
            attack_steps=5,
            shift=1.0,
            turn=5.0,
            smoothing=0.05,
        ),
        more=_HARDENING_ROWS,
    ),
    more_fit=4200,
)
FLIGHTS = DataSet(
    "flights",
    "flights",
    None,
    1.0,
    (4000, 1000, 2000),
    MlpRecipe(0, (64, 32), epochs=40, learning_rate=2e-3, dropout=0.2, noise=0.02, smoothing=0.05),
    0.05,
)
SOURCES = (DIGITS, CANCER, CREDIT, FASHION)


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """Rows x [n, D] as they were measured, their classes y [n] and their D columns; by a name, rows
    [m, D] that are of another time than these.
    """

    x: npt.NDArray[np.floating]
    y: npt.NDArray[np.integer]
    columns: tuple[Column, ...]
    later: Mapping[str, npt.NDArray[np.floating]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """The slices by name, scaled; how far an attack of size 1 may move each column; the columns;
    and the rows of another time by their name, of which no slice has any.
    """

    slices: dict[str, tuple[Rows, Labels]]
    unit: Rows
    columns: RowRules
    later: dict[str, Rows]


def cut(source: DataSet, seed: int) -> Cut:
    """Raises FileNotFoundError where a data set is not there."""
    read = _READERS[source.name]()
    order = np.random.default_rng(seed).permutation(len(read.x))
    places = np.split(order, np.cumsum(source.sizes))
    low, width = np.zeros(1), np.ones(1)
    unit = np.full(read.x.shape[1], source.eps)
    if not source.image:
        train = read.x[places[0]]
        low, width = train.min(axis=0), np.ptp(train, axis=0)
        width = np.where(width > 0, width, 1)
    columns = RowRules.of(read.columns, (0.0, 1.0), low.tolist(), width.tolist())
    if not source.image:
        spread = np.subtract(*np.quantile(train, [0.75, 0.25], axis=0))
        unit = np.where(columns.free, source.eps * spread / width, 0)

    def scaled(rows: npt.NDArray[np.floating]) -> Rows:
        return np.clip((rows - low) / width, 0, 1).astype(np.float32)

    slices = {
        name: (scaled(read.x[at]), read.y[at].astype(np.int64))
        for name, at in zip(SLICES, places, strict=True)
    }
    if source.more_fit:
        more = more_fashion(source.more_fit, after=_HARDENING_ROWS)
        x, y = slices["fit"]
        slices["fit"] = np.concatenate([x, more[0]]), np.concatenate([y, more[1]])
    later = {name: scaled(rows) for name, rows in read.later.items()}
    return Cut(slices, unit.astype(np.float32), columns, later)


def more_fashion(rows: int, after: int = 0) -> tuple[Rows, Labels]:
    """Images [n, D] and classes [n] that are in no slice, nor among the first ones `after` which
    they come. Raises: as `cut`.
    """
    first = _FASHION_ROWS + after
    x, y = _images(first + rows)
    return x[first:].astype(np.float32), y[first:].astype(np.int64)


def unseen_fashion() -> tuple[Rows, Labels]:
    """Images [n, D] and classes [n] that neither the plain model nor its detector has seen. Raises:
    as `cut`.
    """
    x, y = more_fashion(_FASHION_ALL - _FASHION_ROWS)
    fitted = slice(_HARDENING_ROWS, _HARDENING_ROWS + FASHION.more_fit)
    return np.delete(x, fitted, axis=0), np.delete(y, fitted)


def _images(rows: int) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.integer]]:
    found = fashion_rows(rows)
    if found is None:
        raise FileNotFoundError("Fashion-MNIST: apt-get install dataset-fashion-mnist")
    return found


def _fashion() -> Read:
    return _measured(*_images(_FASHION_ROWS))


def _flights() -> Read:
    found = flights()
    later = {f"month {month}": rows for month, rows in found.later.items()}
    return Read(found.x, found.y, found.columns, later)


def _credit() -> Read:
    if not CREDIT_FILE.exists():
        raise FileNotFoundError("German credit: make bench NAME=screening fetches it")
    with CREDIT_FILE.open(newline="", encoding="utf-8") as file:
        records = list(csv.DictReader(file))
    names = [name for name in records[0] if name and name != _CREDIT_LABEL]
    parts = [_column(name, [record[name] for record in records]) for name in names]
    y = np.array([int(record[_CREDIT_LABEL] == "good") for record in records])
    x = np.concatenate([values for values, _ in parts], axis=1)
    return Read(x, y, tuple(column for _, columns in parts for column in columns))


def _column(name: str, values: Sequence[str]) -> tuple[Floats, list[Column]]:
    """Of one column of the file its values [n, k], and what each of the k places holds."""
    if all(value.lstrip("-").isdigit() for value in values):
        asked_for = name.startswith(_ASKED_FOR)
        whole = Column(name, step=1.0, immutable=not asked_for)
        return np.array(values, np.float64)[:, np.newaxis], [whole]
    words = sorted(set(values))
    found = np.array([[float(value == word) for word in words] for value in values])
    return found, [Column(name, word, immutable=True) for word in words]


def _measured(x: npt.NDArray[np.floating], y: npt.NDArray[np.integer]) -> Read:
    """Measurements, each of which can be anything."""
    return Read(x, y, tuple(Column(f"{at}") for at in range(x.shape[1])))


_READERS: dict[str, Callable[[], Read]] = {
    DIGITS.name: lambda: _measured(datasets.load_digits().data / 16, datasets.load_digits().target),
    CANCER.name: lambda: _measured(*datasets.load_breast_cancer(return_X_y=True)),
    CREDIT.name: _credit,
    FASHION.name: _fashion,
    FLIGHTS.name: _flights,
}
