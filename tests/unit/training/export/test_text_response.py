"""Features of a text: how its tokens share in the answer's lead."""

import numpy as np
import torch

from training.export.text import share_features


def shares(*parts: float) -> list[float]:
    given = torch.tensor([[*parts, 0.0, 0.0]])
    return [float(each) for each in share_features(given, torch.tensor([[float(len(parts))]]))]


def test_tokens_that_agree_share_evenly() -> None:
    speaking_for, strongest, against, spread = shares(1, 1, 1, 1)
    assert np.allclose((speaking_for, strongest, against), (1, 0.25, 0), atol=1e-4)
    assert spread > 0.8


def test_one_token_against_all_others_shows() -> None:
    speaking_for, strongest, against, spread = shares(9, -1, -1, -1)
    assert np.allclose((speaking_for, strongest, against), (0.75, 0.75, -1 / 12), atol=1e-4)
    assert spread < shares(3, 3, 3, 3)[3] - 0.2


def test_a_text_without_a_gradient_has_no_share() -> None:
    assert np.allclose(shares(0, 0, 0), 0, atol=1e-4)
