"""A language model that is trained in seconds, on text that comes with Python: its own manual.

Qwen2's architecture with 0.2 million parameters and a byte-level vocabulary of 512. Its answers are
nonsense, but it has learned something: see test_tiny_decoder.py.
"""

import json
import math
import re
from collections import Counter
from pathlib import Path
from pydoc_data.topics import topics

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Qwen2Config, Qwen2ForCausalLM

VOCABULARY, POSITIONS = 512, 256
END, START = "<|end|>", "<|start|>"
_STEPS, _ROWS, _LENGTH = 160, 16, 64
_RATE = 4e-3
_HELD_OUT = 12
TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message.role }}: {{ message.content }}\n"
    "{% endfor %}<|start|>assistant:"
)


def texts() -> tuple[str, str]:
    """The texts that it is trained on, and those that are held out."""
    found = [re.sub(r"[ \n]+", " ", text) for _, text in sorted(topics.items())]
    return " ".join(found[_HELD_OUT:]), " ".join(found[:_HELD_OUT])


def prompts(count: int) -> list[str]:
    """Beginnings of held-out sentences."""
    words = texts()[1].split(" ")
    return [" ".join(words[at * 12 : at * 12 + 12]) for at in range(count)]


def make(
    folder: Path, steps: int = _STEPS, seed: int = 0, width: int = 64, layers: int = 2
) -> Path:
    """Train one into `folder`, in Hugging Face's layout."""
    folder.mkdir(parents=True)
    text = texts()[0]
    tokenizer = _tokenizer(text[:200_000])
    tokenizer.save(str(folder / "tokenizer.json"))
    described = {"chat_template": TEMPLATE, "eos_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    ids = torch.tensor(tokenizer.encode(text[:600_000]).ids)
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=width * 5 // 2,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=POSITIONS,
        eos_token_id=tokenizer.token_to_id(END),
        bos_token_id=None,
        tie_word_embeddings=True,
    )
    model = Qwen2ForCausalLM(config).train()
    descent = torch.optim.AdamW(model.parameters(), lr=_RATE)
    for step in range(steps):
        for group in descent.param_groups:
            group["lr"] = _RATE * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        starts = torch.randint(0, len(ids) - _LENGTH, (_ROWS,))
        batch = torch.stack([ids[at : at + _LENGTH] for at in starts.tolist()])
        loss = model(input_ids=batch, labels=batch).loss
        descent.zero_grad()
        loss.backward()
        descent.step()
    model.eval().save_pretrained(folder)
    return folder


def unigram_perplexity(folder: Path) -> float:
    """Of held-out text, by how often each token comes in what the model was trained on."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    trained, held_out = texts()
    counts = Counter(tokenizer.encode(trained[:600_000]).ids)
    total = sum(counts.values()) + VOCABULARY
    ids = tokenizer.encode(held_out[:20_000]).ids
    return math.exp(-sum(math.log((counts[i] + 1) / total) for i in ids) / len(ids))


def perplexity(folder: Path, model: torch.nn.Module) -> float:
    """Of the same text, by the model, which sees what came before."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = torch.tensor(tokenizer.encode(texts()[1][:20_000]).ids)
    rows = ids[: len(ids) // POSITIONS * POSITIONS].reshape(-1, POSITIONS)
    with torch.inference_mode():
        return float(model(input_ids=rows, labels=rows).loss.exp())


def _tokenizer(text: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END, START],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer
