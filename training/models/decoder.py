"""A small language model of Qwen2's architecture, as transformers computes it.

Every place of a row of tokens except the last is treated as a row whose class is the next token. So
it is trained with the objectives of classifiers (`training.steps.distillation`). Its weights have
the names of a `Qwen2ForCausalLM` checkpoint.
"""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

_AT_ONCE = 32
# Of logits [n, V] and what came [n], a number each [n].
Measure = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Decoder(nn.Module):
    """`heads` heads of attention, of which two share keys and values where their number is even;
    the embeddings are the head's weights too.
    """

    def __init__(
        self, vocabulary: int, positions: int, width: int, layers: int, heads: int
    ) -> None:
        # It takes seconds to import, which no other student needs.
        from transformers import Qwen2Config, Qwen2Model

        super().__init__()
        self.config = Qwen2Config(
            architectures=["Qwen2ForCausalLM"],
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=width * 5 // 2,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads if heads % 2 else heads // 2,
            max_position_embeddings=positions,
            bos_token_id=None,
            eos_token_id=None,
            tie_word_embeddings=True,
        )
        self.model = Qwen2Model(self.config)

    def answers(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """From rows of tokens int64 [n, s] to vectors [n (s - 1), width], and logits
        [n (s - 1), V] of what comes behind each place but the last.
        """
        states = self.model(input_ids=x, use_cache=False).last_hidden_state[:, :-1].flatten(0, 1)
        return states, functional.linear(states, self.model.embed_tokens.weight)


def following(x: torch.Tensor) -> torch.Tensor:
    """The token behind each place but the last of rows [n, s]: [n (s - 1)]."""
    return x[:, 1:].flatten()


def next_right(decoder: Decoder, x: torch.Tensor) -> float:
    """The share of tokens of rows [n, s] that are the likeliest behind what stands before them."""
    return _mean(decoder, x, lambda logits, y: (logits.argmax(1) == y).float())


def perplexity(decoder: Decoder, x: torch.Tensor) -> float:
    """Of rows [n, s]: e to the mean surprise of each token by those before it in its row."""
    return math.exp(
        _mean(decoder, x, lambda logits, y: functional.cross_entropy(logits, y, reduction="none"))
    )


def _mean(decoder: Decoder, x: torch.Tensor, measure: Measure) -> float:
    was, _ = decoder.training, decoder.eval()
    with torch.no_grad():
        found = torch.cat(
            [measure(decoder.answers(part)[1], following(part)) for part in x.split(_AT_ONCE)]
        )
    decoder.train(was)
    return float(found.double().mean())
