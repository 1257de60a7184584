"""Generation requests and the signed description of a language model.

The version of a language model holds the files of Hugging Face's layout and two of ours:

    generator.json       description, limits, and how prompts are screened
    golden.json          prompts with the token ids of greedy generation
    config.json          the architecture, one of ARCHITECTURES
    tokenizer.json, tokenizer_config.json, generation_config.json
    model.safetensors, or shards of it with model.safetensors.index.json
"""

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NoReturn, Self

from inference.batching.limits import Pace
from inference.llm.attention import AttentionWindows
from inference.model.config import ModelConfig, TrainingDataInfo
from inference.screening.detector import Detector
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.fields import check_name
from sealgate.trust.receipts.answer_entry import tensors_digest
from sealgate.trust.statements import Manifest

TERMS, GOLDEN, CONFIG, TOKENIZER = "generator.json", "golden.json", "config.json", "tokenizer.json"
INDEX, TOKENIZER_CONFIG = "model.safetensors.index.json", "tokenizer_config.json"
OPTIONAL = frozenset({INDEX, TOKENIZER_CONFIG, "generation_config.json"})
FILES = frozenset({TERMS, GOLDEN, CONFIG, TOKENIZER})
WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "T5ForConditionalGeneration": "t5",
}
"""Each with the `model_type` by which the library chooses its code."""

TYPE = "sealgate/generator/v2"
FLOAT32, INT8, INT8_INTEGER = PRECISIONS = ("float32", "int8", "int8-integer")
ROLES = ("system", "user", "assistant")
"""In which a chat may speak. A template writes the word as it is, so no other is let in."""
MOST_STOPS, LONGEST_STOP = 8, 128
_LONGEST_PROMPT, _MOST_OUTPUT = 1 << 20, 1 << 16


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen. `temperature` 0 takes the most likely one; otherwise `seed` decides,
    so that the same seed gives the same tokens. A text of `stop` ends the answer and is not part of
    it.

    Raises SealgateError(PARAMETER_MALFORMED).
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        _check("max_tokens", 1 <= self.max_tokens <= _MOST_OUTPUT)
        _check("temperature", 0.0 <= self.temperature <= 10.0)
        _check("top_p", 0.0 < self.top_p <= 1.0)
        _check("seed", 0 <= self.seed < 2**53)
        _check("stop", len(self.stop) <= MOST_STOPS)
        for text in self.stop:
            _check("stop", 1 <= len(text) <= LONGEST_STOP and is_text(text))

    def encode(self) -> bytes:
        """The canonical JSON that the record binds."""
        return canonical.encode(
            {
                "max_tokens": self.max_tokens,
                "temperature": self.temperature,
                "top_p": self.top_p,
                "stop": list(self.stop),
                "seed": self.seed,
            }
        )


@dataclass(frozen=True, slots=True)
class SamplingRequest:
    """One request: a prompt as it arrived (text, or the JSON of chat messages) and the sampling."""

    prompt: bytes
    is_chat: bool
    sampling: Sampling

    @property
    def digest(self) -> str:
        """The digest in the record: that of the prompt, under the name of its input, and of
        `sampling`, as BYTES tensors of one element.
        """
        name = "messages" if self.is_chat else "text_input"
        return tensors_digest(
            [_bytes(name, self.prompt), _bytes("sampling", self.sampling.encode())]
        )


def answer_digest(prompt_ids: Iterable[int], ids: Iterable[int], text: bytes) -> str:
    """The digest of an answer in the record: that of the tensors `prompt_ids` and `token_ids`,
    INT64, and of `text_output`, BYTES of one element.
    """
    numbers = (("prompt_ids", list(prompt_ids)), ("token_ids", list(ids)))
    tensors = [
        (name, "INT64", (len(found),), b"".join(i.to_bytes(8, "little") for i in found))
        for name, found in numbers
    ]
    return tensors_digest([*tensors, _bytes("text_output", text)])


@dataclass(frozen=True, slots=True)
class SuffixWeights:
    """The weight of each feature of a window of tokens, and what is subtracted from their sum; see
    `generation.models.suffixes`.
    """

    surprise: float
    entropy: float
    blank: float
    letters: float
    odd: float
    distinct: float
    offset: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(_number(getattr(self, name))) for name in self.__slots__):
            raise fields.malformed("weights are finite numbers")


@dataclass(frozen=True, slots=True)
class PromptScreen:
    """Scores a prompt by how much `window` consecutive tokens surprise the model, and look like an
    optimised suffix.

    The score is that of the window with the highest one by `weights`, minus `tail` for each factor
    e by which the prompt is longer than the window. Without weights, as in versions of earlier
    releases, a window's score is its mean surprise beyond expectation, in nats. Above `threshold`
    a prompt is adversarial; at most `bound` of clean prompts are, with `confidence`, as far as they
    resemble the `prompts` used for calibration.
    """

    window: int
    threshold: float
    bound: float
    confidence: float
    prompts: int
    tail: float
    weights: SuffixWeights | None = None

    def __post_init__(self) -> None:
        fields.integer(self.window, 2)
        fields.integer(self.prompts, 1)
        for share in (self.bound, self.confidence):
            if not 0 < _number(share) < 1:
                raise fields.malformed("a bound and a confidence lie between 0 and 1")
        _number(self.threshold)
        if not 0 <= _number(self.tail) < math.inf:
            raise fields.malformed("a tail is not negative")

    def as_json(self) -> dict[str, Any]:
        """As in `generator.json`; weights are left out where there are none."""
        names = [name for name in PromptScreen.__slots__ if name != "weights"]
        said: dict[str, Any] = {name: getattr(self, name) for name in names}
        return said | ({} if self.weights is None else {"weights": asdict(self.weights)})

    @classmethod
    def of_json(cls, value: Any) -> Self:
        """Read what `as_json` writes."""
        found = fields.mapping(value)
        names = [name for name in PromptScreen.__slots__ if name != "weights" or name in found]
        said = fields.record(value, names)
        if "weights" in said:
            weights = SuffixWeights(**fields.record(said["weights"], SuffixWeights.__slots__))
            return cls(**{**said, "weights": weights})
        return cls(**said)

    def verdict(self, score: float) -> str:
        """`clean` or `adversarial`; what is no number is adversarial."""
        return "clean" if score <= self.threshold else "adversarial"


@dataclass(frozen=True, slots=True)
class GeneratorTerms:
    """`generator.json`, checked. Raises SealgateError(DOCUMENT_MALFORMED).

    `prompt_tokens` and `output_tokens` are the most that a request may have and ask for. With the
    `precision` INT8, stored matrices are rounded to eight bits when loaded; with INT8_INTEGER, what
    they are multiplied by is rounded too, to sixteen. `attention` is None if every token sees all
    before it. FLOAT32 and such attention are not stated in the file, nor is `screening` if the
    model does not screen prompts.
    """

    name: str
    description: str
    intended_use: str
    data: TrainingDataInfo
    prompt_tokens: int
    output_tokens: int
    screening: PromptScreen | None
    precision: str = FLOAT32
    attention: AttentionWindows | None = None

    def __post_init__(self) -> None:
        check_name(self.name, Reason.DOCUMENT_MALFORMED)
        if self.precision not in PRECISIONS:
            raise fields.malformed("unknown precision")
        if not fields.integer(self.prompt_tokens, 1) <= _LONGEST_PROMPT:
            raise fields.malformed("a prompt has at most 2**20 tokens")
        if not fields.integer(self.output_tokens, 1) <= _MOST_OUTPUT:
            raise fields.malformed("an answer has at most 2**16 tokens")

    def encode(self) -> bytes:
        said: dict[str, Any] = {}
        if self.precision != FLOAT32:
            said["precision"] = self.precision
        if self.attention is not None:
            said["attention"] = self.attention.as_json()
        if self.screening is not None:
            said["screening"] = self.screening.as_json()
        return canonical.encode(
            {
                "type": TYPE,
                "name": self.name,
                "description": self.description,
                "intended_use": self.intended_use,
                "data": {"name": self.data.name, "license": self.data.license},
                "prompt_tokens": self.prompt_tokens,
                "output_tokens": self.output_tokens,
                **said,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` writes."""
        document = fields.mapping(canonical.decode(data))
        unsaid = {"precision", "screening", "attention"} - document.keys()
        names = [name for name in cls.__slots__ if name not in unsaid]
        top = fields.record(document, names, TYPE)
        if top.get("precision") == FLOAT32:
            raise fields.malformed("float32 must not be stated")
        source = fields.record(top["data"], ("name", "license"))
        screening = None
        if "screening" in top:
            screening = PromptScreen.of_json(top["screening"])
        attention = AttentionWindows.of_json(top["attention"]) if "attention" in top else None
        return cls(
            name=fields.text(top["name"]),
            description=fields.text(top["description"]),
            intended_use=fields.text(top["intended_use"]),
            data=TrainingDataInfo(fields.text(source["name"]), fields.text(source["license"])),
            prompt_tokens=top["prompt_tokens"],
            output_tokens=top["output_tokens"],
            screening=screening,
            precision=top.get("precision", FLOAT32),
            attention=attention,
        )

    def runs_in(self, place: str) -> str:
        """What entries, receipts and metadata call the engine at `place` that runs it: attention
        windows are part of it.
        """
        return place if self.attention is None else f"{place}; {self.attention.description}"

    def check(self, sampling: Sampling) -> None:
        """Raises SealgateError(PARAMETER_MALFORMED) for more tokens than may be asked for."""
        _check("max_tokens", sampling.max_tokens <= self.output_tokens)


class NoClassifier:
    """Mixin of versions that generate: calls for a classifier raise an error."""

    @property
    def config(self) -> ModelConfig:
        self._refuse()

    @property
    def detector(self) -> Detector:
        self._refuse()

    pace = Pace.AWAY

    def submit(self, *_: Any, **__: Any) -> NoReturn:
        self._refuse()

    def submit_all(self, *_: Any, **__: Any) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise SealgateError(Reason.METHOD_UNSUITED, "a language model")


def is_generator(manifest: Manifest) -> bool:
    """Whether the files are a language model's."""
    return any(entry.path == TERMS for entry in manifest.files)


def check_paths(paths: Iterable[str]) -> None:
    """Check that files are a generator's, no more and no fewer, whatever is in them.

    Raises SealgateError: FILE_MISSING, FILE_SURPLUS.
    """
    present = set(paths)
    weights = {path for path in present if WEIGHTS.fullmatch(path)}
    if missing := sorted(FILES - present) or ([] if weights else ["model.safetensors"]):
        raise SealgateError(Reason.FILE_MISSING, missing[0])
    if surplus := sorted(present - FILES - OPTIONAL - weights):
        raise SealgateError(Reason.FILE_SURPLUS, surplus[0])


def is_text(text: str) -> bool:
    """Whether UTF-8 can encode it: JSON can spell half a surrogate pair, which cannot be
    recorded.
    """
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _check(name: str, holds: bool) -> None:
    if not holds:
        raise SealgateError(Reason.PARAMETER_MALFORMED, name, facts={"param": name})


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise fields.malformed("a number is expected")
    return float(value)


def _bytes(name: str, data: bytes) -> tuple[str, str, tuple[int], bytes]:
    return name, "BYTES", (1,), len(data).to_bytes(4, "little") + data


# Shorter ones may stand in any text.
_SHORTEST = 3


def marks_of(added: Iterable[tuple[str, bool]], template: str) -> frozenset[str]:
    """The tokens whose text no message may contain, since a message could end or imitate another.

    They are the special ones of a tokenizer's added tokens (text, and whether it is special), and
    all others that occur in the text of the chat template: some models do not mark theirs as
    special. Blanks and words are excluded, as are pairs such as `<think>` and `</think>`, which
    models write into their answers and templates look for there.
    """
    tokens = dict(added)
    return frozenset(
        text
        for text, is_special in tokens.items()
        if text and (is_special or (text in template and _parts(text, tokens.keys())))
    )


def _parts(text: str, others: Iterable[str]) -> bool:
    bare = text.strip()
    is_word = len(bare) < _SHORTEST or bare.isalnum()
    return not (is_word or bare.startswith("</") or f"</{bare[1:]}" in others)


def said_in(asked: SamplingRequest) -> Sequence[tuple[str, str]]:
    """All that a caller says, with its role: the prompt, or the content of each message.

    Raises: TENSOR_TEXT, CHAT_MALFORMED.
    """
    try:
        text = asked.prompt.decode()
    except UnicodeDecodeError:
        raise SealgateError(Reason.TENSOR_TEXT, "a prompt is not UTF-8") from None
    if not asked.is_chat:
        return [("user", text)]
    try:
        return [
            (str(message["role"]), str(message["content"].encode().decode()))
            for message in json.loads(text)
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SealgateError(Reason.CHAT_MALFORMED) from None
