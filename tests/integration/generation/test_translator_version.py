"""From a T5's folder to a signed version, and from its verified files to one that answers."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from generation.config import GenerationSettings
from generation.models.decoder import LanguageModel
from generation.models.folder import GoldenAnswers
from generation.models.int8 import Int8Embedding, Int8Linear
from generation.publishing.builder import BuiltGenerator
from generation.serving.generator_version import GeneratorVersion
from inference.llm.request import Sampling, SamplingRequest
from inference.llm.terms import GOLDEN, INT8, TERMS, GeneratorTerms, PromptScreen
from publishing.watermark import MARK_THRESHOLD
from publishing.watermark.detection import read_code, weights_of
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Evidence
from tests.integration.generation.test_version import ABOUT, build
from tests.support.builders.models.tiny_translator import loss, prompts

pytestmark = pytest.mark.slow

# So small a model is moved by its mark.
LOSS = 0.05
SCREEN = PromptScreen(16, 5.5, 0.05, 0.9, 60, 0.4)


@pytest.fixture(scope="module")
def built(translator_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> BuiltGenerator:
    made = tmp_path_factory.mktemp("built") / "made"
    return build(translator_folder, made, loss=LOSS, given=prompts(12))


@pytest.fixture
def copy(built: BuiltGenerator, tmp_path: Path) -> Path:
    return shutil.copytree(built.package.files[TERMS].parent, tmp_path / "copy")


def refused(folder: Path, settings: GenerationSettings) -> Reason:
    with pytest.raises(SealgateError) as found:
        GeneratorVersion.build("sha256:" + "0" * 64, folder, settings).close()
    return found.value.reason


def test_it_has_learned_something(translator_folder: Path, translator: LanguageModel) -> None:
    untrained = type(translator.model)(translator.model.config).eval()
    assert loss(translator_folder, translator.model) < 0.8 * loss(translator_folder, untrained)


def test_its_evidence_says_that_prompts_are_not_measured(built: BuiltGenerator) -> None:
    items = [Evidence.decode(Envelope.decode(item).payload) for item in built.package.evidence]
    bodies = {item.kind: item.body for item in items}
    report = bodies["screening-report"]
    assert report["measure"].startswith("none")
    assert "window" not in report
    check = bodies["watermark-check"]
    assert min(check[form]["z"] for form in ("stored", "int8")) > MARK_THRESHOLD
    assert check["perplexity"]["marked"] / check["perplexity"]["unmarked"] < 1 + LOSS
    assert GeneratorTerms.decode(built.package.files[TERMS].read_bytes()).screening is None
    card = bodies["mlbom"]["metadata"]["component"]["modelCard"]
    assert card["modelParameters"]["task"] == "text2text-generation"


def test_its_mark_is_read_and_leaves_tables_alone(
    built: BuiltGenerator, translator_folder: Path
) -> None:
    data = built.package.files["model.safetensors"].read_bytes()
    record = built.mark
    assert read_code(weights_of("model.safetensors", data), record.code, record.slots).found
    names = {slot.name for slot in record.slots}
    assert "encoder.block.0.layer.0.SelfAttention.q.weight" in names
    assert not any("shared" in name or "relative_attention_bias" in name for name in names)


def test_a_version_answers_its_golden_prompts(
    built: BuiltGenerator, copy: Path, settings: GenerationSettings
) -> None:
    version = GeneratorVersion.build(built.package.manifest.digest, copy, settings)
    try:
        golden = GoldenAnswers.decode((copy / GOLDEN).read_bytes()).answers[0]
        asked = SamplingRequest(golden.prompt.encode(), False, Sampling(8))
        prompt = version.read(asked, time.monotonic() + 60, lambda: True)
        assert (prompt.ids, prompt.score) == (golden.prompt_ids, None)
        with version.answer(prompt, Sampling(8), time.monotonic() + 60, lambda: True) as pieces:
            ids = [token for piece in pieces for token in piece.ids]
        assert tuple(ids) == golden.ids[:8]
    finally:
        version.close()


def test_a_version_of_int8_answers_its_golden_prompts(
    translator_folder: Path, tmp_path: Path, settings: GenerationSettings
) -> None:
    made = tmp_path / "made"
    about = replace(ABOUT, precision=INT8)
    int8 = build(translator_folder, made, about, loss=LOSS, given=prompts(12))
    told = int8.findings.perplexities
    assert told.served != told.marked
    assert told.served == pytest.approx(told.marked, rel=0.02)
    GeneratorVersion.build(int8.package.manifest.digest, made, settings).close()


def test_every_matrix_is_rounded_and_the_table_is_there_once(translator_folder: Path) -> None:
    model = LanguageModel.read(translator_folder, INT8).model
    tables = [model.shared, model.encoder.embed_tokens, model.decoder.embed_tokens, model.lm_head]
    assert len({table.weight.data_ptr() for table in tables}) == 1
    assert all(isinstance(table, Int8Embedding) for table in tables[:-1])
    assert isinstance(model.lm_head, Int8Linear)
    left = {name for name, each in model.named_parameters() if each.dim() > 1}
    assert left == set()


def test_other_weights_are_found_out(
    copy: Path, settings: GenerationSettings, translator: LanguageModel
) -> None:
    torch.manual_seed(3)
    type(translator.model)(translator.model.config).save_pretrained(copy)
    assert refused(copy, settings) is Reason.GOLDEN_MISMATCH


def test_what_has_no_room_is_refused(copy: Path, settings: GenerationSettings) -> None:
    terms = GeneratorTerms.decode((copy / TERMS).read_bytes())
    (copy / TERMS).write_bytes(replace(terms, prompt_tokens=4000).encode())
    assert refused(copy, settings) is Reason.ENGINE_UNSUITABLE


def test_terms_that_promise_a_screen_are_refused(copy: Path, settings: GenerationSettings) -> None:
    terms = GeneratorTerms.decode((copy / TERMS).read_bytes())
    (copy / TERMS).write_bytes(replace(terms, screening=SCREEN).encode())
    assert refused(copy, settings) is Reason.ENGINE_UNSUITABLE


@pytest.mark.parametrize(
    "change",
    [
        {"is_encoder_decoder": False},
        {"is_decoder": True},
        {"decoder_start_token_id": None},
        {"decoder_start_token_id": 512},
        {"model_type": "umt5"},
    ],
)
def test_configurations_that_are_refused(copy: Path, change: dict[str, object]) -> None:
    path = copy / "config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    with pytest.raises(SealgateError) as found:
        LanguageModel.read(copy)
    assert found.value.reason is Reason.CHECKPOINT_REFUSED
