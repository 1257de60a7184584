"""Exports a torch text classifier to its two graphs (see `training.export.classifier`).

The response's features are those of `training.export.response`. FGSM's step is taken in the word
embeddings, which no domain bounds, so features that depend on the domain are left out. Places
without a token have no gradient, so padding changes nothing. With `WordVotes`, the features also
say what the words say by themselves.

The features may follow the margin from a deeper layer on. Then neither its gradient nor the steps
pass the earlier layers, which run once, and steps are as large relative to what they move as they
would be in the embeddings.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from inference.runtime import response_contract
from training.export.classifier import TRACED_ROWS, TRACED_TOKENS, Call, State, export
from training.export.long_text import export_long_serving
from training.export.reference import CleanReference, watched
from training.export.response import LayerTap, answer_features, slopes
from training.export.word_votes import WordVotes
from training.models.encoder import TextClassifier
from training.models.long_encoder import LongTextClassifier, in_operators

# ids -> embeddings; embeddings, mask -> logits; where features begin deeper, see `TextClassifier`.
Forward = Callable[..., torch.Tensor]
# As in `training.export.response`; each costs a forward of the layers that it passes.
STEPS = (-1.0, 3.0)
FEATURES = 13 + 4 * len(STEPS)
_TINY = 1e-6


def respond(
    forward: Forward,
    ids: torch.Tensor,
    mask: torch.Tensor,
    label: torch.Tensor,
    eps: torch.Tensor,
    watch: LayerTap | None = None,
    depth: int = 0,
    wording: WordVotes | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return logits [n, C], x_adv [n, s, width] and features [n, F]: FEATURES, those of
    `watch`, whose reference does not describe the embeddings themselves, and those of `wording`.
    The features begin at what leaves `depth` layers; with 0, at the embeddings.
    """
    x = forward(ids).detach().requires_grad_(True)
    here = forward(x, mask, 0, depth) if depth else x
    logits = forward(here, mask, depth) if depth else forward(x, mask)
    layers = [] if watch is None else list(watch.entered)
    slope, own, gradient = slopes(x, here, logits, label)
    x, here, logits = x.detach(), here.detach(), logits.detach()
    x_adv = x + eps * slope.sign()
    sizes = torch.tensor(STEPS, device=x.device) * eps
    unit = size(here, mask) / size(x, mask) if depth else torch.ones_like(x[:, :1, :1])
    steps = sizes.reshape(-1, *[1] * x.dim()) * unit * gradient.sign()
    moved = (here + steps).flatten(0, 1)
    rest = (depth,) if depth else ()
    answers = forward(moved, mask.repeat(len(STEPS), 1), *rest).unflatten(0, (len(STEPS), -1))
    parts = (here * gradient).sum(2)
    gradient = gradient.flatten(1)
    found = [
        *slope_features(gradient, here, parts, mask),
        answer_features(logits, answers, own, gradient, steps.flatten(2), sizes, cut_short=False),
        *([watch.reference.features([each.detach() for each in layers], own)] if watch else ()),
        *(wording.features(ids, mask, own, next_best(logits, own), parts) if wording else ()),
    ]
    return logits, x_adv, torch.cat(found, 1)


def next_best(logits: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Marks in [n, C] the best class of logits [n, C] but for that which `own` [n, C] marks."""
    others = torch.where(own, -torch.inf, logits)
    return torch.arange(logits.shape[1], device=logits.device) == others.argmax(1)[:, None]


def size(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean size [n, 1, 1] of the numbers of a text's tokens x [n, s, width]."""
    held = mask.to(x.dtype)
    found: torch.Tensor = (x.abs().mean(2) * held).sum(1) / held.sum(1)
    return found[:, None, None]


def slope_features(
    gradient: torch.Tensor, x: torch.Tensor, parts: torch.Tensor, mask: torch.Tensor
) -> list[torch.Tensor]:
    """How steep the margin is, [n, 2]; how much of that its steepest token has, [n, 1]; how far the
    text lies along the gradient, [n, 2]; and how its tokens share in the margin, by their
    `parts` [n, s] in it, [n, 4].
    """
    by_token = gradient.unflatten(1, (x.shape[1], -1)).abs().sum(2)
    total = by_token.sum(1, keepdim=True)
    length = (gradient * gradient).sum(1, keepdim=True).sqrt()
    place, tokens = x.flatten(1), mask.to(x.dtype).sum(1, keepdim=True)
    return [
        (total + _TINY).log(),
        (length + _TINY).log(),
        by_token.amax(1, keepdim=True) / (total + _TINY),
        (place * gradient).sum(1, keepdim=True) / (total + _TINY),
        (place * gradient.sign()).sum(1, keepdim=True) / tokens,
        *share_features(parts, tokens),
    ]


def share_features(parts: torch.Tensor, tokens: torch.Tensor) -> list[torch.Tensor]:
    """Of what each of a text's `tokens` [n, 1] adds to the margin to first order, `parts` [n, s]:
    how much speaks for the answer, how much of all the strongest token has on either side, and how
    evenly all is spread. Exchanged words hold an answer up alone, against all others.
    """
    weights = parts.abs() / (parts.abs().sum(1, keepdim=True) + _TINY)
    signed = weights * parts.sign()
    return [
        signed.clamp(min=0).sum(1, keepdim=True),
        signed.amax(1, keepdim=True),
        signed.amin(1, keepdim=True),
        -(weights * (weights + _TINY).log()).sum(1, keepdim=True) / (tokens + 1).log(),
    ]


_INPUTS = (response_contract.IDS, response_contract.MASK)


def export_text_serving(module: TextClassifier) -> bytes:
    """Return an ONNX model `input_ids`, `attention_mask` int64 [n, s] -> `logits` float32 [n, C].

    Raises ValueError for a module in training mode, or for texts of fewer than 30 tokens.
    """

    if isinstance(module, LongTextClassifier):
        return export_long_serving(module)

    def forward(call: Call, _: State, ids: torch.Tensor, mask: torch.Tensor) -> tuple[Any, ...]:
        return (call(call(ids), mask),)

    return export(
        module, forward, _example(module), _INPUTS, (response_contract.LOGITS,), _columns(module)
    )


def export_text_response(
    module: TextClassifier,
    reference: CleanReference | None = None,
    wording: WordVotes | None = None,
) -> bytes:
    """Return the response graph of `inference.runtime.response_contract` for the same module; a
    reference is one of the vectors that enter its head. Windows are written block by block
    (`training.export.attention_windows`).
    """
    described = {} if reference is None else reference.state()

    def forward(call: Call, state: State, *given: Any) -> tuple[Any, ...]:
        with watched(module) as entered:
            own = {name: state[name] for name in described}
            watch = LayerTap(CleanReference.of(own), entered) if own else None
            words = WordVotes.of(state)
            return partial(respond, watch=watch, depth=depth(module), wording=words)(call, *given)

    label = torch.full((TRACED_ROWS,), response_contract.OWN_PREDICTION)
    example = (*_example(module), label, torch.tensor(0.1))
    state = described | ({} if wording is None else wording.state())
    names = response_contract.TEXT_INPUTS, response_contract.OUTPUTS
    with in_operators(module):
        data = export(module, forward, example, *names, _columns(module), state)
    response_contract.check_text_response_graph(data)
    return data


def depth(module: TextClassifier) -> int:
    """After how many layers the features begin: what lies behind is passed four times."""
    return len(module.layers) // 2


def _example(module: TextClassifier) -> tuple[torch.Tensor, torch.Tensor]:
    if module.positions.num_embeddings <= TRACED_TOKENS:
        raise ValueError(f"a model of {TRACED_TOKENS} tokens or fewer is not exported")
    ids = torch.randint(module.words.num_embeddings, (TRACED_ROWS, TRACED_TOKENS))
    lengths = torch.randint(1, TRACED_TOKENS, (TRACED_ROWS, 1))
    return ids, (torch.arange(TRACED_TOKENS) < lengths).to(torch.int64)


def _columns(module: TextClassifier) -> dict[str, torch.export.Dim]:
    tokens = torch.export.Dim("tokens", min=2, max=module.positions.num_embeddings)
    return dict.fromkeys(_INPUTS, tokens)
