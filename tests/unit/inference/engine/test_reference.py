"""The float32 forward that answers of small margin are compared with."""

import numpy as np

from inference.engine.graphs import open_reference
from inference.runtime import response_contract
from inference.text import tokens
from tests.support.builders.models.text_models import dataset, source


def test_a_text_has_the_same_logits_in_any_company() -> None:
    """Else a tie of two classes would be of one class alone, and of the other in a batch."""
    made, x = source(), dataset().test.x[:64]
    reference = open_reference(made.response, made.config, 1)

    def logits(rows: np.ndarray) -> np.ndarray:
        label = np.full(len(rows), response_contract.OWN_PREDICTION)
        (found,) = reference.run(tokens.feeds(rows) | {response_contract.LABEL: label})
        return found

    together = logits(x)
    for size in (1, 2, 3, 16):
        parts = [logits(x[at : at + size]) for at in range(0, len(x), size)]
        assert np.array_equal(np.concatenate(parts), together)
