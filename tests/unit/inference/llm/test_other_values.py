"""Files of a version whose values are of other types than they should be: refused, each with its
reason, and never with another exception.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inference.llm.terms import GeneratorTerms, PromptScreen
from inference.model.config import ModelConfig, TrainingDataInfo
from inference.screening.detector import Detector
from inference.text.tokenizer import TextTokenizer
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.text_models import RULES, config, tokenizer_json
from tests.support.builders.models.version_files import VersionFiles, compared
from tests.support.builders.other_values import exchanged

COLUMNS = Path(__file__).parents[4] / "demo" / "models" / "breast-cancer" / "model.json"
SCREEN = PromptScreen(16, 5.5, 0.05, 0.9, 60, 0.4)
TERMS = GeneratorTerms(
    "tiny", "small", "tests", TrainingDataInfo("a manual", "PSF"), 64, 32, SCREEN
)
MODELS: dict[str, dict[str, Any]] = {
    "WordLevel": {},
    "WordPiece": {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {"[UNK]": 0, "[CLS]": 2, "[SEP]": 3},
    },
    "Unigram": {
        "type": "Unigram",
        "unk_id": 0,
        "vocab": [["a", -1.0], ["b", -2.0]],
        "byte_fallback": False,
    },
    "BPE": {
        "type": "BPE",
        "dropout": None,
        "unk_token": "a",
        "continuing_subword_prefix": None,
        "vocab": {"a": 0, "b": 1, "ab": 2},
        "merges": ["a b"],
    },
}
SEQUENCES = {
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]},
    "pre_tokenizer": {
        "type": "Sequence",
        "pretokenizers": [{"type": "Whitespace"}, {"type": "Digits", "individual_digits": True}],
    },
}


def check(document: Any, write: Callable[[Any], bytes], read: Callable[[bytes], object]) -> None:
    """Every document that differs from this one is read, or refused with a reason."""
    for other in exchanged(document):
        try:
            data = write(other)
        except SealgateError:
            # Not every value has a canonical form.
            continue
        assert _reason(read, data) is not Reason.INTERNAL


def _reason(read: Callable[[bytes], object], data: bytes) -> Reason | None:
    try:
        read(data)
    except SealgateError as refusal:
        return refusal.reason
    return None


def written(document: Any) -> bytes:
    return json.dumps(document).encode()


def few(values: Any) -> Any:
    """The document with no more than three values of each list."""
    if isinstance(values, dict):
        return {name: few(value) for name, value in values.items()}
    return [few(value) for value in values[:3]] if isinstance(values, list) else values


@pytest.mark.parametrize("model", MODELS)
def test_tokenizer(model: str) -> None:
    document = few_words(json.loads(tokenizer_json())) | {"normalizer": None}
    document["model"] = MODELS[model] or document["model"]
    check(document, written, lambda data: TextTokenizer.open(data, RULES))


def test_tokenizer_of_sequences() -> None:
    document = few_words(json.loads(tokenizer_json())) | SEQUENCES
    check(document, written, lambda data: TextTokenizer.open(data, RULES))


def few_words(document: dict[str, Any]) -> dict[str, Any]:
    document["model"]["vocab"] = dict(list(document["model"]["vocab"].items())[:5])
    return document


@pytest.mark.parametrize("kind", [[], ["WordLevel"], {}, {"WordLevel": 1}, 1, None, True])
@pytest.mark.parametrize("part", ["model", "normalizer", "pre_tokenizer", "decoder"])
def test_tokenizer_whose_type_is_no_text(part: str, kind: Any) -> None:
    document = json.loads(tokenizer_json())
    document[part] = {**(document[part] or {}), "type": kind}
    with pytest.raises(SealgateError) as refused:
        TextTokenizer.open(written(document), RULES)
    assert refused.value.reason is Reason.FORMAT_REFUSED


def test_tokenizer_that_makes_its_library_panic() -> None:
    document = json.loads(tokenizer_json())
    document["post_processor"]["special_tokens"] = {}
    with pytest.raises(SealgateError) as refused:
        TextTokenizer.open(written(document), RULES)
    assert refused.value.reason is Reason.FORMAT_REFUSED


def test_tokenizer_of_sequences_within_one_another() -> None:
    part: dict[str, Any] = {"type": "NFC"}
    for _ in range(400):
        part = {"type": "Sequence", "normalizers": [part]}
    document = json.loads(tokenizer_json()) | {"normalizer": part}
    with pytest.raises(SealgateError) as refused:
        TextTokenizer.open(written(document), RULES)
    assert refused.value.reason is Reason.FORMAT_REFUSED


def test_model_of_text() -> None:
    check(json.loads(config().encode()), canonical.encode, ModelConfig.decode)


def test_model_of_columns() -> None:
    check(few(json.loads(COLUMNS.read_bytes())), written, ModelConfig.read)


def test_detector() -> None:
    files = VersionFiles.of(Perceptron.random(1))
    document = few(json.loads(compared(files.detector).encode()))
    check(document, canonical.encode, Detector.decode)


def test_terms_of_a_language_model() -> None:
    check(json.loads(TERMS.encode()), canonical.encode, GeneratorTerms.decode)
