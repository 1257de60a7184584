"""The data file: three slices, strictly."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from publishing.source.dataset import Dataset, DataSlice
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from tests.support.builders.models.model_documents import model_config


def tensors(**other: Any) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name in ("fit", "calibration", "test"):
        found[f"x_{name}"] = np.linspace(0, 1, 128, dtype=np.float32).reshape(2, 64)
        found[f"y_{name}"] = np.array([0, 1])
    found.update(other)
    return {name: value for name, value in found.items() if value is not None}


def test_slices_come_back_with_the_digest_of_their_file(tmp_path: Path) -> None:
    data = safetensors_numpy.save(tensors())
    (tmp_path / "rows.safetensors").write_bytes(data)
    dataset = Dataset.read(tmp_path / "rows.safetensors")
    assert (dataset.digest, dataset.size) == (sha256(data), len(data))
    assert dataset.fit.x.shape == (2, 64)
    dataset.check(model_config())


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"x_fit": None}, Reason.FORMAT_REFUSED),
        ({"x_train": np.zeros((2, 64), np.float32)}, Reason.FORMAT_REFUSED),
        ({"x_fit": np.zeros((2, 64))}, Reason.TENSOR_DATATYPE),
        ({"y_test": np.zeros(2, np.int32)}, Reason.TENSOR_DATATYPE),
        ({"y_test": np.zeros(3, np.int64)}, Reason.TENSOR_SHAPE),
        ({"x_test": np.zeros(2, np.float32)}, Reason.TENSOR_SHAPE),
        (
            {"x_test": np.zeros((0, 64), np.float32), "y_test": np.zeros(0, np.int64)},
            Reason.TENSOR_SHAPE,
        ),
        ({"x_fit": np.full((2, 64), np.nan, np.float32)}, Reason.TENSOR_NOT_FINITE),
    ],
)
def test_malformed_slices_are_refused(other: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(SealgateError) as refused:
        Dataset.decode(safetensors_numpy.save(tensors(**other)))
    assert refused.value.reason is reason


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"x_test": np.zeros((2, 30), np.float32)}, Reason.TENSOR_SHAPE),
        ({"x_fit": np.full((2, 64), 1.5, np.float32)}, Reason.TENSOR_RANGE),
        ({"y_calibration": np.array([0, 2])}, Reason.TENSOR_RANGE),
        ({"y_calibration": np.array([-1, 0])}, Reason.TENSOR_RANGE),
    ],
)
def test_rows_of_another_model_are_refused(other: dict[str, Any], reason: Reason) -> None:
    dataset = Dataset.decode(safetensors_numpy.save(tensors(**other)))
    with pytest.raises(SealgateError) as refused:
        dataset.check(model_config())
    assert refused.value.reason is reason


def test_halves_share_no_row_and_are_always_the_same() -> None:
    x, y = np.arange(14, dtype=np.float32).reshape(7, 2), np.arange(7)
    kept, rest = DataSlice(x, y).halves()
    assert sorted([*kept.y, *rest.y]) == list(range(7))
    assert (len(kept.x), len(rest.x)) == (4, 3)
    for half, again in zip((kept, rest), DataSlice(x, y).halves(), strict=True):
        assert np.array_equal(half.x, x[half.y])
        assert np.array_equal(half.x, again.x)
    assert kept.y.tolist() != sorted(kept.y)


def test_a_single_row_has_no_halves() -> None:
    with pytest.raises(SealgateError) as refused:
        DataSlice(np.zeros((1, 2), np.float32), np.zeros(1, np.int64)).halves()
    assert refused.value.reason is Reason.CALIBRATION_TOO_SMALL


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", bytes(16)])
def test_another_format_is_refused(content: bytes) -> None:
    with pytest.raises(SealgateError) as refused:
        Dataset.decode(content)
    assert refused.value.reason is Reason.FORMAT_REFUSED


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(safetensors_numpy.save(tensors()))
    (tmp_path / "link").symlink_to(tmp_path / "rows")
    with pytest.raises(SealgateError) as refused:
        Dataset.read(tmp_path / "link")
    assert refused.value.reason is Reason.PATH_UNSAFE
