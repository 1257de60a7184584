"""DSSE envelopes, checked by `securesystemslib` (PyPI)."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from sealgate.trust import dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PrivateKey
from sealgate.trust.statements import sign_statement
from tests.support.builders.documents.people import (
    PromotionDocuments,
    key,
    make_policy,
    p256_key,
    sign_policy,
)
from tests.support.oracles import programs

ANNA, ARNE, PAULA = key("anna"), key("arne"), p256_key("paula")


def case(envelope: Envelope, threshold: int, *signers: PrivateKey) -> dict[str, Any]:
    keys = {}
    for signer in signers:
        public = signer.public
        text = public.raw.hex() if public.scheme == "ed25519" else public.pem
        keys[public.keyid] = {"scheme": public.scheme, "public": text}
    return {"envelope": envelope.encode().decode(), "keys": keys, "threshold": threshold}


def test_securesystemslib_agrees_with_us() -> None:
    python = programs.python_with("securesystemslib")
    both = dsse.sign("application/example", '{"ü":1}'.encode(), ANNA, PAULA)
    proposal = sign_statement(PromotionDocuments(make_policy()).proposal(), ANNA)
    policy = sign_policy(make_policy())
    roots = [key("root-0"), key("root-1"), key("root-2")]
    cases = [
        (case(both, 2, ANNA, PAULA, ARNE), [ANNA, PAULA]),
        (case(proposal, 1, ANNA), [ANNA]),
        (case(policy, 2, *roots), roots[:2]),
        (case(both, 2, ANNA, ARNE), None),
        (case(replace(both, payload=b"{}"), 1, ANNA, PAULA), None),
        (case(replace(both, payload_type="application/other"), 1, ANNA, PAULA), None),
        (case(policy, 3, *roots), None),
    ]
    script = Path(__file__).with_name("check_dsse.py")
    result = programs.run([python, script], json.dumps([item for item, _ in cases]))
    assert result.returncode == 0, result.stderr
    expected = [
        sorted(signer.public.keyid for signer in signers) if signers else None
        for _, signers in cases
    ]
    assert json.loads(result.stdout) == expected
