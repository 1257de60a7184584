"""Checkpoints of each family, of a few thousand weights at random, as transformers saves them."""

from pathlib import Path
from typing import Any

import torch
import transformers

from training.models.checkpoints import take_in

VOCABULARY = 40
_DECODER = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
_BERT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 48,
    "num_labels": 3,
}
_T5 = {
    "vocab_size": VOCABULARY,
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 24,
    "num_layers": 1,
    "num_heads": 2,
    "decoder_start_token_id": 0,
}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 2.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", {**_DECODER, "tie_word_embeddings": True}),
    "llama": ("LlamaForCausalLM", "LlamaConfig", {**_DECODER, "rope_parameters": _LLAMA3}),
    "bert": ("BertForSequenceClassification", "BertConfig", _BERT),
    "t5": ("T5ForConditionalGeneration", "T5Config", _T5),
}


def model(kind: str, **changed: object) -> Any:
    """In evaluation mode; weights wide enough that outputs differ."""
    name, config, sizes = KINDS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = getattr(transformers, name)(getattr(transformers, config)(**{**sizes, **changed}))
        for parameter in made.parameters():
            parameter.data.normal_(1.0 if parameter.dim() == 1 else 0.0, 0.3)
    return made.eval()


def imported(folder: Path, kind: str, tokenizer: bytes | None = None, **changed: object) -> Path:
    """The folder of a tiny one that was taken in."""
    saved = folder / f"{kind}-saved"
    model(kind, **changed).save_pretrained(saved)
    if tokenizer is not None:
        (saved / "tokenizer.json").write_bytes(tokenizer)
    take_in(saved, folder / kind)
    return folder / kind
