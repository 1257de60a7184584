"""Rows in a row, of which one is what a classifier looks for, or none."""

from dataclasses import replace

import numpy as np
import pytest

from inference.text.tokenizer import TextTokenizer
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.text_models import RULES, TELLING, rows_of, tokenizer_json
from training.data import NO_LABEL, TRAIN, RunData, SourceRows
from training.run.augmentation import with_joined

CLEAN, SOUGHT = " ".join(TELLING[0][:7]), " ".join(TELLING[1][:9])
CUTTER = TextTokenizer.open(tokenizer_json(), RULES)


def material(classes: list[int]) -> RunData:
    x = rows_of([CLEAN if label != 1 else SOUGHT for label in classes])
    y = np.array(classes)
    read = SourceRows(x, y, ("a", "b"), "", "", {}, tokens=RULES, tokenizer=tokenizer_json())
    return RunData(read, {TRAIN: (x, y)})


def test_what_is_looked_for_stands_whole_among_others() -> None:
    given = material([0] * 20 + [1] * 10)
    found = with_joined(given, 20.0, "b", 1).rows
    x, y = found.x.numpy(), found.y.numpy()
    assert len(x) == 630
    assert np.array_equal(x[:30], given.slices[TRAIN][0])
    assert RULES.checked(x) is x
    ids = [row[row >= 0].tolist() for row in x[30:]]
    sought = rows_of([SOUGHT])[0, 1:10].tolist()
    for row, label in zip(ids, y[30:], strict=True):
        assert (row[0], row[-1]) == (2, 3)
        runs = [row[at : at + 9] for at in range(len(row))]
        assert (sought in runs) == (label == 1)
    assert sorted(set(map(len, ids)))[-1] == RULES.most
    assert int(y[30:].sum()) == 200


def test_the_same_seed_joins_the_same() -> None:
    found = [with_joined(material([0, 0, 1]), 9.0, "b", seed).rows.x.numpy() for seed in (1, 1, 2)]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_of_a_long_text_some_windows_are_learnt_as_they_are() -> None:
    given = material([0] * 20 + [1] * 10)
    x = given.slices[TRAIN][0]
    x[:20, 1] += np.arange(20) % 2
    texts = np.array([0] * 15 + [1] * 5 + list(range(2, 12)))
    found = with_joined(replace(given, texts={TRAIN: texts}), 1.0, "b", 1, most=3).rows
    y = found.y.numpy()
    assert len(y) == 2 * (3 + 3 + 10)
    assert y[:16].tolist() == [0] * 6 + [1] * 10
    every = {row.tobytes() for row in x}
    assert all(row.tobytes() in every for row in found.x.numpy()[:16])


def test_a_long_text_is_joined_no_more_often_than_a_short_one() -> None:
    given = material([0] * 20 + [1])
    x = given.slices[TRAIN][0]
    short = rows_of([" ".join(TELLING[0][7:10])])[0]
    x[19] = short
    texts = np.array([0] * 19 + [1, 2])
    found = with_joined(replace(given, texts={TRAIN: texts}), 30.0, "b", 1).rows
    told = rows_of([" ".join(TELLING[0][7:8])])[0, 1]
    assert (found.x.numpy()[21:] == told).any(1).mean() > 0.5


@pytest.mark.parametrize("label", [0, 1, NO_LABEL])
def test_rows_of_one_class_are_not_joined(label: int) -> None:
    with pytest.raises(SealgateError) as found:
        with_joined(material([label, label, NO_LABEL]), 1.0, "b", 1)
    assert found.value.reason is Reason.TRAINING_DATA
