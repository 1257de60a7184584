"""Suffixes by attackers who know nothing of screening, something, or all of it.

    gcg        tokens exchanged by gradients (Zou et al., arXiv 2307.15043); a suffix for a prompt
    universal  the same, one suffix for four prompts, behind others
    fluent     written from left to right in likely tokens (AutoDAN, BEAST)
    quiet      gcg that also wants its tokens likely
    adaptive   gcg that asks the screen itself of its best exchanges, for twice as many steps

Each suffix that has been found is kept in build/bench/suffixes, and not searched for again.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.report import RESULTS
from generation.models.decoder import LanguageModel
from generation.models.suffixes import printable
from tests.support.oracles.gcg import Aim, Attack, Effort, Found

UNAWARE = ("gcg", "universal")
LENGTH = 20
_EFFORT = Effort(steps=60, candidates=64, length=LENGTH)
_TOGETHER = 4
_TARGET = " the same object"
_KEPT = RESULTS.parent.parent / "build" / "bench" / "suffixes"
JudgeText = Callable[[str], float]
"""By how much a prompt's score exceeds the threshold."""


@dataclass(frozen=True, slots=True)
class Suffixed:
    """A prompt with a suffix behind it, as text, and what was found."""

    prompt: str
    suffix: str
    found: Found

    @property
    def text(self) -> str:
        return self.prompt + self.suffix


class Attacker:
    """Attacks one model. `judge` is the screen that a adaptive attacker has."""

    def __init__(self, decoder: LanguageModel, judge: JudgeText, quick: bool) -> None:
        tokenizer = self._tokenizer = decoder.tokenizer
        (start,) = tokenizer.encode(" !", add_special_tokens=False).ids[-1:]
        self._attack = Attack(decoder.model, printable(tokenizer), start)
        self._judge = judge
        self._effort = replace(_EFFORT, steps=4, candidates=8) if quick else _EFFORT

    def attacked(self, kind: str, prompts: Sequence[str]) -> list[Suffixed]:
        """Each prompt with a suffix of that kind."""
        if kind != "universal":
            return [self._one(kind, [prompt], n, [prompt])[0] for n, prompt in enumerate(prompts)]
        made: list[Suffixed] = []
        for number in range(0, len(prompts), 2 * _TOGETHER):
            sought, others = (
                prompts[start : start + _TOGETHER] for start in (number, number + _TOGETHER)
            )
            made += self._one(kind, sought, number, others)
        return made

    def _one(
        self, kind: str, sought: Sequence[str], seed: int, sent: Sequence[str]
    ) -> list[Suffixed]:
        """A suffix sought with some prompts, behind those that are sent."""
        effort = {
            "quiet": replace(self._effort, quiet=1.0),
            "adaptive": replace(self._effort, steps=2 * self._effort.steps),
        }.get(kind, self._effort)
        told = json.dumps([kind, list(sought), seed, asdict(effort), _TARGET])
        place = _KEPT / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.json"
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            found = self._search(kind, sought, seed, effort)
            place.write_text(json.dumps(asdict(found)))
        said = json.loads(place.read_bytes())
        found = Found(**{**said, "ids": tuple(said["ids"]), "losses": tuple(said["losses"])})
        suffix = self._tokenizer.decode(list(found.ids))
        return [Suffixed(prompt, suffix, found) for prompt in sent]

    def _search(self, kind: str, sought: Sequence[str], seed: int, effort: Effort) -> Found:
        encode = self._tokenizer.encode
        aims = [Aim(encode(prompt).ids, [], encode(_TARGET).ids) for prompt in sought]
        if kind == "fluent":
            return self._attack.fluent(aims, effort, seed)
        if kind != "adaptive":
            return self._attack.search(aims, effort, seed)

        def judge(ids: Sequence[int]) -> float:
            suffix = self._tokenizer.decode(list(ids))
            return max(self._judge(prompt + suffix) for prompt in sought)

        return self._attack.search(aims, effort, seed, judge)


def kept() -> Path:
    """Where suffixes are kept."""
    return _KEPT
