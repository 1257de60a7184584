"""A decoder split over two processes, held against the same one whole."""

import json
import multiprocessing
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from generation.config import GenerationSettings
from generation.models.decoder import LanguageModel
from generation.models.folder import GoldenAnswer, GoldenAnswers
from generation.models.perplexity import score
from generation.models.split import SplitBatches, SplitDecoder
from generation.models.suffixes import JoinedMeasure, shapes_of
from generation.serving.generator_version import GeneratorVersion
from inference.llm.request import Sampling
from inference.llm.terms import GOLDEN, TERMS, GeneratorTerms, SuffixWeights
from inference.model.config import TrainingDataInfo
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.receipts.answer_entry import SEPARATE
from tests.integration.generation.test_replays import replay
from tests.support.builders.generated import asked, stream
from tests.support.builders.models import tiny_decoder
from tests.support.fakes.blocking_worker import until
from tests.support.harness.generator import GeneratorHarness

pytestmark = pytest.mark.slow

IDS = tuple(range(3, 60))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Llama's architecture, with weights at random; its head is not the embedding."""
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(2)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def whole(folder: Path, dtype: torch.dtype) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()


def logits(folder: Path, dtype: torch.dtype, ids: Sequence[int]) -> np.ndarray:
    with torch.inference_mode():
        found = whole(folder, dtype)(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    return np.asarray(found.double())


def split_logits(folder: Path, dtype: str, ids: Sequence[int]) -> np.ndarray:
    decoder = SplitDecoder(folder, whole(folder, torch.float32).config, 2, dtype=dtype)
    try:
        assert decoder.ready.held < 0.6 * decoder.ready.whole
        return decoder.logits(ids)
    finally:
        decoder.close()


def off(found: np.ndarray, exact: np.ndarray) -> float:
    """The largest difference, relative to the largest logit."""
    return float(np.abs(found - exact).max() / np.abs(exact).max())


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_two_processes_compute_the_same_logits(
    architecture: str, llama: Path, folder: Path
) -> None:
    source = llama if architecture == "llama" else folder
    exact = logits(source, torch.float64, IDS)
    # Norms are computed in float32 whatever the weights are, which hides smaller differences.
    assert off(split_logits(source, "float64", IDS), exact) <= 1e-9
    single = off(logits(source, torch.float32, IDS), exact)
    split = off(split_logits(source, "float32", IDS), exact)
    # Float32 is off by its rounding alone, split or not.
    assert split <= max(3 * single, 2e-6)
    assert split <= 1e-5


@pytest.fixture(scope="module")
def decoder(folder: Path) -> LanguageModel:
    return LanguageModel.read(folder)


@pytest.fixture
def split(folder: Path, decoder: LanguageModel) -> Iterator[SplitDecoder]:
    found = SplitDecoder(folder, decoder.model.config, 2)
    yield found
    found.close()


def test_it_answers_and_scores_as_one_does(
    split: SplitDecoder, decoder: LanguageModel, tmp_path: Path
) -> None:
    settings = GenerationSettings(tmp_path, cache_tokens=1024, page_tokens=16, step_tokens=128)
    one, two = decoder.answers(settings, 128), SplitBatches(split, decoder.ends, 4)
    samplings = (Sampling(12), Sampling(12, temperature=0.8, top_p=0.9, seed=5))
    for sampling in samplings:
        answers = []
        for batches in (one, two):
            with batches.answer(IDS, sampling, time.monotonic() + 60) as ids:
                answers.append(list(ids))
        assert answers[0] == answers[1]
    one.close()
    written = [True] * len(IDS)
    whole_model = LanguageModel.read(Path(decoder.model.name_or_path)).model
    assert split.score(IDS, 16, written, 0.4) == pytest.approx(
        score(whole_model, IDS, 16, written, 0.4), abs=1e-4
    )
    weights = SuffixWeights(5.5, -5.9, -3.2, 1.1, 1.9, -2.9, 0.4)
    joined = JoinedMeasure(weights, shapes_of(decoder.tokenizer, IDS))
    assert split.score(IDS, 16, written, 0.4, joined) == pytest.approx(
        score(whole_model, IDS, 16, written, 0.4, joined), abs=1e-3
    )


def test_a_caller_who_leaves_makes_room_for_the_next(
    split: SplitDecoder, decoder: LanguageModel
) -> None:
    batches = SplitBatches(split, (), 4)
    with batches.answer(IDS, Sampling(100), time.monotonic() + 60) as ids:
        first = next(ids)
    gone: list[bool] = []
    with batches.answer(IDS, Sampling(100), time.monotonic() + 60, lambda: not gone) as ids:
        assert next(ids) == first
        gone.append(True)
        with pytest.raises(SealgateError) as found:
            list(ids)
    assert found.value.reason is Reason.DEADLINE_TOO_SHORT
    with batches.answer(IDS, Sampling(1), time.monotonic() + 60) as ids:
        assert list(ids) == [first]
    assert batches.room.free == 1


def test_the_processes_can_meet_as_long_as_they_live(
    folder: Path, decoder: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first may be ready before the others have made their groups, by the file they met at."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    split = SplitDecoder(folder, decoder.model.config, 2)
    try:
        assert len(list(tmp_path.glob("*/meeting"))) == 1
    finally:
        split.close()
    assert not list(tmp_path.glob("*/meeting"))


def test_a_lost_process_ends_the_others_and_is_told(folder: Path, decoder: LanguageModel) -> None:
    lost = threading.Event()
    split = SplitDecoder(folder, decoder.model.config, 2, on_lost=lost.set)
    split.processes[1].kill()
    assert lost.wait(60)
    until(lambda: not any(process.is_alive() for process in split.processes))
    with pytest.raises(SealgateError) as found:
        split.logits(IDS)
    assert found.value.reason is Reason.ENGINE_UNAVAILABLE


def test_a_command_that_fails_ends_the_model(folder: Path, decoder: LanguageModel) -> None:
    """Of the next one, sums would be completed by a process that still is at this one."""
    lost = threading.Event()
    split = SplitDecoder(folder, decoder.model.config, 2, on_lost=lost.set)
    with pytest.raises(SealgateError) as found:
        split.logits(("no id",))  # type: ignore[arg-type]
    assert found.value.reason is Reason.ENGINE_UNAVAILABLE
    assert lost.wait(60)


def test_heads_that_do_not_come_apart_are_refused(folder: Path, decoder: LanguageModel) -> None:
    with pytest.raises(SealgateError, match="do not come apart over 3 processes") as found:
        SplitDecoder(folder, decoder.model.config, 3)
    assert found.value.reason is Reason.ENGINE_UNSUITABLE


def test_weights_that_do_not_load_are_refused(tmp_path: Path, decoder: LanguageModel) -> None:
    broken = tiny_decoder.make(tmp_path / "tiny", steps=0, layers=1)
    (broken / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(SealgateError) as found:
        SplitDecoder(broken, decoder.model.config, 2)
    assert found.value.reason is Reason.CHECKPOINT_REFUSED
    assert json.loads((broken / "config.json").read_text())["model_type"] == "qwen2"


def test_an_encoder_decoder_is_refused(translator_folder: Path, translator: LanguageModel) -> None:
    with pytest.raises(SealgateError, match="only a decoder") as found:
        SplitDecoder(translator_folder, translator.model.config, 2)
    assert found.value.reason is Reason.ENGINE_UNSUITABLE


def test_a_split_version_is_served_and_replayed_whole(tmp_path: Path, folder: Path) -> None:
    harness = GeneratorHarness(tmp_path / "state")
    with (harness.state / "generator.toml").open("a") as configuration:
        configuration.write("processes = 2\n")
    harness.start_generator()
    try:
        harness.start()
        harness.publish_generator(folder)
        harness.promote("tiny", 1)
        drawn = {"max_tokens": 8, "temperature": 0.7, "top_p": 0.9, "seed": 11}
        found = [one.infer_response for one in stream(harness, asked(receipt=True, **drawn))]
        assert harness.entries(0)[-1]["engine"] == f"{SEPARATE}; on cpu, 2 processes"
        receipt = found[-1].parameters["receipt"].string_param
        words = ("--max-tokens", "8", "--temperature", "0.7", "--top-p", "0.9", "--seed", "11")
        assert replay(harness, receipt, *words)["answer"] == "the same to its end"
    finally:
        harness.stop()
        harness.stop_generator()


def test_a_split_version_that_fails_its_checks_leaves_no_process(
    tmp_path: Path, folder: Path
) -> None:
    """It measures prompts, and its terms have no screen for that."""
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    data = TrainingDataInfo("nothing", "none")
    (copy / TERMS).write_bytes(GeneratorTerms("tiny", "", "tests", data, 96, 64, None).encode())
    golden = GoldenAnswers((GoldenAnswer("a", (1,), (2,)),))
    (copy / GOLDEN).write_bytes(golden.encode())
    before = set(multiprocessing.active_children())
    settings = GenerationSettings(tmp_path / "copies", processes=2)
    with pytest.raises(SealgateError) as found:
        GeneratorVersion.build("sha256:" + "0" * 64, copy, settings)
    assert found.value.reason is Reason.ENGINE_UNSUITABLE
    assert set(multiprocessing.active_children()) == before
