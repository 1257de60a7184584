"""The evidence of two versions side by side: in brief, in plots, and each fact that differs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from console.display.charts import Bar, bars
from console.display.evidence import (
    MOST_COMPARED,
    MOST_ROWS,
    TITLES,
    Table,
    cut,
    facts_of,
    share_of,
    suspect,
)
from console.display.formats import plain
from sealgate.trust import fields
from sealgate.trust.statements import Evidence

_SCREENING = "screening-report"
_THERE = "in production"


def brief(ours: Sequence[Evidence], theirs: Sequence[Evidence] | None) -> Table | None:
    """The figures that an approver looks at first, beside those of the version in production, if
    that is another; None where the evidence has none.
    """
    columns = ("Fact", *(("In production",) if theirs is not None else ()), "This version")
    sides = [ours] if theirs is None else [theirs, ours]
    rows = [(name, *(_told(each, kind, read) for each in sides)) for name, kind, read in _BRIEF]
    shown = tuple(row for row in rows if any(cell != "—" for cell in row[1:]))
    return Table("The evidence in brief", columns, shown) if shown else None


Body = Mapping[str, Any]


def _told(items: Sequence[Evidence], kind: str, read: Callable[[Body], str]) -> str:
    body = next((item.body for item in items if item.kind == kind), None)
    try:
        return "—" if body is None else read(body)
    except (KeyError, TypeError, ValueError, AttributeError):
        # Of another form, as a language model's.
        return "—"


def _found(body: Body) -> dict[str, float]:
    """The share of each attack that ever succeeds that is at least suspect."""
    attacks = body["attacks"].items()
    return {name: float(a["at_least_suspect"]) for name, a in attacks if "flagged" in a}


def _average(body: Body) -> str:
    found = _found(body)
    return f"{share_of(sum(found.values()) / len(found))} of {len(found)} kinds" if found else "—"


def _least(body: Body) -> str:
    found = _found(body)
    name = min(found, key=lambda each: found[each])
    return f"{share_of(found[name])}, {name}"


def _doubted(body: Body) -> str:
    clean = body["clean"]
    return f"{share_of(clean['at_least_suspect'])}, of which {share_of(clean['flagged'])} flagged"


def _proved(body: Body) -> str:
    shares = {float(size): share for size, share in body["certified"].items() if share}
    size = max(shares)
    return f"{share_of(shares[size])} within {plain(size)}"


_BRIEF: tuple[tuple[str, str, Callable[[Body], str]], ...] = (
    ("Attacks that screening finds, on average", _SCREENING, _average),
    ("Attack that it finds least often", _SCREENING, _least),
    ("Clean rows that it doubts", _SCREENING, _doubted),
    ("Rows that no change turns, by proof", _SCREENING, _proved),
    (
        "INT8 answers with float32's class",
        "golden-run",
        lambda body: f"{share_of(body['same_class_as_fp32'])} of {plain(body['rows'])} rows",
    ),
    (
        "Watermark read from the INT8 file",
        "watermark-check",
        lambda body: f"z = {body['int8']['z']:.1f}, threshold {plain(body['threshold'])}",
    ),
)


def differences(ours: Evidence, theirs: Evidence) -> Table | None:
    """The facts in which two items of one kind differ, side by side; None if in nothing.

    Lines that name files or times always differ, and are left out.
    """
    if ours.kind == _SCREENING:
        return _screening_differences(ours.body, theirs.body)
    mine, other = dict(facts_of(ours.body)), dict(facts_of(theirs.body))
    rows = [
        (name, other.get(name, "—"), mine.get(name, "—"))
        for name in sorted(mine.keys() | other.keys())
        if mine.get(name) != other.get(name) and not _always_differs(mine.get(name, ""))
    ]
    if not rows:
        return None
    return Table(
        TITLES.get(ours.kind, ours.kind),
        ("Fact", "In production", "This version"),
        tuple(rows[:MOST_ROWS]),
        max(0, len(rows) - MOST_ROWS),
    )


def compared_charts(ours: Evidence, theirs: Evidence) -> list[str]:
    """Plots of both items in one, for kinds that have any; none where either is of another form."""
    if ours.kind != _SCREENING:
        return []
    try:
        return [_compared_screening(ours.body, theirs.body)]
    except (KeyError, TypeError, ValueError, AttributeError):
        return []


def _compared_screening(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    attacks = (ours["attacks"], theirs["attacks"])
    both = [name for name in attacks[0] if all("flagged" in each.get(name, {}) for each in attacks)]
    rows = [
        Bar(label, (("flagged", found["flagged"]), ("suspect", suspect(found))))
        for name in both[:MOST_COMPARED]
        for label, found in ((name, attacks[0][name]), (_THERE, attacks[1][name]))
    ]
    return bars("Share of attacks that screening finds, side by side", rows, shares=True)


def _screening_differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Table | None:
    """A row for each attack and each benign change, where a share differs."""
    names = ("succeeded", "answers_changed", "flagged", "at_least_suspect")
    rows = [
        (name, *(_both(before.get(share), after.get(share)) for share in names))
        for group in ("attacks", "shifts")
        for name, after in fields.mapping(ours.get(group, {})).items()
        for before in [fields.mapping(fields.mapping(theirs.get(group, {})).get(name, {}))]
        if before != after
    ]
    if not rows:
        return None
    columns = ("Attack or change", "Succeeds", "Answers changed", "Flagged", "At least suspect")
    return Table(TITLES["screening-report"] + ", in production → here", columns, *cut(rows))


def _both(before: Any, after: Any) -> str:
    if before is None and after is None:
        return "—"
    same = share_of(before) == share_of(after)
    return share_of(after) if same else f"{share_of(before)} → {share_of(after)}"


def _always_differs(text: str) -> bool:
    return (len(text) >= 32 and " " not in text) or (text.endswith("Z") and "T" in text)
