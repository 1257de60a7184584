"""The model that stands for a real one has learned something."""

from pathlib import Path

from generation.models.decoder import LanguageModel
from tests.support.builders.models import tiny_decoder


def test_its_perplexity_falls_well_below_a_unigrams(folder: Path, decoder: LanguageModel) -> None:
    found = tiny_decoder.perplexity(folder, decoder.model)
    assert found < 0.5 * tiny_decoder.unigram_perplexity(folder)
