"""Windows as a recipe asks for them: what is trained, and what publishing makes of the graph."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from inference.text import tokens
from inference.text.tokens import NO_TOKEN, Ids
from publishing.quantization import quantize
from publishing.watermark import embed_mark
from publishing.watermark.detection import read_code, weights_of
from tests.support.builders.models.demo_models import opened
from tests.support.builders.models.text_models import MARK, RULES, rows_of, sentences
from tests.support.builders.training import recipes
from tests.support.builders.training.runs import make
from training.data import RunData
from training.export.long_text import export_long_serving
from training.models import students
from training.models.encoder import EncoderSize, TextClassifier
from training.models.long_encoder import AttentionReach, LongTextClassifier, lengthened
from training.recipe.recipe import Recipe
from training.run.sources import read_rows

WINDOWS = 'width = 32\nattention = "window"\nwhole = 16\nblock = 8\n'
SIZE = EncoderSize(vocabulary=128, positions=32, width=64, inner=128, layers=1, heads=2)


def windows(folder: Path) -> Path:
    recipe = recipes.texts(folder)
    recipe.write_text(recipe.read_text().replace("width = 32\n", WINDOWS))
    return recipe


@pytest.mark.usefixtures("unexported")
def test_a_recipe_trains_them(tmp_path: Path) -> None:
    made = make(windows(tmp_path), tmp_path / "made")
    assert made.report["accuracy"] > 0.8


def test_a_recipe_s_student_reaches_as_it_says(tmp_path: Path) -> None:
    asked = Recipe.read(windows(tmp_path))
    read = read_rows(asked.data, (tmp_path / "tokenizer.json").read_bytes())
    made = students.make(asked.student, RunData.cut(read, asked.data).read)
    assert isinstance(made, LongTextClassifier)
    assert made.reach == AttentionReach(16, 8)
    assert made.positions.num_embeddings == 32


@pytest.fixture(scope="module")
def graph() -> bytes:
    torch.manual_seed(1)
    module = lengthened(TextClassifier(SIZE, 2), RULES.most, AttentionReach(16, 8)).eval()
    return export_long_serving(module)


def logits(model: bytes, rows: Ids) -> np.ndarray:
    found: np.ndarray = RULES.run(rows, lambda part: tuple(opened(model).run(None, fed(part))))[0]
    return found


def fed(rows: Ids) -> dict[str, np.ndarray]:
    return tokens.feeds(rows)


def test_their_graph_is_marked_and_quantized(graph: bytes) -> None:
    rows = rows_of(sentences(2, 60)[0])
    assert {RULES.buckets[-1], 16} <= set(RULES.widths(rows))
    marked = embed_mark(graph, graph, MARK)
    int8 = quantize(marked.serving, "text", rows)
    read = read_code(weights_of("model.onnx", int8), marked.code, marked.slots)
    assert read.found
    assert sum(node.op_type == "QuantizeLinear" for node in onnx.load_from_string(int8).graph.node)
    before, after = logits(marked.serving, rows), logits(int8, rows)
    assert np.abs(before - after).max() < 0.1 * np.ptp(before)
    alone = np.concatenate([logits(int8, row[None]) for row in rows[:20]])
    assert np.array_equal(alone, after[:20])
    assert (rows == NO_TOKEN).any()


def test_weights_that_loops_read_carry_the_mark(graph: bytes) -> None:
    names = {slot.name for slot in embed_mark(graph, graph, MARK).slots}
    parts = ("query", "key", "value", "mixed", "inner", "outer")
    assert {f"layers.0.{part}.weight" for part in parts} <= names
