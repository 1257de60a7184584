"""Where a language model is computed, on simulated machines; this one may have no card."""

import logging
from pathlib import Path

import pytest
import torch

from generation.batching.sampling import draw
from generation.config import GenerationSettings
from generation.models.decoder import LanguageModel
from generation.models.perplexity import score
from generation.serving import generator_server
from generation.serving.generator_server import GeneratorLoader
from inference.llm.request import Sampling
from inference.runtime.providers import TorchDevice
from sealgate.reasons import Reason
from sealgate.settings import ConfigError
from sealgate.trust.receipts.answer_entry import SEPARATE
from tests.integration.generation.test_replays import replay
from tests.support.builders.generated import asked, stream
from tests.support.fakes.placed_tensors import PlacedTensors
from tests.support.fakes.torch_cards import torch_with
from tests.support.harness.generator import generating

pytestmark = pytest.mark.slow

ABSENT = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a card")


@ABSENT
def test_a_card_that_is_not_there_is_refused_at_the_start(tmp_path: Path) -> None:
    left = tmp_path / "copies" / "left"
    left.mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"\[generation\] device = 'cuda:1' cannot be used here"):
        GeneratorLoader(GenerationSettings(tmp_path / "copies", device="cuda:1"))
    assert left.exists()
    GeneratorLoader(GenerationSettings(tmp_path / "copies", device="cuda:1", fallback=True))
    assert not left.exists()


@pytest.mark.parametrize(
    ("cards", "device", "fallback", "found"),
    [
        (2, "cuda", False, "cuda"),
        (1, "cuda", True, "cpu for want of cuda:1"),
        (1, "cuda", False, None),
    ],
)
def test_processes_need_a_card_each(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    cards: int,
    device: str,
    fallback: bool,
    found: str | None,
) -> None:
    monkeypatch.setattr(generator_server, "torch", torch_with(cards))
    caplog.set_level(logging.INFO)
    settings = GenerationSettings(tmp_path, device=device, fallback=fallback, processes=2)
    if found is None:
        with pytest.raises(ConfigError, match="device = 'cuda:1' cannot be used here"):
            GeneratorLoader(settings)
        return
    GeneratorLoader(settings)
    assert f"language models are computed on {found}" in caplog.text


@pytest.mark.parametrize("device", ["cuda:1", "mps"])
def test_processes_cannot_share_one_card(tmp_path: Path, device: str) -> None:
    with pytest.raises(ConfigError, match="processes take the CPU or a GPU each"):
        GenerationSettings(tmp_path, device=device, processes=2)


def test_an_unknown_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[generation\] device = 'gpu' is none of cpu"):
        GenerationSettings(tmp_path, device="gpu")


def test_prompts_are_measured_where_the_model_is(decoder: LanguageModel) -> None:
    ids = tuple(range(3, 40))
    before = score(decoder.model, ids, 16)
    with PlacedTensors():
        assert score(decoder.model, ids, 16) == before
        assert len(decoder.greedy(ids, 4)) <= 4
    with pytest.raises(NotImplementedError, match="meta"):
        draw(torch.zeros(8, device="meta"), Sampling(1, 1.0), 1)


def test_entries_name_the_card_and_replays_keep_to_its_kind(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card that computes here: torch's name for it is the CPU's."""
    card = TorchDevice("cpu", "cuda", "Simulated card")
    monkeypatch.setattr(generator_server, "select_device", lambda *_: card)
    with generating(tmp_path / "state", folder) as harness:
        found = [one.infer_response for one in stream(harness, asked(receipt=True, max_tokens=4))]
        receipt = found[-1].parameters["receipt"].string_param
        assert harness.entries(0)[-1]["engine"] == f"{SEPARATE}; on cuda (Simulated card)"
        assert replay(harness, receipt, "--max-tokens", "4") == Reason.RECEIPT_MISMATCH.name
