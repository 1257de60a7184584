"""All attacks of the protocol by the family to which they belong.

HopSkipJump, SimBA and Square with at most 5,000 queries, told of refusals and beside sessions, are
measured by `benchmarks.stateful`: one row at a time they take hours here.
"""

from collections.abc import Iterator
from typing import Any

from benchmarks.screening import toolbox
from benchmarks.screening.attacks import ATTACKS, SOME, Attack
from benchmarks.screening.sources import Labels, Rows
from benchmarks.screening.subjects import ScreenedModel

GEOMETRIC = "geometric"
NEAREST = ("DeepFool", "CW, κ = 0", "EAD")
"""Attacks that look for the nearest row of another class."""
SHOWN = {"L2/L1": "l2", "L0": "sparse", "masked": "masked"}
"""The names of publishing's own attacks, by family."""
_SLOW = ("HopSkipJump",)
_FAMILIES = {
    "L2/L1": ("PGD-L2 2.0", "CW, κ = 5", *NEAREST),
    "L0": ("JSMA, a tenth",),
    "masked": ("masked PGD, half size", "masked PGD", "PGD in random places"),
    "patch": ("patch",),
    GEOMETRIC: ("rotation or shift",),
}


def family(attack: str) -> str:
    return next((name for name, those in _FAMILIES.items() if attack in those), "L∞")


def attacks_on(found: ScreenedModel) -> Iterator[Attack]:
    for attack in (*ATTACKS, *_MORE):
        if attack.name not in _SLOW and (found.source.image or not attack.images_only):
            yield attack


def _toolbox(name: str, make: Any, rows: int = 500) -> Attack:
    return Attack(name, "bounded", "pgd", make, rows, images_only=True)


def _masked(subject: ScreenedModel, x: Rows, y: Labels, size: float) -> Rows:
    return toolbox.masked(subject.module, x, y, size * subject.source.eps)


def _at_random(subject: ScreenedModel, x: Rows, y: Labels) -> Rows:
    return toolbox.masked_at_random(subject.module, x, y, subject.source.eps)


_MORE = (
    _toolbox("masked PGD, half size", lambda s, x, y: _masked(s, x, y, 0.5)),
    _toolbox("masked PGD", lambda s, x, y: _masked(s, x, y, 1.0)),
    _toolbox("PGD in random places", _at_random),
    _toolbox("EAD", lambda s, x, y: toolbox.elastic_net(s.module, x, y), SOME * 2),
    _toolbox("JSMA, a tenth", lambda s, x, y: toolbox.saliency_map(s.module, x, 0.1), SOME * 2),
    _toolbox("patch", lambda s, x, y: toolbox.patch(s.module, x, y)),
    _toolbox("rotation or shift", lambda s, x, y: toolbox.turned_images(s.module, x, y)),
)
