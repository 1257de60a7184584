"""Fits a linear head on fixed vectors."""

import torch
from torch.nn import functional

_DECAY = 1e-3
# A place that hardly varies, as MiniLM has one, would get a weight so large that INT8 has no level
# left for the others.
_LEAST_SPREAD = 1e-3


def fit_head(
    vectors: torch.Tensor, y: torch.Tensor, classes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logistic regression on standardized vectors [n, W]; the scaling goes into the head.

    Returns the weight [C, W] and the bias [C].
    """
    mean, spread = vectors.mean(0), vectors.std(0)
    varies = spread > _LEAST_SPREAD * spread.median()
    # Without a spread it gets no weight at all.
    spread = torch.where(varies, spread, torch.inf)
    scaled = (vectors - mean) / spread
    weight = torch.zeros(classes, scaled.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = functional.cross_entropy(scaled @ weight.T + bias, y)
        value = value + _DECAY * (weight * weight).sum()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        found = weight / spread
        return found, bias - found @ mean
