"""The text model to screen: a small encoder that is trained for it.

It is BERT's architecture in two layers by 64, from nothing, with a vocabulary of its own training
slice, so that five seeds take minutes.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers
import torch
from safetensors.torch import load_file, save_file
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers
from torch.nn import functional

from benchmarks.screening.texts.corpora import Labels, Texts
from inference.text import tokens
from inference.text.tokenizer import TextTokenizer
from inference.text.tokens import Ids, TokenRules
from training.demo.spam import encoded
from training.models.encoder import EncoderSize, TextClassifier

TOKENS = 64
_VOCABULARY = 4000
_SIZE = EncoderSize(_VOCABULARY, TOKENS, 64, 128, 2, 4)
_EPOCHS, _BATCH, _RATE, _SMOOTHING = 5, 32, 2e-3, 0.05
# Of a word that is not to be relied on, one in ten.
_UNKNOWN = 0.1
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_TEXT_BYTES = 1 << 13
_AT_ONCE = 64
_WEIGHTS, _TOKENIZER = "weights.safetensors", "tokenizer.json"
_BUCKET = 16


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A model, what cuts its texts, and its vectors [n, width] of the training slice."""

    module: TextClassifier
    cutter: "Cutter"
    vectors: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Cutter:
    """Texts to rows of tokens [n, most]."""

    rules: TokenRules
    tokenizer: TextTokenizer

    @classmethod
    def of(cls, data: bytes) -> "Cutter":
        sizes = tuple(range(_BUCKET, TOKENS + 1, _BUCKET))
        rules = TokenRules(_VOCABULARY, sizes, tokens.TRUNCATE, _TEXT_BYTES)
        return cls(rules, TextTokenizer.open(data, rules))

    def rows(self, texts: list[str]) -> Ids:
        parts = [
            tokens.resized(
                self.tokenizer.rows([text.encode() for text in texts[at : at + _AT_ONCE]]),
                self.rules.most,
            )
            for at in range(0, len(texts), _AT_ONCE)
        ]
        return np.concatenate(parts)


def made(train: Texts, classes: int, seed: int, kept: Path) -> Made:
    """Trained, or as it lies in the folder `kept`."""
    if not (kept / _WEIGHTS).exists():
        train_model(kept, train, classes, seed)
    cutter = Cutter.of((kept / _TOKENIZER).read_bytes())
    module = TextClassifier(_SIZE, classes)
    module.load_state_dict(load_file(kept / _WEIGHTS))
    module.eval().requires_grad_(False)
    return Made(module, cutter, encoded(module, cutter.rows(train.texts)))


def train_model(kept: Path, train: Texts, classes: int, seed: int) -> None:
    tokenizer = _word_pieces(train.texts)
    rows = Cutter.of(tokenizer).rows(train.texts)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = TextClassifier(_SIZE, classes)
        _descend(module, rows, train.classes)
    kept.mkdir(parents=True, exist_ok=True)
    (kept / _TOKENIZER).write_bytes(tokenizer)
    save_file(module.state_dict(), kept / _WEIGHTS)


def _word_pieces(texts: list[str]) -> bytes:
    cutter = tokenizers.Tokenizer(models.WordPiece(unk_token=_SPECIAL[1]))
    cutter.normalizer = normalizers.BertNormalizer(lowercase=True)
    cutter.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=_VOCABULARY, special_tokens=list(_SPECIAL), show_progress=False
    )
    cutter.train_from_iterator(texts, trainer)
    first, last = (cutter.token_to_id(name) for name in _SPECIAL[2:])
    cutter.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", first), ("[SEP]", last)]
    )
    return cutter.to_str().encode()


def _descend(module: TextClassifier, rows: Ids, classes: Labels) -> None:
    x, y = torch.from_numpy(rows), torch.from_numpy(classes)
    optimizer = torch.optim.AdamW(module.parameters(), weight_decay=1e-2)
    steps = _EPOCHS * -(-len(x) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, steps)
    for _ in range(_EPOCHS):
        for chosen in torch.randperm(len(x)).split(_BATCH):
            ids, label = x[chosen], y[chosen]
            ids = ids[:, : int((ids >= 0).sum(1).max())]
            mask = (ids >= 0).to(torch.int64)
            ids = torch.where(torch.rand(ids.shape) < _UNKNOWN, 1, ids.clamp(min=0))
            logits = module(module(ids), mask)
            loss = functional.cross_entropy(logits, label, label_smoothing=_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
