"""Regular expressions of tokenizers: those of known models read a text once, others are refused."""

import time

import pytest
from tokenizers import Regex, pre_tokenizers

from inference.text.patterns import LONGEST, is_harmless

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CAPITAL, SMALL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
HEAD, TAIL = r"[^\r\n\p{L}\p{N}]?", "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SIGNS = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"
KNOWN = {
    "gpt-2": (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"),
    "cl100k, as tiktoken has it": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
    "llama 3": LLAMA3,
    "qwen2": LLAMA3.replace("{1,3}", ""),
    "qwen3.5": (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
        r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "tekken": rf"{HEAD}{CAPITAL}*{SMALL}+|{HEAD}{CAPITAL}+{SMALL}*|\p{{N}}|{REST}",
    "gpt-4o, llama 4": (
        rf"{HEAD}{CAPITAL}*{SMALL}+{TAIL}|{HEAD}{CAPITAL}+{SMALL}*{TAIL}|\p{{N}}{{1,3}}|{REST}"
    ),
    "deepseek v3": (
        SIGNS + "[A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "deepseek v3, han and kana": "[一-龥぀-ゟ゠-ヿ]+",  # noqa: RUF001
    "deepseek coder, lines": "[\r\n]",
    "deepseek coder, letters": r"\s?\p{L}+",
    "deepseek coder, signs": r"\s?\p{P}+",
    "deepseek coder, han and hangul": "[一-龥ࠀ-一가-퟿]+",
    "falcon": "[0-9][0-9][0-9]",
    "bloom": r" ?[^(\s|.,!?…。，、।۔،)]+",  # noqa: RUF001
    "t5": " {2,}",
    "mbart": r"\s{2,}|[\n\r\t]",
    "clip": r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
}
SIZE = 1 << 16
TEXTS = {
    "blanks": " " * SIZE,
    "blanks before a letter": " " * SIZE + "a",
    "blanks before a digit": " " * SIZE + "5",
    "lines": "\n" * SIZE,
    "lines before a letter": "\n" * SIZE + "a",
    "lines and blanks": " \n" * (SIZE // 2) + "5",
    "blanks in lines": (" " * 255 + "\n") * (SIZE // 256) + " " * SIZE + "x",
    "blanks of many kinds": "\t \r\u2003\u3000" * (SIZE // 5) + "5",
    "small letters": "a" * SIZE,
    "capitals": "A" * SIZE,
    "capitals before a digit": "A" * SIZE + "5",
    "both kinds in turn": "aA" * (SIZE // 2),
    "capitals behind letters of no kind": "日" * (SIZE // 2) + "A" * (SIZE // 2) + " ",
    "capitals among letters of no kind": ("日" + "A" * 255) * (SIZE // 256) + " ",
    "marks": "\u0301" * SIZE,
    "marks among capitals": ("\u0301" + "A" * 255) * (SIZE // 256) + "5",
    "capitals and marks in turn": "A\u0301" * (SIZE // 2) + "5",
    "digits": "5" * SIZE,
    "signs": "!" * SIZE,
    "signs before blanks": ("!" * 255 + " " * 255) * (SIZE // 510) + "5",
    "apostrophes": "'" * SIZE,
    "contractions": "'ll'LL" * (SIZE // 6),
    "half contractions": "'l'r'v" * (SIZE // 6),
    "of all": "aA5!' \n\u0301日" * (SIZE // 9),
    "long s": "'\u017f" * (SIZE // 2),
}
OTHERS = [
    *("(a|a)+$", "(a+)+$", "(a+)+", "(?:ab)+", "(ab)*", r"(\w)\1", "a*a*b", "a+b", "a*", "a+?"),
    *("", "a|", "|a", "(|a)", "(a", "[a", "a)", "[[a]]", "a{3,1}", "a{1,3}+", "a{2,}*", ".+x"),
    *(r"\s+$", r"\s*[\r\n]+", r"\s*[\r\n]+|\p{L}+|\s+", r"\s+(?!\S)a", r"\h+", "(?=a)a", "(?<=a)b"),
    # The first has no alternative behind it that takes what it reads.
    rf"{HEAD}{CAPITAL}*{SMALL}+",
    rf"{HEAD}{CAPITAL}*{SMALL}+|\p{{N}}|{HEAD}{CAPITAL}+{SMALL}*",
    # SuperBPE's and Exaone's.
    r"(?=(\d{3})+(?!\d))",
    r"[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+",
    # Many ways to fail.
    "a?" * 10 + "b",
    "(a|b|c)" * 8,
    "a" * (LONGEST + 1),
    "[" + r"\d{2}" * 150,
    "(" * 400,
]


@pytest.mark.parametrize("name", KNOWN)
def test_patterns_of_known_models_read_a_text_once(name: str) -> None:
    assert is_harmless(KNOWN[name])
    cut = pre_tokenizers.Split(Regex(KNOWN[name]), "isolated")
    for text in TEXTS.values():
        begun = time.process_time()
        cut.pre_tokenize_str(text)
        # Some milliseconds; the square of its length takes minutes.
        assert time.process_time() - begun < 5


@pytest.mark.parametrize("pattern", OTHERS)
def test_other_patterns_are_refused(pattern: str) -> None:
    assert not is_harmless(pattern)
