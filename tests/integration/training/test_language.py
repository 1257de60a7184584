"""A small language model, distilled from a larger one by a recipe."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from generation.models.decoder import LanguageModel as Served
from publishing.source.folder import Origin
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models import tiny_checkpoints, tiny_decoder
from tests.support.builders.models.text_models import tokenizer_json
from tests.support.builders.training import recipes
from tests.support.builders.training.runs import make, refused
from training.models.checkpoints import take_in
from training.models.students import Decoder, following, next_right, perplexity
from training.recipe.recipe import SliceSizes
from training.recipe.sections import DISTIL, RecipeStep
from training.run import language
from training.run.finishing import FinishedRun
from training.run.language import ProseTask
from training.steps import descent
from training.steps.descent import descend
from training.steps.distillation import Distillation, TrainingBatch, gap

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe with its text and its teacher."""
    found = tmp_path_factory.mktemp("language")
    take_in(tiny_decoder.make(found / "saved", steps=60), found / "teacher")
    (found / "prose.txt").write_text(tiny_decoder.texts()[0][:30_000])
    recipes.prose(found)
    return found


@pytest.fixture(scope="module")
def made(folder: Path) -> FinishedRun:
    return make(folder / "prose.toml", folder / "made")


def test_the_folder_is_a_language_model_that_has_learnt(made: FinishedRun) -> None:
    served = Served.read(made.model)
    text = tiny_decoder.texts()[1][:8000]
    ids = torch.tensor(served.tokenizer.encode(text).ids)
    rows = ids[: len(ids) // 32 * 32].reshape(-1, 32)
    with torch.no_grad():
        found = float(served.model(input_ids=rows, labels=rows).loss)
    # Nobody who has read nothing does better than its logarithm.
    assert found < math.log(tiny_decoder.VOCABULARY) - 0.8
    assert made.report["perplexity"] == pytest.approx(math.exp(found), rel=0.3)
    prompts = json.loads(made.data.read_bytes())
    assert len(prompts) == 80
    assert all(served.tokenizer.encode(prompt).ids for prompt in prompts)


def test_its_provenance_names_teacher_and_text(made: FinishedRun) -> None:
    data = (made.model / "provenance.json").read_bytes()
    files = {path.name: path.read_bytes() for path in made.model.iterdir()}
    files.pop("provenance.json")
    Origin.decode(data).check(files)
    listed = json.loads(data)["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert {"parent: checkpoint saved", "data: prose.txt"} <= {one.get("name") for one in listed}


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(
    made: FinishedRun, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, kept = descent.keep_checkpoint, []

    def keep(*given: object) -> None:
        whole(*given)  # type: ignore[arg-type]
        kept.append(given)
        if len(kept) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(descent, "keep_checkpoint", keep)
        with pytest.raises(KeyboardInterrupt):
            make(folder / "prose.toml", folder / "stopped")
    again = make(folder / "prose.toml", folder / "stopped")
    name = "model.safetensors"
    assert (again.model / name).read_bytes() == (made.model / name).read_bytes()


def test_every_place_is_a_row_with_what_comes_next() -> None:
    torch.manual_seed(1)
    net = Decoder(vocabulary=20, positions=16, width=16, layers=1, heads=2)
    x = torch.randint(20, (4, 7), generator=torch.Generator().manual_seed(1))
    vectors, logits = net.answers(x)
    assert (vectors.shape, logits.shape) == ((24, 16), (24, 20))
    torch.manual_seed(1)
    whole = AutoModelForCausalLM.from_config(net.config).eval()
    whole.model.load_state_dict(net.model.state_dict())
    with torch.no_grad():
        told = whole(input_ids=x)
        loss = whole(input_ids=x, labels=x).loss
    assert torch.allclose(logits.unflatten(0, (4, 6)), told.logits[:, :-1], atol=1e-5)
    assert perplexity(net, x) == pytest.approx(float(loss.exp()), rel=1e-4)
    right = (told.logits[:, :-1].argmax(2) == x[:, 1:]).float().mean()
    assert next_right(net, x) == pytest.approx(float(right))
    asked = ProseTask(
        TrainingBatch(x, torch.zeros(4)),
        lambda rows: (-logits[: len(rows) * 6].detach(), vectors[: len(rows) * 6].detach()),
    )
    batch = asked.take(torch.tensor([0, 1]))
    assert torch.equal(batch.y, following(x[:2]))
    step = RecipeStep(DISTIL, temperature=2.0, weight=1.0)
    expected = 4 * gap(-logits[:12], logits[:12], 2 * torch.ones(12)).mean()
    assert torch.allclose(Distillation(step)(net, batch, 0.0), expected, atol=1e-4)


def test_a_decoder_approaches_what_its_teacher_says() -> None:
    torch.manual_seed(2)
    theirs = Decoder(vocabulary=20, positions=16, width=32, layers=1, heads=2).eval()
    theirs.model.embed_tokens.weight.data *= 20
    ours = Decoder(vocabulary=20, positions=16, width=32, layers=1, heads=2)
    x = torch.randint(20, (128, 8), generator=torch.Generator().manual_seed(1))

    def ask(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            vectors, logits = theirs.answers(rows)
        return logits, vectors

    step = RecipeStep(DISTIL, epochs=20, batch=32, learning_rate=1e-2, temperature=1.0, weight=1.0)
    losses: list[float] = []
    corpus = ProseTask(TrainingBatch(x, torch.zeros(128)), ask)
    descend(ours, Distillation(step), corpus, step, 1, lambda now: losses.append(now.loss))
    assert losses[-1] < losses[0] / 2


def test_a_teacher_of_other_tokens_is_refused(folder: Path, tmp_path: Path) -> None:
    recipe = recipes.prose(tmp_path)
    (tmp_path / "other.json").write_bytes(tokenizer_json())
    tokens = "tokens = 32", 'tokens = 32\ntokenizer = "other.json"'
    paths = ('"teacher"', f'"{folder / "teacher"}"'), ('"prose.txt"', f'"{folder / "prose.txt"}"')
    text = recipe.read_text()
    for old, new in (tokens, *paths):
        text = text.replace(old, new)
    recipe.write_text(text.replace("200", "30").replace("80", "8").replace("20", "5"))
    found = refused(recipe, tmp_path / "made")
    assert found.reason is Reason.RECIPE_INVALID
    assert "another tokenizer" in found.detail


def test_a_teacher_of_another_family_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = tiny_checkpoints.imported(tmp_path, "t5", (folder / "saved/tokenizer.json").read_bytes())
    recipe = recipes.prose(tmp_path)
    text = recipe.read_text().replace('"teacher"', f'"{copy}"')
    recipe.write_text(text.replace('"prose.txt"', f'"{folder / "prose.txt"}"'))
    found = refused(recipe, tmp_path / "made")
    assert found.reason is Reason.RECIPE_INVALID
    assert "needs a decoder as teacher" in found.detail


@pytest.mark.parametrize(
    ("tokenizer", "text", "reason"),
    [
        (None, b"words", Reason.RECIPE_INVALID),
        (b"{}", b"words", Reason.FORMAT_REFUSED),
        (tokenizer_json(), b"\xff\xfe", Reason.TRAINING_DATA),
    ],
)
def test_prose_that_cannot_be_read_is_refused(
    tmp_path: Path, tokenizer: bytes | None, text: bytes, reason: Reason
) -> None:
    (tmp_path / "prose.txt").write_bytes(text)
    asked = SliceSizes("prose", train=1, fit=1, calibration=1, path=tmp_path / "prose.txt")
    with pytest.raises(SealgateError) as found:
        language.read_prose(asked, tokenizer)
    assert found.value.reason is reason


def test_prose_is_cut_into_rows_without_a_rest(tmp_path: Path) -> None:
    (tmp_path / "prose.txt").write_text("meet plan note " * 5)
    asked = SliceSizes(
        "prose", train=1, fit=1, calibration=1, path=tmp_path / "prose.txt", tokens=4
    )
    read = language.read_prose(asked, tokenizer_json())
    assert read.x.shape == (3, 4)
    assert len(np.unique(read.x)) == 3
