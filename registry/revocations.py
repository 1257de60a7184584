"""Revoking a version: an admin's signed word that it must never answer again."""

from contextlib import suppress

from registry.etags import check_etag
from registry.events import VERSION_REVOKED
from registry.freshness import FreshnessKeeper
from registry.policies import PolicyBook
from registry.records import VersionRecord
from registry.requests import Once, Repeated
from registry.statements import open_own
from registry.unit_of_work import Ledger
from registry.version_rows import check_version, read_version
from registry.versions import Versions
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Revocation


class Revocations:
    """The use case of revoking."""

    def __init__(
        self, ledger: Ledger, book: PolicyBook, freshness: FreshnessKeeper, versions: Versions
    ) -> None:
        self._ledger = ledger
        self._book = book
        self._freshness = freshness
        self._versions = versions

    def revoke(
        self, principal: str, envelope: bytes, once: Once | None = None, etag: str = ""
    ) -> VersionRecord:
        """Revoke a version, and the same bytes wherever else they are registered.

        1. The caller, an admin, has signed it (reasons of `open_own`).
        2. The version has the etag, if one is given (ETAG_STALE).
        3. It exists with this digest (VERSION_UNKNOWN), not revoked (VERSION_REVOKED).
        """
        opened = Envelope.decode(envelope)
        claimed = Revocation.decode(opened.payload)
        with suppress(Repeated), self._ledger.change(principal, once) as unit:
            policy = self._book.read_for(unit).current(unit.now)
            # 1.
            revocation = open_own(principal, opened, Revocation, policy, ("admin",))
            # 2.
            model, version, digest = revocation.model, revocation.version, revocation.digest
            check_etag(etag, read_version(unit.connection, model, version).etag)
            # 3.
            check_version(unit.connection, model, version, digest)
            unit.add(
                VERSION_REVOKED,
                model=model,
                version=version,
                version_digest=digest,
                envelope=envelope,
            )
            self._freshness.renew(unit, policy)
            unit.commit()
        return self._versions.get(claimed.model, claimed.version)
