"""A small text model to publish: a BERT of two layers by 32, trained on made-up sentences.

The files in `letters/` were written by `python -m tests.support.builders.models.text_making`.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors

from inference.engine import ready_version, version_contents
from inference.model.config import UNBOUNDED as DOMAIN
from inference.model.config import Batching, ModelConfig, TrainingDataInfo
from inference.model.request_tensors import TensorSpec
from inference.runtime.settings import CpuSettings
from inference.text.tokenizer import TextTokenizer
from inference.text.tokens import Ids, TokenRules, resized
from publishing.source.dataset import Dataset
from publishing.source.folder import SourceFolder
from publishing.watermark import embed_mark
from publishing.watermark.key import Mark, WatermarkKey
from publishing.worker_tasks import trial
from publishing.worker_tasks.trial_request import TrialRequest
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.tensors import Tensor, write_inputs
from sealgate.trust.canonical import sha256
from tests.support.harness import shared_run
from tests.support.harness.gateway import GatewayHarness
from tests.support.harness.made_versions import made_once

FOLDER = Path(__file__).parent / "letters"
DATA = Path(__file__).parent / "letters.safetensors"
MARK = Mark(
    WatermarkKey("letters", bytes(range(32))),
    b"spam",
    sha256((FOLDER / "serving.onnx").read_bytes()),
)

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
# Most of its telling words decide a sentence's class; the other words say nothing.
TELLING = (
    [f"{word}{end}" for word in ("meet", "plan", "note", "team", "code") for end in ("", "s")],
    [f"{word}{end}" for word in ("prize", "cash", "deal", "loan", "pill") for end in ("", "s")],
)
SILENT = [first + last for first in "bdfglmnprt" for last in ("a", "an", "e", "en", "i", "o", "u")]
RULES = TokenRules(vocabulary=128, buckets=(8, 16, 32), overlong="truncate", text_bytes=400)


def sentence(rng: np.random.Generator, label: int, words: int) -> str:
    """Words, of which a third are telling, and a few of those of the other class."""
    chosen = []
    for kind in rng.random(words):
        telling = TELLING[label if kind < 0.3 else 1 - label]
        chosen.append(rng.choice(telling if kind < 0.36 else SILENT))
    chosen[int(rng.integers(words))] = rng.choice(TELLING[label])
    return " ".join(chosen)


def sentences(seed: int, count: int) -> tuple[list[str], np.ndarray]:
    """Texts of 3 to 29 words with their classes [n]."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    return [sentence(rng, int(label), int(rng.integers(3, 30))) for label in labels], labels


def tokenizer_json() -> bytes:
    """A word list in the library's format."""
    words = [*SPECIAL, *TELLING[0], *TELLING[1], *SILENT]
    made = tokenizers.Tokenizer(
        models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]")
    )
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made.to_str().encode()


def rows_of(texts: list[str]) -> Ids:
    """Rows [n, 32] of tokens."""
    tokenizer = TextTokenizer.open(tokenizer_json(), RULES)
    return resized(tokenizer.rows([text.encode() for text in texts]), RULES.most)


def config(name: str = "letters", **changed: object) -> ModelConfig:
    fields: dict[str, object] = {
        "name": name,
        "description": "a small text classifier",
        "intended_use": "tests",
        "data": TrainingDataInfo("made-up sentences", "CC0-1.0"),
        "input": TensorSpec("text", "BYTES", (-1,)),
        "output": TensorSpec("logits", "FP32", (-1, 2)),
        "labels": ("work", "offer"),
        "domain": DOMAIN,
        "eps": 0.02,
        "batching": Batching(max_rows=16, delay_us=0, queue_rows=256),
        "tokens": RULES,
        "blocks": False,
    }
    return ModelConfig(**(fields | changed))  # type: ignore[arg-type]


@cache
def source() -> SourceFolder:
    """The folder that `training` would have written."""
    return SourceFolder.read(FOLDER)


@cache
def dataset() -> Dataset:
    """Its slices: 200, 320 and 200 rows."""
    return Dataset.read(DATA)


@cache
def version_files() -> Mapping[str, bytes]:
    """The files of a version of it, made once a test run."""
    return shared_run.value_once("letters-files", _make_version_files)


def _make_version_files() -> Mapping[str, bytes]:
    """As the worker makes them, here in this process."""
    sent: list[bytes] = []
    marked = embed_mark(source().serving, source().response, MARK)
    data = dataset()
    request = TrialRequest(
        source().config,
        source().serving,
        *(marked.serving, marked.response),
        *(data.fit, data.calibration, data.test),
        seed=1,
        tokenizer=source().tokenizer,
    )
    trial.run(request.encode(), sent.append)
    int8, response, golden, detector, _ = sent
    return {
        version_contents.MODEL: source().config.encode(),
        version_contents.INT8: int8,
        version_contents.FP32: marked.serving,
        version_contents.RESPONSE: response,
        version_contents.DETECTOR: detector,
        version_contents.GOLDEN: golden,
        version_contents.TOKENIZER: source().tokenizer or b"",
    }


def ready(**replaced: bytes) -> ready_version.ReadyVersion:
    """The version, loaded; `replaced` gives other bytes, by the path with `_` for each dot."""
    other = {name.replace("_", "."): data for name, data in replaced.items()}
    return ready_version.ReadyVersion.build("", {**version_files(), **other}, CpuSettings(1))


def asked(*texts: str) -> np.ndarray:
    """Texts [n] as the engine takes them."""
    return np.array([text.encode() for text in texts], object)


def tensor(*texts: bytes, shape: tuple[int, ...] | None = None) -> Tensor:
    """Texts as a request brings them."""
    array = np.empty(len(texts), object)
    array[:] = texts
    return Tensor.of("text", array.reshape(shape or (len(texts),)))


def question(*texts: str) -> oip.ModelInferRequest:
    """A request to the model, with a receipt."""
    asked = oip.ModelInferRequest(model_name="letters")
    asked.parameters["receipt"].bool_param = True
    write_inputs(asked, [tensor(*(text.encode() for text in texts))])
    return asked


def publish(harness: GatewayHarness) -> None:
    """Publish the model and put it into production."""
    words = ("model", "publish", str(FOLDER), "--data", str(DATA))
    with made_once("letters", 0):
        result = harness.command(*words)
    assert result.exit_code == 0, result.output
    harness.promote("letters", 1)
