"""From a torch text classifier to the two graphs of a version: see `training.export`."""

from functools import partial
from typing import Any

import torch

from inference.runtime import response_contract
from training.encoder import TextClassifier
from training.export import TRACED_ROWS, TRACED_TOKENS, Call, State, export
from training.export_long import export_long_serving
from training.long_encoder import LongTextClassifier, in_square
from training.reference import Reference, watched
from training.response import Watch
from training.text_response import respond
from training.wording import Wording

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
    module: TextClassifier, reference: Reference | None = None, wording: Wording | None = None
) -> bytes:
    """Return the response graph of `inference.runtime.response_contract` for the same module; a
    reference is one of the vectors that enter its head. Of windows too it holds the square of all
    scores.
    """
    described = {} if reference is None else reference.state()

    def forward(call: Call, state: State, *given: Any) -> tuple[Any, ...]:
        with watched(module) as entered:
            own = {name: state[name] for name in described}
            watch = Watch(Reference.of(own), entered) if own else None
            words = Wording.of(state)
            return partial(respond, watch=watch, depth=depth(module), wording=words)(call, *given)

    label = torch.full((TRACED_ROWS,), response_contract.OWN_PREDICTION)
    example = (*_example(module), label, torch.tensor(0.1))
    state = described | ({} if wording is None else wording.state())
    names = response_contract.TEXT_INPUTS, response_contract.OUTPUTS
    with in_square(module):
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
