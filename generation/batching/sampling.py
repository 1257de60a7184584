"""Chooses the next token of each request by its own sampling and seed, independent of the batch.

A greedy request takes the most likely token. Otherwise the distribution is softmax(logits /
temperature), cut to the fewest tokens, most likely first, that hold `top_p` of it. The token is the
one at which their cumulative sum passes u, a number from [0, 1) derived from the seed and the
token's place with SHA-256. So an answer can be drawn again from logits, seed and sampling.
"""

import hashlib
import struct

import torch
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessor,
    ContinuousBatchingLogitsProcessorList,
)
from transformers.generation.continuous_batching.requests import FutureRequestState
from transformers.generation.logits_process import LogitsProcessorList

from inference.llm.request import Sampling

_HEADER = b"sealgate/draw/v1\n"


def point(seed: int, place: int) -> float:
    """Where the token at `place`, counted from the prompt's first, is drawn, in [0, 1)."""
    digest = hashlib.sha256(_HEADER + struct.pack(">QQ", seed, place)).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53


def draw(logits: torch.Tensor, sampling: Sampling, place: int) -> int:
    """The token id for `place`, out of logits [vocabulary], drawn on the CPU: sums on a card may
    differ from one time to the next.
    """
    logits = logits.cpu()
    # The likeliest at 0: a temperature near 0 would otherwise make infinities of several.
    apart = logits.double() - logits.max()
    weights = torch.softmax(apart / sampling.temperature, -1)
    ids = None
    if sampling.top_p < 1.0:
        weights, ids = weights.sort(descending=True, stable=True)
        # A token is kept where those before it do not hold enough; the first one always is.
        weights = weights * (weights.cumsum(-1) - weights < sampling.top_p)
    sums = weights.cumsum(-1)
    target = sums[-1] * point(sampling.seed, place)
    at = min(int(torch.searchsorted(sums, target, right=True)), len(sums) - 1)
    return at if ids is None else int(ids[at])


class TokenSampler(ContinuousBatchingLogitsProcessor):
    """Leaves of each row that is to be drawn its token alone; taking the likeliest does the rest.

    The engine would draw for all requests from one generator, by which an answer would change with
    its company.
    """

    supported_kwargs = {"sampling": Sampling}  # noqa: RUF012
    ignored_kwargs = ()

    def __init__(self) -> None:
        self._rows: list[tuple[Sampling, int]] = []

    def fill_defaults(self, int32_tensor: torch.Tensor) -> None:
        int32_tensor.zero_()

    def prepare_tensor_args(
        self, requests_with_new_token: list[FutureRequestState]
    ) -> torch.Tensor:
        # Called for each batch right before it runs, on the thread that runs it.
        self._rows = [
            (
                request.state.logit_processor_kwargs["sampling"],
                len(request.state.initial_tokens) + len(request.state.generated_tokens),
            )
            for request in requests_with_new_token
        ]
        return torch.zeros(len(self._rows), dtype=torch.int32)

    def __call__(self, scores: torch.Tensor, tensor_arg: torch.Tensor) -> torch.Tensor:
        for row, (sampling, place) in enumerate(self._rows):
            if sampling.temperature > 0:
                token = draw(scores[row], sampling, place)
                scores[row].fill_(float("-inf"))
                scores[row, token] = 0.0
        return scores


def chooser() -> ContinuousBatchingLogitsProcessorList:
    """The chooser as the engine takes it."""
    processors = ContinuousBatchingLogitsProcessorList(LogitsProcessorList([TokenSampler()]))
    # Room for what `prepare_tensor_args` returns.
    processors.tensors_required = 1
    return processors
