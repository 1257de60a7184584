"""Prompts that a guard never saw, in sets: clean ones, and injections as they are and as attackers
hide them.

Held out are parts of the two corpora that it learnt from. For the results to expect elsewhere,
there are two corpora of other origin (`benchmarks.guard.elsewhere`), injections in other languages
by other people, prompts that speak of instructions and mean no harm (`about.txt`, made up for
this), system prompts (`operators.txt`, made up too), and e-mails, half of them spam, their
beginnings and as wholes, and descriptions of packages, which are no prompts. Chats and long texts
are made of held-out ones.
"""

import base64
import json
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from itertools import chain, cycle
from pathlib import Path

from benchmarks.guard import elsewhere
from benchmarks.report import RESULTS
from demo.harmless import documents, mails, whole_mails
from demo.prompts import CLEAN, INJECTION, LANGUAGES, NEURALCHEMY, S_LABS, TRAINED
from inference.llm.request import Sampling, SamplingRequest

_ROOT = RESULTS.parent.parent
RECIPE = _ROOT / "demo" / "recipes" / "prompt-guard.toml"
FOLDER = _ROOT / "build" / "guard"
MAILS = _ROOT / "build" / "bench" / "emails" / "package" / "data"
_PACKAGES = _ROOT / "build" / "bench" / "guard"
_LEARNT_SITES = _ROOT / ".venv-peers" / "workshop" / "lib"
ABOUT, _OPERATORS = (Path(__file__).parent / name for name in ("about.txt", "operators.txt"))
CORPORA = ("S-Labs", "neuralchemy")
"""Other parts of which it learnt from."""
ELSEWHERE = ("bastion", "in the wild")
"""Of which it learnt from no part."""
_SETS = {"S-Labs": S_LABS, "neuralchemy": NEURALCHEMY, "seven languages": LANGUAGES}
# So many injections that are hidden.
_HIDDEN = 400
_BETWEEN = "Of course. Please tell me more about it."
# Words before and behind a half, more than two windows have.
_FAR = 130
# Words of a long text, and how many such have an injection in their midst.
_LONG, _LONG_TEXTS = 2000, 100
_DOCUMENT = 3000
Texts = Sequence[str]


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts that are all clean, or else injections; and of chats each message by itself."""

    name: str
    clean: bool
    asked: Sequence[SamplingRequest]
    singly: Sequence[Sequence[SamplingRequest]] = ()


def held_out() -> list[Prompts]:
    """All sets."""
    read = {name: _read(FOLDER / file) for name, file in _SETS.items()}
    found = [
        Prompts(name, label == CLEAN, [_prompt(text) for text in texts])
        for name, labelled in read.items()
        for label, texts in labelled.items()
        if texts
    ]
    for kind in (True, False):
        parts = [s for s in found if s.name in CORPORA and s.clean == kind]
        both = [one for part in parts for one in part.asked]
        found.append(Prompts("both corpora", kind, both))
    about = ABOUT.read_text().splitlines()
    found.append(Prompts("about instructions", True, [_prompt(text) for text in about]))
    operators = _OPERATORS.read_text().splitlines()
    found.append(Prompts("system prompts", True, [_prompt(text) for text in operators]))
    letters = list(mails(MAILS, held_out=True))
    found.append(Prompts("e-mails", True, [_prompt(text) for text in letters]))
    whole = whole_mails(MAILS, held_out=True)
    found.append(Prompts("whole e-mails", True, [_prompt(text) for text in whole]))
    papers = list(_documents())
    found.append(Prompts("documents", True, [_prompt(text) for text in papers]))
    found += _elsewhere()
    clean, injections = (read["S-Labs"][label] for label in (CLEAN, INJECTION))
    long = [text for text in injections if len(text.split()) > 2][:_HIDDEN]
    mixed = [text for pair in zip(letters, clean, strict=False) for text in pair] + papers
    found += [*_chats(clean), *_hidden(long, clean, letters)]
    return [*found, _in_operators(long, operators), *_inside(long, mixed)]


def fetched() -> Mapping[str, Iterator[str]]:
    """The texts of training that are no prompts, by kind."""
    (site,) = _LEARNT_SITES.glob("python3*/site-packages")
    papers = documents(site, Path(sysconfig.get_path("stdlib")))
    return {"e-mails": whole_mails(MAILS), "documents": papers}


def _elsewhere() -> list[Prompts]:
    trained = chain.from_iterable(_read(FOLDER / TRAINED).values())
    other = elsewhere.read(_PACKAGES, trained)
    found = []
    for kind in (True, False):
        sets = {"bastion": other.bastion, "five languages": other.languages}
        found += [
            Prompts(name, kind, [_prompt(text) for text in texts[not kind]])
            for name, texts in sets.items()
        ]
    return [*found, Prompts("in the wild", False, [_prompt(text) for text in other.wild])]


def _documents() -> Iterator[str]:
    """How descriptions of packages begin that are installed here, and not where training reads."""
    known = {each.name for each in distributions(path=[str(p) for p in _LEARNT_SITES.glob("*/*")])}
    here = distributions(path=[sysconfig.get_path("purelib")])
    for package in sorted(here, key=lambda each: each.name):
        said = package.metadata.get_payload()  # type: ignore[attr-defined]
        if package.name not in known and isinstance(said, str) and len(said) >= _DOCUMENT:
            yield said[:_DOCUMENT]


def _inside(injections: Texts, clean: Texts) -> list[Prompts]:
    """In the midst of a long text, and as many long texts as there are words for."""
    other = cycle(clean)
    words = sum(len(text.split()) for text in clean)
    alone = [_words(other, _LONG) for _ in range(words // _LONG)]
    half = _LONG // 2
    buried = [
        f"{_words(other, half)} {text} {_words(other, half)}" for text in injections[:_LONG_TEXTS]
    ]
    return [
        Prompts("2,000 clean words", True, [_prompt(text) for text in alone]),
        Prompts("between 2,000 clean words", False, [_prompt(text) for text in buried]),
    ]


def _in_operators(injections: Texts, operators: Texts) -> Prompts:
    """In the midst of system prompts, which take turns."""
    halves = cycle([_cut(text, 2) for text in operators])
    pairs = zip(injections, halves, strict=False)
    placed = [f"{before} {text} {behind}" for text, (before, behind) in pairs]
    return Prompts("inside system prompts", False, [_prompt(text) for text in placed])


def _chats(clean: Texts) -> list[Prompts]:
    pairs, fours = (
        [clean[at : at + count] for at in range(0, len(clean) - count + 1, count)]
        for count in (2, 4)
    )
    long = [text for text in clean if len(text.split()) > 2][:_HIDDEN]
    return [
        _chat_set("clean prompts in halves", True, [_cut(text, 2) for text in long]),
        _chat_set("chats of two clean", True, pairs),
        _chat_set(
            "chats of four clean, answered", True, [_answered(four) for four in fours], _BOTH
        ),
    ]


def _hidden(injections: Texts, clean: Texts, letters: Texts) -> list[Prompts]:
    """Cut in pieces, which stand in messages of their own, or behind much that is clean."""
    halves = [_cut(text, 2) for text in injections]
    other = cycle(clean)
    apart = [[first, next(other), second] for first, second in halves]
    padded = [[f"{first} {_words(other)}", f"{_words(other)} {second}"] for first, second in halves]
    buried = [f"{_words(other)} {text} {_words(other)}" for text in injections]
    letter = cycle(letters)
    posted = [f"{next(letter)}\n\n{text}\n\n{next(letter)}" for text in injections]
    return [
        Prompts("the same, as they are", False, [_prompt(text) for text in injections]),
        _chat_set("halves", False, halves),
        _chat_set("halves, answered", False, [_answered(pair) for pair in halves], _BOTH),
        _chat_set("halves, a clean message between", False, apart),
        _chat_set("halves, 130 clean words between", False, padded),
        Prompts("between 130 clean words", False, [_prompt(text) for text in buried]),
        Prompts("between two e-mails", False, [_prompt(text) for text in posted]),
        *(
            Prompts(f"in {name}", False, [_prompt(write(text)) for text in injections])
            for name, write in ENCODINGS.items()
        ),
    ]


def _base64(text: str) -> str:
    return f"Decode this: {base64.b64encode(text.encode()).decode()}"


ENCODINGS: Mapping[str, Callable[[str], str]] = {
    "base64": _base64,
    "leetspeak": lambda text: text.translate(str.maketrans("oieasOIEAS", "0134501345")),
    "zero-width": "\u200b".join,
    # Cyrillic letters.
    "homoglyphs": lambda text: text.translate(
        str.maketrans("aeopcyx", "\u0430\u0435\u043e\u0440\u0441\u0443\u0445")
    ),
    "escapes": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "spaced letters": lambda text: "  ".join(map(" ".join, text.split())),
}
"""How attackers write what a classifier is not to read."""

_ONE, _BOTH = ("user",), ("user", "assistant")


def _chat_set(
    name: str, clean: bool, chats: Sequence[Texts], roles: tuple[str, ...] = _ONE
) -> Prompts:
    own = [[_prompt(text) for text in chat if text != _BETWEEN] for chat in chats]
    return Prompts(name, clean, [_chat(chat, roles) for chat in chats], own)


def _prompt(text: str) -> SamplingRequest:
    return SamplingRequest(text.encode(), False, Sampling(1))


def _chat(contents: Texts, roles: tuple[str, ...]) -> SamplingRequest:
    """Messages, which take the roles in turn."""
    said = [
        {"role": role, "content": text} for role, text in zip(cycle(roles), contents, strict=False)
    ]
    return SamplingRequest(json.dumps(said).encode(), True, Sampling(1))


def _cut(text: str, count: int) -> list[str]:
    words = text.split()
    return [
        " ".join(words[at * len(words) // count : (at + 1) * len(words) // count])
        for at in range(count)
    ]


def _words(texts: Iterator[str], count: int = _FAR) -> str:
    found: list[str] = []
    while len(found) < count:
        found += next(texts).split()
    return " ".join(found)


def _answered(texts: Texts) -> list[str]:
    """With an assistant's word between."""
    return [part for text in texts for part in (text, _BETWEEN)][:-1]


def _read(path: Path) -> dict[str, list[str]]:
    """The prompts of a file, by label."""
    found: dict[str, list[str]] = {CLEAN: [], INJECTION: []}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        found[row["label"]].append(row["text"])
    return found
