"""Word tables of a response graph, from which the first stage reads a text's words."""

import numpy as np
import pytest
from onnx import helper

from inference.engine import version_contents
from inference.engine.graphs import counted
from inference.screening.detector import Detector
from inference.screening.first_stage import FEATURES, PLACES, VOTES, WordTables
from inference.text import tokens
from publishing.calibration.served_rows import ServedVectors, fit_readings
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models import text_models
from tests.support.builders.models.counts import tables, with_constants, with_counts
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.two_stages import by_margin, staged
from tests.support.builders.models.version_files import VersionFiles

CONFIG = text_models.config()
VOCABULARY, CLASSES = text_models.RULES.vocabulary, 2
IDS = np.array([[2, 5, 9, 3], [2, 7, 3, tokens.NO_TOKEN]])


def graph(held: dict[str, np.ndarray]) -> bytes:
    return with_constants(helper.make_model(helper.make_graph([], "g", [], [])), held)


def words() -> WordTables:
    found = WordTables.of(graph(tables()), VOCABULARY, CLASSES)
    assert found is not None
    return found


def read(rows: np.ndarray) -> np.ndarray:
    feeds = tokens.feeds(rows)
    return words().read(feeds["input_ids"], feeds["attention_mask"])


def test_votes_places_and_agreement_are_those_of_the_tokens_held() -> None:
    votes, places = tables().values()
    found = read(IDS)
    assert found.shape == (2, words().size) == (2, CLASSES + places.shape[1] + 1)
    for row, ids in zip(found, ([2, 5, 9, 3], [2, 7, 3]), strict=True):
        own = places[ids]
        assert np.allclose(row[:CLASSES], votes[ids].mean(axis=0), atol=1e-5)
        assert np.allclose(row[CLASSES:-1], own.mean(axis=0), atol=1e-5)
        others = own.sum(axis=0) - own
        lengths = np.linalg.norm(own, axis=1) * np.linalg.norm(others, axis=1)
        assert row[-1] == pytest.approx(np.mean((own * others).sum(axis=1) / lengths), abs=1e-4)


def test_a_text_reads_alike_in_any_company_and_however_filled_up() -> None:
    alone = np.concatenate([read(row[np.newaxis]) for row in IDS])
    assert np.allclose(read(tokens.resized(IDS, 16)), alone, atol=1e-6)


def test_a_text_of_unknown_words_is_read_all_the_same() -> None:
    held = {name: np.zeros_like(value) for name, value in tables().items()}
    found = WordTables.of(graph(held), VOCABULARY, CLASSES)
    assert found is not None
    assert not found.read(IDS[:1], np.ones_like(IDS[:1])).any()


@pytest.mark.parametrize("missing", [VOTES, PLACES])
def test_a_graph_without_both_tables_says_nothing(missing: str) -> None:
    held = tables()
    del held[missing]
    assert WordTables.of(graph(held), VOCABULARY, CLASSES) is None


@pytest.mark.parametrize("sizes", [(VOCABULARY - 1, CLASSES), (VOCABULARY, CLASSES + 1)])
def test_counts_of_another_model_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(SealgateError) as refused:
        WordTables.of(graph(tables(*sizes)), VOCABULARY, CLASSES)
    assert refused.value.reason is Reason.GRAPH_MISMATCH


def vectors(found: WordTables | None) -> ServedVectors:
    files = text_models.version_files()
    return ServedVectors.of(
        files[version_contents.INT8], files[version_contents.FP32], CONFIG, found
    )


@pytest.mark.parametrize("by_words", [True, False])
def test_a_loaded_version_reads_what_its_stage_was_fitted_to(by_words: bool) -> None:
    """A stage of before there were counts reads embeddings, also beside a graph that has counts."""
    files, rows = text_models.version_files(), text_models.dataset().fit.x
    response = with_counts(files[version_contents.RESPONSE])
    known = counted(response, CONFIG)
    assert known is not None
    shown = vectors(known if by_words else None)
    readings = fit_readings(shown.of_rows(rows))
    assert readings is not None
    assert readings.inputs.size == (known.size if by_words else 32)
    detector = staged(Detector.decode(files[version_contents.DETECTOR]), by_margin(readings, 0.0))
    ready = text_models.ready(response_onnx=response, detector_json=detector.encode())
    texts = text_models.sentences(5, 6)[0]
    found = ready.submit(text_models.asked(*texts)).features[:, :FEATURES]
    expected = readings.features(shown.of_rows(text_models.rows_of(texts)), shown.weight)
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_words_leave_answers_as_they_are() -> None:
    rows = text_models.dataset().fit.x[:20]
    response = with_counts(text_models.source().response)
    first, second = (vectors(each).of_rows(rows) for each in (counted(response, CONFIG), None))
    assert np.array_equal(first.logits, second.logits)
    assert np.array_equal(first.vectors, second.vectors)


def test_a_model_of_numbers_has_no_words() -> None:
    model = Perceptron.random()
    assert counted(model.response(), VersionFiles.of(model).config) is None
