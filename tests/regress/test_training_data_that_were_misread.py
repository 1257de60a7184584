"""A table lost its first column to a mark of the byte order, or broke at a line end in quotes; of
two columns of one name one was read for both; numbers were read as words where one was missing; and
a text or label that was null was read as the word None. Data cut short, or none at all, ended in
the library's own errors.
"""

import gzip
from pathlib import Path

import pytest

from sealgate.reasons import Reason
from sealgate.settings import ConfigError
from tests.support.people import refused
from tests.support.text_models import tokenizer_json
from training.material import Material
from training.recipe import FASHION, SPAM, TABLE, TEXTS, DataRows
from training.sources import read_rows

_SIZES = {"train": 2, "fit": 1, "calibration": 1}


def test_a_spreadsheet_s_table(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    rows = '"a ""b""\r\nc",1,yes\r\nd,2,no\r\n'
    path.write_bytes(("\ufeffjob,age,class\r\n" + rows).encode())
    read = read_rows(DataRows(TABLE, path=path, label="class", **_SIZES), None)
    assert read.x.tolist() == [[1, 0, 0], [0, 1, 1]]
    assert read.names == ("no", "yes")


def test_a_field_without_end(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text('job,class\n"' + "x" * 200_000)
    with refused(Reason.TRAINING_DATA):
        read_rows(DataRows(TABLE, path=path, label="class", **_SIZES), None)


@pytest.mark.parametrize("data", [b"\0", gzip.compress(b"x" * 100)[:-9]], ids=["other", "short"])
def test_images_cut_short(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(data)
    with refused(Reason.TRAINING_DATA):
        read_rows(DataRows(FASHION, path=tmp_path, **_SIZES), None)


@pytest.mark.parametrize("data", ["{", "[]", '{"text": 1}', "{}"])
def test_a_letter_that_is_none(tmp_path: Path, data: str) -> None:
    (tmp_path / "spam-1").mkdir()
    (tmp_path / "spam-1" / "1.json").write_text(data)
    with refused(Reason.TRAINING_DATA):
        read_rows(DataRows(SPAM, path=tmp_path, **_SIZES), tokenizer_json())


@pytest.mark.parametrize(
    "text",
    ["age,age,class\n1,2,yes\n3,4,no\n", "age,class\n1,yes\n,no\n3,no\n"],
    ids=["twice", "missing"],
)
def test_columns_that_are_not_what_they_seem(tmp_path: Path, text: str) -> None:
    path = tmp_path / "people.csv"
    path.write_text(text)
    with refused(Reason.TRAINING_DATA):
        read_rows(DataRows(TABLE, path=path, label="class", **_SIZES), None)


@pytest.mark.parametrize("columns", [("age", "class"), ("age", "age")])
def test_columns_that_are_not_to_be_learnt_from(tmp_path: Path, columns: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        DataRows(TABLE, path=tmp_path, label="class", columns=columns, **_SIZES)


def test_rows_of_one_class(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("age,class\n" + "1,yes\n2,yes\n" * 4)
    asked = DataRows(TABLE, path=path, label="class", **_SIZES)
    with refused(Reason.TRAINING_DATA):
        Material.cut(read_rows(asked, None), asked)


@pytest.mark.parametrize(
    "data",
    [
        "",
        '{"text": null, "label": "a"}',
        '{"text": "a", "label": null}',
        '{"text": ["a"], "label": "a"}',
        '{"text": ' + "[" * 100_000,
    ],
    ids=["none", "null text", "null label", "list", "deep"],
)
def test_lines_that_hold_no_text(tmp_path: Path, data: str) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text(data)
    with refused(Reason.TRAINING_DATA):
        read_rows(DataRows(TEXTS, path=path, **_SIZES), tokenizer_json())
