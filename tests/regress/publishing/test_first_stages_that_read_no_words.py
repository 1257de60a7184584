"""A text's response graph holds counts of the training texts, which tell most of an attack, and the
first stage did not read them: it took the mean of the embeddings. So it lost what the graph had
gained (.023 of AUROC, .06 to who knows it), and publishing refused it for MiniLM, each of whose
requests then cost six to nine more INT8 forwards.
"""

from typing import Any

import numpy as np
import pytest

from inference.screening.words import Words
from publishing import trial
from publishing.vectors import Vectors
from tests.support import text_models
from tests.support.counts import with_counts


def test_publishing_fits_the_first_stage_to_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Vectors] = []

    def choose(seen: Any, vectors: Vectors, graphs: Any) -> None:
        given.append(vectors)

    monkeypatch.setattr(trial, "choose", choose)
    source, data = text_models.source(), text_models.dataset()
    response = with_counts(source.response)
    request = trial.Request(
        source.config,
        source.serving,
        *(source.serving, response),
        *(data.fit, data.calibration, data.test),
        seed=1,
        tokenizer=source.tokenizer,
    )
    trial.run(request.encode(), lambda _: None)
    (vectors,) = given
    words = Words.of(response, text_models.RULES.vocabulary, 2)
    assert words is not None
    shown = vectors.of_rows(data.fit.x[:4])
    held = (data.fit.x[:4] >= 0).astype(np.int64)
    expected = words.read(np.maximum(data.fit.x[:4], 0), held)
    assert np.allclose(shown.inputs, expected, atol=1e-5)
