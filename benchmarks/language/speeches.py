"""State of the Union addresses as rows of tokens: read, chosen on, and seen by nobody.

Every other address is read, one in ten is held out for each purpose, and the others are left out
to save time: no page stands in two parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from benchmarks.training.rows import KEPT

TOKENS, VOCABULARY = 64, 1024
_SPEECHES = KEPT / "speeches" / "package" / "data"
_EVERY, _CHOSEN, _UNSEEN = 10, 3, 7
_ORDER_SEED = 20261130


@dataclass(frozen=True, slots=True)
class SpeechRows:
    """Rows of tokens int64 [n, TOKENS]; those that are read are shuffled."""

    tokenizer: Path
    text: Path
    read: torch.Tensor
    chosen: torch.Tensor
    unseen: torch.Tensor


def speeches(folder: Path, chosen: int, unseen: int) -> SpeechRows:
    """The rows, of `chosen` and `unseen` so many; the tokenizer, of the addresses that are read,
    and their text are written to `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = [path.read_text() for path in sorted(_SPEECHES.glob("*.txt"))]
    parts = held_out(texts)
    place, text = folder / "tokenizer.json", folder / "read.txt"
    if not place.exists():
        _tokenizer(parts[0]).save(str(place))
    text.write_text("\n".join(parts[0]))
    tokenizer = Tokenizer.from_file(str(place))
    read, first, second = (_rows(tokenizer, part) for part in parts)
    drawn = np.random.default_rng(_ORDER_SEED)
    order = torch.from_numpy(drawn.permutation(len(read)))
    few = [
        rows[torch.from_numpy(drawn.permutation(len(rows))[:count])]
        for rows, count in ((first, chosen), (second, unseen))
    ]
    return SpeechRows(place, text, read[order], *few)


def held_out(texts: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Those that are read, those that settings are chosen on, and those that nobody sees."""
    parts: tuple[list[str], list[str], list[str]] = ([], [], [])
    for at, text in enumerate(texts):
        if at % 2 == 0:
            parts[0].append(text)
        elif at % _EVERY in (_CHOSEN, _UNSEEN):
            parts[1 + (at % _EVERY == _UNSEEN)].append(text)
    return parts


def _rows(tokenizer: Tokenizer, texts: Sequence[str]) -> torch.Tensor:
    ids = torch.tensor([id for text in texts for id in tokenizer.encode(text).ids])
    return ids[: len(ids) // TOKENS * TOKENS].reshape(-1, TOKENS)


def _tokenizer(texts: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
