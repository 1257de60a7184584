"""The rows that tests ask with, which screening should not refuse, belong to the demo's models."""

import pytest

from tests.support.builders.models.calm_rows import FAR, MODELS, digest, measured, written

EACH = pytest.mark.parametrize("model", MODELS)


@EACH
def test_they_were_found_with_the_files_of_today(model: str) -> None:
    again = "run python -m tests.support.builders.models.calm_rows"
    assert written()[model]["of"] == digest(model), again


@EACH
@pytest.mark.slow
def test_they_score_far_below_the_threshold(model: str) -> None:
    _, scores = measured(model)
    assert scores[written()[model]["rows"]].max() < -FAR
