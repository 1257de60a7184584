"""Distillation of language models: from a teacher's probabilities and hidden vectors."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from sealgate.reasons import Reason, SealgateError
from training.models.encoder import EncoderSize, TextClassifier
from training.models.students import Convolution, Decoder, Perceptron, vector_width
from training.recipe.sections import DISTIL, TRAIN, RecipeStep
from training.run.language import ProseTask, ask_of
from training.steps.descent import descend
from training.steps.distillation import Distillation, TrainingBatch
from training.steps.runner import objective_of

VOCABULARY = 20
X = torch.randint(VOCABULARY, (64, 8), generator=torch.Generator().manual_seed(1))
ROWS = TrainingBatch(X, torch.zeros(64))
STEP = RecipeStep(DISTIL, epochs=10, batch=16, learning_rate=1e-2, weight=1.0, hidden=5.0)


def decoder(width: int, seed: int) -> Decoder:
    torch.manual_seed(seed)
    return Decoder(VOCABULARY, positions=16, width=width, layers=1, heads=2)


def task(width: int | None = 32) -> ProseTask:
    """A teacher of vectors 32 wide, which says so where `width` does."""
    theirs = decoder(32, seed=2).eval()

    def ask(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            vectors, logits = theirs.answers(rows)
        return logits, vectors

    return ProseTask(ROWS, ask, width)


@pytest.mark.parametrize(
    "student",
    [
        decoder(16, seed=1),
        Perceptron(6, 16, 2, 3),
        Convolution((1, 8, 8), 16, 3, 3),
        TextClassifier(EncoderSize(50, 32, 16, 32, 1, 2), 2),
    ],
)
def test_a_student_has_vectors_of_one_width(student: torch.nn.Module) -> None:
    assert vector_width(student) == 16


def test_a_decoder_approaches_its_teachers_hidden_vectors() -> None:
    taught, student = task(), decoder(16, seed=1)
    objective = objective_of(STEP, student, taught)
    assert isinstance(objective, Distillation)
    batch = taught.take(torch.arange(64))

    def near() -> float:
        with torch.no_grad():
            ours = objective.bridge(student.answers(X)[0])
        return float(torch.nn.functional.cosine_similarity(ours, batch.vectors).mean())

    before = near()
    descend(student, objective, taught, STEP, 1)
    assert near() > before + 0.2


def test_a_teacher_without_hidden_vectors_is_refused() -> None:
    with pytest.raises(SealgateError) as refused:
        objective_of(STEP, decoder(16, seed=1), task(width=None))
    assert refused.value.reason is Reason.RECIPE_INVALID
    assert "no hidden vectors" in refused.value.detail


def test_text_alone_has_no_teacher() -> None:
    alone = ProseTask(ROWS)
    batch = alone.take(torch.arange(2))
    assert (alone.taught, alone.vector_width, batch.logits, batch.vectors) == (False, *[None] * 3)
    assert objective_of(RecipeStep(TRAIN), decoder(16, seed=1), alone)


def test_a_teacher_is_asked_for_its_first_tokens_alone() -> None:
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(decoder(16, seed=1).config).eval()
    logits, vectors = ask_of(model, VOCABULARY - 4)(X[:2])
    with torch.no_grad():
        whole = model(input_ids=X[:2], output_hidden_states=True)
    expected = whole.logits[:, :-1, : VOCABULARY - 4].flatten(0, 1)
    assert torch.allclose(logits, expected, atol=1e-5)
    assert torch.allclose(vectors, whole.hidden_states[-1][:, :-1].flatten(0, 1), atol=1e-5)
