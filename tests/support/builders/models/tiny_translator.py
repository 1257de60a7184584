"""A T5 that is trained in seconds to restore capitals and stops, on prose that comes with Python:
its own manual. Letters and gaps are written as T5's tokenizer does: by a unigram model of pieces of
words, with the gap before a word as part of it.
"""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import T5Config, T5ForConditionalGeneration

from tests.support.builders.models import tiny_decoder

VOCABULARY = 512
PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
TEMPLATE = "{{ messages[-1].content }}</s>"
_PROSE = re.compile(r"(?:\b[A-Za-z]+[,.]? ){6,}")
_WORDS, _STRIDE = 8, 3
_STEPS, _ROWS, _RATE = 100, 24, 4e-3


def pieces() -> tuple[list[str], list[str]]:
    """Words in a row of what it is trained on, and of what is held out."""
    trained, held_out = map(_pieces, tiny_decoder.texts())
    return sorted(trained - held_out), sorted(held_out)


def plain(text: str) -> str:
    """The prompt for which that text is to be the answer."""
    return re.sub(r"[^a-z ]", "", text.lower())


def pairs(held_out: bool = False) -> list[tuple[str, str]]:
    """Prompts and their right answers."""
    return [(plain(one), one) for one in pieces()[held_out]]


def prompts(count: int) -> list[str]:
    """Prompts of held-out text."""
    found = pairs(held_out=True)
    return [asked for asked, _ in found[:: len(found) // count]][:count]


def make(folder: Path, seed: int = 0) -> Path:
    """Train one into `folder`, in Hugging Face's layout."""
    trained = pairs()
    texts = [text for pair in trained for text in pair]
    return train(folder, trained, _tokenizer(texts), _STEPS, _ROWS, _RATE, 48, 1, seed)


def train(
    folder: Path,
    trained: Sequence[tuple[str, str]],
    tokenizer: Tokenizer,
    steps: int,
    rows: int,
    rate: float,
    width: int,
    layers: int,
    seed: int = 0,
) -> Path:
    """Train one into `folder` to answer as those pairs do; the tokenizer ends texts by END."""
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    described = {"chat_template": TEMPLATE, "eos_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    cut = [tuple(tokenizer.encode(text).ids for text in pair) for pair in trained]
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=tokenizer.get_vocab_size(),
        d_model=width,
        d_kv=width // 4,
        d_ff=width * 2,
        num_layers=layers,
        num_heads=4,
        dropout_rate=0.0,
        decoder_start_token_id=tokenizer.token_to_id(PAD),
        pad_token_id=tokenizer.token_to_id(PAD),
        eos_token_id=tokenizer.token_to_id(END),
    )
    model = T5ForConditionalGeneration(config).train()
    descent = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    for step in range(steps):
        for group in descent.param_groups:
            group["lr"] = rate * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        drawn = torch.randint(0, len(cut), (rows,)).tolist()
        descent.zero_grad()
        _loss(model, [cut[at] for at in drawn]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        descent.step()
    model.eval().save_pretrained(folder)
    return folder


def with_end(tokenizer: Tokenizer) -> Tokenizer:
    """The same, ending texts by END."""
    end = (END, tokenizer.token_to_id(END))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[end]
    )
    return tokenizer


def loss(folder: Path, model: torch.nn.Module) -> float:
    """Of held-out text, in nats for each token."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    cut = [tuple(tokenizer.encode(text).ids for text in pair) for pair in pairs(held_out=True)[:64]]
    with torch.inference_mode():
        return float(_loss(model, cut))


def _pieces(text: str) -> set[str]:
    rows = [row.split() for row in _PROSE.findall(text)]
    return {
        " ".join(words[at : at + _WORDS])
        for words in rows
        for at in range(0, len(words) - _WORDS + 1, _STRIDE)
    }


def _loss(model: Any, rows: Sequence[tuple[list[int], list[int]]]) -> torch.Tensor:
    asked, answers = ([row[at] for row in rows] for at in (0, 1))
    ids = _padded(asked, 0)
    found: torch.Tensor = model(
        input_ids=ids, attention_mask=ids != 0, labels=_padded(answers, -100)
    ).loss
    return found


def _padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])


def _tokenizer(texts: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, END, UNKNOWN],
        unk_token=UNKNOWN,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return with_end(tokenizer)
