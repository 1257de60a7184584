"""A provenance beside a model: read strictly, of exactly these files, told in the bill."""

from typing import Any

import pytest

from publishing.source.folder import SLSA, STATEMENT, WORKSHOP, Origin
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from sealgate.trust.canonical import sha256

FILES = {"serving.onnx": b"one", "response.onnx": b"two"}
PRIVACY = {
    "epsilon": 1.9876543,
    "delta": 0.001,
    "noise": 2.0,
    "clip": 1.0,
    "sampling_rate": 0.1,
    "steps": 40,
    "accountant": "rdp",
}


def statement(**inner: Any) -> dict[str, Any]:
    return {
        "_type": STATEMENT,
        "predicateType": SLSA,
        "subject": [
            {"name": name, "digest": {"sha256": sha256(data)[7:]}} for name, data in FILES.items()
        ],
        "predicate": {
            "buildDefinition": {"buildType": WORKSHOP, "internalParameters": inner},
            "runDetails": {},
        },
    }


def refused(document: dict[str, Any]) -> Reason:
    with pytest.raises(SealgateError) as found:
        Origin.decode(canonical.encode(document))
    return found.value.reason


def test_a_budget_is_among_the_facts() -> None:
    data = canonical.encode(statement(privacy=PRIVACY))
    origin = Origin.decode(data)
    origin.check(FILES)
    facts = dict(origin.facts())
    assert facts["sealgate:provenance"] == sha256(data)
    assert facts["sealgate:privacy:epsilon"] == "1.98765"
    assert facts["sealgate:privacy:steps"] == "40"
    assert dict(Origin.decode(canonical.encode(statement())).facts()).keys() == {
        "sealgate:provenance"
    }


@pytest.mark.parametrize(
    "files",
    [
        {**FILES, "serving.onnx": b"another"},
        {**FILES, "tokenizer.json": b"{}"},
        {"serving.onnx": b"one"},
    ],
    ids=["changed", "more", "fewer"],
)
def test_other_files_are_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(SealgateError) as found:
        Origin.decode(canonical.encode(statement())).check(files)
    assert found.value.reason is Reason.EVIDENCE_MISMATCH


def test_what_is_no_such_statement_is_refused() -> None:
    assert refused(statement() | {"_type": "other"}) is Reason.DOCUMENT_MALFORMED
    assert refused(statement() | {"more": 1}) is Reason.DOCUMENT_MALFORMED
    assert refused(statement(privacy={"epsilon": 1.0})) is Reason.DOCUMENT_MALFORMED
    assert refused(statement() | {"note": "x" * (1 << 20)}) is Reason.DOCUMENT_MALFORMED
