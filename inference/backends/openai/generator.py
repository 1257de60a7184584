"""A language model that is served by an OpenAI-compatible server.

The gateway cannot see which bytes the server runs, cannot see token ids, and cannot tell how the
server uses a seed. Entries therefore bind the text alone, and say so. Prompts are not screened
here, so the policy must let adversarial prompts pass, or no prompt passes.
"""

import json
import logging
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from collections.abc import Generator as Generating
from contextlib import contextmanager
from typing import Any

from inference.backends.openai.client import OpenAiServer
from inference.backends.remote.generator import Generator, StartedAnswer, read_terms
from inference.backends.remote.messages import OnEnd
from inference.engine import (
    FileSource,
    ServableVersion,
    Source,
    UntrustedSnapshot,
    VerifiedPointer,
    read_file,
)
from inference.llm.messages import ENDS, AnswerPart
from inference.llm.request import (
    FETCHED,
    LONGEST_STOP,
    MOST_MESSAGES,
    ROLES,
    Sampling,
    SamplingRequest,
    is_text,
    marks_of,
)
from inference.llm.terms import TOKENIZER, TOKENIZER_CONFIG, GeneratorTerms
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope

_log = logging.getLogger(__name__)

UNCHECKED = "neither digest nor tokens checked there"
"""How the field `engine` ends in entries of what such a server generated."""

# A token has at most this many bytes on average, and arrives in at most this many parts.
_BYTES, _PARTS = 64, 4
# Categories of Unicode: marks on letters, control characters, and what only formats.
_UNSEEN = frozenset({"Mn", "Me", "Cc", "Cf"})


class OpenAiGenerator(Generator):
    """A language model that the server knows as `called`.

    `marks` are the special tokens that separate messages, as text.
    """

    def __init__(
        self,
        server: OpenAiServer,
        cleared: VerifiedPointer,
        terms: GeneratorTerms,
        engine: str,
        called: str,
        marks: Collection[str],
    ) -> None:
        super().__init__(cleared, terms, engine)
        self._server = server
        self._called = called
        self._marks = marks

    @contextmanager
    def _begin(
        self, asked: SamplingRequest, deadline: float, caller: str, on_end: OnEnd
    ) -> Iterator[StartedAnswer]:
        """Nothing is sent before the first piece is wanted: until then the prompt may be refused.

        Raises: TENSOR_NAME for a prompt that is no chat, CHAT_MALFORMED, PROMPT_TOO_LONG.
        """
        sampling = asked.sampling
        document: dict[str, Any] = {
            "model": self._called,
            "messages": self._messages(asked),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if sampling.stop:
            document["stop"] = list(sampling.stop)
        events = self._server.chat(document, deadline, on_end)
        pieces = read_pieces(events, sampling, self.terms.prompt_tokens)
        try:
            yield StartedAnswer((), None, pieces)
        finally:
            pieces.close()
            events.close()

    def _messages(self, asked: SamplingRequest) -> Any:
        if not asked.is_chat:
            raise SealgateError(Reason.TENSOR_NAME, "an OpenAI server takes chats")
        if len(asked.prompt) > _BYTES * self.terms.prompt_tokens:
            raise SealgateError(Reason.PROMPT_TOO_LONG, f"{len(asked.prompt)} bytes")
        try:
            messages = json.loads(asked.prompt.decode())
            contents = [message["content"] for message in messages]
            sound = all(
                message.keys() == {"role", "content"} and message["role"] in ROLES
                for message in messages
            ) and all(type(text) is str and is_text(text) and "\0" not in text for text in contents)
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
            sound = False
        if not sound or not 1 <= len(messages) <= MOST_MESSAGES:
            raise SealgateError(Reason.CHAT_MALFORMED)
        if any(mark in form for form in _forms(messages) for mark in self._marks):
            # The server may read it as the end of the message and the beginning of another.
            raise SealgateError(
                Reason.CHAT_MALFORMED, "a message contains a token that separates messages"
            )
        # A server would want to know of which call of a tool's it is the answer.
        return [
            {**message, "role": "user"} if message["role"] in FETCHED else message
            for message in messages
        ]


class OpenAiEngine:
    """A `VersionLoader` for language models behind an OpenAI-compatible server."""

    # It cannot be shown anything.
    behind = False

    def __init__(self, server: OpenAiServer, name: str, model: str) -> None:
        """`name` is ours for it; `model` is what it calls a version: text in which `{model}` and
        `{version}` stand for ours.
        """
        self._server = server
        self.engine = f'openai "{name}", {UNCHECKED}'
        self._called = model

    def show(self, snapshot: UntrustedSnapshot, source: Source) -> None:
        """See `RemoteGeneratorEngine`."""

    def load(
        self, cleared: VerifiedPointer, source: FileSource, loaded: ServableVersion | None
    ) -> ServableVersion:
        """See `VersionLoader`. Raises: as `read_terms`; ENGINE_UNSUITABLE for attention windows,
        which such a server does not obey; CHECKPOINT_REFUSED for an unreadable tokenizer.
        """
        if isinstance(loaded, OpenAiGenerator) and loaded.is_of(cleared):
            return loaded
        terms = read_terms(cleared, source)
        if terms.attention is not None:
            raise SealgateError(
                Reason.ENGINE_UNSUITABLE, "an OpenAI server does not obey attention windows"
            )
        _log.warning("%s %s: %s", terms.name, cleared.pointer.version, self.engine)
        return OpenAiGenerator(
            self._server,
            cleared,
            terms,
            self.engine,
            self._called.format(model=terms.name, version=cleared.pointer.version),
            read_marks(cleared, source),
        )

    def probe(self) -> None:
        """See `RemoteGeneratorEngine`."""

    def counts(self) -> list[Envelope]:
        """None: the server signs no counts."""
        return []

    def close(self) -> None:
        """See `RemoteGeneratorEngine`."""


def read_marks(cleared: VerifiedPointer, source: FileSource) -> frozenset[str]:
    """The tokens whose text no message may contain. Neither the tokenizer, which may contain
    foreign regular expressions, nor the template is run in a gateway.
    """
    try:
        added = json.loads(_verified(TOKENIZER, cleared, source))["added_tokens"]
        tokens = [(str(token["content"]), bool(token["special"])) for token in added]
        described = json.loads(_verified(TOKENIZER_CONFIG, cleared, source) or b"{}")
        return marks_of(tokens, str(described.get("chat_template", "")))
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        raise SealgateError(Reason.CHECKPOINT_REFUSED, f"{TOKENIZER}: {error}") from error


def _verified(path: str, cleared: VerifiedPointer, source: FileSource) -> bytes:
    """A file's verified bytes; empty if the version lacks it. Raises: VERSION_ALTERED."""
    for entry in cleared.manifest.files:
        if entry.path == path:
            return read_file(entry, source)
    return b""


def _forms(messages: Sequence[dict[str, str]]) -> Iterator[str]:
    """The texts that a template may write without a break: all contents together, and those of each
    role; as they are, and as a normalizing tokenizer may read them.
    """
    roles = sorted({message["role"] for message in messages})
    groups = [[each for each in messages if each["role"] == role] for role in roles]
    for group in (messages, *(groups if len(groups) > 1 else ())):
        text = "".join(message["content"] for message in group)
        yield text
        yield unicodedata.normalize("NFKC", text)
        yield _seen(text)


def _seen(text: str) -> str:
    """Without accents and what is not seen, which some tokenizers leave out."""
    parts = unicodedata.normalize("NFKD", text)
    unseen = (each for each in set(parts) if unicodedata.category(each) in _UNSEEN)
    return parts.translate(dict.fromkeys(map(ord, unseen)))


def read_pieces(events: Iterator[Any], sampling: Sampling, longest: int) -> Generating[AnswerPart]:
    """The last one once it is known how many tokens there were.

    Raises: ANSWER_MALFORMED, also for more tokens than were asked for, or a text that should have
    stopped it; PROMPT_TOO_LONG for a prompt of more than `longest`, which is told with the end;
    ENGINE_UNAVAILABLE where that does not come; as `events`.
    """
    finish, ending, usage, size, parts = "", "", None, 0, 0
    most, said = sampling.max_tokens, ""
    for event in events:
        text, end = _choice(event)
        usage = event.get("usage") or usage
        size, parts = size + len(text.encode()), parts + 1
        said = said[-LONGEST_STOP:] + text
        if (finish and (text or end)) or size > _BYTES * most or parts > _PARTS * (most + 4):
            raise SealgateError(Reason.ANSWER_MALFORMED, "the answer is longer than requested")
        if any(stop in said for stop in sampling.stop):
            raise SealgateError(Reason.ANSWER_MALFORMED, "the answer continues after a stop text")
        if end:
            finish, ending = end, text
        elif text:
            yield AnswerPart((), text.encode())
    if not finish:
        raise SealgateError(Reason.ENGINE_UNAVAILABLE, "a stream ends without its last event")
    yield AnswerPart((), ending.encode(), finish, _tokens(usage, most, longest))


def _choice(event: dict[str, Any]) -> tuple[str, str]:
    """The text of an event, and why it is the last one with any. Raises: ANSWER_MALFORMED."""
    choices: Any = event.get("choices")
    if choices == []:
        return "", ""
    try:
        (choice,) = choices
        text, end = choice.get("delta", {}).get("content") or "", choice.get("finish_reason") or ""
    except (TypeError, ValueError, AttributeError) as error:
        raise SealgateError(Reason.ANSWER_MALFORMED, "an event has another form") from error
    if type(text) is not str or not is_text(text) or end not in ("", *ENDS):
        raise SealgateError(Reason.ANSWER_MALFORMED, "an event has unexpected content")
    return text, end


def _tokens(usage: Any, most: int, longest: int) -> tuple[int, int]:
    """How many tokens prompt and answer had, by which quotas count.

    Raises: ANSWER_MALFORMED, PROMPT_TOO_LONG.
    """
    found = usage if isinstance(usage, dict) else {}
    prompt, output = found.get("prompt_tokens"), found.get("completion_tokens")
    if type(prompt) is not int or type(output) is not int:
        raise SealgateError(
            Reason.ANSWER_MALFORMED, "the answer does not report its number of tokens"
        )
    if prompt < 1 or not 0 <= output <= most:
        raise SealgateError(Reason.ANSWER_MALFORMED, "the reported number of tokens is impossible")
    if prompt > longest:
        raise SealgateError(Reason.PROMPT_TOO_LONG, f"{prompt} tokens")
    return prompt, output
