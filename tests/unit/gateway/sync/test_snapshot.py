"""Database rows of unexpected types are refused with a reason."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.sync import RegistrySnapshot
from registry.state.records import LivePointerRecord, Snapshot
from sealgate.reasons import Reason
from sealgate.trust import dsse
from sealgate.trust.statements import Manifest
from tests.support.builders.documents.people import PromotionDocuments, key, make_policy, refused

OFFICE = PromotionDocuments(make_policy())
PROMOTION = OFFICE.promotion()
MANIFEST = Manifest.of({"model.json": b"{}"}).encode()
LIVE = LivePointerRecord("digits", "production", 1, PROMOTION.encode(), MANIFEST, b"")
FRESH = dsse.sign("text/plain", b"{}", key("fresh")).encode()
SNAPSHOT = Snapshot((), (LIVE,), FRESH)


class NoFiles:
    """A store that is not asked for anything."""


def test_rows_as_they_were_written_are_read() -> None:
    shown = RegistrySnapshot.of(SNAPSHOT, NoFiles())
    assert set(shown.bundles) == {("digits", "production")}


@pytest.mark.parametrize(
    "change",
    [{"model": 5}, {"alias": None}, {"bundle": "{}"}, {"bundle": 5}, {"manifest": "{}"}],
)
def test_rows_of_other_types_are_refused(change: dict[str, Any]) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        RegistrySnapshot.of(replace(SNAPSHOT, live=(replace(LIVE, **change),)), NoFiles())


def test_statements_of_other_types_are_refused() -> None:
    for change in ({"freshness": "{}"}, {"policies": (5,)}):
        with refused(Reason.DOCUMENT_MALFORMED):
            RegistrySnapshot.of(replace(SNAPSHOT, **change), NoFiles())
