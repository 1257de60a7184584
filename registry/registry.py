"""The registry's use cases, composed over one database, one log and one artifact store.

The gateway passes in who is calling, authenticated, with roles checked. Signatures and the
separation of duties are checked here again, from the signed documents alone.
"""

from collections.abc import Iterable
from contextlib import suppress

from sqlalchemy import Connection, select

from registry.audit import (
    Anchors,
    AuditTrail,
    EngineCountsBook,
    Erasures,
    Feed,
    Refusals,
    reconcile,
)
from registry.credentials import ApiKeys
from registry.formats.check_queue import FileChecks
from registry.log.reader import CoseReceipts, LogReader
from registry.log.rows import CheckpointMemory, newest_checkpoint
from registry.log.tile_log import TileLog
from registry.log.verification import Progress, VerifiedLog
from registry.models import Allowances, Attachments, Drifts, Models, Versions
from registry.policy import (
    FreshnessKeeper,
    PinnedRoot,
    Policies,
    PolicyBook,
    newest_envelope,
    newest_state,
)
from registry.promotion import Pointers, ProposalReplies, Proposals, Revocations
from registry.state.logged_state import LoggedFacts
from registry.state.records import LivePointerRecord, Snapshot
from registry.state.schema import FRESHNESS, LOG, POINTERS, VERSIONS
from registry.state.unit_of_work import Clock, Ledger
from registry.storage.artifacts import ArtifactStore
from registry.storage.changes import Changes
from registry.storage.database import ChangeToken, Database
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys import Signer
from sealgate.trust.transparency import Checkpoint


class Registry:
    """The use cases by noun: `policies`, `models`, `versions`, `proposals`, `replies`, `pointers`,
    `revocations`, `anchors`, `refusals`, `api_keys`, `engine_counts`, `erasures`, `allowances`,
    `drifts`, `attachments`; `artifacts`, `log` (a reader), `feed` (changes in the log) and
    `audit_trail` (the same, proved) beside them, and `cose_receipts` of the log's entries.
    """

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactStore,
        log: TileLog,
        freshness_signer: Signer,
        root: PinnedRoot,
        clock: Clock,
        checks: FileChecks | None = None,
    ) -> None:
        """Put the registry together. `open` does that too, and checks the whole record first."""
        ledger = Ledger(database, log, clock)
        book = PolicyBook(root)
        freshness = FreshnessKeeper(ledger, freshness_signer)
        self.ledger = ledger
        self._book = book
        self._freshness = freshness
        self.artifacts = artifacts
        self.log = LogReader(database, LOG, lambda: log.vkey)
        self.cose_receipts = CoseReceipts(log, self.log, ledger.look)
        self.policies = Policies(ledger, book, freshness)
        self.models = Models(ledger, book)
        self.versions = Versions(ledger, book, artifacts, checks)
        self.proposals = Proposals(ledger, book)
        self.replies = ProposalReplies(ledger, book, freshness)
        self.pointers = Pointers(ledger, book, freshness, self.versions)
        self.revocations = Revocations(ledger, book, freshness, self.versions)
        self.anchors = Anchors(ledger, book)
        self.refusals = Refusals(ledger, book)
        self.api_keys = ApiKeys(ledger, book)
        self.engine_counts = EngineCountsBook(ledger, book)
        self.erasures = Erasures(ledger, book)
        self.allowances = Allowances(ledger, book)
        self.drifts = Drifts(ledger, book)
        self.attachments = Attachments(ledger, book)
        self.feed = Feed(ledger, self.log, self.versions, self.proposals)
        self.audit_trail = AuditTrail(ledger)

    @classmethod
    def open(
        cls,
        database: Database,
        artifacts: ArtifactStore,
        *,
        origin: str,
        log_signer: Signer,
        freshness_signer: Signer,
        root: PinnedRoot,
        clock: Clock,
        known: Checkpoint | None = None,
        memory: CheckpointMemory | None = None,
        checks: FileChecks | None = None,
    ) -> "Registry":
        """Become a writer of the registry's log under `origin`, and check the record.

        `known` is a checkpoint that was seen before, kept outside of the database, and `memory` is
        where each is kept from now on; `checks` are those of files, in a worker by default.
        Raises SealgateError: as `TileLog.open` and `verify` do.
        """
        log = TileLog.open(
            database, LOG, origin, log_signer, known=known, memory=memory, shared=True
        )
        registry = cls(database, artifacts, log, freshness_signer, root, clock, checks)
        registry.verify()
        registry.logged()
        return registry

    def verify(self, progress: Progress | None = None) -> VerifiedLog:
        """Check the whole record.

        1. State and log agree in everything (see `reconcile`).
        2. The policies follow from the pinned root keys (reasons of `open_policy_history`).
        3. The freshness statement says what the tables say.

        Raises SealgateError: LOG_INCONSISTENT, or as a policy fails to follow.
        """
        with self.ledger.view() as connection:
            # 1.
            verified = reconcile(connection, self._vkey(connection), progress)
            if verified.size:
                # 2.
                policy = self._book.read(connection).newest
                # 3.
                self._freshness.check_state(connection, policy)
        return verified

    def _vkey(self, connection: Connection) -> str:
        """The log's verifier keys: with former ones, as far as the stored policy can be read."""
        lines = dict.fromkeys(self.ledger.log.vkey.split("\n"))
        with suppress(SealgateError):
            policy = self._book.read(connection).newest
            lines |= dict.fromkeys(policy.log_key(self.log.origin).split("\n"))
        return "\n".join(lines)

    def refresh(self) -> bool:
        """Sign the freshness statement again if a quarter of its time has gone; say whether.

        Raises SealgateError: POLICY_INVALID, POLICY_EXPIRED, LOG_INCONSISTENT when the state went
        back, REGISTRY_UNAVAILABLE or RECORD_FAILED.
        """
        with self.ledger.view() as connection:
            policy = self._book.read(connection).current(self.ledger.clock())
            if not self._freshness.is_due(connection, policy):
                return False
        holder = policy.holder(self._freshness.signer_for(policy).public.keyid)
        with self.ledger.change(holder.name if holder else "") as unit:
            policy = self._book.read_for(unit).current(unit.now)
            if not self._freshness.is_due(unit.connection, policy):
                # Another gateway was faster.
                return False
            self._freshness.renew(unit, policy)
            unit.commit()
        return True

    def snapshot(self, earlier: bool = False) -> Snapshot:
        """Return one consistent state, which extends all that was seen before.

        With `earlier`, for each alias the newest pointer that named another version than now, where
        there is one: what it would return to. Raises SealgateError: POLICY_INVALID before the first
        policy, LOG_INCONSISTENT, REGISTRY_UNAVAILABLE.
        """
        self.ledger.look()
        last = self._freshness.last
        with self.ledger.view() as connection:
            chain = self._book.read(connection)
            freshness = newest_envelope(connection, last)
            if freshness is None:
                raise SealgateError(Reason.POINTER_STALE, "there is no freshness statement")
            newest = [digest for _, _, digest in newest_state(connection).pointers]
            found = [_before(connection, digest) for digest in newest] if earlier else newest
            return Snapshot(chain.envelopes, _live(connection, filter(None, found)), freshness)

    def logged(self) -> LoggedFacts:
        """Return what the log records by now, whatever the tables say; see `LoggedState`.

        Raises SealgateError: LOG_INCONSISTENT, REGISTRY_UNAVAILABLE.
        """
        return self.ledger.logged()

    @property
    def note(self) -> str:
        """The newest signed checkpoint of the log that was checked here, from memory."""
        return self.ledger.log.note

    def hand_over(self, wanted: str) -> bool:
        """Go on under the next key where a policy's `wanted` names it; see `TileLog.hand_over`."""
        return self.ledger.log.hand_over(self.ledger.database, wanted)

    def end_hand_over(self) -> None:
        """Sign with the new key alone."""
        self.ledger.log.end_hand_over()

    def halt(self, detail: str) -> None:
        """Change nothing and show nothing new any more; see `TileLog.halt`."""
        self.ledger.log.halt(detail)

    def change_token(self) -> ChangeToken:
        """A value that differs after every change of state, by whatever process; cheap.

        Raises SealgateError(REGISTRY_UNAVAILABLE).
        """
        token = self.ledger.database.change_token()
        if token:
            return token
        with self.ledger.view() as connection:
            newest = newest_checkpoint(connection, LOG)
            sequence = connection.scalar(select(FRESHNESS.c.sequence))
        return (newest.size if newest else 0, sequence or 0)

    def changes(self) -> Changes:
        """Return a signal for when to ask for the change token again."""
        return self.ledger.database.changes()

    def close(self) -> None:
        """Close the database."""
        self.ledger.database.close()


def _before(connection: Connection, digest: str) -> str | None:
    """The newest pointer of the same alias that names another version, if any."""
    now = connection.execute(select(POINTERS).where(POINTERS.c.digest == digest)).one()
    query = select(POINTERS.c.digest).where(
        POINTERS.c.model == now.model,
        POINTERS.c.alias == now.alias,
        POINTERS.c.version_digest != now.version_digest,
    )
    return connection.scalar(query.order_by(POINTERS.c.sequence.desc()).limit(1))


def _live(connection: Connection, pointers: Iterable[str]) -> tuple[LivePointerRecord, ...]:
    live = []
    for digest in pointers:
        query = (
            select(POINTERS, VERSIONS.c.manifest, VERSIONS.c.signature)
            .join(
                VERSIONS,
                (VERSIONS.c.model == POINTERS.c.model) & (VERSIONS.c.version == POINTERS.c.version),
            )
            .where(POINTERS.c.digest == digest)
        )
        row = connection.execute(query).one()
        live.append(
            LivePointerRecord(
                model=row.model,
                alias=row.alias,
                version=row.version,
                bundle=bytes(row.bundle),
                manifest=bytes(row.manifest),
                signature=bytes(row.signature),
            )
        )
    return tuple(live)
