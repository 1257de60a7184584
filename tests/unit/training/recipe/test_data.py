"""Where rows come from, and what data are refused for."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.model.columns import Column
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.text_models import tokenizer_json
from tests.support.builders.training import recipes
from training.data import NO_LABEL, RunData, SourceRows
from training.recipe.recipe import (
    PERCEPTRON,
    TABLE,
    ModelSection,
    Recipe,
    RunSection,
    SliceSizes,
    StudentSection,
    TeacherSection,
)
from training.recipe.sections import RecipeStep
from training.run.finishing import describe
from training.run.sources import read_rows

CSV = "age,job,class\n" + "".join(
    f"{20 + at},{'cook' if at % 3 else 'pilot'},{'bad' if at % 2 else 'good'}\n" for at in range(40)
)


def table(folder: Path, text: str = CSV, **changed: object) -> SliceSizes:
    path = folder / "people.csv"
    path.write_text(text)
    settings: dict[str, object] = {"train": 20, "fit": 5, "calibration": 5, "label": "class"}
    return SliceSizes(TABLE, path=path, **(settings | changed))  # type: ignore[arg-type]


def refused(asked: SliceSizes) -> SealgateError:
    with pytest.raises(SealgateError) as found:
        RunData.cut(read_rows(asked, None), asked)
    assert found.value.reason is Reason.TRAINING_DATA
    return found.value


def test_a_table_becomes_numbers_in_their_domain(tmp_path: Path) -> None:
    read = read_rows(table(tmp_path), None)
    assert read.names == ("bad", "good")
    assert read.x.shape == (40, 3)  # age, and a column for each job
    assert (read.x.min(), read.x.max()) == (0, 1)
    assert read.scaling is not None
    assert read.scaling.offset == (20.0, 0.0, 0.0)


def test_a_table_states_its_columns_where_the_recipe_does(tmp_path: Path) -> None:
    assert read_rows(table(tmp_path), None).columns == ()
    read = read_rows(table(tmp_path, whole=("age",), immutable=("job",)), None)
    assert read.columns == (
        Column("age", step=1),
        Column("job", "cook", immutable=True),
        Column("job", "pilot", immutable=True),
    )
    model = ModelSection("people", "Sorts people.", "tests")
    student, steps = StudentSection(PERCEPTRON), (RecipeStep("train"),)
    asked = table(tmp_path, whole=("age",), immutable=("job",))
    config = describe(
        Recipe(model, RunSection(), asked, TeacherSection(), student, steps=steps), read
    )
    assert config.table is not None
    config.table.check(read.x)


def test_labels_are_withheld(tmp_path: Path) -> None:
    asked = table(tmp_path, labels=12)
    material = RunData.cut(read_rows(asked, None), asked)
    assert (material.slices["train"][1] == NO_LABEL).sum() == 8
    assert len(material.labelled[0]) == 12
    assert {name: len(rows) for name, (rows, _) in material.slices.items()} == {
        "train": 20,
        "fit": 5,
        "calibration": 5,
        "test": 10,
    }


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"label": "grade"}, "no column 'grade'"),
        ({"columns": ("age", "height")}, "no column 'height'"),
        ({"train": 35}, "leave none"),
        ({"labels": 1}, "no labelled row"),
        ({"text": "age,class\n"}, "no rows"),
        ({"text": CSV + "1,2\n"}, "another number of columns"),
        ({"text": CSV.replace("25,", "nan,")}, "NaN"),
        ({"text": CSV.replace("25,", "25.5,"), "whole": ("age",)}, "not of whole numbers"),
        ({"whole": ("job",)}, "not of whole numbers"),
        ({"immutable": ("height",)}, "no column that is read"),
        ({"columns": ("age",), "immutable": ("job",)}, "no column that is read"),
    ],
)
def test_tables_that_lack_something_are_refused(
    tmp_path: Path, changed: dict[str, object], said: str
) -> None:
    assert said in refused(table(tmp_path, **changed)).detail  # type: ignore[arg-type]


def test_texts_alike_count_once_and_lines_are_read_strictly(tmp_path: Path) -> None:
    recipe = Recipe.read(recipes.texts(tmp_path))
    path = tmp_path / "texts.jsonl"
    whole = read_rows(recipe.data, tokenizer_json())
    path.write_text(path.read_text() * 2)
    assert np.array_equal(read_rows(recipe.data, tokenizer_json()).x, whole.x)
    path.write_text(path.read_text() + '{"text": "x"}\n')
    with pytest.raises(SealgateError) as found:
        read_rows(recipe.data, tokenizer_json())
    assert found.value.reason is Reason.TRAINING_DATA


def test_texts_need_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(SealgateError) as found:
        read_rows(Recipe.read(recipes.texts(tmp_path)).data, None)
    assert found.value.reason is Reason.RECIPE_INVALID


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SealgateError) as found:
        read_rows(SliceSizes(TABLE, 1, 1, 1, path=tmp_path / "none.csv"), None)
    assert found.value.reason is Reason.FILE_MISSING


def windowed(folder: Path) -> tuple[SliceSizes, RunData]:
    """Half of the texts two windows long or longer."""
    asked = replace(Recipe.read(recipes.texts(folder)).data, tokens=16, windows=True)
    return asked, RunData.cut(read_rows(asked, tokenizer_json()), asked, "offer")


def test_windows_of_a_text_stay_in_one_slice(tmp_path: Path) -> None:
    asked, material = windowed(tmp_path)
    texts = [set(numbers) for numbers in material.texts.values()]
    assert len(set.union(*texts)) == sum(map(len, texts))
    assert len(texts[0]) == asked.train
    assert len(material.slices["train"][0]) > 1.3 * asked.train
    rows = [{row.tobytes() for row in x} for x, _ in material.slices.values()]
    assert len(set.union(*rows)) == sum(map(len, rows))


def test_which_window_is_what_is_looked_for_is_not_known(tmp_path: Path) -> None:
    _, material = windowed(tmp_path)
    read, sought = material.read, material.read.names.index("offer")
    several = np.bincount(read.numbers) > 1
    for name, (_, y) in material.slices.items():
        numbers = material.texts[name]
        whole = np.array([read.y[read.numbers == number][0] for number in numbers])
        unknown = several[numbers] & (whole == sought)
        assert np.array_equal(y == NO_LABEL, unknown)
        assert unknown.any() == (name == "train")
        assert np.array_equal(y[~unknown], whole[~unknown])


def test_labels_are_those_of_texts(tmp_path: Path) -> None:
    asked = replace(Recipe.read(recipes.texts(tmp_path)).data, tokens=16, windows=True, labels=90)
    material = RunData.cut(read_rows(asked, tokenizer_json()), asked)
    _, y = material.slices["train"]
    assert len(set(material.texts["train"][y != NO_LABEL])) == 90


def lines(asked: SliceSizes, *rows: dict[str, str]) -> SourceRows:
    asked.place.write_text("\n".join(json.dumps(row) for row in rows))
    return read_rows(asked, tokenizer_json())


def test_a_text_counts_if_most_of_its_windows_are_new(tmp_path: Path) -> None:
    asked = replace(Recipe.read(recipes.texts(tmp_path)).data, tokens=16, windows=True)
    texts = ["plan " * 14, "note " * 14 + "team " * 7 + "plan " * 14, "plan " * 14 + "note " * 7]
    alone = [lines(asked, {"text": text, "label": "work"}).x for text in texts]
    assert [len(rows) for rows in alone] == [1, 4, 2]
    read = lines(asked, *({"text": text, "label": "work"} for text in texts))
    # Of the second, all but the window that the first has; of the third, half.
    assert read.numbers.tolist() == [0, 1, 1, 1]
    assert len({row.tobytes() for row in read.x}) == len(read.x)


def marked(folder: Path, count: int) -> tuple[SliceSizes, SourceRows]:
    """A recipe's 460 sentences, of which the last `count` are for the train slice alone."""
    asked = Recipe.read(recipes.texts(folder)).data
    rows = [json.loads(line) for line in asked.place.read_text().splitlines()]
    rows[-count:] = [row | {"slice": "train"} for row in rows[-count:]]
    return asked, lines(asked, *rows)


def test_texts_for_the_train_slice_alone_are_in_no_other(tmp_path: Path) -> None:
    asked, read = marked(tmp_path, 100)
    assert read.only_train is not None
    only = {row.tobytes() for row in read.x[read.only_train]}
    material = RunData.cut(read, asked)
    rows = {name: [row.tobytes() for row in x] for name, (x, _) in material.slices.items()}
    assert len(rows["train"]) == asked.train
    assert only <= set(rows["train"])
    assert not only & {row for name in rows if name != "train" for row in rows[name]}
    # They do not come first, where a recipe has labels for a part.
    half = set(rows["train"][: asked.train // 2])
    assert 0.3 * len(only) < len(only & half) < 0.7 * len(only)


def test_more_texts_for_the_train_slice_than_it_takes_are_refused(tmp_path: Path) -> None:
    asked, read = marked(tmp_path, 400)
    with pytest.raises(SealgateError) as found:
        RunData.cut(read, replace(asked, train=300, fit=20, calibration=20))
    assert found.value.reason is Reason.TRAINING_DATA
    assert "400 rows are for the train slice alone, which takes 300" in str(found.value)
