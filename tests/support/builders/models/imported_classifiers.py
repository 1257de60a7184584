"""A BERT under a head, of the size of the small text model, to be imported and published."""

from functools import cache
from pathlib import Path
from typing import Any

import torch

from inference.model.config import TrainingDataInfo
from inference.text.tokens import Ids, feeds
from tests.support.builders.models import tiny_checkpoints
from tests.support.builders.models.text_models import RULES, rows_of, sentences, tokenizer_json
from training.models.checkpoints import take_in
from training.run.finishing import ImportDescription

LABELS = ("work", "offer")
ABOUT = ImportDescription(
    "triage",
    "a small classifier",
    "sorts made-up letters",
    TrainingDataInfo("made-up sentences", "CC0-1.0"),
)
SIZES = {
    "vocab_size": RULES.vocabulary,
    "max_position_embeddings": RULES.most,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_labels": 2,
    "id2label": dict(enumerate(LABELS)),
    "label2id": {label: place for place, label in enumerate(LABELS)},
}
_TEXTS, _BATCH, _STEPS = 1600, 80, 120


def imported(folder: Path, tokenizer: bytes | None = tokenizer_json()) -> Path:
    """The folder of one that was taken in, of weights at random."""
    return tiny_checkpoints.imported(folder, "bert", tokenizer, **SIZES)


@cache
def trained() -> Any:
    """One that tells the made-up sentences apart."""
    model = tiny_checkpoints.model("bert", **SIZES)
    texts, labels = sentences(1, _TEXTS)
    rows, y = rows_of(texts), torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for step in range(_STEPS):
        at = slice(step * _BATCH % _TEXTS, step * _BATCH % _TEXTS + _BATCH)
        loss = torch.nn.functional.cross_entropy(_logits(model, rows[at]), y[at])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def imported_trained(folder: Path) -> Path:
    """The folder of that one, taken in."""
    saved = folder / "saved"
    trained().save_pretrained(saved)
    (saved / "tokenizer.json").write_bytes(tokenizer_json())
    take_in(saved, folder / "taken")
    return folder / "taken"


def by_torch(rows: Ids) -> torch.Tensor:
    """transformers' answers [n, 2] to rows [n, s]."""
    with torch.no_grad():
        return _logits(trained(), rows)


def _logits(model: Any, rows: Ids) -> torch.Tensor:
    fed = {name: torch.from_numpy(value) for name, value in feeds(rows).items()}
    found: torch.Tensor = model(**fed).logits
    return found
