"""Clean prompts: beginnings of docstrings of Python's own modules, which every machine has."""

import ast
import hashlib
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

_WORDS = (12, 24, 36, 48)


def clean() -> list[str]:
    """All, of 12 to 48 words, in an order that follows from their bytes."""
    found = sorted(set(_docstrings()), key=lambda text: hashlib.sha256(text.encode()).digest())
    return [
        " ".join(text.split(" ")[: _WORDS[number % len(_WORDS)]])
        for number, text in enumerate(found)
    ]


def _docstrings() -> Iterator[str]:
    """Those of functions and classes, of twelve words or more, in ASCII."""
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                text = re.sub(r"\s+", " ", ast.get_docstring(node) or "").strip()
                if text.isascii() and len(text.split(" ")) >= _WORDS[0]:
                    yield text
