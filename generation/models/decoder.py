"""A language model loaded from verified files: weights, tokenizer and chat template.

1. The architecture is one that the library itself implements; no code is loaded, whatever the
   configuration asks for.
2. Weights are safetensors, read in place: they are in memory once.
3. The tokenizer is `tokenizer.json` alone, whatever class the folder names, and no text takes it
   long; see `tokenizer_file`.
4. The chat template is run in a confined worker; see `chat_template`.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Encoding, Tokenizer
from transformers import (
    AutoConfig,
    GenerationConfig,
    PreTrainedModel,
)

from generation.config import GenerationSettings
from generation.models.architectures import FAMILIES, AnswerBatches, ModelFamily, Said
from generation.models.chat_template import ChatTemplate
from generation.models.folder import check_config, check_index, ends_of, template_of
from generation.models.int8 import round_weights
from generation.models.split import SplitBatches, SplitDecoder
from generation.models.suffixes import JoinedMeasure, shapes_of
from inference.llm.request import FETCHED, MOST_MESSAGES, ROLES, SamplingRequest, is_text, marks_of
from inference.llm.terms import CONFIG, FLOAT32, TOKENIZER, AttentionWindows, PromptScreen
from inference.runtime.settings import CPU
from inference.text.tokenizer_file import LANGUAGE, refusing
from sealgate.reasons import Reason, SealgateError

_PLAIN = "a"
_USER, _TOOL = "user", FETCHED[0]
# A text that no template contains by itself.
_TOLD = "fetched 4711"


@dataclass(frozen=True, slots=True)
class TokenizedPrompt:
    """A prompt's tokens, and for each whether the caller wrote it, not a template or the
    tokenizer.
    """

    ids: list[int]
    written: list[bool]


class LanguageModel:
    """A model and its tokenizer. Safe for many threads."""

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        template: ChatTemplate | None,
        ends: Sequence[int],
        family: ModelFamily,
    ) -> None:
        """`model` is transformers' or a `SplitDecoder`. `ends` are the ids that end an answer;
        `template` writes chats, where there is one.
        """
        self.model = model
        self.tokenizer = tokenizer
        self._template = template
        added = tokenizer.get_added_tokens_decoder()
        written = template.text if template else ""
        self.marks = marks_of(((each.content, each.special) for each in added.values()), written)
        found = {number for number, token in added.items() if token.content in self.marks}
        # Letters that it does not know become it, which ends nothing.
        self._mark_ids = found - {_unknown(tokenizer)}
        self.ends = tuple(ends)
        self._family = family
        # Some templates leave out messages of a role that they do not know, without a word.
        self._fetched = _TOOL if template and self._writes(_TOOL) else _USER

    @classmethod
    def read(
        cls,
        folder: Path,
        precision: str = FLOAT32,
        attention: AttentionWindows | None = None,
        device: str = CPU,
        split: Callable[[Path, Any], SplitDecoder] | None = None,
    ) -> "LanguageModel":
        """`precision` and `attention` are those of `GeneratorTerms`, `device` torch's name of where
        it is computed. `split` starts processes for the weights of a folder, with its
        configuration, in place of this one.

        Raises SealgateError: CHECKPOINT_REFUSED, FILE_TOO_LARGE; as `attend`; ENGINE_UNSUITABLE
        where it does not come apart; as `ChatTemplate.write` where the template comes to no end.
        """
        settings = check_config((folder / CONFIG).read_bytes())
        family = FAMILIES[settings["model_type"]]
        # 3.
        tokenizer = LANGUAGE.open((folder / TOKENIZER).read_bytes())
        try:
            # 1. and 2.
            check_index(folder)
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            family.check(config)
            template, ends = template_of(folder), ends_of(folder, settings)
            model: Any
            if split:
                model = split(folder, config)
            else:
                model = _whole(folder, config, family, precision).to(device)
        except SealgateError:
            raise
        except Exception as error:
            # The library's errors about files that others wrote, or no memory on the device.
            raise SealgateError(
                Reason.CHECKPOINT_REFUSED, f"{type(error).__name__}: {error}"
            ) from error
        found = cls(model, tokenizer, template, ends, family)
        if attention is not None:
            found.attend(attention)
        return found

    @property
    def writes_chats(self) -> bool:
        """Whether it has a chat template."""
        return self._template is not None

    @property
    def positions(self) -> int:
        """How many tokens, of prompt and answer together, it takes."""
        return self._family.positions(self.model.config)

    @property
    def task(self) -> str:
        """See `ModelFamily.task`."""
        return self._family.task

    @property
    def measures(self) -> bool:
        """Whether it says how likely a prompt is."""
        return self._family.measures

    def attend(self, attention: AttentionWindows) -> None:
        """See `ModelFamily.attend`."""
        self._family.attend(self.model, attention)

    def answers(self, settings: GenerationSettings, longest: int) -> AnswerBatches:
        """See `ModelFamily.answers`."""
        if isinstance(self.model, SplitDecoder):
            return SplitBatches(self.model, self.ends, settings.queue)
        return self._family.answers(self.model, self.ends, settings, longest)

    def greedy(self, prompt: Sequence[int], tokens: int) -> list[int]:
        """See `ModelFamily.greedy`."""
        return self._family.greedy(self.model, self.ends, prompt, tokens)

    def material(self, prompts: Sequence[Sequence[int]]) -> list[Said]:
        """See `ModelFamily.material`."""
        return self._family.material(self.model, self.ends, prompts)

    def perplexity(self, material: Sequence[Said]) -> float:
        """See `ModelFamily.perplexity`."""
        return self._family.perplexity(self.model, material)

    def joined(self, screen: PromptScreen, ids: Sequence[int]) -> JoinedMeasure | None:
        """How the screen's classifier, where it has one, reads a prompt of these tokens."""
        if screen.weights is None:
            return None
        return JoinedMeasure(screen.weights, shapes_of(self.tokenizer, ids))

    def prompt_ids(self, asked: SamplingRequest, most: int) -> list[int]:
        """The tokens of a prompt. Raises: as `cut`."""
        return self.cut(asked, most).ids

    def cut(self, asked: SamplingRequest, most: int) -> TokenizedPrompt:
        """A prompt in tokens. Raises: TENSOR_TEXT for text that is not UTF-8, holds a NUL or has no
        tokens; CHAT_MALFORMED; PROMPT_TOO_LONG for more than `most`; as `ChatTemplate.write`.
        """
        # No token is longer than this many bytes on average, not even in a text of one word.
        longest = 64 * most
        if len(asked.prompt) > longest:
            raise SealgateError(Reason.PROMPT_TOO_LONG, f"{len(asked.prompt)} bytes")
        try:
            text = asked.prompt.decode("utf-8")
        except UnicodeDecodeError:
            raise SealgateError(Reason.TENSOR_TEXT, "a prompt is not UTF-8") from None
        if "\0" in text:
            raise SealgateError(Reason.TENSOR_TEXT, "a prompt holds a NUL")
        contents, plain = [text], ""
        if asked.is_chat:
            messages = self._messages(text)
            contents = [message["content"] for message in messages]
            text, plain = self._rendered(longest, messages, _without_words(messages))
        found = self._encoded(text, special=not asked.is_chat)
        ids: list[int] = found.ids
        if not ids:
            raise SealgateError(Reason.TENSOR_TEXT, "a prompt has no tokens")
        if len(ids) > most:
            raise SealgateError(Reason.PROMPT_TOO_LONG, f"{len(ids)} tokens")
        if asked.is_chat and self._marks_in(ids) != self._marks_of(plain):
            # Where a template puts nothing between two messages, each may hold half of one.
            raise SealgateError(
                Reason.CHAT_MALFORMED, "messages together contain a token that separates them"
            )
        letters = _letters_of(contents, text)
        return TokenizedPrompt(ids, [any(letters[start:end]) for start, end in found.offsets])

    def _messages(self, text: str) -> list[dict[str, str]]:
        """The messages of a chat, none of which holds a token that parts messages."""
        try:
            messages = json.loads(text)
        except (ValueError, RecursionError):
            messages = None
        if not _is_chat(messages):
            raise SealgateError(Reason.CHAT_MALFORMED)
        found: list[dict[str, str]] = messages
        contents = [message["content"] for message in found]
        if not all(is_text(content) and "\0" not in content for content in contents):
            raise SealgateError(Reason.CHAT_MALFORMED, "a message is not UTF-8 or holds a NUL")
        if any(map(self._holds_mark, contents)):
            # It would end its message and begin another, in whatever role it likes.
            raise SealgateError(
                Reason.CHAT_MALFORMED, "a message contains a token that separates messages"
            )
        return found

    def _writes(self, role: str) -> bool:
        """Whether the template writes what is said in a role, behind what a user says."""
        told = [{"role": _USER, "content": _PLAIN}, {"role": role, "content": _TOLD}]
        try:
            return self._template is not None and _TOLD in self._template.write([told])[0]
        except SealgateError as refusal:
            # Templates refuse roles that they do not know.
            if refusal.reason is not Reason.CHAT_MALFORMED:
                raise
            return False

    def _rendered(self, longest: int, *chats: list[dict[str, str]]) -> list[str]:
        """Chats as the template writes them: what was fetched as a tool's, if it knows of tools,
        and else as the user's.
        """
        if self._template is None:
            raise SealgateError(Reason.CHAT_MALFORMED)
        told = [
            [
                {**message, "role": self._fetched} if message["role"] in FETCHED else message
                for message in messages
            ]
            for messages in chats
        ]
        return self._template.write(told, longest)

    def _marks_in(self, ids: Iterable[int]) -> list[int]:
        return [number for number in ids if number in self._mark_ids]

    def _marks_of(self, text: str) -> list[int]:
        """The tokens in a text that part messages."""
        return self._marks_in(self._encoded(text).ids)

    def _holds_mark(self, content: str) -> bool:
        """Whether a token that parts messages stands in the text, or in what the tokenizer makes of
        it: one that normalizes reads other letters, such as wide ones, as those of such a token.
        """
        if any(mark in content for mark in self.marks):
            return True
        return not self._mark_ids.isdisjoint(self._encoded(content).ids)

    def _encoded(self, text: str, special: bool = False) -> Encoding:
        """Raises TENSOR_TEXT where the library fails."""
        with refusing(Reason.TENSOR_TEXT):
            return self.tokenizer.encode(text, add_special_tokens=special)


def _whole(folder: Path, config: Any, family: ModelFamily, precision: str) -> PreTrainedModel:
    """The model in this process, on the CPU."""
    model: PreTrainedModel = family.loads.from_pretrained(
        folder,
        config=config,
        trust_remote_code=False,
        use_safetensors=True,
        local_files_only=True,
        # Weights to be rounded are never in memory as a whole in float32.
        dtype=torch.float32 if precision == FLOAT32 else "auto",
        attn_implementation="sdpa",
    ).eval()
    if precision != FLOAT32:
        round_weights(model, precision)
    model.requires_grad_(False)
    # Penalties that a folder may configure are not supported.
    model.generation_config = GenerationConfig()
    return model


def _without_words(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """Messages of the same roles that say next to nothing, but for those that said nothing."""
    return [
        {**message, "content": _PLAIN if message["content"].strip() else message["content"]}
        for message in messages
    ]


def _letters_of(contents: Iterable[str], text: str) -> bytes:
    """Of each letter of `text`, 1 where it is one of the contents', which stand in it in their
    order; a template may take blanks from their ends. All are, where one is not found.
    """
    found, place = bytearray(len(text)), 0
    for content in contents:
        said = content if text.find(content, place) >= 0 else content.strip()
        start = text.find(said, place)
        if start < 0:
            return b"\1" * len(text)
        place = start + len(said)
        found[start:place] = b"\1" * len(said)
    return bytes(found)


def _unknown(tokenizer: Tokenizer) -> int | None:
    """The id of what the tokenizer does not know, where it has one."""
    model = json.loads(tokenizer.to_str())["model"]
    name = model.get("unk_token")
    return model.get("unk_id") if name is None else tokenizer.token_to_id(name)


def _is_chat(messages: Any) -> bool:
    return (
        isinstance(messages, list)
        and 1 <= len(messages) <= MOST_MESSAGES
        and all(
            isinstance(message, dict)
            and message.keys() == {"role", "content"}
            and message["role"] in ROLES
            and isinstance(message["content"], str)
            for message in messages
        )
    )
