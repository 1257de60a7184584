"""Harnesses of the files of a version: what a publisher uploads and an engine loads."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import safetensors
import safetensors.numpy
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper

from inference.llm.terms import INT8, GeneratorTerms, PromptScreen
from inference.model.config import ModelConfig, TrainingDataInfo
from inference.model.golden import Golden
from inference.screening.calibration import BenignShift, Calibration, ScoreThreshold
from inference.screening.column_bins import ColumnBins
from inference.screening.detector import Detector, Verdict
from inference.screening.scoring import FeatureScaling, ScoreTail, ScoringWeights
from inference.text.tokenizer import TextTokenizer
from inference.text.tokens import TokenRules
from registry.formats.bounded_bytes import MemoryBytes
from registry.formats.format_check import check_file, check_header
from sealgate.health.golden_inputs import GoldenRows
from tests.fuzz.harness import Harness, canonical_form, chosen

_DEMO = Path(__file__).parents[2] / "demo"
_LETTERS = Path(__file__).parents[1] / "support/builders/models/letters"
_RULES = TokenRules(vocabulary=128, buckets=(8, 16, 32), overlong="truncate", text_bytes=400)
_RECIPES = sorted((_DEMO / "models").glob("*/model.json"))


def _parse_model(data: bytes) -> None:
    kind, rest = chosen(data, 2)
    if kind == 0:
        assert ModelConfig.decode(rest).encode() == rest
    else:
        config = ModelConfig.read(rest)
        assert ModelConfig.decode(config.encode()) == config


def _models() -> Iterator[bytes]:
    for path in [*_RECIPES, _LETTERS / "model.json"]:
        written = path.read_bytes()
        yield b"\1" + written
        yield b"\0" + ModelConfig.read(written).encode()


def _parse_detector(data: bytes) -> None:
    data = canonical_form(data)
    detector = Detector.decode(data)
    assert detector.encode() == data
    assert detector.scores(np.zeros((1, detector.width), np.float32)).shape == (1,)


def _detectors() -> Iterator[bytes]:
    whole = Detector(
        FeatureScaling((0.0, 1.0), (1.0, 0.5), 6.0),
        ScoringWeights(0.5, (0.0, 0.0), (2.0, 0.0, 1.0), ScoreTail(1.0, 0.5)),
        ScoringWeights(0.25, (1.0, -2.0), (0.5, 0.25, -1.0), ScoreTail(0.5, 2.0)),
        Calibration(
            tuple(map(float, range(480))),
            0.95,
            ScoreThreshold(0.01, 2, 500.0),
            ScoreThreshold(0.05, 16, 470.0),
            (BenignShift("noise", 16, 480.0),),
        ),
        ("fgsm-0.1",),
    )
    yield whole.encode()
    yield replace(whole, disagreement=Verdict.SUSPECT).encode()
    yield replace(whole, inputs=ColumnBins(((0.0, 0.5),), ((0.25, 0.25, 0.5),))).encode()


def _parse_terms(data: bytes) -> None:
    data = canonical_form(data)
    assert GeneratorTerms.decode(data).encode() == data


def _terms() -> Iterator[bytes]:
    screen = PromptScreen(16, 5.5, 0.05, 0.9, 60, 0.4)
    terms = GeneratorTerms(
        "tiny", "small", "tests", TrainingDataInfo("a manual", "PSF"), 64, 32, screen
    )
    yield terms.encode()
    yield replace(terms, screening=None, precision=INT8).encode()


def _parse_safetensors(data: bytes) -> None:
    check_header(MemoryBytes(data))
    safetensors.deserialize(data)


def _safetensors() -> Iterator[bytes]:
    yield safetensors.numpy.save({"x": np.zeros((2, 3), np.float32)})
    yield safetensors.numpy.save(
        {"a": np.zeros(3, np.int64), "b": np.zeros((0, 4), np.float16)}, metadata={"k": "v"}
    )


def _parse_golden(data: bytes) -> None:
    kind, rest = chosen(data, 2)
    if kind == 0:
        Golden.decode(rest, _CONFIG)
    else:
        GoldenRows.of(_CONFIG.encode(), rest)


_CONFIG = ModelConfig.read(_RECIPES[0].read_bytes())


def _golden() -> Iterator[bytes]:
    rows = np.zeros((2, *_CONFIG.input.row), np.float32)
    logits = np.zeros((2, len(_CONFIG.labels)), np.float32)
    for kind in range(2):
        yield bytes([kind]) + safetensors.numpy.save({"x": rows, "logits": logits})


def _parse_onnx(data: bytes) -> None:
    check_file("model.onnx", data)
    with suppress(DecodeError):  # a text that is not UTF-8, which the check does not read
        assert onnx.load_from_string(data).graph.node


def _onnx() -> Iterator[bytes]:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 4], [0.5] * 16)
    packed = helper.make_tensor("i", TensorProto.INT64, [3], [1, -1, 1 << 40])
    outside = helper.make_tensor("o", TensorProto.FLOAT, [1], [0.0])
    outside.data_location = TensorProto.EXTERNAL
    inner = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["z"])], "inner", [], [], [weights]
    )
    branch = helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)
    for nodes, tensors in (
        ([helper.make_node("MatMul", ["x", "w"], ["y"])], [weights, packed]),
        ([branch], [outside]),
    ):
        graph = helper.make_graph(nodes, "g", [x], [y], tensors)
        yield helper.make_model(graph).SerializeToString()


def _parse_json(data: bytes) -> None:
    check_file("model.json", data)
    json.loads(data)


def _json() -> Iterator[bytes]:
    yield b'{"a":[1,2.5,"x",null,true]}'


def _parse_tokenizer(data: bytes) -> None:
    tokenizer = TextTokenizer.open(data, _RULES)
    tokenizer.rows([b"cash prize", "\u00e9\u200d\U0001f600".encode()])


def _tokenizers() -> Iterator[bytes]:
    yield (_LETTERS / "tokenizer.json").read_bytes()


HARNESSES = (
    Harness(
        "model-json",
        _parse_model,
        _models,
        ("inference.model.config", "inference.batching.limits", "inference.model.columns"),
    ),
    Harness(
        "detector-json",
        _parse_detector,
        _detectors,
        ("inference.screening.detector", "inference.screening.scoring"),
    ),
    Harness("generator-json", _parse_terms, _terms, ("inference.llm.terms",)),
    Harness(
        "safetensors",
        _parse_safetensors,
        _safetensors,
        ("registry.formats.format_check",),
        (ValueError,),
    ),
    Harness(
        "golden",
        _parse_golden,
        _golden,
        ("inference.model.golden", "sealgate.health.golden_inputs"),
    ),
    Harness(
        "onnx",
        _parse_onnx,
        _onnx,
        ("registry.formats.onnx_check", "registry.formats.bounded_bytes"),
    ),
    Harness(
        "json",
        _parse_json,
        lambda: (b'{"a":[1,2.5,"x",null,true]}',),
        ("registry.formats.format_check",),
    ),
    Harness("tokenizers", _parse_tokenizer, _tokenizers, ("inference.text.tokenizer",), (), 16_384),
)
