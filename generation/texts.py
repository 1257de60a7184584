"""Ids to text as they come: whole characters alone, and nothing of what ends an answer."""

from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream


class Text:
    """The text of one answer. Special tokens have none.

    What may be the beginning of a stop text is held until it is known not to be.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._stop = stop
        self._ids: list[int] = []
        self._given = self._held = ""
        self.is_over = False
        """Whether a stop text has come."""

    def add(self, token: int) -> str:
        """What can be said now that this token has come."""
        self._ids.append(token)
        return self._release(self._stream.step(self._tokenizer, token) or "", last=False)

    def end(self) -> str:
        """What is left, once no token comes any more; half a character is told as U+FFFD."""
        whole: str = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        known = self._given + self._held
        return self._release(whole[len(known) :] if whole.startswith(known) else "", last=True)

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
        self._given += out
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
