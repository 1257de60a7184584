"""Charts as inline SVG, drawn on the server: they print, need no script, and are read out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from console.display.formats import percent, plain

_WIDTH, _ROW, _LABEL, _VALUE = 480, 28, 140, 72
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
    return Markup(
        '<figure class="chart"><figcaption>{title}</figcaption>'
        '<svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}. {told}">{body}</svg>'
        "</figure>"
    ).format(title=title, told=told, width=_WIDTH, height=height, body=body)


def _number(value: float) -> str:
    return plain(round(value, 4))


def _key(number: int, name: str) -> Markup:
    x = _LABEL + 110 * number
    return Markup(
        '<rect class="part-{n}" x="{x}" y="6" width="12" height="12" rx="2"/>'
        '<text x="{t}" y="16">{name}</text>'
    ).format(n=number, x=x, t=x + 18, name=name)


def _row(y: int, row: Bar, most: float, write: Callable[[float], str]) -> Markup:
    room = _WIDTH - _LABEL - _VALUE
    x = float(_LABEL)
    drawn = []
    for number, (_, value) in enumerate(row.parts):
        width = room * min(1.0, value / most)
        if width > 0:
            drawn.append(
                Markup(
                    '<rect class="part-{n}" x="{x:.1f}" y="{y}" width="{w:.1f}" height="{h}"/>'
                ).format(n=number, x=x, y=y + 5, w=width, h=_BAR)
            )
        x += width
    return Markup(
        '<text class="label" x="{label}" y="{text}">{name}</text>'
        '<rect class="room" x="{label_end}" y="{y}" width="{room}" height="{h}"/>{drawn}'
        '<text x="{value}" y="{text}">{total}</text>'
    ).format(
        label=0,
        text=y + 18,
        name=row.label,
        label_end=_LABEL,
        y=y + 5,
        room=room,
        h=_BAR,
        drawn=Markup("").join(drawn),
        value=_LABEL + room + 8,
        total=write(row.total),
    )
