"""JSON files of a language model's folder: configuration, template, ends and golden answers.

Others wrote all but the golden answers, so nothing but what is known is taken.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from transformers import GenerationConfig

from generation.models.chat_template import ChatTemplate
from inference.llm.terms import ARCHITECTURES, CONFIG, INDEX, TOKENIZER_CONFIG, WEIGHTS
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields

TYPE = "sealgate/generator-golden/v1"
TOKENS = 16
"""How many tokens of each answer are kept."""
_MOST = 64
_MOST_LAYERS = 1024


def check_config(data: bytes) -> dict[str, Any]:
    """`config.json`, where it is of a known architecture and asks for no code of its own.

    Raises SealgateError(CHECKPOINT_REFUSED).
    """
    try:
        config = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SealgateError(Reason.CHECKPOINT_REFUSED, f"{CONFIG} is not JSON") from error
    found = [([name], kind) for name, kind in ARCHITECTURES.items()]
    # The library decides by `model_type` only.
    if (
        not isinstance(config, dict)
        or (config.get("architectures"), config.get("model_type")) not in found
    ):
        raise SealgateError(Reason.CHECKPOINT_REFUSED, f"not an architecture of {[*ARCHITECTURES]}")
    if "auto_map" in config or config.get("quantization_config"):
        raise SealgateError(
            Reason.CHECKPOINT_REFUSED, f"{CONFIG} asks for more than its architecture"
        )
    # Each is built before the weights are read, and takes a millisecond and some kilobytes.
    layers = (value for name, value in config.items() if name.endswith("layers"))
    if any(isinstance(count, int) and count > _MOST_LAYERS for count in layers):
        raise SealgateError(Reason.CHECKPOINT_REFUSED, f"{CONFIG} has too many layers")
    return config


def check_index(folder: Path) -> None:
    """The library would read whatever file an index names, wherever it lies. Raises ValueError."""
    path = folder / INDEX
    named = json.loads(path.read_bytes())["weight_map"].values() if path.exists() else ()
    if not all(isinstance(name, str) and WEIGHTS.fullmatch(name) for name in named):
        raise ValueError(f"{INDEX} names other files than weights")


def template_of(folder: Path) -> ChatTemplate | None:
    """The folder's chat template, None if it has none."""
    path = folder / TOKENIZER_CONFIG
    described = json.loads(path.read_bytes()) if path.exists() else {}
    text = described.get("chat_template") if isinstance(described, dict) else None
    if not isinstance(text, str):
        return None
    found = {name: _text_of(described.get(name)) for name in ("bos_token", "eos_token")}
    tokens = {name: token for name, token in found.items() if token is not None}
    return ChatTemplate(text, tokens)


def _text_of(token: Any) -> str | None:
    """A token as `tokenizer_config.json` names it: its text, or an object with that as `content`,
    as DeepSeek's have it. Templates write it, and nothing where it is not known.
    """
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None


def ends_of(folder: Path, config: dict[str, Any]) -> tuple[int, ...]:
    """The ids that end an answer, by `generation_config.json` or else `config.json`."""
    found = config.get("eos_token_id")
    if (folder / "generation_config.json").exists():
        found = GenerationConfig.from_pretrained(folder).eos_token_id or found
    ids = found if isinstance(found, list) else [found]
    return tuple(token for token in ids if isinstance(token, int) and token >= 0)


@dataclass(frozen=True, slots=True)
class GoldenAnswer:
    prompt: str
    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GoldenAnswers:
    """`golden.json`: one answer or more. Raises SealgateError(DOCUMENT_MALFORMED)."""

    answers: tuple[GoldenAnswer, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.answers) <= _MOST:
            raise fields.malformed(f"there are 1 to {_MOST} golden answers")

    def encode(self) -> bytes:
        answers = [
            {"prompt": one.prompt, "prompt_ids": list(one.prompt_ids), "ids": list(one.ids)}
            for one in self.answers
        ]
        return canonical.encode({"type": TYPE, "answers": answers})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` writes."""
        top = fields.record(canonical.decode(data), ("answers",), TYPE)
        found = []
        for item in fields.items(top["answers"]):
            one = fields.record(item, ("prompt", "prompt_ids", "ids"))
            found.append(
                GoldenAnswer(fields.text(one["prompt"]), _ids(one["prompt_ids"]), _ids(one["ids"]))
            )
        return cls(tuple(found))

    def check(
        self,
        tokenize: Callable[[str], Sequence[int]],
        generate: Callable[[Sequence[int], int], Sequence[int]],
    ) -> None:
        """Check that prompts are cut and answered as the publisher's were; `generate` is given ids
        and how many to make, and returns as many or fewer, greedily.

        Raises SealgateError(GOLDEN_MISMATCH).
        """
        for one in self.answers:
            if tuple(tokenize(one.prompt)) != one.prompt_ids:
                raise SealgateError(Reason.GOLDEN_MISMATCH, "a golden prompt has other tokens here")
            if tuple(generate(one.prompt_ids, TOKENS)) != one.ids:
                raise SealgateError(
                    Reason.GOLDEN_MISMATCH, "a golden prompt is answered differently here"
                )


def _ids(value: object) -> tuple[int, ...]:
    return tuple(fields.integer(item) for item in fields.items(value))
