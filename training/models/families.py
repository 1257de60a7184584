"""Imported checkpoints as exportable modules, by family.

classifier  BERT under its own head: texts to logits of classes
decoder     Qwen2 and Llama: texts to logits of the next token, without a cache
translator  T5: texts to states, and states with the answer so far to logits of the next token

The modules add nothing to what transformers loads, so a parameter's name after `WITHIN` is the
checkpoint's. Rows are padded on the right. Masks are made here, since the library's own cannot be
traced with free sizes.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from sealgate.reasons import Reason, SealgateError
from training.models import checkpoints

CLASSIFIER, DECODER, TRANSLATOR = "classifier", "decoder", "translator"
FAMILIES = {
    "BertForSequenceClassification": CLASSIFIER,
    "LlamaForCausalLM": DECODER,
    "Qwen2ForCausalLM": DECODER,
    "T5ForConditionalGeneration": TRANSLATOR,
}
WITHIN = "model."
# Added to the score of a place that is not seen: its share of the attention becomes exactly 0.
_NO_ATTENTION = -1e4
_MOST_TOKENS = 4096
# Position encodings that depend on the position only, not on the length.
_ROTARY = ("default", "linear", "llama3", "yarn")


class TextModel(nn.Module):
    """A text model that screening can take a step in: ids int64 [n, s] become word embeddings [n,
    s, W]; these and a mask int64 [n, s], 1 for each token and 0 behind them, become logits [n, C].
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    @property
    def vocabulary(self) -> int:
        return int(self.model.config.vocab_size)

    @property
    def positions(self) -> int:
        """The most tokens of a text."""
        return int(getattr(self.model.config, "max_position_embeddings", _MOST_TOKENS))

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        if mask is None:
            found: torch.Tensor = self.model.get_input_embeddings()(x)
            return found
        return self.logits(x, mask)

    def logits(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """From embeddings [n, s, W] and a mask [n, s]."""
        raise NotImplementedError


class BertClassifier(TextModel):
    """BERT under the head that it came with."""

    def logits(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.model(inputs_embeds=x, attention_mask=seen(mask)).logits
        return found


class NextToken(TextModel):
    """A decoder's word on the token behind each text, by its vocabulary."""

    def logits(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        places = torch.arange(mask.shape[1])
        states = self.model.model(
            inputs_embeds=x,
            attention_mask=seen(mask) + seen_before(places),
            position_ids=places[None],
            use_cache=False,
        ).last_hidden_state
        last = places == mask.sum(1, keepdim=True) - 1
        found: torch.Tensor = self.model.lm_head((states * last[:, :, None]).sum(1))
        return found


class EncoderStates(TextModel):
    """T5's encoder: ids and mask [n, s] to states [n, s, W]."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        found: torch.Tensor = self.model.encoder(
            input_ids=x, attention_mask=None if mask is None else seen(mask)
        ).last_hidden_state
        return found


class TranslationDecoder(TextModel):
    """T5's decoder: ids [n, t] of what was said so far, states [n, s, W] and their mask [n, s], to
    logits [n, t, V], of what comes behind each place.
    """

    def forward(  # type: ignore[override]
        self, said: torch.Tensor, states: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        found: torch.Tensor = self.model(
            encoder_outputs=(states,),
            attention_mask=seen(mask),
            decoder_input_ids=said,
            decoder_attention_mask=seen_before(torch.arange(said.shape[1])),
            use_cache=False,
        ).logits
        return found


def seen(mask: torch.Tensor) -> torch.Tensor:
    """The bias [n, 1, 1, s] that a mask int64 [n, s] adds to the scores."""
    return ((1 - mask.to(torch.float32)) * _NO_ATTENTION)[:, None, None, :]


def seen_before(places: torch.Tensor) -> torch.Tensor:
    """The bias [1, 1, s, s] that hides from each of the places [s] those behind it."""
    behind = places[None, :] > places[:, None]
    return (behind.to(torch.float32) * _NO_ATTENTION)[None, None]


def family(folder: Path) -> str:
    """Of a folder that was taken in. Raises CHECKPOINT_REFUSED where no graph is made of it."""
    config = checkpoints.read_config(folder)
    named = config.get("architectures")
    one = named[0] if isinstance(named, list) and named else None
    found = FAMILIES.get(one) if isinstance(one, str) else None
    if found is None:
        raise _refused(f"graphs are made of {', '.join(FAMILIES)} alone")
    return found


def load(folder: Path) -> Any:
    """The model of a folder that was taken in, frozen, in float32. Raises CHECKPOINT_REFUSED."""
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    name = checkpoints.read_config(folder)["architectures"][0]
    try:
        model = getattr(transformers, name).from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation="eager",
        )
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
        raise _refused("transformers cannot load it") from error
    _check(model.config)
    return model.eval().requires_grad_(False)


def _check(config: Any) -> None:
    """Refuses what the masks and positions of these modules would change."""
    if set(getattr(config, "layer_types", None) or ["full_attention"]) != {"full_attention"}:
        raise _refused("its layers do not all see the whole text")
    rotary = getattr(config, "rope_parameters", None) or {"rope_type": "default"}
    if rotary.get("rope_type") not in _ROTARY:
        raise _refused(f"its positions follow the length ({rotary.get('rope_type')})")
    if getattr(config, "is_decoder", False) and config.model_type == "bert":
        raise _refused("a BERT that is a decoder")


def _refused(detail: str) -> SealgateError:
    return SealgateError(Reason.CHECKPOINT_REFUSED, detail)
