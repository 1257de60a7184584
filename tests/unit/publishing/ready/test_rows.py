"""Data by name: of CSV files and of safetensors."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from publishing.ready.description import ModelDescription
from publishing.ready.reading import RowsOptions, read_rows
from publishing.ready.rows import LARGEST_ROW, check_row_sizes, column_rows, read_named, tensor_rows
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason, SealgateError

LINES = [f"{20 + n},{('Basel', 'Bern')[n % 2]},{n % 2}" for n in range(8)]
TABLE = "\n".join(["age,city,good", *LINES])


def written(folder: Path, text: str) -> Path:
    path = folder / "rows.csv"
    path.write_text(text)
    return path


def test_a_table_becomes_the_tensors_of_its_columns(tmp_path: Path) -> None:
    named = read_named(written(tmp_path, TABLE), ["good"])
    inputs = [("age", "INT64", (1,)), ("city", "BYTES", (1,))]
    assert named is not None
    assert not named.names_columns(inputs)
    dataset, (age, city) = tensor_rows(named, inputs, {"city": "Genf"})
    assert (age.datatype, age.shape) == ("INT64", (-1, 1))
    assert (city.words, city.default) == (("Basel", "Bern", "Genf"), "Genf")
    assert dataset.fit.x.shape == (4, 4)
    assert dataset.fit.kind == "classes"


def test_a_table_of_numbers_becomes_rows_of_one_input(tmp_path: Path) -> None:
    numbers = TABLE.replace("Basel", "1").replace("Bern", "2.5")
    named = read_named(written(tmp_path, numbers), ["good"])
    assert named is not None
    assert named.names_columns([("x", "FP32", (2,))])
    dataset, names = column_rows(named)
    assert names == ("age", "city")
    assert dataset.fit.x.dtype == np.float32


@pytest.mark.parametrize(
    ("default", "words"), [(None, 256), ("Place 7", 256), (None, 257), ("Genf", 257)]
)
def test_a_text_has_at_most_256_words(tmp_path: Path, default: str | None, words: int) -> None:
    """The default of an optional input is one of them."""
    count = words if default != "Genf" else words - 1
    lines = [f"Place {at},{at % 2}" for at in range(count)]
    named = read_named(written(tmp_path, "\n".join(["city,good", *lines])), ["good"])
    assert named is not None
    inputs, optional = [("city", "BYTES", (1,))], {} if default is None else {"city": default}
    if words == 256:
        _, (city,) = tensor_rows(named, inputs, optional)
        assert len(city.words) == 256
        return
    with pytest.raises(SealgateError) as refused:
        tensor_rows(named, inputs, optional)
    assert refused.value.reason is Reason.PARAMETER_MALFORMED
    assert refused.value.detail == "city has 257 words, 256 at most: it is no category"


def test_words_and_several_numbers_are_answers_too(tmp_path: Path) -> None:
    path = written(tmp_path, TABLE)
    words = read_named(path, ["city"])
    assert words is not None
    assert (words.words, words.y[:3].tolist()) == (("Basel", "Bern"), [0, 1, 0])
    several = read_named(path, ["age", "good"])
    assert several is not None
    assert several.y.shape == (8, 2)


def test_tensors_by_name_are_read_and_slices_are_not(tmp_path: Path) -> None:
    path = tmp_path / "rows.safetensors"
    save_file({"image": np.ones((8, 2, 2)), "age": np.ones((8, 1)), "y": np.arange(8)}, path)
    named = read_named(path, [])
    assert named is not None
    inputs = [("image", "FP32", (-1, -1)), ("age", "FP64", (1,))]
    _, (image, _) = tensor_rows(named, inputs, {})
    # A free dimension has the size of the data.
    assert image.shape == (-1, 2, 2)
    save_file({"x": np.ones((8, 2)), "y": np.arange(8)}, path)
    assert read_named(path, []) is None


@pytest.mark.parametrize(
    ("text", "targets", "detail"),
    [
        (TABLE, [], "--target names a column with the answers: one of age, city, good"),
        (TABLE, ["bad"], "--target names a column with the answers: one of age, city, good"),
        (TABLE, ["age", "city"], "several targets are numbers"),
    ],
)
def test_a_table_without_its_answers_is_refused(
    tmp_path: Path, text: str, targets: list[str], detail: str
) -> None:
    with pytest.raises(SealgateError) as refused:
        read_named(written(tmp_path, text), targets)
    assert (refused.value.reason, refused.value.detail) == (Reason.PARAMETER_MALFORMED, detail)


@pytest.mark.parametrize("text", ["", "a,b\n", "a,a\n1,2\n", "a,b\n1,2\n3\n"])
def test_what_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SealgateError) as refused:
        read_named(written(tmp_path, text), ["a"])
    assert refused.value.reason is Reason.FORMAT_REFUSED


def test_texts_for_a_tensor_of_numbers_are_refused(tmp_path: Path) -> None:
    named = read_named(written(tmp_path, TABLE), ["good"])
    assert named is not None
    with pytest.raises(SealgateError) as refused:
        column_rows(named)
    assert refused.value.reason is Reason.TENSOR_DATATYPE
    with pytest.raises(SealgateError) as refused:
        tensor_rows(named, [("age", "INT64", (1,)), ("town", "BYTES", (1,))], {})
    assert refused.value.reason is Reason.PARAMETER_MALFORMED
    assert refused.value.detail.startswith("city: the model takes age, town")


@pytest.mark.parametrize("default", ["abc", "nan", "inf"])
def test_a_default_that_is_no_number_is_refused_by_the_inputs_name(
    tmp_path: Path, default: str
) -> None:
    named = read_named(written(tmp_path, TABLE), ["good"])
    assert named is not None
    inputs = [("age", "INT64", (1,)), ("city", "BYTES", (1,))]
    with pytest.raises(SealgateError) as refused:
        tensor_rows(named, inputs, {"age": default})
    assert refused.value.reason is Reason.PARAMETER_MALFORMED
    assert refused.value.detail == f"age: its default {default} is no number"


def sparse(path: Path, shape: tuple[int, ...]) -> Path:
    """A file that says it has so many numbers, and takes no room on the disk."""
    size = 4 * int(np.prod(shape))
    about = {"x": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}
    header = json.dumps(about).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)
    return path


def test_rows_that_are_too_large_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = sparse(tmp_path / "rows.safetensors", (600, 3, 512, 512))
    tracemalloc.start()
    with pytest.raises(SealgateError) as refused:
        read_rows(path, path, ModelDescription("photos"), RowsOptions(), Confinement())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused.value.reason is Reason.TENSOR_SHAPE
    assert str(LARGEST_ROW) in str(refused.value)
    assert most < 1 << 20


def test_an_image_of_224_is_no_such_row(tmp_path: Path) -> None:
    check_row_sizes(sparse(tmp_path / "rows.safetensors", (300, 224, 224, 3)))
    with pytest.raises(SealgateError):
        check_row_sizes(sparse(tmp_path / "rows.safetensors", (300, 225, 224, 3)))
