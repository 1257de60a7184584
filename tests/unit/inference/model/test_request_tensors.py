"""Requests of several tensors become rows, and rows such requests."""

from typing import Any

import numpy as np
import pytest

from inference.model.request_tensors import (
    RequestTensor,
    decode_tensors,
    joined,
    parted,
    requests_of,
)
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor

AGE = RequestTensor("age", "INT64", (-1, 1))
CITY = RequestTensor("city", "BYTES", (-1, 2), ("Basel", "Bern"), "Bern")
RATE = RequestTensor("rate", "FP64", (-1,), (), 0.5)
SPECS = (AGE, CITY, RATE)


def sent(**values: Any) -> dict[str, Tensor]:
    return {name: Tensor.of(name, np.array(value)) for name, value in values.items()}


CITIES = np.array([[b"Bern", b"Basel"], [b"Bern", b"Bern"]], object)


def test_a_row_holds_all_elements_and_becomes_the_same_tensors_again() -> None:
    tensors = sent(age=[[30], [40]], city=CITIES, rate=[0.25, 0.5])
    rows = joined(SPECS, tensors)
    assert rows.tolist() == [[30, 0, 1, 1, 0, 0.25], [40, 0, 1, 0, 1, 0.5]]
    assert [each.raw for each in parted(SPECS, rows)] == [each.raw for each in tensors.values()]


def test_what_is_left_out_has_its_default() -> None:
    tensors = sent(age=[[30]])
    rows = joined(SPECS, tensors)
    assert rows.tolist() == [[30, 0, 1, 0, 1, 0.5]]
    names = [[each.name for each in request] for request in requests_of(SPECS, rows)]
    assert ["age"] in names
    assert len(names) == 4


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        (sent(city=CITIES), Reason.TENSOR_NAME),
        (sent(age=[[30]], other=[[1]]), Reason.TENSOR_NAME),
        (sent(age=[[30.0]]), Reason.TENSOR_DATATYPE),
        (sent(age=[30]), Reason.TENSOR_SHAPE),
        (sent(age=[[30]], rate=[0.5, 0.5]), Reason.TENSOR_SHAPE),
        (sent(age=[[2**25]]), Reason.TENSOR_RANGE),
        (sent(age=[[30]], city=np.array([[b"Rom", b"Bern"]], object)), Reason.TENSOR_TEXT),
    ],
)
def test_a_request_of_other_tensors_is_refused(tensors: dict[str, Tensor], reason: Reason) -> None:
    with pytest.raises(SealgateError) as refused:
        joined(SPECS, tensors)
    assert refused.value.reason is reason


def test_a_section_is_read_as_it_was_written() -> None:
    assert decode_tensors([each.encode() for each in SPECS]) == SPECS


@pytest.mark.parametrize(
    "change",
    [
        {"datatype": "TEXT"},
        {"shape": [1, 1]},
        {"shape": [-1, 0]},
        {"words": ["one"]},
        {"words": ["a", "a"]},
        {"default": "Rom"},
        {"default": 1},
        {"name": ""},
    ],
)
def test_a_tensor_that_says_nothing_sensible_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SealgateError) as refused:
        decode_tensors([AGE.encode(), CITY.encode() | change])
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


def test_not_all_tensors_may_be_left_out() -> None:
    with pytest.raises(SealgateError) as refused:
        decode_tensors([RATE.encode()])
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED
