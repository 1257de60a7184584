"""The tokens with which a chat template parts messages.

Whoever writes one into a message ends it there and begins another, in whatever role they like. What
a tokenizer calls special is one. But not all call theirs so: DeepSeek's distilled models do not
call the tokens special with which their template says whose a message is.
"""

from collections.abc import Iterable

# Shorter ones may stand in any text.
_SHORTEST = 3


def marks_of(added: Iterable[tuple[str, bool]], template: str) -> frozenset[str]:
    """Of a tokenizer's added tokens, each a text and whether it is called special, those that no
    message may hold: the special ones, and all others that stand in the text of the template.

    Blanks and words are none, nor are pairs such as `<think>` and `</think>`, which models write
    into their answers and templates look for there.
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
