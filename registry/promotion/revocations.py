"""Signed revocations of versions."""

from contextlib import suppress

from registry.models.models import check_version, read_version
from registry.models.versions import Versions
from registry.policy.freshness import FreshnessKeeper
from registry.policy.policies import PolicyBook, open_own
from registry.state.events import VERSION_REVOKED
from registry.state.records import VersionRecord, check_etag
from registry.state.unit_of_work import Ledger, RepeatedRequest, RequestKey
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Revocation, is_revoked
from sealgate.trust.statements.covering import revoked_model


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
        self, principal: str, envelope: bytes, once: RequestKey | None = None, etag: str = ""
    ) -> VersionRecord:
        """Revoke a version; where the signer may revoke every model, also the same bytes wherever
        else they are registered.

        1. The caller, an admin, has signed it (reasons of `open_own`).
        2. The version has the etag, if one is given (ETAG_STALE).
        3. It exists with this digest (VERSION_UNKNOWN), not revoked (VERSION_REVOKED).
        4. Without the right over every model, the log names these bytes under this model alone.
        5. Afterwards the log says that it is revoked (LOG_INCONSISTENT).
        """
        opened = Envelope.decode(envelope)
        claimed = Revocation.decode(opened.payload)
        with suppress(RepeatedRequest), self._ledger.change(principal, once) as unit:
            policy = self._book.read_for(unit).current(unit.now)
            # 1.
            revocation = open_own(unit, opened, Revocation, policy, ("admin",))
            # 2.
            model, version, digest = revocation.model, revocation.version, revocation.digest
            check_etag(etag, read_version(unit.connection, model, version).etag)
            # 3.
            check_version(unit.connection, model, version, digest)
            # 4.
            everywhere = policy.allows_everywhere(policy.principal(principal), "revoke")
            unit.add(
                VERSION_REVOKED,
                model=model,
                version=version,
                version_digest=digest if everywhere else revoked_model(model, digest),
                envelope=envelope,
            )
            self._freshness.renew(unit, policy)
            unit.commit()
        # 5.
        if not is_revoked(self._ledger.logged().revoked, claimed.model, claimed.digest):
            # A request that was never carried out, remembered as one that was.
            raise SealgateError(Reason.LOG_INCONSISTENT, f"no entry revokes {claimed.digest}")
        return self._versions.get(claimed.model, claimed.version)
