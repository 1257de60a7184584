"""The pages, each group in a module of its own."""

from typing import ClassVar

from starlette.convertors import Convertor, register_url_convertor

from console.pages import audit, models, overview, people, proposals, reach, signing


class _Number(Convertor[int]):
    """A number in a path, of so few digits that all that is asked by it takes it."""

    regex: ClassVar[str] = "[0-9]{1,15}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("number", _Number())
ROUTES = [
    *overview.ROUTES,
    *models.ROUTES,
    *proposals.ROUTES,
    *audit.ROUTES,
    *people.ROUTES,
    *reach.ROUTES,
    *signing.ROUTES,
]
"""Path, handler and methods of each page."""
