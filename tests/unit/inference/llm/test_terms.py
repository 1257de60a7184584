"""`generator.json` and the names of a generator's files, read strictly."""

import json
from dataclasses import replace
from typing import Any

import pytest

from inference.llm.request import Sampling
from inference.llm.terms import (
    FILES,
    INT8,
    INT8_INTEGER,
    PRECISIONS,
    AttentionWindows,
    GeneratorTerms,
    NoClassifier,
    PromptScreen,
    SuffixWeights,
    check_paths,
)
from inference.model.config import TrainingDataInfo
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from sealgate.trust.receipts.answer_entry import ARITHMETICS

SCREEN = PromptScreen(16, 5.5, 0.05, 0.9, 60, 0.4)
WEIGHTS = SuffixWeights(5.5, -5.9, -3.2, 1.1, 1.9, -2.9, 0.4)
TERMS = GeneratorTerms(
    "tiny", "small", "tests", TrainingDataInfo("a manual", "PSF"), 64, 32, SCREEN
)


def changed(screening: dict[str, Any] | None = None, **change: Any) -> GeneratorTerms:
    return replace(TERMS, screening=replace(SCREEN, **(screening or {})), **change)


def test_terms_are_read_again() -> None:
    unmeasured = replace(TERMS, screening=None)
    rounded = [changed(precision=each) for each in (INT8, INT8_INTEGER)]
    weighed = changed({"weights": WEIGHTS})
    for terms in (TERMS, weighed, *rounded, unmeasured, replace(unmeasured, precision=INT8)):
        assert GeneratorTerms.decode(terms.encode()) == terms
    assert b"weights" not in TERMS.encode()
    assert b"precision" not in TERMS.encode()
    assert b"screening" not in unmeasured.encode()


def test_entries_may_name_each_precision() -> None:
    assert set(PRECISIONS) <= set(ARITHMETICS)


def test_windows_are_part_of_the_terms() -> None:
    windowed = replace(TERMS, attention=AttentionWindows(4, (64, 0)))
    assert GeneratorTerms.decode(windowed.encode()) == windowed
    assert json.loads(windowed.encode()) == json.loads(TERMS.encode()) | {
        "attention": {"sink": 4, "windows": [64, 0]}
    }
    place = "in-process, digest checked"
    assert TERMS.runs_in(place) == place
    assert windowed.runs_in(place) == (
        f"{place}; attention windows of 64 tokens in 1 of 2 layers, 1 keep all, 4 sink tokens"
    )


def test_terms_without_windows_have_the_bytes_that_they_had() -> None:
    assert TERMS.encode() == (
        b'{"data":{"license":"PSF","name":"a manual"},"description":"small","intended_use":"tests",'
        b'"name":"tiny","output_tokens":32,"prompt_tokens":64,"screening":{"bound":0.05,'
        b'"confidence":0.9,"prompts":60,"tail":0.4,"threshold":5.5,"window":16},'
        b'"type":"sealgate/generator/v2"}'
    )


@pytest.mark.parametrize("attention", [None, {}, {"sink": 4, "windows": [0]}])
def test_malformed_windows_are_refused(attention: Any) -> None:
    said = json.loads(TERMS.encode()) | {"attention": attention}
    with pytest.raises(SealgateError) as found:
        GeneratorTerms.decode(canonical.encode(said))
    assert found.value.reason is Reason.DOCUMENT_MALFORMED


def test_a_threshold_of_another_measure_is_refused() -> None:
    earlier = TERMS.encode().replace(b"sealgate/generator/v2", b"sealgate/generator/v1")
    with pytest.raises(SealgateError) as found:
        GeneratorTerms.decode(earlier)
    assert found.value.reason is Reason.DOCUMENT_MALFORMED


def test_a_precision_is_said_in_one_way_alone() -> None:
    said = TERMS.encode()[:-1] + b',"precision":"float32"}'
    with pytest.raises(SealgateError) as found:
        GeneratorTerms.decode(canonical.encode(json.loads(said)))
    assert found.value.reason is Reason.DOCUMENT_MALFORMED


def test_what_is_not_screened_is_not_said() -> None:
    said = json.loads(TERMS.encode()) | {"screening": None}
    with pytest.raises(SealgateError) as found:
        GeneratorTerms.decode(canonical.encode(said))
    assert found.value.reason is Reason.DOCUMENT_MALFORMED


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Not a name"},
        {"prompt_tokens": 0},
        {"output_tokens": 1 << 20},
        {"screening": {"window": 1}},
        {"screening": {"bound": 0}},
        {"screening": {"confidence": 1}},
        {"screening": {"threshold": "5"}},
        {"screening": {"tail": -0.1}},
        {"screening": {"tail": float("nan")}},
        {"precision": "int4"},
    ],
)
def test_terms_that_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SealgateError) as found:
        changed(**change)
    assert found.value.reason is Reason.DOCUMENT_MALFORMED


def test_more_tokens_than_the_terms_allow_are_refused() -> None:
    TERMS.check(Sampling(32))
    with pytest.raises(SealgateError) as found:
        TERMS.check(Sampling(33))
    assert found.value.reason is Reason.PARAMETER_MALFORMED


def test_verdicts() -> None:
    assert SCREEN.verdict(5.5) == "clean"
    assert SCREEN.verdict(5.6) == "adversarial"
    assert SCREEN.verdict(float("nan")) == "adversarial"


def test_files() -> None:
    check_paths([*FILES, "model.safetensors"])
    shards = [f"model-0000{at}-of-00002.safetensors" for at in (1, 2)]
    check_paths([*FILES, "model.safetensors.index.json", *shards])
    for paths, reason in (
        ([*FILES], Reason.FILE_MISSING),
        ([*FILES - {"golden.json"}, "model.safetensors"], Reason.FILE_MISSING),
        ([*FILES, "model.safetensors", "model.onnx"], Reason.FILE_SURPLUS),
        ([*FILES, "model.safetensors", "extra.safetensors"], Reason.FILE_SURPLUS),
    ):
        with pytest.raises(SealgateError) as found:
            check_paths(paths)
        assert found.value.reason is reason


def test_no_generator_is_a_classifier() -> None:
    version = NoClassifier()
    for ask in (lambda: version.config, lambda: version.detector, lambda: version.submit(None)):
        with pytest.raises(SealgateError) as found:
            ask()
        assert found.value.reason is Reason.METHOD_UNSUITED


@pytest.mark.parametrize(
    "weights",
    [
        {"surprise": 1.0},
        {**dict.fromkeys(SuffixWeights.__slots__, 1.0), "more": 1.0},
        dict.fromkeys(SuffixWeights.__slots__, "1"),
        dict.fromkeys(SuffixWeights.__slots__, True),
        [],
    ],
)
def test_other_weights_are_refused(weights: Any) -> None:
    document = json.loads(TERMS.encode())
    document["screening"]["weights"] = weights
    with pytest.raises(SealgateError) as found:
        GeneratorTerms.decode(canonical.encode(document))
    assert found.value.reason is Reason.DOCUMENT_MALFORMED
