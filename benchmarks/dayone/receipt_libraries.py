"""How the libraries of `clients/` judge receipts: those of the vectors, and altered ones.

`measure` builds each library, asks it about every case of `tests/vectors/receipt-checks.json`, and
about receipts and policies with a character altered anywhere. It is part of `make bench
NAME=dayone`; alone: `python -m benchmarks.dayone.receipt_libraries`.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.report import Row, show
from tests.support.builders.documents.receipt_cases import BASE, RECEIPT, alterations
from tests.support.builders.documents.receipt_vectors import cases
from tests.support.oracles.receipt_libraries import LIBRARIES

ALTERATIONS = 1_000


def measure(folder: Path, count: int = ALTERATIONS) -> Iterator[Row]:
    """For each library: its mistakes about the vectors, of which there should be none, the share
    of altered documents that it accepts, which should be none too, and its time for a check.
    """
    known = cases()
    (policy,) = BASE.policies
    altered = [replace(BASE, receipt=text) for text in alterations(RECEIPT, count)]
    altered += [replace(BASE, policies=(text,)) for text in alterations(policy, count)]
    for name, build in LIBRARIES.items():
        place = folder / name
        place.mkdir()
        library = build(place)
        wrong = [
            case.name
            for case, said in zip(known, library.verdicts(known), strict=True)
            if said != case.reason
        ]
        began = time.perf_counter()
        passed = library.verdicts(altered).count("")
        each = (time.perf_counter() - began) / len(altered)
        good = sum(not case.reason for case in known)
        figures = (
            (f"{good} receipts accepted, {len(known) - good} refused: mistakes", len(wrong), 0.0),
            (f"{len(altered)} altered: accepted", passed, 0.0),
        )
        for what, value, target in figures:
            yield {"what": f"{name}: {what}", "value": value, "unit": "", "target": target}
        yield {"what": f"{name}: a check", "value": round(each * 1e3, 2), "unit": "ms"}


def main() -> None:
    with TemporaryDirectory() as folder:
        show(list(measure(Path(folder))), ("what", "value", "unit"))


if __name__ == "__main__":
    main()
