"""COSE receipts and transparent statements, checked by `scitt-cose` (PyPI)."""

import json
from pathlib import Path

from tests.support.builders.documents.cose_receipts import (
    SIGNER,
    cose_receipt,
    transparent_statement,
)
from tests.support.builders.documents.people import ANSWER_LOG
from tests.support.builders.documents.receipts import ENTRY, SIZE
from tests.support.oracles import programs

KEY = SIGNER.public.pem
INDEX = SIZE - 2


def test_scitt_cose_agrees_with_us() -> None:
    python = programs.python_with("scitt_cose")
    receipt, statement = cose_receipt().encode(), transparent_statement().encode()
    forged = bytearray(receipt)
    forged[-1] ^= 1
    cases = [
        {"kind": "receipt", "data": receipt.hex(), "entry": ENTRY.hex(), "key": KEY},
        {"kind": "statement", "data": statement.hex(), "key": KEY},
        {"kind": "receipt", "data": bytes(forged).hex(), "entry": ENTRY.hex(), "key": KEY},
        {"kind": "receipt", "data": receipt.hex(), "entry": b"another".hex(), "key": KEY},
    ]
    script = Path(__file__).with_name("check_cose.py")
    done = programs.run([python, script], json.dumps(cases))
    assert done.returncode == 0, done.stderr
    proved, stated, *refused = json.loads(done.stdout)
    assert proved == {
        "ok": True,
        "size": SIZE,
        "index": INDEX,
        "issuer": ANSWER_LOG,
        "subject": f"{ANSWER_LOG}/tree/{SIZE}",
    }
    assert stated == {
        "ok": True,
        "payload": ENTRY.hex(),
        "issuer": ANSWER_LOG,
        "subject": f"{ANSWER_LOG}/entries/{INDEX}",
        "type": "application/vnd.sealgate.answer.v2",
    }
    assert [each["ok"] for each in refused] == [False, False]
