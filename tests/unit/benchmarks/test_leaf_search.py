"""The attack on trees changes answers, by rows that a caller could send."""

import numpy as np
import onnx
import pytest
import skl2onnx
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier

from benchmarks.anymodel.leaf_search import LeafSearch, thresholds
from inference.model.columns import Column, RowRules

X, Y = load_breast_cancer(return_X_y=True)
X = X[:, :4].astype(np.float32)


@pytest.fixture(scope="module")
def forest() -> RandomForestClassifier:
    return RandomForestClassifier(10, max_depth=4, random_state=0).fit(X[::2], Y[::2])


def rules(**immutable: bool) -> RowRules:
    ends = zip("abcd", X.min(axis=0), X.max(axis=0), strict=True)
    columns = [
        Column(name, min=float(low), max=float(high), immutable=immutable.get(name, False))
        for name, low, high in ends
    ]
    return RowRules.of(columns, (-1e6, 1e6))


def graph_of(forest: RandomForestClassifier) -> bytes:
    model: onnx.ModelProto = skl2onnx.to_onnx(forest, X[:1])
    return model.SerializeToString()


def test_thresholds_are_those_of_the_forest(forest: RandomForestClassifier) -> None:
    found = thresholds(graph_of(forest))
    own: dict[int, set[float]] = {}
    for tree in forest.estimators_:
        for column, value in zip(tree.tree_.feature, tree.tree_.threshold, strict=True):
            if column >= 0:
                own.setdefault(int(column), set()).add(float(value))
    assert found.keys() == own.keys()
    for column, values in found.items():
        np.testing.assert_allclose(values, sorted(own[column]), rtol=1e-6)


def test_rows_change_their_answer_and_can_be_sent(forest: RandomForestClassifier) -> None:
    search, victims = LeafSearch(thresholds(graph_of(forest)), rules(d=True)), X[1:21:2]
    own = forest.predict(victims)
    moved = []
    for row, label in zip(victims, own, strict=True):

        def sureness(rows: np.ndarray, label: int = label) -> np.ndarray:
            likely = forest.predict_proba(rows)[:, label]
            return np.asarray(likely - 0.5 - 1e-9)

        moved.append(search.attacked(row, sureness))
    after = np.stack(moved)
    assert (forest.predict(after) != own).mean() >= 0.6
    rules().check(after)
    assert np.array_equal(after[:, 3], victims[:, 3])


def test_a_row_that_nothing_moves_stays(forest: RandomForestClassifier) -> None:
    search = LeafSearch({}, rules())
    assert np.array_equal(search.attacked(X[0], lambda rows: np.ones(len(rows))), X[0])
