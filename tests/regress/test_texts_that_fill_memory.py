"""One client's large texts, asked side by side, took all memory while they were cut into tokens.

Two MiB of short words took 400 MB, and as many requests were cut at once as there are threads. That
most of it would be cut off afterwards did not help.
"""

from contextlib import ExitStack

import numpy as np
import pytest

from inference import tokenizer
from inference.tokenizer import TextTokenizer
from sealgate.reasons import Reason, Refusal
from tests.support.text_models import RULES, tokenizer_json

LARGE = [b"meet the team " * 3000, b"cash", "prize é ".encode() * 2000]


def test_few_large_texts_are_cut_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "_PATIENCE_SECONDS", 0.01)
    opened = TextTokenizer.open(tokenizer_json(), RULES)
    apart = [opened.rows([text]) for text in LARGE]
    together = opened.rows(LARGE)
    for row, alone in zip(together, apart, strict=True):
        assert np.array_equal(row[: alone.shape[1]], alone[0])
    with ExitStack() as busy:
        for _ in range(2):
            busy.enter_context(tokenizer._large)
        with pytest.raises(Refusal) as refused:
            opened.rows(LARGE)
        assert refused.value.reason is Reason.QUEUE_FULL
        # Others go on.
        assert len(opened.rows([b"meet the team"])) == 1
    assert np.array_equal(opened.rows(LARGE), together)
