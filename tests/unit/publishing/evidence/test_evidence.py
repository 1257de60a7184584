"""Evidence envelopes: what they bind, and that each verifies under its maker's key."""

from datetime import UTC, datetime

import pytest

from publishing.evidence.signing import GOLDEN_RUN, ML_BOM, sign_evidence
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import dsse
from sealgate.trust.canonical import sha256
from sealgate.trust.keys import PrivateKey
from sealgate.trust.statements import Evidence
from sealgate.trust.statements.types import APPROVAL, EVIDENCE

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)
KEY = PrivateKey.generate()
VERSION = sha256(b"a version")
BODIES = {ML_BOM: {"bomFormat": "CycloneDX"}, GOLDEN_RUN: {"rows": 32}}


def test_each_item_verifies_and_binds_kind_version_and_maker() -> None:
    envelopes = sign_evidence(BODIES, VERSION, "publisher", KEY, NOW)
    items = []
    for envelope in envelopes:
        assert dsse.verify(envelope, EVIDENCE, {KEY.public.keyid: KEY.public})
        items.append(Evidence.decode(envelope.payload))
    assert [item.kind for item in items] == [GOLDEN_RUN, ML_BOM]
    assert {item.version_digest for item in items} == {VERSION}
    assert {item.maker for item in items} == {"publisher"}
    assert {item.created for item in items} == {"2026-11-25T10:00:00Z"}
    assert {item.kind: item.body for item in items} == BODIES


def test_an_item_cannot_pass_for_another_document() -> None:
    (envelope, _) = sign_evidence(BODIES, VERSION, "publisher", KEY, NOW)
    with pytest.raises(SealgateError) as refused:
        dsse.verify(envelope, APPROVAL, {KEY.public.keyid: KEY.public})
    assert refused.value.reason is Reason.SIGNATURE_INVALID


def test_a_version_that_is_no_digest_is_refused() -> None:
    with pytest.raises(SealgateError) as refused:
        sign_evidence(BODIES, "1", "publisher", KEY, NOW)
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED
