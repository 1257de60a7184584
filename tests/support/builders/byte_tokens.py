"""A tokenizer that makes a token of each byte, of letters in their longest form: more than others
make of a text.
"""

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from inference.text.tokenizer import TextTokenizer
from inference.text.tokens import TRUNCATE, TokenRules


def opened(most: int, text_bytes: int = 4096) -> TextTokenizer:
    """One that reads so many of them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = tokenizers.Tokenizer(models.BPE({sign: at for at, sign in enumerate(alphabet)}, []))
    made.normalizer = normalizers.NFKD()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rules = TokenRules(len(alphabet), (most,), TRUNCATE, text_bytes)
    return TextTokenizer.open(made.to_str().encode(), rules)


def read(tokenizer: TextTokenizer, window: str) -> str:
    """As much of it as a model is given."""
    spans = tokenizer.spans(window)[: tokenizer.room]
    return window[: spans[-1][1]] if spans else ""
