"""Charts as inline SVG, drawn on the server: they print, need no script, and are read out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from console.display.formats import percent, plain

WIDTH = 480
_ROW, _LABEL, _VALUE = 28, 140, 72
_ROOM = WIDTH - _LABEL - _VALUE
_BAR = 16
_HEAD = 34


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a chart: its label, and named parts that lie end to end."""

    label: str
    parts: tuple[tuple[str, float], ...]

    @property
    def total(self) -> float:
        return sum(value for _, value in self.parts)


def bars(title: str, rows: Sequence[Bar], *, shares: bool = False) -> Markup:
    """Horizontal bars on one scale, up to the longest, or to the whole where they are `shares`; the
    parts have a legend.
    """
    write = percent if shares else _number
    most = 1.0 if shares else max((row.total for row in rows), default=0.0) or 1.0
    names = [name for name, _ in rows[0].parts] if rows else []
    legend = names if len(names) > 1 else []
    top = _HEAD if legend else 4
    height = top + _ROW * len(rows)
    told = "; ".join(
        f"{row.label}: " + ", ".join(f"{write(value)} {name}" for name, value in row.parts)
        for row in rows
    )
    body = Markup("").join(
        [
            *(_key(number, name) for number, name in enumerate(legend)),
            *(_row(top + _ROW * at, row, most, write) for at, row in enumerate(rows)),
        ]
    )
    return figure(title, told, height, body)


# `%` escapes what it puts into Markup as `format` does, in a quarter of the time.
_FIGURE = Markup(
    '<figure class="chart"><figcaption>%s</figcaption>'
    '<svg viewBox="0 0 %d %d" role="img" aria-label="%s. %s">%s</svg></figure>'
)
_KEY = Markup(
    '<rect class="part-%d" x="%d" y="6" width="12" height="12" rx="2"/>'
    '<text x="%d" y="16">%s</text>'
)
_PART = Markup('<rect class="part-%d" x="%.1f" y="%d" width="%.1f" height="%d"/>')
_BAR_ROW = Markup(
    '<text class="label" x="0" y="%d">%s</text>'
    '<rect class="room" x="%d" y="%d" width="%d" height="%d"/>%s'
    '<text x="%d" y="%d">%s</text>'
)


def figure(title: str, told: str, height: int, body: Markup) -> Markup:
    """A chart with its title; `told` is read out instead of the drawing."""
    return _FIGURE % (title, WIDTH, height, title, told, body)


def _number(value: float) -> str:
    return plain(round(value, 4))


def _key(number: int, name: str) -> Markup:
    x = _LABEL + 110 * number
    return _KEY % (number, x, x + 18, name)


def _row(y: int, row: Bar, most: float, write: Callable[[float], str]) -> Markup:
    x = float(_LABEL)
    drawn = []
    for number, (_, value) in enumerate(row.parts):
        width = _ROOM * min(1.0, value / most)
        if width > 0:
            drawn.append(_PART % (number, x, y + 5, width, _BAR))
        x += width
    room = (_LABEL, y + 5, _ROOM, _BAR)
    total = (_LABEL + _ROOM + 8, y + 18, write(row.total))
    return _BAR_ROW % (y + 18, row.label, *room, Markup("").join(drawn), *total)
