"""A server of OpenAI's protocol would answer with full attention what was published for windows."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from inference.backends.openai.generator import OpenAiEngine
from inference.llm.terms import FILES, TERMS, AttentionWindows, GeneratorTerms
from inference.model.config import TrainingDataInfo
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from sealgate.trust.statements import Manifest

PLAIN = GeneratorTerms("tiny", "small", "tests", TrainingDataInfo("text", "PSF"), 64, 32, None)


class Files:
    """A `FileSource`."""

    def __init__(self, terms: GeneratorTerms) -> None:
        self.by_name = dict.fromkeys(FILES, b"{}") | {"model.safetensors": b""}
        self.by_name[TERMS] = terms.encode()

    def read(self, digest: str) -> bytes:
        return next(data for data in self.by_name.values() if sha256(data) == digest)


def load(terms: GeneratorTerms) -> Any:
    files = Files(terms)
    pointer = SimpleNamespace(model="tiny", version=1, digest="sha256:" + "0" * 64)
    cleared: Any = SimpleNamespace(manifest=Manifest.of(files.by_name), pointer=pointer)
    return OpenAiEngine(None, "vllm", "{model}").load(cleared, files, None)  # type: ignore[arg-type]


def test_windows_are_refused() -> None:
    with pytest.raises(SealgateError) as found:
        load(replace(PLAIN, attention=AttentionWindows(4, (64, 64))))
    assert found.value.reason is Reason.ENGINE_UNSUITABLE
    assert found.value.detail == "an OpenAI server does not obey attention windows"
