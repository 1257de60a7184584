"""Gradient checkpointing: the same gradients, with less kept on the way."""

import torch

from training.models.encoder import EncoderSize, TextClassifier


def test_gradients_are_the_same_and_less_is_kept() -> None:
    torch.manual_seed(1)
    net = TextClassifier(EncoderSize(40, 32, 16, 64, 4, 2), 2).train()
    rows = torch.randint(0, 40, (8, 20))
    kept, gradients = [], []
    for net.checkpointed in (False, True):
        sizes: list[int] = []

        def keep(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.nbytes)
            return tensor

        net.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = net.answers(rows)[1].square().sum()
            kept.append(sum(sizes))
        loss.backward()
        gradients.append([parameter.grad.clone() for parameter in net.parameters()])
    assert all(torch.allclose(*pair) for pair in zip(*gradients, strict=True))
    assert kept[1] < kept[0] / 2
