"""Cases for every implementation that checks receipts: documents, and what each must say of them.

`python -m tests.support.builders.documents.receipt_vectors` writes them to
`tests/vectors/receipt-checks.json`. `verdict` is the Python client's own check, with which the
libraries for Go, Java and JavaScript must agree.
"""

import json
from dataclasses import asdict

from tests.support.builders.documents import vectors
from tests.support.builders.documents.odd_policies import odd_policies
from tests.support.builders.documents.odd_receipts import odd_receipts
from tests.support.builders.documents.receipt_cases import Case

FILE = vectors.FOLDER / "receipt-checks.json"


def cases() -> list[Case]:
    """All cases, each with what is odd about it as its name; the first is an answer."""
    return [*odd_receipts(), *odd_policies()]


def document(found: list[Case]) -> str:
    """The text of the vectors: the first case, and in a line each what differs in another."""
    first = asdict(found[0])
    lines = [json.dumps(first, ensure_ascii=False)]
    for case in found[1:]:
        changes = {name: value for name, value in asdict(case).items() if value != first[name]}
        lines.append(json.dumps(changes, ensure_ascii=False))
    return '{"first":\n' + lines[0] + ',\n"others": [\n' + ",\n".join(lines[1:]) + "\n]}\n"


if __name__ == "__main__":
    FILE.write_text(document(cases()), encoding="utf-8")
