"""Evidence as tables and plots: what each kind says, in words and numbers, never as JSON.

A kind that is not known here is shown as a table of its facts.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from console.display.charts import Bar, bars
from console.display.formats import plain, size
from sealgate.trust.statements import Evidence

MOST_ROWS = 60
MOST_COMPARED = 8
"""Rows of a plot of two versions, and groups of one of errors."""
TITLES = {
    "screening-report": "Screening: attacks and benign changes",
    "golden-run": "INT8 against float32",
    "watermark-check": "Watermark",
    "build-provenance": "Build provenance",
    "mlbom": "Bill of materials",
    "format-scan": "File formats",
    "red-team": "Red team",
    "outcome-report": "True outcomes of its answers",
}


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a caption; cells are text, and `more` rows are not shown."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: int = 0


@dataclass(frozen=True, slots=True)
class ShownEvidence:
    """An item of evidence as a page shows it. `later` says that it came after the version."""

    item: Evidence
    title: str
    tables: tuple[Table, ...]
    charts: tuple[str, ...] = field(default=())
    later: bool = False


def show(item: Evidence, later: bool = False) -> ShownEvidence:
    """The view of an item on a page; of one with another form than usual, its facts."""
    title = TITLES.get(item.kind, item.kind)
    try:
        tables, charts = _KINDS.get(item.kind, _plain)(item.body)
    except (KeyError, TypeError, ValueError, AttributeError):
        tables, charts = _plain(item.body)
    return ShownEvidence(item, title, tuple(tables), tuple(charts), later)


Shown = tuple[list[Table], list[str]]


def _screening(body: Mapping[str, Any]) -> Shown:
    attacks, shifts = body["attacks"], body.get("shifts", {})
    columns = ("Attack", "Succeeds", "Flagged", "At least suspect", "Caught at 1 %", "AUROC")
    names = ("succeeded", "flagged", "at_least_suspect", "caught_at_1_percent")
    rows = [
        (name, *(share_of(found.get(key)) for key in names), plain(found.get("auroc", "—")))
        for name, found in attacks.items()
    ]
    benign = [
        (
            name,
            *(share_of(found.get(k)) for k in ("answers_changed", "flagged", "at_least_suspect")),
        )
        for name, found in [("none", body["clean"]), *shifts.items()]
    ]
    caught = [
        Bar(name, (("flagged", found["flagged"]), ("suspect", suspect(found))))
        for name, found in attacks.items()
        # One that never succeeds has nothing to find.
        if "flagged" in found
    ]
    false = [
        Bar(name, (("flagged", found["flagged"]), ("suspect", suspect(found))))
        for name, found in [("clean rows", body["clean"]), *shifts.items()]
    ]
    changed = ("Change", "Answers changed", "Flagged", "At least suspect")
    tables = [
        Table(f"Attacks on {plain(body['rows'])} rows", columns, *cut(rows)),
        Table("Benign changes", changed, *cut(benign)),
    ]
    return tables, [
        bars("Share of attacks that screening finds", caught, shares=True),
        bars("Share of harmless rows that screening doubts", false, shares=True),
        *_proved(body.get("certified", {})),
    ]


def _proved(shares: Mapping[str, Any]) -> list[str]:
    """Rows that are answered right whatever changes by so much in every place, if any are."""
    rows = [Bar(f"by {size}", (("proved", float(share)),)) for size, share in shares.items()]
    return [bars("Share of rows that no change turns, by proof", rows, shares=True)] if rows else []


def suspect(found: Mapping[str, Any]) -> float:
    return max(0.0, float(found["at_least_suspect"]) - float(found["flagged"]))


def _golden(body: Mapping[str, Any]) -> Shown:
    rows = [
        ("Rows compared", plain(body["rows"])),
        ("Same class as float32", share_of(body["same_class_as_fp32"])),
        ("Largest difference to float32", plain(body["largest_difference_to_fp32"])),
        ("Same alone and in a batch", plain(body["same_alone_and_in_a_batch"])),
        ("Classes answered", plain(body["classes_answered"])),
    ]
    same = [Bar("Same class", (("same", float(body["same_class_as_fp32"])),))]
    table = Table("Golden answers", ("Fact", "Value"), tuple(rows))
    return [table], [bars("INT8 answers with float32's class", same, shares=True)]


def _watermark(body: Mapping[str, Any]) -> Shown:
    rows = [
        (
            name,
            f"{body[key]['z']:.2f}",
            plain(body[key]["bit_errors"]),
            plain(body[key]["bits"]),
            f"10^{body[key]['log10_bound']:.1f}",
        )
        for name, key in (("float32", "fp32"), ("INT8", "int8"))
        if key in body
    ]
    columns = ("File", "z", "Bit errors", "Bits", "Chance without the mark, at most")
    facts = (
        ("Threshold of z", plain(body["threshold"])),
        ("Accuracy lost", share_of(body["accuracy_lost"])),
        ("Commitment", plain(body["commitment"])),
        ("Its log entry", plain(body["commitment_entry"])),
    )
    marks = [Bar(row[0], (("z", float(row[1])),)) for row in rows]
    tables = [
        Table("Mark read from the files", columns, tuple(rows)),
        Table("Commitment", ("Fact", "Value"), facts),
    ]
    return tables, [bars(f"z, threshold {plain(body['threshold'])}", marks)]


def _bom(body: Mapping[str, Any]) -> Shown:
    parts = [
        (
            component["name"],
            component["type"],
            ", ".join(e["license"].get("id", "—") for e in component.get("licenses", [])) or "—",
            next((_bytes(p["value"]) for p in component.get("properties", [])), "—"),
        )
        for component in body["components"]
    ]
    card = body["metadata"]["component"]
    model = card.get("modelCard", {})
    metrics = model.get("quantitativeAnalysis", {}).get("performanceMetrics", [])
    measured = [(m.get("type", "—"), m.get("slice", "—"), m["value"]) for m in metrics]
    uses = model.get("considerations", {}).get("useCases", [])
    about = [("Description", card.get("description", "—")), ("Uses", "; ".join(uses) or "—")]
    tables = [
        Table("The model", ("Fact", "Value"), tuple(about)),
        Table("Components", ("Name", "Type", "Licence", "Size"), *cut(parts)),
    ]
    if measured:
        tables.insert(1, Table("Measured", ("Metric", "Of", "Value"), *cut(measured)))
    return tables, []


def _bytes(text: str) -> str:
    return size(int(text)) if text.isascii() and text.isdigit() else text


def _provenance(body: Mapping[str, Any]) -> Shown:
    predicate = body["predicate"]
    build, run = predicate["buildDefinition"], predicate["runDetails"]
    facts = [
        ("Builder", run["builder"]["id"]),
        ("Kind of build", build["buildType"]),
        ("Started", run.get("metadata", {}).get("startedOn", "—")),
        *facts_of(build.get("externalParameters", {})),
    ]
    made = [
        (item["name"], plain(item.get("digest", {}).get("sha256") or item.get("uri", "—")))
        for item in build.get("resolvedDependencies", [])
    ]
    return [
        Table("The build", ("Fact", "Value"), tuple(facts)),
        Table("Made from", ("Material", "SHA-256 or package"), *cut(made)),
    ], []


def _formats(body: Mapping[str, Any]) -> Shown:
    rows = [
        (
            path,
            found["format"],
            _count(found.get("operators")),
            ", ".join(f"{name} {number}" for name, number in found.get("opsets", {}).items())
            or "—",
            plain(found.get("external_data", "—")),
        )
        for path, found in body["files"].items()
    ]
    columns = ("File", "Format", "Operators", "Opsets", "External data")
    return [Table("Formats", columns, *cut(rows))], []


def _count(operators: Mapping[str, int] | None) -> str:
    return "—" if operators is None else f"{sum(operators.values())} of {len(operators)} kinds"


def _outcomes(body: Mapping[str, Any]) -> Shown:
    """The reported outcomes of answers: figures of each promotion, and its errors by group."""
    columns = ("Alias", "Promotion", "Outcomes", "Right", "Calibration error", "Log entries")
    rows, errors = [], []
    for series in body["series"]:
        figures, alias = series["figures"], str(series["alias"]) or "by number"
        ece = share_of(figures["ece"]) if "ece" in figures else ""
        entries = f"{series['first_entry']} to {series['last_entry']}"
        told = (plain(series["pointer_sequence"]), plain(figures["outcomes"]))
        rows.append((alias, *told, share_of(figures["accuracy"]), ece, entries))
        errors += [
            Bar(f"{each['attribute']}: {each['group']}", (("wrong", float(each["error"])),))
            for each in series["groups"]
        ]
    shown = errors[:MOST_COMPARED]
    charts: list[str] = [bars("Wrong answers by group", shown, shares=True)] if shown else []
    return [Table("True outcomes", columns, *cut(rows))], charts


def _plain(body: Mapping[str, Any]) -> Shown:
    return [Table("Facts", ("Fact", "Value"), *cut(list(facts_of(body))))], []


def facts_of(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Each fact with the names that lead to it; lists of more than words are counted."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from facts_of(inner, f"{name}, {_word(key)}" if name else _word(key))
    elif isinstance(value, list):
        short = [item for item in value if isinstance(item, str | int | float)]
        whole = len(short) == len(value) <= 8
        yield name, ", ".join(map(plain, short)) if whole else f"{len(value)} items"
    else:
        yield name, plain(value)


def _word(key: object) -> str:
    return str(key).replace("_", " ")


def share_of(value: Any) -> str:
    return "—" if value is None else f"{100 * float(value):.1f} %"


def cut(rows: Sequence[tuple[str, ...]]) -> tuple[tuple[tuple[str, ...], ...], int]:
    return tuple(rows[:MOST_ROWS]), max(0, len(rows) - MOST_ROWS)


_KINDS: Mapping[str, Callable[[Mapping[str, Any]], Shown]] = {
    "screening-report": _screening,
    "golden-run": _golden,
    "watermark-check": _watermark,
    "mlbom": _bom,
    "build-provenance": _provenance,
    "format-scan": _formats,
    "outcome-report": _outcomes,
}
