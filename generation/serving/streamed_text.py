"""Text from tokens as they come: whole characters only, and nothing behind a stop text."""

from collections.abc import Sequence

from tokenizers import Tokenizer

from inference.text.tokenizer_file import refusing
from sealgate.reasons import Reason

_UNKNOWN = "\ufffd"


class StreamedText:
    """The text of one answer. Special tokens have none. Where the library fails, each method raises
    SealgateError(INTERNAL).

    A possible beginning of a stop text is held until it is known not to be one. Where later bytes
    turn earlier ones into no character, as those of a tokenizer that falls back to bytes may, what
    has been said stays said.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stop = stop
        # The tokens of what was said last, and those of which nothing has been said yet: what one
        # says hangs on those before it.
        self._last: list[int] = []
        self._new: list[int] = []
        self._before = self._held = ""
        self.is_over = False
        """Whether a stop text has come."""

    def add(self, token: int) -> str:
        """The text that can be released after this token."""
        self._new.append(token)
        return self._release(self._read(), last=False)

    def end(self) -> str:
        """The remaining text, after the last token; an incomplete character becomes U+FFFD."""
        return self._release(self._decoded()[len(self._before) :], last=True)

    def _read(self) -> str:
        """The text of the new tokens; empty until it ends with a complete character."""
        text, known = self._decoded(), len(self._before)
        if len(text) <= known or text.endswith(_UNKNOWN):
            return ""
        self._last, self._new = self._new, []
        self._before = self._decoded()
        return text[known:]

    def _decoded(self) -> str:
        ids = self._last + self._new
        with refusing(Reason.INTERNAL):
            text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def _release(self, new: str, last: bool) -> str:
        if self.is_over:
            return ""
        text = self._held + new
        found = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self.is_over = True
            return text[: min(found)]
        kept = 0 if last else self._beginning(text)
        out, self._held = text[: len(text) - kept], text[len(text) - kept :]
        return out

    def _beginning(self, text: str) -> int:
        """How long the longest end of `text` is with which a stop text begins."""
        lengths = (
            size
            for stop in self._stop
            for size in range(min(len(stop) - 1, len(text)), 0, -1)
            if text.endswith(stop[:size])
        )
        return max(lengths, default=0)
