"""Stands in for the module torch where a machine's list of devices is simulated."""

from types import SimpleNamespace
from typing import Any


def torch_with(cards: int = 0, *, hip: str | None = None, mps: bool = False) -> Any:
    """A torch that sees so many cards, of AMD with `hip`, and Apple's device with `mps`."""
    return SimpleNamespace(
        __version__="2.13.0",
        cuda=SimpleNamespace(
            is_available=lambda: cards > 0,
            device_count=lambda: cards,
            get_device_name=lambda number: f"Card {number}",
        ),
        version=SimpleNamespace(hip=hip),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps)),
    )
