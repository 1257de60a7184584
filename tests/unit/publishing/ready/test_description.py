"""The configuration of a ready model: values from its data, and values from its publisher."""

import numpy as np
import pytest

from inference.model.config import ModelConfig
from publishing.ready.description import ModelDescription, NormalForm
from publishing.source.dataset import Dataset, DataSlice
from sealgate.reasons import Reason, SealgateError

FORM = NormalForm("rows", "probabilities", 2)
ANSWERS = np.zeros((3, 2), np.float32)


def dataset(x: np.ndarray) -> Dataset:
    part = DataSlice(x.astype(np.float32), np.arange(len(x)) % 2)
    return Dataset(part, part, part, "sha256:" + "0" * 64, 1)


TABLE = np.array([[20, 0.5, 1, 7], [70, 0.7, 0, 7], [45, 0.6, 1, 7]])


def test_each_column_has_its_own_range_from_the_data() -> None:
    config = ModelDescription("credit", column_names=("age", "rate", "owner", "year")).config(
        FORM, dataset(TABLE), ANSWERS
    )
    age, rate, owner, year = config.columns
    assert (age.min, age.max, age.step) == (15, 75, 1)
    assert (rate.min, rate.max, rate.step) == pytest.approx((0.48, 0.72, 0))
    assert (owner.min, owner.max, owner.step) == (0, 1, 1)
    assert year.immutable
    assert config.relative
    assert not config.quantized
    for part in (dataset(TABLE).fit,):
        part.check(config)
    assert ModelConfig.decode(config.encode()) == config


def test_rows_of_one_range_have_no_columns() -> None:
    images = np.arange(48).reshape(3, 1, 4, 4) / 47
    config = ModelDescription("images").config(FORM, dataset(images), ANSWERS)
    assert (config.columns, config.relative) == ((), False)
    assert (config.domain.min, config.domain.max) == (0, 1)
    assert config.input.shape == (-1, 1, 4, 4)
    flat = ModelDescription("flat", domain=(0.0, 255.0)).config(FORM, dataset(TABLE), ANSWERS)
    assert (flat.columns, flat.eps) == ((), pytest.approx(0.03 * 255))


@pytest.mark.parametrize(
    ("description", "detail"),
    [
        (ModelDescription("m", labels=("one",)), "1 labels are given, and the model answers 2"),
        (ModelDescription("m", column_names=("a",)), "1 columns are named, and rows have 4"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(description: ModelDescription, detail: str) -> None:
    with pytest.raises(SealgateError) as refused:
        description.config(FORM, dataset(TABLE), ANSWERS)
    assert refused.value.reason is Reason.PARAMETER_MALFORMED
    assert refused.value.detail == detail


def test_data_without_any_difference_is_refused() -> None:
    with pytest.raises(SealgateError) as refused:
        ModelDescription("m").config(FORM, dataset(np.ones((4, 2, 2))), ANSWERS)
    assert refused.value.reason is Reason.PARAMETER_MALFORMED


def test_a_normal_form_is_read_strictly() -> None:
    assert NormalForm.decode(FORM.encode()) == FORM
    with pytest.raises(SealgateError) as refused:
        NormalForm.decode(FORM.encode().replace(b'"width":2', b'"width":0'))
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED
