"""A place of the vectors that hardly varies got a weight hundreds of times the others', and the
INT8 form of such a head, whose levels its largest weight sets, answered every row alike.
"""

import torch

from training.head import fit_head


def test_a_place_that_never_varies_has_no_large_weight() -> None:
    torch.manual_seed(1)
    y = torch.arange(400) % 2
    vectors = 0.2 * torch.randn(400, 24) + 0.1 * y[:, None]
    # As MiniLM's: what varies is the last bits of float32.
    vectors[:, 7] = 0.9 + 1e-8 * torch.randn(400) + 1e-7 * y
    weight, bias = fit_head(vectors, y, 2)
    assert not weight[:, 7].any()
    assert ((vectors @ weight.T + bias).argmax(1) == y).float().mean() > 0.8
