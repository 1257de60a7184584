"""A second score of a prompt: how far one step in embedding space moves the next token's
distribution (FGSM; Goodfellow et al., arXiv 1412.6572), as screening of classifiers measures it.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional
from transformers import PreTrainedModel


def responses(model: PreTrainedModel, ids: Sequence[int], steps: Sequence[float]) -> list[float]:
    """For each of the steps, in units of the spread of all embeddings, the KL of the next token's
    distribution before and after all embeddings of a prompt have taken it along the sign of the
    loss's gradient, the loss being -log p of the likeliest token.
    """
    table = model.get_input_embeddings().weight.detach()
    x = table[torch.tensor([list(ids)])].clone().requires_grad_(True)
    before = model(inputs_embeds=x, logits_to_keep=1).logits[0, -1].log_softmax(-1)
    (slope,) = torch.autograd.grad(-before.max(), x)
    found = []
    for step in steps:
        moved = x.detach() + step * table.std() * slope.sign()
        with torch.no_grad():
            after = model(inputs_embeds=moved, logits_to_keep=1).logits[0, -1].log_softmax(-1)
            kl = functional.kl_div(after, before.detach(), reduction="sum", log_target=True)
        found.append(float(kl))
    return found
