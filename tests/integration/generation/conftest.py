"""Tiny models, and an installation that answers with one, which tests of generation share."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from generation.batching.causal_batches import CausalBatches
from generation.config import GenerationSettings
from generation.models.decoder import LanguageModel
from tests.support.builders.models import tiny_decoder, tiny_translator
from tests.support.harness import shared_run
from tests.support.harness.clients.http_client import HTTP, HttpClient, client_of
from tests.support.harness.generator import GeneratorHarness, generating

_LISTENERS = f'{HTTP}\n[metrics]\nlisten = "127.0.0.1:0"\n'


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = shared_run.made_once("tiny-decoder", lambda place: tiny_decoder.make(place / "tiny"))
    return Path(shutil.copytree(made / "tiny", tmp_path_factory.mktemp("decoder") / "tiny"))


@pytest.fixture(scope="session")
def decoder(folder: Path) -> LanguageModel:
    return LanguageModel.read(folder)


@pytest.fixture(scope="session")
def harness(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[GeneratorHarness]:
    """For tests that leave its policy, its versions and its generator as they are."""
    with generating(tmp_path_factory.mktemp("shared") / "state", folder, _LISTENERS) as harness:
        yield harness


@pytest.fixture
def client(harness: GeneratorHarness) -> Iterator[HttpClient]:
    client = client_of(harness)
    yield client
    client.close()


@pytest.fixture(scope="session")
def translator_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = shared_run.made_once("translator", lambda place: tiny_translator.make(place / "tiny"))
    return Path(shutil.copytree(made / "tiny", tmp_path_factory.mktemp("translator") / "tiny"))


@pytest.fixture(scope="session")
def translator(translator_folder: Path) -> LanguageModel:
    return LanguageModel.read(translator_folder)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> GenerationSettings:
    return GenerationSettings(
        tmp_path_factory.mktemp("generation") / "copies",
        cache_tokens=1024,
        page_tokens=16,
        step_tokens=128,
        queue=8,
    )


@pytest.fixture(scope="module")
def batches(decoder: LanguageModel, settings: GenerationSettings) -> Iterator[CausalBatches]:
    yield from running(decoder, settings)


@pytest.fixture
def own_batches(decoder: LanguageModel, settings: GenerationSettings) -> Iterator[CausalBatches]:
    """For a test that breaks them."""
    yield from running(decoder, settings)


def running(decoder: LanguageModel, settings: GenerationSettings) -> Iterator[CausalBatches]:
    batches = CausalBatches(decoder.model, decoder.ends, settings)
    yield batches
    batches.close()
