"""A version's documents must fit each other, or what watches every version fails for one."""

from types import SimpleNamespace
from typing import Any

import pytest

from inference.engine.version_contents import check_columns
from inference.screening.column_bins import ColumnBins
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused

BINS = ColumnBins(((0.5,), (0.5,)), ((0.5, 0.5), (0.5, 0.5)))


def detector(bins: ColumnBins | None) -> Any:
    return SimpleNamespace(inputs=bins)


def config(*row: int) -> Any:
    return SimpleNamespace(input=SimpleNamespace(row=row))


def test_bins_are_of_the_columns_of_the_rows() -> None:
    check_columns(detector(BINS), config(2))
    check_columns(detector(None), config(28, 28))


@pytest.mark.parametrize("row", [(1,), (3,), (2, 2)])
def test_bins_of_other_columns_are_refused(row: tuple[int, ...]) -> None:
    with refused(Reason.GRAPH_MISMATCH):
        check_columns(detector(BINS), config(*row))
