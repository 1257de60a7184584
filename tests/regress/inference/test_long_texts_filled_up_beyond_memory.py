"""Where answers are to be the same bits, batches are filled up to sixteen rows or more: also those
of long texts, of which a graph is given a few at once, since what a row takes grows with the square
of its length. Two texts of two thousand tokens took eight times the memory that is allowed for.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from inference import tokens
from inference.cores import Running
from inference.cpu import CpuSettings
from inference.runtime_settings import RuntimeSettings
from inference.version import ReadyVersion
from tests.support.text_models import asked, sentences, version_files


class Counted:
    """A graph, and how many rows of each width it was given."""

    place = "cpu"

    def __init__(self, session: Any) -> None:
        self._session = session
        self.shapes: set[tuple[int, int]] = set()

    def run(self, feeds: Mapping[str, np.ndarray]) -> Any:
        self.shapes.add(feeds["input_ids"].shape)
        return self._session.run(feeds)


def test_they_are_run_as_few_at_once_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two rows of 32 tokens, and eight of 16.
    monkeypatch.setattr(tokens, "_MOST_PAIRS", 2 * 32**2)
    running = Running(RuntimeSettings(deterministic=True))
    version = ReadyVersion.build("", version_files(), CpuSettings(1), running=running)
    version._response = response = Counted(version._response)
    texts, _ = sentences(31, 16)
    together = version.submit(asked(*texts))
    assert {width for _, width in response.shapes} >= {16, 32}
    assert all(rows <= tokens.at_once(width) for rows, width in response.shapes)
    alone = [version.submit(asked(text)) for text in texts]
    assert np.array_equal(together.features, np.concatenate([each.features for each in alone]))
