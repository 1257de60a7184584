"""COSE receipts and SCITT statements: vectors of others accepted, and refused once altered."""

from benchmarks.report import Row, Target
from tests.support.oracles.cose_vectors import cose_vectors, signed_vectors


def measure() -> list[Row]:
    """Return the shares of vectors that are judged as their authors say, and of altered ones."""
    vectors = cose_vectors()
    good = [vector for vector in vectors if not vector.reason]
    bad = [vector for vector in vectors if vector.reason]
    altered = [vector.verdict(data) for vector in signed_vectors() for data in vector.mutations()]
    return [
        _row("vectors of others accepted", [not vector.verdict() for vector in good]),
        _row(
            "bad or unsupported vectors of others refused",
            [vector.verdict() == vector.reason for vector in bad],
        ),
        _row("vectors with a flipped bit refused", [bool(verdict) for verdict in altered]),
    ]


def _row(what: str, well: list[bool]) -> Row:
    share = 100.0 * sum(well) / len(well)
    return {"what": what, "percent": share, "of": len(well)}


def targets(rows: list[Row]) -> list[Target]:
    return [Target(f"{row['what']}, %", row["percent"], 100.0, least=True) for row in rows]
