"""A sparse attack on a model whose score has no slope moves nothing."""

import numpy as np

from inference.model.config import InputDomain
from publishing.attacks.probe import SPARSE, Probe


class Flat:
    """Answers the first class everywhere, without any gradient."""

    def run(self, output_names, input_feed):
        x = input_feed["x"]
        found = {"logits": np.tile(np.array([[1, 0]], np.float32), (len(x), 1)), "x_adv": x}
        return [found.get(name, np.zeros_like(x)) for name in output_names]


def test_no_place_is_set_where_none_gains() -> None:
    x = np.full((3, 20), 0.5, np.float32)
    probe = Probe(Flat(), 0.1, InputDomain(0.0, 1.0))
    made = dict(probe.attacks(x, np.random.default_rng(0)))
    assert np.array_equal(made[SPARSE], x)
