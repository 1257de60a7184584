"""Training data in unusual or broken forms are read as meant, or refused."""

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from sealgate.reasons import Reason
from sealgate.settings import ConfigError
from tests.support.builders.documents.people import refused
from tests.support.builders.models.text_models import sentences, tokenizer_json
from tests.support.builders.training import recipes
from training.data import RunData
from training.recipe.recipe import FASHION, SPAM, TABLE, TEXTS, Recipe, SliceSizes
from training.run.sources import read_rows

_SIZES = {"train": 2, "fit": 1, "calibration": 1}


def test_a_table_from_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    rows = '"a ""b""\r\nc",1,yes\r\nd,2,no\r\n'
    path.write_bytes(("\ufeffjob,age,class\r\n" + rows).encode())
    read = read_rows(SliceSizes(TABLE, path=path, label="class", **_SIZES), None)
    assert read.x.tolist() == [[1, 0, 0], [0, 1, 1]]
    assert read.names == ("no", "yes")


def test_a_field_without_end(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text('job,class\n"' + "x" * 200_000)
    with refused(Reason.TRAINING_DATA):
        read_rows(SliceSizes(TABLE, path=path, label="class", **_SIZES), None)


@pytest.mark.parametrize("data", [b"\0", gzip.compress(b"x" * 100)[:-9]], ids=["other", "short"])
def test_images_cut_short(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(data)
    with refused(Reason.TRAINING_DATA):
        read_rows(SliceSizes(FASHION, path=tmp_path, **_SIZES), None)


@pytest.mark.parametrize("data", ["{", "[]", '{"text": 1}', "{}"])
def test_a_malformed_letter(tmp_path: Path, data: str) -> None:
    (tmp_path / "spam-1").mkdir()
    (tmp_path / "spam-1" / "1.json").write_text(data)
    with refused(Reason.TRAINING_DATA):
        read_rows(SliceSizes(SPAM, path=tmp_path, **_SIZES), tokenizer_json())


@pytest.mark.parametrize(
    "text",
    ["age,age,class\n1,2,yes\n3,4,no\n", "age,class\n1,yes\n,no\n3,no\n"],
    ids=["twice", "missing"],
)
def test_ambiguous_columns_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "people.csv"
    path.write_text(text)
    with refused(Reason.TRAINING_DATA):
        read_rows(SliceSizes(TABLE, path=path, label="class", **_SIZES), None)


@pytest.mark.parametrize("columns", [("age", "class"), ("age", "age")])
def test_unusable_columns_are_refused(tmp_path: Path, columns: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        SliceSizes(TABLE, path=tmp_path, label="class", columns=columns, **_SIZES)


def test_rows_of_one_class(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("age,class\n" + "1,yes\n2,yes\n" * 4)
    asked = SliceSizes(TABLE, path=path, label="class", **_SIZES)
    with refused(Reason.TRAINING_DATA):
        RunData.cut(read_rows(asked, None), asked)


@pytest.mark.parametrize(
    "data",
    [
        "",
        '{"text": null, "label": "a"}',
        '{"text": "a", "label": null}',
        '{"text": ["a"], "label": "a"}',
        '{"text": "a", "label": "a", "slice": "test"}',
        '{"text": "a", "label": "a", "slice": null}',
        '"text label"',
        '{"text": ' + "[" * 100_000,
    ],
    ids=["none", "null text", "null label", "list", "slice", "null slice", "text", "deep"],
)
def test_lines_that_hold_no_text(tmp_path: Path, data: str) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text(data)
    with refused(Reason.TRAINING_DATA):
        read_rows(SliceSizes(TEXTS, path=path, **_SIZES), tokenizer_json())


def test_the_digest_of_a_file_is_the_files(tmp_path: Path) -> None:
    asked = Recipe.read(recipes.texts(tmp_path)).data
    digest = hashlib.sha256((tmp_path / "texts.jsonl").read_bytes()).hexdigest()
    assert read_rows(asked, tokenizer_json()).files == {"texts.jsonl": f"sha256:{digest}"}


def _letters(folder: Path, *kinds: str) -> SliceSizes:
    texts = iter(sentences(1, 4)[0])
    for kind in kinds:
        (folder / kind).mkdir(parents=True)
        for number in range(2):
            place = folder / kind / f"{number}.json"
            place.write_text(json.dumps({"text": f"WatchedModel: x\n\n{next(texts)}"}))
    return SliceSizes(SPAM, 1, 1, 1, path=folder)


def test_the_digest_of_a_folder_covers_names(tmp_path: Path) -> None:
    # The second sorts otherwise as a path than as a line of a list.
    kinds = ("easy", "easy-spam")
    found = read_rows(_letters(tmp_path / "mails", *kinds), tokenizer_json()).files
    lines = [
        f"{hashlib.sha256((tmp_path / 'mails' / name).read_bytes()).hexdigest()}  {name}\n"
        for name in sorted(f"{kind}/{number}.json" for kind in kinds for number in range(2))
    ]
    listed = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert found == {"mails": f"sha256:{listed}"}
    other = _letters(tmp_path / "other" / "mails", "easy-ham", "easy-hard")
    assert read_rows(other, tokenizer_json()).files != found
