"""Charts as inline SVG, drawn on the server: they print, need no script, and are read out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup

from console.display.formats import count, percent, plain, visible

WIDTH = 480
_ROW, _LABEL, _VALUE = 28, 140, 72
_ROOM = WIDTH - _LABEL - _VALUE
_BAR = 16
_HEAD = 34
_ROOM_OF_LINES = 96
_LEFT, _RIGHT, _BOTTOM = 44, 8, 24
_LONGEST_NAME, _LETTER, _KEY_ROW = 28, 6, 14
# Of seconds, in which minutes alone would not tell two moments apart.
_FEW_MINUTES = 600
MOST_LINES = 4
"""Lines that a chart shows; each has a colour of its own."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a chart: its label, and named parts that lie end to end."""

    label: str
    parts: tuple[tuple[str, float], ...]

    @property
    def total(self) -> float:
        return sum(value for _, value in self.parts)

    def visible(self) -> "Bar":
        """The same with names that hide nothing: a page does not see to text within `Markup`."""
        named = tuple((visible(name), value) for name, value in self.parts)
        return Bar(visible(self.label), named)


def bars(title: str, rows: Sequence[Bar], *, shares: bool = False) -> Markup:
    """Horizontal bars on one scale, up to the longest, or to the whole where they are `shares`; the
    parts have a legend.
    """
    title, rows = visible(title), [row.visible() for row in rows]
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
    return count(round(value)) if value >= 1000 else plain(round(value, 4))


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


@dataclass(frozen=True, slots=True)
class Line:
    """A named line: a value for each moment, or None where there is none."""

    name: str
    values: tuple[float | None, ...]


def lines(
    title: str, times: Sequence[float], drawn: Sequence[Line], limit: float | None = None
) -> Markup:
    """Lines over `times`, seconds since 1970, on a scale from 0; `limit` is drawn across."""
    title = visible(title)
    shown = [Line(visible(line.name), line.values) for line in drawn[:MOST_LINES]]
    known = [value for line in shown for value in line.values if value is not None]
    most = max([*known, limit or 0.0]) or 1.0
    told = "; ".join(f"{line.name}: {_told(line)}" for line in shown)
    names = [line.name[:_LONGEST_NAME] for line in shown] if len(shown) > 1 else []
    keys, top = _line_keys(names)
    scale = _Scale(times, most, top)
    parts = [
        _axes(scale),
        *keys,
        *(_path(number, line, scale) for number, line in enumerate(shown)),
    ]
    if limit is not None:
        parts.append(
            Markup('<path class="limit" d="M{x:.0f} {y:.1f}H{w}"/>').format(
                x=_LEFT, y=scale.y(limit), w=WIDTH - _RIGHT
            )
        )
    return figure(title, told, scale.base + _BOTTOM, Markup("").join(parts))


def _told(line: Line) -> str:
    known = [value for value in line.values if value is not None]
    if not known:
        return "nothing"
    return f"{_rounded(known[-1])} at last, at most {_rounded(max(known))}"


def _rounded(value: float) -> str:
    return _number(float(f"{value:.3g}"))


@dataclass(frozen=True, slots=True)
class _Scale:
    """Where moments and values lie in a chart whose lines begin at `top`."""

    times: Sequence[float]
    most: float
    top: int

    @property
    def base(self) -> int:
        return self.top + _ROOM_OF_LINES

    def x(self, time: float) -> float:
        length = (self.times[-1] - self.times[0]) or 1.0
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (time - self.times[0]) / length

    def y(self, value: float) -> float:
        return self.top + _ROOM_OF_LINES * (1 - min(max(value, 0.0) / self.most, 1.0))


def _axes(scale: _Scale) -> Markup:
    first, last = scale.times[0], scale.times[-1]
    begun, ended = (datetime.fromtimestamp(time, UTC) for time in (first, last))
    form = "%H:%M" if begun.date() == ended.date() else "%m-%d %H:%M"
    if last - first < _FEW_MINUTES:
        form = "%H:%M:%S"
    return Markup(
        '<path class="axis" d="M{left} {top}V{base}H{right}"/>'
        '<text class="small" x="{label}" y="{most_y}" text-anchor="end">{most}</text>'
        '<text class="small" x="{label}" y="{base}" text-anchor="end">0</text>'
        '<text class="small" x="{left}" y="{below}">{begun}</text>'
        '<text class="small" x="{right}" y="{below}" text-anchor="end">{ended} UTC</text>'
    ).format(
        left=_LEFT,
        top=scale.top,
        base=scale.base,
        right=WIDTH - _RIGHT,
        label=_LEFT - 6,
        most_y=scale.top + 8,
        most=_rounded(scale.most),
        below=scale.base + _BOTTOM - 6,
        begun=begun.strftime(form),
        ended=ended.strftime(form),
    )


def _line_keys(names: Sequence[str]) -> tuple[list[Markup], int]:
    """The names of lines in as many rows as they need, and where what is below them begins."""
    keys, x, y = [], _LEFT, _KEY_ROW
    for number, name in enumerate(names):
        width = 26 + _LETTER * len(name)
        if x > _LEFT and x + width > WIDTH:
            x, y = _LEFT, y + _KEY_ROW
        keys.append(_LINE_KEY % (number, x, y - 6, x + 16, y, name))
        x += width
    return keys, (y if names else 0) + 12


_LINE_KEY = Markup(
    '<rect class="part-%d" x="%d" y="%d" width="12" height="4"/>'
    '<text class="small" x="%d" y="%d">%s</text>'
)


def _path(number: int, line: Line, scale: _Scale) -> Markup:
    words, pen = [], "M"
    for time, value in zip(scale.times, line.values, strict=True):
        if value is None:
            pen = "M"
            continue
        words.append(f"{pen}{scale.x(time):.1f} {scale.y(value):.1f}")
        pen = "L"
    # A value alone is a dot: the line's caps are round.
    if len(words) == 1:
        words.append("h0.1")
    return Markup('<path class="line-{n}" d="{d}"/>').format(n=number, d="".join(words))
