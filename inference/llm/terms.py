"""The signed description of a language model: its terms, the screen of its prompts, its windows.

A version holds the files of Hugging Face's layout and two of ours:

    generator.json       description, limits, and how prompts are screened
    golden.json          prompts with the token ids of greedy generation
    config.json          the architecture, one of ARCHITECTURES
    tokenizer.json, tokenizer_config.json, generation_config.json
    model.safetensors, or shards of it with model.safetensors.index.json

A layer with window `w` sees, from each token, the first `sink` tokens of the text and the last `w`,
the token itself included (sink tokens: Xiao et al., arXiv 2309.17453). All else is dropped from the
cache. Positions stay those of the whole text. Where `heads` is stated, each of so many KV heads of
a layer has a window of its own: few heads look back at what was said far before (retrieval heads:
Wu et al., arXiv 2404.15574), and those alone keep all.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NoReturn, Self

from inference.batching import Pace
from inference.llm.request import MOST_OUTPUT, Sampling
from inference.model.config import ModelConfig, TrainingDataInfo
from inference.screening.detector import Detector
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.fields import check_name
from sealgate.trust.statements import Manifest

_MOST_LAYERS, _MOST_HEADS, _MOST_SINKS, _LARGEST = 1024, 1024, 1024, 1 << 20
WHOLE = 0
"""The window of a layer, or a KV head, that keeps everything."""
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
_LONGEST_PROMPT = 1 << 20


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


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise fields.malformed("a number is expected")
    return float(value)


@dataclass(frozen=True, slots=True)
class AttentionWindows:
    """The `attention` of `generator.json`: a window in tokens, or WHOLE, for each layer; or, where
    there are `heads`, for each of so many KV heads of each layer in turn.

    Raises SealgateError(DOCUMENT_MALFORMED).
    """

    sink: int
    windows: tuple[int, ...]
    heads: int = 1

    def __post_init__(self) -> None:
        if not fields.integer(self.sink) <= _MOST_SINKS:
            raise fields.malformed(f"attention has at most {_MOST_SINKS} sink tokens")
        if not 1 <= fields.integer(self.heads) <= _MOST_HEADS or len(self.windows) % self.heads:
            raise fields.malformed("attention has as many windows in each layer")
        if not 1 <= self.layers <= _MOST_LAYERS:
            raise fields.malformed("attention has a window for each layer")
        if not all(fields.integer(window) <= _LARGEST for window in self.windows):
            raise fields.malformed("a window has at most 2**20 tokens")
        if not any(self.windows):
            raise fields.malformed("attention without a window must not be stated")

    @property
    def layers(self) -> int:
        return len(self.windows) // self.heads

    def of_layer(self, layer: int) -> tuple[int, ...]:
        """Its windows: one, or one for each of its KV heads."""
        return self.windows[layer * self.heads : (layer + 1) * self.heads]

    def as_json(self) -> dict[str, Any]:
        by_head = {} if self.heads == 1 else {"heads": self.heads}
        return {"sink": self.sink, "windows": list(self.windows), **by_head}

    @classmethod
    def of_json(cls, value: Any) -> Self:
        """Read what `as_json` returns."""
        by_head = ("heads",) if isinstance(value, dict) and "heads" in value else ()
        record = fields.record(value, ("sink", "windows", *by_head))
        heads = fields.integer(record.get("heads", 1))
        if by_head and heads < 2:
            raise fields.malformed("attention states its KV heads only where they differ")
        windows = tuple(fields.integer(each) for each in fields.items(record["windows"]))
        return cls(fields.integer(record["sink"]), windows, heads)

    def held(self, place: int, tokens: int) -> int:
        """Of how many tokens keys and values are kept, of a text of so many, by what has the window
        at that place.
        """
        window = self.windows[place]
        return tokens if window == WHOLE else min(tokens, self.sink + window)

    def equivalent(self, tokens: int) -> int:
        """As many tokens of full attention take the memory that `tokens` take, rounded up."""
        count = len(self.windows)
        return -(-sum(self.held(place, tokens) for place in range(count)) // count)

    @property
    def description(self) -> str:
        """In words, for entries, receipts and metadata."""
        own = [window for window in self.windows if window != WHOLE]
        whole = len(self.windows) - len(own)
        least, most = min(own), max(own)
        sizes = f"{least}" if least == most else f"{least} to {most}"
        rest = f", {whole} keep all" if whole else ""
        what = "layers" if self.heads == 1 else "KV heads"
        return (
            f"attention windows of {sizes} tokens in {len(own)} of {len(self.windows)} {what}{rest}"
            f", {self.sink} sink tokens"
        )


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
        if not fields.integer(self.output_tokens, 1) <= MOST_OUTPUT:
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
        """The name, in entries, receipts and metadata, of the engine at `place` that runs this
        version; it includes the attention windows.
        """
        return place if self.attention is None else f"{place}; {self.attention.description}"

    def check(self, sampling: Sampling) -> None:
        """Raises SealgateError(PARAMETER_MALFORMED) for more tokens than may be asked for."""
        if sampling.max_tokens > self.output_tokens:
            raise SealgateError(
                Reason.PARAMETER_MALFORMED, "max_tokens", facts={"param": "max_tokens"}
            )


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
